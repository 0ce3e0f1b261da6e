"""Copies of a network that share its memory until either side is written to."""

from typing import Any

import torch
from torch import Tensor, nn


def lazy_copies(module: nn.Module) -> dict[int, Any]:
    """Return copies of a module's parameters and buffers by `id`, for `deepcopy` to use instead of its own."""
    found: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        lazy = _lazily(tensor)
        found[id(tensor)] = nn.Parameter(lazy) if isinstance(tensor, nn.Parameter) else lazy
    return found


def _lazily(tensor: Tensor) -> Tensor:
    """Return a copy that shares memory until it is written to.

    Memory that PyTorch did not allocate, such as a mapped file, cannot be shared so: the tensor is given its own first.
    """
    try:
        return torch._lazy_clone(tensor.detach())
    except RuntimeError:
        tensor.data = tensor.data.clone()
        return torch._lazy_clone(tensor.detach())
