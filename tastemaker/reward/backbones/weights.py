"""Weights on disk in the number format of the checkpoint that they began as.

A network learns in float32. A body that came in bfloat16 is rounded to it before it is measured,
and saved so: the folder has the size of the checkpoint. The head is one row and keeps its digits.
"""

import json
from pathlib import Path
from typing import Any

import torch

from tastemaker.reward.backbones.heads import head_of


def _body_names(module: Any) -> set[str]:
    """Return the names of the floating-point weights that the head does not hold."""
    head = {id(parameter) for parameter in head_of(module).parameters()}
    names = set()
    for name, parameter in module.named_parameters():
        if parameter.is_floating_point() and id(parameter) not in head:
            names.add(name)
    return names


@torch.no_grad()
def round_body(module: Any, dtype: torch.dtype) -> None:
    """Round the weights of the body to a number format; they stay float32 in memory.

    The head keeps its digits: a unit of the score is folded into it.
    """
    if dtype == torch.float32:
        return
    names = _body_names(module)
    for name, parameter in module.named_parameters():
        if name in names:
            parameter.copy_(parameter.to(dtype))


def save_module(module: Any, folder: Path, dtype: torch.dtype) -> None:
    """Save a classifier whose body has a number format on disk, as the configuration says."""
    if dtype == torch.float32 or module.dtype != torch.float32:
        module.save_pretrained(folder)
        return
    names = _body_names(module)
    tensors = {}
    for name, tensor in module.state_dict().items():
        tensors[name] = tensor.to(dtype) if name in names else tensor
    module.save_pretrained(folder, state_dict=tensors)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


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
