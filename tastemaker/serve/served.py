"""The models of a server: their engines, names, length estimates and answers.

An engine computes the scores: torch, or ONNX Runtime where a file was exported.
"""

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.judgements import Example, plain
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
from tastemaker.serve.requests import Refusal
from tastemaker.serve.settings import Engine

# ---- engines -------------------------------------------------------------------------------------


_ROUNDS = 3

Score = Callable[[Sequence[Example]], Scores]


@dataclass(frozen=True)
class ChosenEngine:
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
) -> ChosenEngine:
    """Return the engine of a model.

    Raises UsageError where the engine or the device cannot be, and ModelError where its scores are
    not the model's.
    """
    _move(model, device)
    by_torch = ChosenEngine("torch", model.score_all)
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


def _checked(folder: Path, model: RewardModel, path: Path) -> ChosenEngine:
    scorer = OnnxScorer(exportable(model), path)
    chosen = ChosenEngine("onnx", scorer.score, differences_of(model, scorer))
    difference = chosen.difference
    if not difference <= ONNX_TOLERANCE:
        raise ModelError(
            f"{folder}: the engine onnx differs by {difference:.2g}, over {ONNX_TOLERANCE:g}. "
            f"Write the file again with `tastemaker export {folder} --onnx`."
        )
    return chosen


def _in_8_bits(model: RewardModel, path: Path) -> ChosenEngine:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        in_8_bits(path, target)
        scorer = OnnxScorer(exportable(model), target)
    return ChosenEngine(
        "onnx-int8", scorer.score, differences_of(model, scorer)
    )


def _faster_file(folder: Path, model: RewardModel) -> ChosenEngine | None:
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


def _faster(first: ChosenEngine, second: ChosenEngine) -> ChosenEngine:
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


# ---- served models -------------------------------------------------------------------------------


_BYTES_A_TOKEN = 3
"""Fewer than a tokenizer's usual four, so that batches are rather too small than too large."""


@dataclass
class Served:
    """A reward model with a name. differences: what the check at the start measured."""

    name: str
    model: RewardModel
    engine: ChosenEngine
    differences: dict[str, float] = field(default_factory=dict)
    _uncut: Any = field(default=None, repr=False)

    def estimated_tokens(self, example: Example) -> int:
        """Return about how many tokens the model reads of an example."""
        size = len(example.text.encode())
        if example.prompt is not None:
            size += len(plain(example.prompt).encode())
        tokens = size // _BYTES_A_TOKEN + 2
        most = self.model.contract.max_length
        return tokens if most is None else min(tokens, most)

    def score(self, examples: Sequence[Example]) -> Scores:
        """Return the scores in float32."""
        return self.engine.score(examples)

    def text_of(self, ids: list[int]) -> str:
        """Return the text that the model reads as these tokens. Raises Refusal for none."""
        tokenizer = self._tokenizer("input")
        if ids and max(ids) < len(tokenizer):
            # tidied spaces may be other tokens
            text: str = tokenizer.decode(
                ids,
                skip_special_tokens=True,
                clean_up_tokenization_spaces=False,
            )
            if text.strip() and ids in self._readings(tokenizer, text):
                return text
        raise Refusal(
            400,
            "`input` holds token ids that this model reads from no text: send the text.",
            parameter="input",
        )

    def check_tokens(self, examples: Sequence[Example], most: int) -> None:
        """Raise Refusal for a text of more tokens: the model cuts at its own limit alone."""
        name = "truncate_prompt_tokens"
        limit = self.model.contract.max_length
        if limit is not None and most >= limit:
            return
        tokenizer = self._tokenizer(name)
        backbone: Any = (
            self.model.backbone
        )  # a network, for it has a tokenizer
        inputs = [backbone.inputs(e) for e in examples]
        for read in tokenizer.backend_tokenizer.encode_batch(inputs):
            if len(read.ids) > most:
                raise Refusal(
                    400,
                    f"`{name}` {most} would cut a text: this model cuts at {limit} only.",
                    parameter=name,
                )

    def _readings(self, tokenizer: Any, text: str) -> list[list[int]]:
        """Return the tokens of a text, with special ones and without."""
        encode = tokenizer.backend_tokenizer.encode_batch
        backbone: Any = (
            self.model.backbone
        )  # a network, for it has a tokenizer
        inputs = [backbone.inputs(Example(text))]
        readings = [encode(inputs)[0].ids]
        if inputs == [text]:
            readings.append(encode(inputs, add_special_tokens=False)[0].ids)
        return readings

    def _tokenizer(self, parameter: str) -> Any:
        """Return a tokenizer that never cuts; the model's own is in use by the scoring thread."""
        backbone = self.model.backbone
        if not isinstance(backbone, Network):
            raise Refusal(
                400,
                f"`{parameter}`: this model reads no tokens.",
                parameter=parameter,
            )
        if self._uncut is None:
            self._uncut = copy.deepcopy(backbone.tokenizer)
            self._uncut.backend_tokenizer.no_truncation()
        return self._uncut

    def about(self) -> dict[str, Any]:
        """Return what `/info` tells of a model."""
        contract = self.model.contract
        return {
            "name": self.name,
            "backbone": self.model.backbone.describe(),
            "max_length": contract.max_length,
            "cut": contract.cut,
            "template": contract.template,
            "judgements": sorted(contract.links),
            "weights": contract.weights,
            "engine": self.engine.name,
            "engine_difference": self.engine.difference,
            "engine_differences": self.engine.differences,
            "engine_seconds": self.engine.seconds,
            "differences": self.differences,
        }


class Shelf:
    """The served models by name. The first answers a request that names none."""

    def __init__(self, models: Sequence[Served]) -> None:
        self.models = {served.name: served for served in models}
        self.first = models[0]

    @staticmethod
    def open(
        folders: Sequence[Path | str],
        engine: Engine = "auto",
        device: str = "auto",
        *,
        trust_remote_code: bool = False,
    ) -> "Shelf":
        """Open model folders. Raises UsageError for two of the same name."""
        names: set[str] = set()
        models = []
        for folder in folders:
            name = Path(folder).resolve().name
            if name in names:
                raise UsageError(
                    f"{folder}: a second model of the name {name!r}. Rename one of the folders."
                )
            names.add(name)
            model = RewardModel.load(
                folder, trust_remote_code=trust_remote_code
            )
            chosen = choose_engine(Path(folder), model, engine, device)
            models.append(Served(name, model, chosen))
        if not models:
            raise UsageError("no model to serve: name a model's folder.")
        return Shelf(models)

    def named(self, name: str | None) -> Served:
        """Return a model. Raises Refusal for an unknown name."""
        if name is None:
            return self.first
        if name not in self.models:
            raise Refusal(
                404,
                f"no such model. There are: {', '.join(self.models)}.",
                parameter="model",
            )
        return self.models[name]
