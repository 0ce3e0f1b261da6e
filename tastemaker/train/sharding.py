"""Weights divided over processes (FSDP2): for a network that one process cannot train alone.

Each process holds a share of each weight, of its gradient and of the optimiser's state. In a step
`fully_shard` gathers the weights of a layer before it is computed and drops them afterwards. So all
processes must compute as many passes as each other. Our own passes read weights directly, and do
not take part: `fast.support.supports` is false for a share.

Whatever else reads the network (writing, measuring, saving) works on a whole copy, which is filled
for that time: `Sharded.whole`. It takes as much memory as the weights alone.
"""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tastemaker import processes
from tastemaker.errors import UsageError
from tastemaker.train.shares import is_sharded, whole_tensor
from tastemaker.train.step import (
    Metrics,
    Part,
    add_numbers,
    gradients_added,
)

SHARD = (
    "Divide weights, gradients and the optimiser's state over the processes of torchrun (FSDP2), "
    "for a network that one of them cannot hold."
)
"""The help of the setting `shard`."""


class Owner(Protocol):
    """A reward network or a policy.

    module: its network of transformers. sharded: None where each process has the whole of it.
    """

    module: Any
    sharded: "Sharded | None"


def without_shard(settings: Any) -> dict[str, Any]:
    """Return a run's settings without `shard`: a run may go on divided or not."""
    values = asdict(settings)
    del values["shard"]
    return values


def check_shard(*, shard: bool, lora: int = 0) -> None:
    """Raise UsageError for a division over one process, and of weights that do not learn.

    Also raised where one process was started with `--shard` and another without.
    """
    processes.check_alike({"shard": shard})
    if not shard:
        return
    if processes.count() == 1:
        raise UsageError(
            "--shard divides the weights over processes, and there is one. Start several by "
            "torchrun (docs/scale.md), or leave it out."
        )
    if lora:
        raise UsageError(
            "--shard and --lora: adapters learn beside whole weights. Leave one of the two out."
        )


class Sharded:
    """A network whose weights are divided; its owner's module is changed in place.

    The owner's module is the divided network, except while it is `whole`.
    """

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._twin = _empty_twin(owner.module)
        self._divided = owner.module
        self._readers = 0
        _divide(owner.module)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let the owner's module be an ordinary network, in all processes, until the block ends."""
        if self._readers == 0:
            self._fill()
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1
            if self._readers == 0:
                self.owner.module = self._divided
                for parameter in self._twin.parameters():
                    parameter.untyped_storage().resize_(0)

    def end(self) -> None:
        """Make the owner's module an ordinary network, and forget the shares."""
        self._fill()
        self._readers += 1
        self._divided = self._twin

    @torch.no_grad()
    def _fill(self) -> None:
        weights = self._divided.parameters()
        for parameter, share in zip(
            self._twin.parameters(), weights, strict=True
        ):
            size = parameter.numel() * parameter.element_size()
            parameter.untyped_storage().resize_(size)
            parameter.copy_(whole_tensor(share.detach()))
        self._twin.train(self._divided.training)
        self.owner.module = self._twin


def _empty_twin(module: Any) -> Any:
    """Return a copy of a network whose parameters take no memory."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        empty = nn.Parameter(
            torch.empty(
                parameter.shape, dtype=parameter.dtype, device=parameter.device
            ),
            requires_grad=parameter.requires_grad,
        )
        empty.untyped_storage().resize_(0)
        memo[id(parameter)] = empty
    return copy.deepcopy(module, memo)


def _divide(module: Any) -> None:
    """Divide a network's weights in place: each layer's together, and all others together."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    device: torch.device = module.device
    with processes.answering():
        mesh = init_device_mesh(device.type, (processes.count(),))
    for layer in _layers_of(module):
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            # sums, as everywhere here, not means
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(enable=True)


def _layers_of(module: nn.Module) -> list[nn.Module]:
    """Return the layers of a network of transformers, none within another."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers: list[nn.Module] = []
    for child in module.children():
        if isinstance(child, GradientCheckpointingLayer):
            layers.append(child)
        else:
            layers += _layers_of(child)
    return layers


def divide(owner: Owner) -> None:
    """Divide the weights of a network over the processes."""
    owner.sharded = Sharded(owner)


def whole(owner: Owner) -> AbstractContextManager[None]:
    """Return the context in which a network can be read, in all processes."""
    return nullcontext() if owner.sharded is None else owner.sharded.whole()


def end_division(owner: Owner) -> None:
    """Make the weights whole in each process, where they are divided."""
    if owner.sharded is not None:
        owner.sharded.end()
        owner.sharded = None


@contextmanager
def _without_warning() -> Iterator[None]:
    """Silence a warning about outputs that are views: nothing here writes into them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
        yield


def idle(part: Part) -> Part:
    """Return a part that others need this process to compute, and that adds nothing."""

    def compute() -> tuple[Tensor, Metrics]:
        loss, _ = part()
        return loss * 0, {}

    return compute


@dataclass(frozen=True)
class ShardedBackward:
    """Compute this process's parts, at least one; `fully_shard` adds up gradients of all processes.

    A process with fewer parts than another repeats its last one, which then adds nothing.
    """

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> Metrics:
        """Add the gradients to `.grad`; return all processes' numbers, summed by name."""
        most = max(processes.gathered(lambda: len(parts)))
        all_parts = [*parts, *[idle(parts[-1])] * (most - len(parts))]
        plain = [p for p in parameters if not is_sharded(p)]
        sums_of_parts: Metrics = {}
        sums: Metrics = {}
        with gradients_added(plain):
            with processes.answering_while_computing(), _without_warning():
                for part in all_parts:
                    loss, numbers = part()
                    add_numbers(sums_of_parts, numbers)
                    if loss.requires_grad:
                        # not of `parameters`: the gathered weights are other tensors
                        loss.backward()  # type: ignore[no-untyped-call]
            for numbers in processes.gathered(lambda: sums_of_parts):
                add_numbers(sums, numbers)
            if plain:
                processes.sum_gradients(plain)
        return sums
