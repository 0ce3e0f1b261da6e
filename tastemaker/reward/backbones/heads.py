"""The head of a network: one output, or several that are an ensemble on one body.

An ensemble may share one network. In memory it has many heads; on disk the head is their mean, so
that all loaders give the ensemble's score, and the heads lie beside it.

Weights are saved in the number format of the checkpoint that they began as. A network learns in
float32. A body that came in bfloat16 is rounded to it before it is measured, and saved so: the
folder has the size of the checkpoint. The head is one row and keeps its digits.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tastemaker.errors import ModelError
from tastemaker.huggingface import drawn_from, round_weights, save_weights

# ---- weights -------------------------------------------------------------------------------------


def _head_names(module: Any) -> set[str]:
    """Return the names of the weights that the head holds."""
    head = {id(parameter) for parameter in head_of(module).parameters()}
    names = set()
    for name, parameter in module.named_parameters():
        if id(parameter) in head:
            names.add(name)
    return names


def round_body(module: Any, dtype: torch.dtype) -> None:
    """Round the weights of the body to a number format; they stay float32 in memory.

    The head keeps its digits: a unit of the score is folded into it.
    """
    if dtype != torch.float32:
        round_weights(module, dtype, _head_names(module))


def save_module(module: Any, folder: Path, dtype: torch.dtype) -> None:
    """Save a classifier whose body has a number format on disk, as the configuration says.

    A head of several classes was published in that format, so it has no more digits to keep.
    """
    is_rounded = dtype != torch.float32 and module.config.num_labels == 1
    names = _head_names(module) if is_rounded else set()
    save_weights(module, folder, dtype, names)


def saved_dtype_of(folder: Path) -> str:
    """Return the number format that a folder's configuration names; float32 if none."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def share_weights(folder: Path) -> None:
    """Give the weight files the permissions of the configuration; safetensors lets their owner
    alone read them.
    """
    mode = (folder / "config.json").stat().st_mode
    for weights in folder.glob("*.safetensors"):
        weights.chmod(mode)


def fingerprint_of(module: Any) -> tuple[float, ...]:
    """Return numbers that change with the weights.

    Versions, and samples: a version does not count writes to a weight's `data`, by which peft
    merges adapters.
    """
    weights = list(module.parameters())
    samples = [
        weight.detach().flatten()[:: max(1, weight.numel() // 64)]
        for weight in weights
    ]
    versions = sum(weight._version for weight in weights)
    return versions, *(float(sample.double().sum()) for sample in samples)


# ---- heads ---------------------------------------------------------------------------------------


HOLDS_HEADS = "holds_heads"
"""The attribute of a last layer that was widened to several heads."""


def head_of(module: nn.Module) -> nn.Linear:
    """Return the last linear layer, the one that gives the score. Raises ModelError when there is
    none.
    """
    linear = [part for part in module.modules() if isinstance(part, nn.Linear)]
    heads = [
        part
        for part in linear
        if part.out_features == 1 or getattr(part, HOLDS_HEADS, False)
    ]
    if not heads:
        raise ModelError(
            f"{type(module).__name__} has no linear layer with one output: it cannot "
            "be a reward model."
        )
    return heads[-1]


def draw_head(head: nn.Linear) -> None:
    """Draw a fresh head: standard deviation 1/√(d+1), so that the first scores vary by about 1; no
    bias.
    """
    with torch.no_grad():
        head.weight.normal_(0, (head.in_features + 1) ** -0.5)
        if head.bias is not None:
            head.bias.zero_()


def keep_exact(head: nn.Linear) -> None:
    """Let a head be float32 behind a body of another format, and read what that gives."""
    if head.weight.dtype != torch.float32:
        head.float()
        head.register_forward_pre_hook(_in_float32)


def _in_float32(
    head: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    return tuple(tensor.float() for tensor in inputs)


Heads = dict[str, Tensor]
"""weight [heads, d] and, where the head has one, bias [heads]."""


def widen_head(module: Any, heads: int, seed: int) -> None:
    """Give a network `heads` fresh heads, drawn from `seed`."""
    head = head_of(module)
    with drawn_from(seed):
        wide = nn.Linear(head.in_features, heads, bias=head.bias is not None)
        draw_head(wide)
    _put(head, {name: p.detach() for name, p in wide.named_parameters()})


def put_heads(module: Any, heads: Heads) -> None:
    """Put saved heads in the place of their mean. Raises ModelError where they do not fit."""
    head = head_of(module)
    if heads["weight"].shape[1] != head.in_features or ("bias" in heads) != (
        head.bias is not None
    ):
        raise ModelError(
            "the saved heads do not fit the network. Copy the folder whole again."
        )
    _put(head, heads)


def standardise_heads(
    module: Any, means: Sequence[float], deviations: Sequence[float]
) -> None:
    """Fold (s − mean)/deviation into each head, so that heads disagree about texts and not about
    scales.

    A head without a bias keeps its mean.
    """
    head = head_of(module)
    scale = torch.tensor(
        deviations, dtype=head.weight.dtype, device=head.weight.device
    ).clamp(min=1e-8)
    with torch.no_grad():
        head.weight.div_(scale[:, None])
        if head.bias is not None:
            head.bias.sub_(
                torch.tensor(means, dtype=scale.dtype, device=scale.device)
            ).div_(scale)


@torch.no_grad()
def rescale_head(head: nn.Linear, offset: float, scale: float) -> float:
    """Fold (s − offset)/scale into a head; return the offset that was folded, 0 without a bias."""
    bias: Tensor | None = head.bias
    head.weight.copy_(head.weight.double() / scale)
    if bias is None:
        return 0.0
    bias.copy_((bias.double() - offset) / scale)
    return offset


@contextmanager
def one_head(module: Any) -> Iterator[Heads | None]:
    """Replace the heads of a network by their mean until the block ends; yield the heads.

    Yields None for a network with one head, which stays as it is.
    """
    head = head_of(module)
    if head.out_features == 1:
        yield None
        return
    heads = {
        name: p.detach().cpu().clone() for name, p in head.named_parameters()
    }
    _put(
        head,
        {
            name: tensor.double().mean(0, keepdim=True).float()
            for name, tensor in heads.items()
        },
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
