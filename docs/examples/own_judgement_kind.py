"""A sixth kind of judgement in one file: the best and the worst of several texts.

The likelihood is two choices by softmax: the best among all texts, then the worst among the others.
Run it: `python docs/examples/own_judgement_kind.py`.
"""

import json
import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

import tastemaker as tm
from tastemaker.data import Judgement, to_row
from tastemaker.kinds import NO_AIDS, Likelihood, Link, RankingMetrics, register, scalar


@dataclass(frozen=True, slots=True)
class BestWorst(Judgement):
    """The best and the worst of several texts. The fields are the columns of a row."""

    kind: ClassVar[str] = "best_worst"
    best_text: str
    worst_text: str
    others: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.best_text, *self.others, self.worst_text)

    @property
    def ranks(self) -> tuple[int, ...]:
        return (0, *(1 for _ in self.others), 2)

    @property
    def unordered_rank(self) -> int:
        return 1  # nobody said which of the others is better


class BestWorstMetrics(RankingMetrics):
    """What an evaluation measures: as of rankings, but the first figure is who is the best."""

    headline = "top1"


class BestWorstLink(Link):
    """P(best) = softmax(slope · s); P(worst | best) = softmax(−slope · s) over the others."""

    record = BestWorst
    kind_metrics = BestWorstMetrics()
    is_of_one_text = False

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__()
        self.slope = scalar(slope)

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[BestWorst], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        return cls()

    def targets(self, judgements: Sequence[BestWorst]) -> Tensor:
        return torch.tensor([len(j.texts) for j in judgements], dtype=torch.long)  # [m]

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        is_text = torch.arange(scores.shape[1]) < targets[:, None]  # [m, K]
        s = (self.slope * scores).masked_fill(~is_text, -math.inf)
        best = s.log_softmax(1)[:, 0]
        opposite = (-self.slope * scores[:, 1:]).masked_fill(~is_text[:, 1:], -math.inf)
        worst = opposite.log_softmax(1).gather(1, targets[:, None] - 2)[:, 0]
        return best + worst

    def predict(self, scores: Tensor) -> Tensor:
        return (self.slope * scores).softmax(1)  # P(best) of each text [m, K]

    def leaning(self, targets: Tensor) -> Tensor:
        place = torch.arange(int(targets.max()))  # [K]
        last = targets[:, None] - 1
        leaning = torch.where(place == last, 0.0, 0.5).double()
        leaning[:, 0] = 1.0
        return leaning.masked_fill(place > last, math.nan)

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        worst = scores.gather(1, targets[:, None] - 1)[:, 0]
        return {"best_over_worst": float((scores[:, 0] > worst).float().mean())}

    def rescaled(self, offset: float, scale: float) -> Self:
        return type(self)(self.slope.item() * scale)

    def as_dict(self) -> dict[str, Any]:
        return {"slope": self.slope.item()}


register(BestWorstLink)


if __name__ == "__main__":
    draw = random.Random(0)
    words = ["dreadful", "dull", "decent", "delightful"]
    judgements = []
    for number in range(300):
        worth = sorted(draw.sample(range(4), draw.choice([3, 4])))
        texts = [
            f"Film {number}{letter}: {words[i]}."
            for i, letter in zip(worth, "abcd", strict=False)
        ]
        judgements.append(BestWorst(texts[-1], texts[0], tuple(texts[1:-1])))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "judgements.jsonl"
        file.write_text("".join(json.dumps(to_row(j)) + "\n" for j in judgements))
        train, held_out = tm.split(tm.read(file), held_out=0.2, seed=0)
        tm.fit(train, out=Path(folder) / "model")
        model = tm.load(Path(folder) / "model")
        print(tm.evaluate(model, held_out))
        print(tm.doctor(train))
        print(model.score(["A delightful film.", "A dreadful film."]))
