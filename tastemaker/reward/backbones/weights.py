"""Weights on disk in the number format of the checkpoint that they began as.

A network learns in float32. A body that came in bfloat16 is rounded to it before it is measured,
and saved so: the folder has the size of the checkpoint. The head is one row and keeps its digits.
"""

import json
from pathlib import Path
from typing import Any

import torch

from tastemaker.huggingface import round_weights, save_weights
from tastemaker.reward.backbones.heads import head_of


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
