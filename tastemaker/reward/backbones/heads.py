"""Many heads on one network: an ensemble that shares everything below them.

On the disk the network has one head, their mean, so that every loader prints the ensemble's score; the heads lie beside
it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tastemaker.errors import ModelError
from tastemaker.reward.backbones.opening import HOLDS_HEADS, draw_head, head_of

Heads = dict[str, Tensor]
"""weight [heads, d] and, where the head has one, bias [heads]."""


def widen_head(module: Any, heads: int, seed: int) -> None:
    """Give a network so many fresh heads, drawn from `seed`."""
    head = head_of(module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wide = nn.Linear(head.in_features, heads, bias=head.bias is not None)
        draw_head(wide)
    _put(head, {name: p.detach() for name, p in wide.named_parameters()})


def put_heads(module: Any, heads: Heads) -> None:
    """Put saved heads in the place of their mean. Raises ModelError where they do not fit."""
    head = head_of(module)
    if heads["weight"].shape[1] != head.in_features or ("bias" in heads) != (head.bias is not None):
        raise ModelError("the saved heads do not fit the network. Copy the folder whole again.")
    _put(head, heads)


def standardise_heads(module: Any, means: Sequence[float], deviations: Sequence[float]) -> None:
    """Fold (s − mean)/deviation into each head, so that heads disagree about texts and not about scales.

    A head without a bias keeps its mean.
    """
    head = head_of(module)
    scale = torch.tensor(deviations, dtype=head.weight.dtype, device=head.weight.device).clamp(
        min=1e-8
    )
    with torch.no_grad():
        head.weight.div_(scale[:, None])
        if head.bias is not None:
            head.bias.sub_(torch.tensor(means, dtype=scale.dtype, device=scale.device)).div_(scale)


@contextmanager
def one_head(module: Any) -> Iterator[Heads | None]:
    """Let the network have one head, the mean of its heads, for as long as the block lasts; yield the heads.

    None for a network with one head, which stays as it is.
    """
    head = head_of(module)
    if head.out_features == 1:
        yield None
        return
    heads = {name: p.detach().cpu().clone() for name, p in head.named_parameters()}
    _put(
        head,
        {name: tensor.double().mean(0, keepdim=True).float() for name, tensor in heads.items()},
    )
    try:
        yield heads
    finally:
        _put(head, heads)


def _put(head: nn.Linear, tensors: Heads) -> None:
    """Replace a head's parameters, on its device."""
    device = head.weight.device
    head.weight = nn.Parameter(tensors["weight"].to(device))
    if "bias" in tensors:
        head.bias = nn.Parameter(tensors["bias"].to(device))
    head.out_features = len(tensors["weight"])
    setattr(head, HOLDS_HEADS, True)
