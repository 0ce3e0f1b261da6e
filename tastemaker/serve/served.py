"""The models of a server: their names, their length estimates and their answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tastemaker.data.judgements import Example, plain
from tastemaker.errors import UsageError
from tastemaker.reward.model import RewardModel
from tastemaker.scores import Scores
from tastemaker.serve.engines import Chosen, choose_engine
from tastemaker.serve.refusals import Refusal
from tastemaker.serve.settings import Engine

_BYTES_A_TOKEN = 3
"""Fewer than a tokenizer's usual four, so that batches are rather too small than too large."""


@dataclass
class Served:
    """A reward model with a name. differences: what the check at the start measured."""

    name: str
    model: RewardModel
    engine: Chosen
    differences: dict[str, float] = field(default_factory=dict)

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
            model = RewardModel.load(folder)
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
