"""What computes the scores of a served model: torch, or ONNX Runtime where a file was exported."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.judgements import Example
from tastemaker.errors import MissingExtra, ModelError, UsageError
from tastemaker.fast.processor import choose_device
from tastemaker.reward.backbones.network import Network
from tastemaker.reward.export import (
    ONNX_TOLERANCE,
    OnnxScorer,
    differences_of,
    exportable,
    exported,
    in_8_bits,
)
from tastemaker.reward.model import RewardModel
from tastemaker.reward.roundtrip import SAMPLES
from tastemaker.scores import Scores
from tastemaker.serve.settings import Engine

_ROUNDS = 3

Score = Callable[[Sequence[Example]], Scores]


@dataclass(frozen=True)
class Chosen:
    """An engine, as it was measured at the start.

    differences: from the model's own scores, by size of the batch and padding; none for torch.
    seconds: that each engine took for the same texts, where the faster one was chosen.
    """

    name: str
    score: Score
    differences: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """The largest of the differences."""
        # NaN is larger than any number: `max` would pass over it
        values = list(self.differences.values())
        return float(np.max(values)) if values else 0.0

    @property
    def is_exact(self) -> bool:
        """False for 8 bits: there a score depends a little on the texts beside it."""
        return self.name != "onnx-int8"


def choose_engine(
    folder: Path, model: RewardModel, engine: Engine, device: str
) -> Chosen:
    """Return the engine of a model.

    Raises UsageError where the engine or the device cannot be, and ModelError where its scores are
    not the model's.
    """
    _move(model, device)
    by_torch = Chosen("torch", model.score_all)
    if engine == "torch":
        return by_torch
    if engine == "auto":
        other = _faster_file(folder, model)
        return by_torch if other is None else _faster(by_torch, other)
    if device not in ("auto", "cpu"):
        raise UsageError(
            f"--engine {engine} runs on the CPU: leave out --device {device}."
        )
    exportable(model)
    path = exported(folder, model)
    if path is None:
        raise UsageError(
            f"{folder}: no ONNX file of these weights. Write it with "
            f"`tastemaker export {folder} --onnx`."
        )
    if engine == "onnx":
        return _checked(folder, model, path)
    return _in_8_bits(model, path)


def _move(model: RewardModel, device: str) -> None:
    chosen: Any = device
    place = choose_device(chosen)
    if isinstance(model.backbone, Network):
        model.backbone.to(place)
    elif device not in ("auto", "cpu"):
        raise UsageError(
            f"--device {device}: {model.backbone.describe()} runs on the CPU."
        )


def _checked(folder: Path, model: RewardModel, path: Path) -> Chosen:
    scorer = OnnxScorer(exportable(model), path)
    chosen = Chosen("onnx", scorer.score, differences_of(model, scorer))
    difference = chosen.difference
    if not difference <= ONNX_TOLERANCE:
        raise ModelError(
            f"{folder}: the engine onnx differs by {difference:.2g}, over {ONNX_TOLERANCE:g}. "
            f"Write the file again with `tastemaker export {folder} --onnx`."
        )
    return chosen


def _in_8_bits(model: RewardModel, path: Path) -> Chosen:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        in_8_bits(path, target)
        scorer = OnnxScorer(exportable(model), target)
    return Chosen("onnx-int8", scorer.score, differences_of(model, scorer))


def _faster_file(folder: Path, model: RewardModel) -> Chosen | None:
    """Return the engine of the exported file; None where there is none that can be used."""
    if not isinstance(model.backbone, Network):
        return None
    if model.backbone.device.type != "cpu":
        return None
    path = exported(folder, model)
    if path is None:
        return None
    try:
        return _checked(folder, model, path)
    except (MissingExtra, ModelError):
        return None


def _faster(first: Chosen, second: Chosen) -> Chosen:
    examples = [Example(text) for text in SAMPLES]
    seconds = {}
    for engine in (first, second):
        times = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            engine.score(examples)
            times.append(time.perf_counter() - began)
        seconds[engine.name] = min(times)
    is_second = seconds[second.name] < seconds[first.name]
    return replace(second if is_second else first, seconds=seconds)
