"""How the gradients of a step come about: the strategies, layers computed again, divided weights.

A step's parts are small enough to fit into memory. A strategy computes their gradients and adds
them up: `Backward` calls `loss.backward()` for one after the other; `ThreadedBackward` computes
them side by side, one thread each, on a CPU. `OverProcesses` adds up what several processes
computed, each by one of these two. `ShardedBackward` does so where weights are divided. All give
the same sum up to float rounding.

Gradient checkpointing (Chen et al. 2016) holds only each layer's input between the passes, and
computes the layers once more in the backward pass. The numbers are the same: torch's form of it
without re-entry also restores random numbers, and follows adapters whatever their inputs need.

Weights divided over processes (FSDP2) are for a network that one process cannot train alone. Each
process holds a share of each weight, of its gradient and of the optimiser's state. In a step
`fully_shard` gathers the weights of a layer before it is computed and drops them afterwards. So all
processes must compute as many passes as each other. Our own passes read weights directly, and do
not take part: `fast.support.supports` is false for a share. Whatever else reads the network
(writing, measuring, saving) works on a whole copy, which is filled for that time: `Sharded.whole`.
It takes as much memory as the weights alone.
"""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tastemaker import processes
from tastemaker.errors import ModelError, UsageError
from tastemaker.fast.processor import side_by_side

RECOMPUTE = (
    "Hold only the inputs of layers, and compute the layers once more for the gradients: less "
    "memory, a third more time."
)
"""The help of the setting `gradient_checkpointing`."""

SHARD = (
    "Divide weights, gradients and the optimiser's state over the processes of torchrun (FSDP2), "
    "for a network that one of them cannot hold."
)
"""The help of the setting `shard`."""

Metrics = dict[str, float]
"""Numbers by name; docs/metrics.md defines each."""

Part = Callable[[], tuple[Tensor, Mapping[str, float]]]
"""Computes one part of a step: its loss (a scalar), and numbers that are summed over the parts.

The number named "loss" is the value of the part's loss. A part sets autocast itself, because a
thread does not inherit it.
"""


# ---- the strategies ---------------------------------------------------------


class GradientStrategy(Protocol):
    """A way to compute the summed gradients of a step's parts."""

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> Metrics:
        """Add the gradients to `.grad`; return the parts' numbers, summed by name."""
        ...


class Backward:
    """Compute part after part by `loss.backward()`."""

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> Metrics:
        """Add the gradients to `.grad`; return the parts' numbers, summed by name."""
        sums: Metrics = {}
        for part in parts:
            loss, numbers = part()
            if loss.requires_grad:
                loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
            add_numbers(sums, numbers)
        return sums


@dataclass(frozen=True)
class ThreadedBackward:
    """Compute the parts side by side in threads, and add their gradients up in the parts' order.

    For a CPU. `loss.backward()` would add up in whatever order the threads end.
    """

    threads: int

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> Metrics:
        """Add the gradients to `.grad`; return the parts' numbers, summed by name."""
        is_learning = torch.is_grad_enabled()  # a new thread does not know
        calls = [
            partial(_gradients, part, parameters, is_learning)
            for part in parts
        ]
        sums: Metrics = {}
        for gradients, numbers in side_by_side(calls, self.threads):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = gradient
                else:
                    parameter.grad.add_(gradient)
            add_numbers(sums, numbers)
        return sums


@dataclass(frozen=True)
class OverProcesses:
    """Compute this process's parts, and add up the gradients and numbers of all processes.

    The parts are this process's alone: the caller deals out the units of a step. An error in one
    process is raised in all.
    """

    strategy: GradientStrategy

    def add_gradients(
        self, parts: Sequence[Part], parameters: Sequence[nn.Parameter]
    ) -> Metrics:
        """Add the gradients to `.grad`; return all processes' numbers, summed by name."""
        sums: Metrics = {}
        with gradients_added(parameters):
            for numbers in processes.gathered(
                lambda: self.strategy.add_gradients(parts, parameters)
            ):
                add_numbers(sums, numbers)
            processes.sum_gradients(parameters)
        return sums


@contextmanager
def gradients_added(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Let the block compute gradients alone, and then add those that were there before it."""
    before = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    yield
    for parameter, earlier in zip(parameters, before, strict=True):
        if earlier is None:
            continue
        if parameter.grad is not None:
            earlier.add_(parameter.grad)
        parameter.grad = earlier


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


def gradient_strategy(threads: int) -> GradientStrategy:
    """Return the strategy for passes of which so many may run side by side."""
    strategy: GradientStrategy = (
        Backward() if threads == 1 else ThreadedBackward(threads)
    )
    return OverProcesses(strategy) if processes.count() > 1 else strategy


def _gradients(
    part: Part, parameters: Sequence[nn.Parameter], is_learning: bool
) -> tuple[Sequence[Tensor | None], Mapping[str, float]]:
    """Return one part's gradients, None for a parameter without one, and its numbers."""
    with torch.set_grad_enabled(is_learning):
        loss, numbers = part()
    if not loss.requires_grad:
        return [None] * len(parameters), numbers
    return torch.autograd.grad(loss, parameters, allow_unused=True), numbers


def add_numbers(sums: Metrics, numbers: Mapping[str, float]) -> None:
    """Add numbers to the sums of their names."""
    for name, value in numbers.items():
        sums[name] = sums.get(name, 0) + value


# ---- layers computed again --------------------------------------------------


def recompute_layers(module: Any, *, wanted: bool) -> None:
    """Switch gradient checkpointing on or off for a network of transformers, in training mode.

    Raises ModelError for a network that cannot.
    """
    can_recompute = getattr(module, "supports_gradient_checkpointing", False)
    if not wanted:
        if can_recompute:
            _switch(module, "disable")()
        return
    if not can_recompute:
        raise ModelError(
            f"{type(module).__name__} cannot compute its layers once more: leave out "
            "--gradient-checkpointing, or take fewer tokens at once."
        )
    _switch(module, "enable")({"use_reentrant": False})


def _switch(module: Any, way: str) -> Any:
    """Return a method of a network by its name since transformers 5.24, or by the one before."""
    name = f"activation_checkpointing_{way}"
    if not hasattr(module, name):
        name = f"gradient_checkpointing_{way}"
    return getattr(module, name)


@contextmanager
def recomputing(module: Any, *, wanted: bool) -> Iterator[None]:
    """Switch gradient checkpointing on until the block ends, for a network in evaluation mode.

    The layers alone are told that they train, not the dropout within them.
    """
    if not wanted:
        yield
        return
    from transformers.modeling_layers import GradientCheckpointingLayer

    recompute_layers(module, wanted=True)
    layers = [
        part
        for part in module.modules()
        if isinstance(part, GradientCheckpointingLayer)
    ]
    before = [layer.training for layer in layers]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer, was_training in zip(layers, before, strict=True):
            layer.training = was_training
        recompute_layers(module, wanted=False)


# ---- weights divided over processes -----------------------------------------


def is_sharded(tensor: Tensor) -> bool:
    """Return whether this process has only a share of a tensor."""
    return hasattr(tensor, "full_tensor")


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor with the shares of all processes, which must all ask for it."""
    if not is_sharded(tensor):
        return tensor
    with processes.answering_while_computing():
        full: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return full


def share_like(tensor: Tensor, model: Tensor) -> Tensor:
    """Return this process's share of a whole tensor, where `model` is a share."""
    if not is_sharded(model) or is_sharded(tensor):
        return tensor
    # only where weights are divided
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(model, DTensor)
    return distribute_tensor(
        tensor.to(model.device),
        model.device_mesh,
        model.placements,
        src_data_rank=None,  # each process has it
    )


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
