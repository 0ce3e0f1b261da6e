"""A checkpoint: everything that a run needs to go on, in a folder with a digest.

state.json            plain numbers, the number of log lines, the digest of the tensors
tensors.safetensors   weights, the best weights so far, moments of the optimiser
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tastemaker.train.gradients import share_like

_BEST = "best."
"""Before the names of the best weights so far."""
_STATE, _TENSORS = "state.json", "tensors.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on: plain numbers and tensors by name."""

    step: int
    state: dict[str, Any]
    tensors: dict[str, Tensor]

    def write(self, folder: Path, lines: int) -> None:
        """Write the checkpoint into a folder. lines: of the log until now."""
        twins = _twins(self.tensors)
        tensors = {n: t for n, t in self.tensors.items() if n not in twins}
        save_file(tensors, folder / _TENSORS)
        state = {
            "step": self.step,
            "metric_lines": lines,
            "tensors": _digest(folder / _TENSORS),
            "twins": twins,
            **self.state,
        }
        (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")


def read_checkpoint(folder: Path) -> tuple[Checkpoint, int] | None:
    """Return a checkpoint and the log's lines until then; None where it is damaged."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        if _digest(folder / _TENSORS) != state.pop("tensors"):
            return None
        lines: int = state.pop("metric_lines")
        tensors = load_file(folder / _TENSORS)
        for name, twin in state.pop("twins", {}).items():
            tensors[name] = tensors[twin].clone()
        return Checkpoint(state.pop("step"), state, tensors), lines
    # no file, no JSON, an incomplete one
    except (OSError, ValueError, KeyError):
        return None


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the folders of the checkpoints of a run, the oldest first."""
    folders = sorted(folder.glob("checkpoint-*"))
    return [folder for folder in folders if (folder / _STATE).is_file()]


def with_best(
    weights: Mapping[str, Tensor], best: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint: the present weights, and the best ones."""
    return {**weights, **{_BEST + name: best[name] for name in best}}


def best_in(
    tensors: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the best weights of a checkpoint, divided over processes as the present ones are."""
    best = {}
    for name, tensor in tensors.items():
        if name.startswith(_BEST):
            present = name.removeprefix(_BEST)
            best[present] = share_like(tensor, weights[present])
    return best


def _twins(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the names of best weights that are the present ones, with the names of those."""
    twins = {}
    for name, tensor in tensors.items():
        other = name.removeprefix(_BEST)
        is_best = other != name and other in tensors
        if is_best and torch.equal(tensor, tensors[other]):
            twins[name] = other
    return twins


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
