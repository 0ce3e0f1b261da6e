"""What a training run takes of a device's memory, computed before it starts.

The network is made on torch's meta device, where tensors have shapes and no memory. Weights,
gradients and the optimiser's state are counted exactly. Activations are counted by one forward pass
there: all that autograd holds for the backward pass. Buffers that live for one operation are not
counted, so the sum is an estimate.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tastemaker.errors import ModelError
from tastemaker.fast.processor import free_bytes

_STEP_BYTES = 4  # AdamW counts the steps of each parameter
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_OUTSIDE = -1

FULL_AT_THE_END = "full precision at the end"
"""What `--dry-run` calls the layers that take the place of those of 4 bits."""
ACTIVATIONS = "activations, about"
_WHILE_LEARNING = ("gradients", ACTIVATIONS)


def in_words(size: float) -> str:
    """Return a number of bytes with a unit."""
    number = 0
    while size >= 1000 and number < len(_UNITS) - 1:
        size /= 1000
        number += 1
    return (
        f"{size:.0f} bytes" if number == 0 else f"{size:.1f} {_UNITS[number]}"
    )


@dataclass(frozen=True)
class Memory:
    """What a run takes. parameters: of the network. learned: those that learn. parts: bytes by
    what they are for. device: where. free: bytes that are free there now.
    """

    parameters: int
    learned: int
    parts: Mapping[str, int]
    device: str
    free: int

    @property
    def total(self) -> int:
        """The most bytes at one time: while it learns, or at the end, when there are others."""
        at_end = self.parts.get(FULL_AT_THE_END, 0)
        while_learning = sum(self.parts.values()) - at_end
        freed = sum(self.parts.get(name, 0) for name in _WHILE_LEARNING)
        return max(while_learning, while_learning - freed + at_end)

    @property
    def fits(self) -> bool:
        """Whether so much is free."""
        return self.total <= self.free

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, JSON-ready."""
        return {
            "parameters": self.parameters,
            "learned": self.learned,
            "bytes": dict(self.parts),
            "total": self.total,
            "device": self.device,
            "free": self.free,
            "fits": self.fits,
        }

    def __str__(self) -> str:
        share = self.learned / self.parameters
        lines = [
            f"{self.parameters:,} parameters, {self.learned:,} learn ({share:.2%})"
        ]
        for name, size in self.parts.items():
            lines.append(f"  {name:24} {in_words(size):>10}")
        name = "at one time" if FULL_AT_THE_END in self.parts else "together"
        lines.append(f"  {name:24} {in_words(self.total):>10}")
        verdict = "it fits" if self.fits else "it does NOT fit"
        lines.append(
            f"{self.device} has {in_words(self.free)} free: {verdict}."
        )
        if not self.fits:
            lines.append(
                "Take fewer tokens at once, --gradient-checkpointing, --lora 16, or a smaller "
                "model."
            )
        return "\n".join(lines)


def state_bytes(
    module: nn.Module, momentum_only: Mapping[int, Any] | None = None
) -> tuple[dict[str, int], int]:
    """Return the bytes of weights, gradients and optimiser of a network, and how many learn.

    momentum_only: parameters by id of which the optimiser holds one number and not two.
    """
    weights = gradients = optimizer = learned = 0
    for tensor in (*module.parameters(), *module.buffers()):
        weights += tensor.numel() * tensor.element_size()
        if not tensor.requires_grad:
            continue
        size = tensor.numel() * tensor.element_size()
        learned += tensor.numel()
        gradients += size
        if momentum_only and id(tensor) in momentum_only:
            optimizer += size
        else:
            optimizer += 2 * size + _STEP_BYTES
    parts = {
        "weights": weights,
        "gradients": gradients,
        "optimiser": optimizer,
    }
    return parts, learned


def on_meta(make: Callable[[], Any], source: str) -> Any:
    """Return the network that a function makes, without memory for its weights."""
    try:
        with torch.device("meta"):
            return make()
    # dozens of model classes: any error of theirs says that it cannot be counted
    except Exception as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ModelError(
            f"{source}: cannot be made without weights, so its memory is not known ({reason}). "
            "Leave out --dry-run."
        ) from error


def activation_bytes(
    module: Any,
    rows: int,
    length: int,
    *,
    recompute: bool,
    loss: Callable[[Any], Tensor],
    precision: torch.dtype = torch.float32,
) -> int:
    """Return the bytes that a pass over `rows` rows of `length` tokens holds for its gradients.

    module: on the meta device; it is changed. recompute: whether layers are computed once more: of
    them all the inputs are held, and all of one of them. loss: what is computed from the outputs.
    precision: of the products.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [
        part
        for part in module.modules()
        if isinstance(part, GradientCheckpointingLayer)
    ]
    copies = 0
    if precision != torch.float32:
        # autocast holds copies of float32 weights, and what it computes is as if all were short
        for parameter in module.parameters():
            if parameter.element_size() > precision.itemsize:
                copies += parameter.numel() * precision.itemsize
        module.to(precision)
    tensors = (*module.parameters(), *module.buffers())
    weights = {tensor.untyped_storage()._cdata for tensor in tensors}
    held: dict[int, Any] = {}
    sizes: Counter[int] = Counter()
    place = [_OUTSIDE]
    inputs = [0]

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in held and key not in weights:
            held[key] = storage
            sizes[place[0]] += storage.nbytes()
        return tensor

    def enter(number: int) -> Callable[..., None]:
        def note(layer: Any, arguments: Any) -> None:
            del layer
            place[0] = number
            for argument in arguments:
                if isinstance(argument, Tensor):
                    inputs[0] += argument.numel() * argument.element_size()

        return note

    def leave(*_: Any) -> None:
        place[0] = _OUTSIDE

    for number, layer in enumerate(layers):
        layer.register_forward_pre_hook(enter(number))
        layer.register_forward_hook(leave)
    ids = torch.zeros(rows, length, dtype=torch.int64, device="meta")
    # a mask that is whole: to make one, the network would look at numbers
    mask = torch.ones(1, 1, length, length, dtype=torch.bool, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss(module(input_ids=ids, attention_mask=mask, use_cache=False))
    outside = sizes.pop(_OUTSIDE, 0) + copies
    if recompute and sizes:
        return outside + inputs[0] + max(sizes.values())
    return outside + sum(sizes.values())


def memory_of(
    parts: Mapping[str, int],
    learned: int,
    parameters: int,
    device: torch.device,
) -> Memory:
    """Return the memory of a run on a device as it is now."""
    name = "the CPU" if device.type == "cpu" else str(device)
    return Memory(parameters, learned, parts, name, free_bytes(device))
