"""RewardBench 2 by its own rule (Malik et al. 2025; allenai/reward-bench), so that figures compare with published ones.

A row has correct (`chosen`) and wrong (`rejected`) answers. In most subsets the top-scored answer must be correct; n at
the top earn 1/n each. The subset `Ties` asks for more: questions with several correct answers (ids `tied:12`) beside
the same with one (`ref:12`), where all correct ones should beat the wrong ones by more than they differ among
themselves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tastemaker.data.judgements import Example, Prompt
from tastemaker.errors import DataError, ModelError
from tastemaker.evaluate.evaluation import Scorer

TIES = "Ties"
"""The subset with its own rule."""


class Item(Protocol):
    """A row of RewardBench 2. id: its name; `ref:N` or `tied:N` in the subset `Ties`."""

    @property
    def prompt(self) -> Prompt | None:
        """What the answers answer."""
        ...

    @property
    def chosen(self) -> tuple[str, ...]:
        """The correct answers."""
        ...

    @property
    def rejected(self) -> tuple[str, ...]:
        """The wrong answers."""
        ...

    @property
    def subset(self) -> str:
        """Which part of the benchmark it belongs to."""
        ...

    @property
    def id(self) -> str:
        """Its name."""
        ...


@dataclass(frozen=True)
class TiesScore:
    """The subset `Ties`, and what its score is made of; each of them 0 to 1, but −1 to 1 for the margin.

    ref_accuracy, tied_accuracy: the share of questions with one or several correct answers where each correct answer
    beats every wrong one. preferred: where the worst correct answer of a tied question beats the best wrong one by
    more than the correct ones differ. preferred_hard: where that is also so of its ref question. margin: by how much,
    tanh(smaller gap / difference − 1), the mean over the questions. All but the first two are over questions in both
    forms, NaN where there are none.
    """

    ref_accuracy: float
    tied_accuracy: float
    preferred: float
    preferred_hard: float
    margin: float

    @property
    def score(self) -> float:
        """The subset's score: 0.3 for each accuracy, 0.2 for each preference, and 0.01 for the margin."""
        preferred = 0.20 * self.preferred + 0.20 * self.preferred_hard
        return 0.30 * self.tied_accuracy + 0.30 * self.ref_accuracy + preferred + 0.01 * self.margin


@dataclass(frozen=True)
class RewardBench:
    """The score of each subset and how many rows it has. `print` it, or take `as_dict()`."""

    subsets: Mapping[str, float]
    counts: Mapping[str, int]
    ties: TiesScore | None

    @property
    def score(self) -> float:
        """The mean of the subsets' scores, each counting the same."""
        return sum(self.subsets.values()) / len(self.subsets)

    def as_dict(self) -> dict[str, Any]:
        """Return the scores, JSON-ready; null for what is undefined."""
        ties = self.ties and {name: _plain(value) for name, value in vars(self.ties).items()}
        subsets = {name: _plain(value) for name, value in self.subsets.items()}
        return {
            "score": _plain(self.score),
            "n": sum(self.counts.values()),
            "subsets": subsets,
            "ties": ties,
        }

    def __str__(self) -> str:
        width = max(map(len, [*self.subsets, "mean"]))
        lines = [
            f"{name:<{width}}  {100 * s:5.1f}  {self.counts[name]:,} rows"
            for name, s in self.subsets.items()
        ]
        return "\n".join([*lines, f"{'mean':<{width}}  {100 * self.score:5.1f}"])


def evaluate_rewardbench(model: Scorer, items: Sequence[Item]) -> RewardBench:
    """Score every answer of the benchmark with the model, then the model by the benchmark's rule."""
    asked = [
        Example(text, item.prompt) for item in items for text in (*item.chosen, *item.rejected)
    ]
    unique = list(dict.fromkeys(asked))
    values = model.score_all(unique).values.tolist()
    known = dict(zip(unique, values, strict=True))
    scores = iter([known[example] for example in asked])
    return score_rewardbench(
        items, [[next(scores) for _ in (*item.chosen, *item.rejected)] for item in items]
    )


def score_rewardbench(items: Sequence[Item], scores: Sequence[Sequence[float]]) -> RewardBench:
    """Return RewardBench 2's scores. scores: of each row, one for each chosen answer, then one for each rejected one.

    Raises DataError for no rows, a row without a chosen or a rejected answer, or a name in `Ties` that is neither ref:N
    nor tied:N; ModelError for a score that is not finite.
    """
    if not items:
        raise DataError("RewardBench 2: there are no rows to score.")
    subsets: dict[str, list[tuple[Item, list[float]]]] = {}
    for item, found in zip(items, scores, strict=True):
        subsets.setdefault(item.subset or "all", []).append((item, _checked(item, found)))
    ties = _ties(subsets[TIES]) if TIES in subsets else None
    means = {
        name: sum(_credit(*row) for row in rows) / len(rows)
        for name, rows in subsets.items()
        if name != TIES
    }
    if ties is not None:
        means[TIES] = ties.score
    return RewardBench(means, {name: len(subsets[name]) for name in means}, ties)


def _checked(item: Item, scores: Sequence[float]) -> list[float]:
    if not (item.chosen and item.rejected):
        raise DataError(
            f"RewardBench 2, row {item.id!r}: needs at least one chosen and one rejected answer."
        )
    if len(scores) != len(item.chosen) + len(item.rejected):
        answers = len(item.chosen) + len(item.rejected)
        raise DataError(
            f"RewardBench 2, row {item.id!r}: {len(scores)} scores of {answers} answers."
        )
    if not all(map(math.isfinite, scores)):
        raise ModelError(
            f"RewardBench 2, row {item.id!r}: a score is not finite. The model's fit diverged."
        )
    return list(scores)


def _credit(item: Item, scores: Sequence[float]) -> float:
    """Return the share of the answers with the highest score that are correct."""
    at_top = [i for i, score in enumerate(scores) if score == max(scores)]
    return sum(i < len(item.chosen) for i in at_top) / len(at_top)


def _ties(rows: Sequence[tuple[Item, list[float]]]) -> TiesScore:
    """Score the subset `Ties`. A question's gap is its worst correct score less its best wrong one."""
    gaps: dict[str, dict[str, float]] = {"ref": {}, "tied": {}}
    differences: dict[str, float] = {}
    pooled: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for item, scores in rows:
        form, colon, question = item.id.partition(":")
        if form not in gaps or not colon:
            raise DataError(
                f"RewardBench 2, row {item.id!r}: a name in the subset {TIES} is ref:N or tied:N."
            )
        right, wrong = pooled.setdefault(
            (form, question), ([], [])
        )  # rows of one name are one question
        right += scores[: len(item.chosen)]
        wrong += scores[len(item.chosen) :]
    for (form, question), (right, wrong) in pooled.items():
        gaps[form][question] = min(right) - max(wrong)
        if form == "tied":
            differences[question] = max(right) - min(right)
    both = [question for question in differences if question in gaps["ref"]]
    tied = np.array([gaps["tied"][question] for question in both])
    smaller = np.minimum(tied, [gaps["ref"][question] for question in both])
    difference = np.array([differences[question] for question in both])
    with np.errstate(divide="ignore", invalid="ignore"):
        margins = np.nan_to_num(
            np.tanh(smaller / difference - 1), nan=0.0
        )  # 0/0 is 0 in the benchmark's own code
    return TiesScore(
        ref_accuracy=_share([gap > 0 for gap in gaps["ref"].values()]),
        tied_accuracy=_share([gap > 0 for gap in gaps["tied"].values()]),
        preferred=_share((tied > difference).tolist()),
        preferred_hard=_share((smaller > difference).tolist()),
        margin=float(margins.mean()) if both else math.nan,
    )


def _share(holds: Sequence[bool]) -> float:
    """Return the share that holds; NaN of nothing."""
    return sum(holds) / len(holds) if holds else math.nan


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
