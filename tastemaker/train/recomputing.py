"""Gradient checkpointing (Chen et al. 2016): layers are computed once more in the backward pass.

Between the passes only each layer's input is held. The numbers are the same: torch's form of it
without re-entry also restores random numbers, and follows adapters whatever their inputs need.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tastemaker.errors import ModelError

RECOMPUTE = (
    "Hold only the inputs of layers, and compute the layers once more for the gradients: less "
    "memory, a third more time."
)
"""The help of the setting `gradient_checkpointing`."""


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
