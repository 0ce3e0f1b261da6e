"""RewardBench 2 by its own rule, so that scores compare with published ones.

Source: Malik et al. (2025), github.com/allenai/reward-bench. A row has correct (`chosen`) and
wrong (`rejected`) answers. In most subsets the top-scored answer must be correct; n answers that
share the top earn 1/n each. The subset `Ties` asks for more: it has questions with several correct
answers (ids `tied:12`) and the same questions with one (`ref:12`). There, all correct answers
should beat the wrong ones by more than they differ among themselves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.formats import ranked
from tastemaker.data.judgements import Example, Prompt, fingerprints
from tastemaker.data.read_as import ReadAs, read_as
from tastemaker.data.reading import open_source
from tastemaker.data.recognising import recognise
from tastemaker.data.roles import Columns, described_source
from tastemaker.data.tables import Table
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.evaluate.estimates import json_number
from tastemaker.evaluate.evaluation import Scorer

_NO_BETTER = 0.02
"""A share of right answers within this of guessing is called no better."""

TIES = "Ties"
"""The subset with its own rule."""


class BenchItem(Protocol):
    """A row of RewardBench 2. In the subset `Ties` its id is `ref:N` or `tied:N`."""

    @property
    def prompt(self) -> Prompt | None:
        """The question."""
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
        """The part of the benchmark."""
        ...

    @property
    def id(self) -> str:
        """The name of the row."""
        ...


@dataclass(frozen=True)
class TiesScore:
    """The parts of the score of the subset `Ties`: 0 to 1 each, but −1 to 1 for the margin.

    ref_accuracy, tied_accuracy: the share of questions with one (ref) or several (tied) correct
    answers in which each correct answer beats every wrong one.
    preferred: the share of tied questions in which the worst correct answer beats the best wrong
    one by more than the correct ones differ.
    preferred_hard: the share in which that holds for the ref question too.
    margin: the mean of tanh(smaller gap / difference − 1) over the questions.

    The last three are over questions in both forms, NaN if there are none.
    """

    ref_accuracy: float
    tied_accuracy: float
    preferred: float
    preferred_hard: float
    margin: float

    @property
    def score(self) -> float:
        """The score of the subset: 0.3 · accuracies + 0.2 · preferences + 0.01 · margin."""
        preferred = 0.20 * self.preferred + 0.20 * self.preferred_hard
        return (
            0.30 * self.tied_accuracy
            + 0.30 * self.ref_accuracy
            + preferred
            + 0.01 * self.margin
        )


@dataclass(frozen=True)
class RewardBench:
    """The score and the number of rows of each subset. `print` it, or take `as_dict()`.

    guessing: the score that equal chances for all answers would give, over the same subsets without
    `Ties`. rows_in_training: those with an answer that is a training text; None where these are
    unknown. score_without: the score without these rows, NaN where there are no others.
    """

    subsets: Mapping[str, float]
    counts: Mapping[str, int]
    ties: TiesScore | None
    guessing: float = math.nan
    rows_in_training: int | None = None
    score_without: float = math.nan

    def verdict(self) -> str:
        """Return one line: whether the model picks right answers, and where it is weakest.

        Where it was trained on some answers, the score without them comes first.
        """
        if not self.rows_in_training:
            return self._quality()
        rows = sum(self.counts.values())
        if self.rows_in_training == rows:
            return (
                f"Not to be believed: each of the {rows:,} rows has an answer of the training "
                f"data. {self._quality()}"
            )
        return (
            f"Score {self.score_without:.3f} without the {self.rows_in_training:,} of {rows:,} "
            f"rows that have an answer of the training data. With them: {self._quality()}"
        )

    def _quality(self) -> str:
        """Return how good the choices are, in one sentence."""
        plain = dict(self.subsets)
        plain.pop(TIES, None)
        if not plain:
            return f"Scores {self.score:.3f} on the subset Ties alone."
        mean = fmean(plain.values())
        weakest = min(plain, key=plain.__getitem__)
        lowest = plain[weakest]
        beginning = ""
        guessed = ""
        if not math.isnan(self.guessing):
            beginning = "No better than guessing: "
            guessed = f", by guessing {self.guessing:.0%}"
        if mean > self.guessing + _NO_BETTER:
            beginning = "Better than guessing: "
        return (
            f"{beginning}{mean:.0%} of its first choices are right"
            f"{guessed}; "
            f"weakest on {weakest} ({lowest:.0%})."
        )

    @property
    def score(self) -> float:
        """The mean of the subsets' scores, with equal weights."""
        return sum(self.subsets.values()) / len(self.subsets)

    def as_dict(self) -> dict[str, Any]:
        """Return the scores, JSON-ready; null for what is undefined."""
        return {
            "score": json_number(self.score),
            "verdict": self.verdict(),
            "n": sum(self.counts.values()),
            "rows_in_training": self.rows_in_training,
            "score_without": json_number(self.score_without),
            "subsets": _json_numbers(self.subsets),
            "ties": None
            if self.ties is None
            else _json_numbers(asdict(self.ties)),
        }

    def __str__(self) -> str:
        width = max(map(len, [*self.subsets, "mean"]))
        lines = []
        if self.rows_in_training == sum(self.counts.values()):
            lines.append("every row has an answer of the training data:")
        elif self.rows_in_training:
            lines.append(
                f"{100 * self.score_without:.1f} without rows of the training data; with them:"
            )
        for name, score in self.subsets.items():
            rows = f"{self.counts[name]:,} rows"
            lines.append(f"{name:<{width}}  {100 * score:5.1f}  {rows}")
        lines.append(f"{'mean':<{width}}  {100 * self.score:5.1f}")
        return "\n".join(lines)


def evaluate_rewardbench(
    model: Scorer,
    items: Sequence[BenchItem],
    training_fingerprints: NDArray[np.uint64] | None = None,
) -> RewardBench:
    """Score all answers of the benchmark, then the model by the benchmark's rule.

    training_fingerprints: of the model's training texts, to find rows that it was trained on.
    """
    rows = []
    for item in items:
        answers = (*item.chosen, *item.rejected)
        rows.append([Example(text, item.prompt) for text in answers])
    unique = list(dict.fromkeys(chain.from_iterable(rows)))
    values = model.score_all(unique).values.tolist()
    scores = dict(zip(unique, values, strict=True))
    scores_by_row = []
    for row in rows:
        scores_by_row.append([scores[example] for example in row])
    result = score_rewardbench(items, scores_by_row)
    if training_fingerprints is None:
        return result
    new: list[BenchItem] = []
    scores_of_new: list[list[float]] = []
    for item, row, of_row in zip(items, rows, scores_by_row, strict=True):
        names = fingerprints([example.text for example in row])
        if not np.isin(names, training_fingerprints).any():
            new.append(item)
            scores_of_new.append(of_row)
    score = score_rewardbench(new, scores_of_new).score if new else math.nan
    return replace(
        result, rows_in_training=len(items) - len(new), score_without=score
    )


def score_rewardbench(
    items: Sequence[BenchItem], scores: Sequence[Sequence[float]]
) -> RewardBench:
    """Return RewardBench 2's scores.

    scores: of each row, one for each chosen answer, then one for each rejected answer.

    Raises DataError for no rows, a row without a chosen or a rejected answer, or an id in `Ties`
    that is neither ref:N nor tied:N. Raises ModelError for a score that is not finite.
    """
    if not items:
        raise DataError("RewardBench 2: there are no rows to score.")
    subsets: dict[str, list[tuple[BenchItem, Sequence[float]]]] = {}
    for item, of_item in zip(items, scores, strict=True):
        _check(item, of_item)
        subsets.setdefault(item.subset or "all", []).append((item, of_item))
    means = {}
    by_chance = {}
    for name, rows in subsets.items():
        if name != TIES:
            means[name] = sum(_credit(*row) for row in rows) / len(rows)
            shares = [_by_guessing(item) for item, _ in rows]
            by_chance[name] = fmean(shares)
    ties = None
    if TIES in subsets:
        ties = _ties(subsets[TIES])
        means[TIES] = ties.score
    guessing = math.nan
    if by_chance:
        guessing = fmean(by_chance.values())
    counts = {name: len(subsets[name]) for name in means}
    return RewardBench(means, counts, ties, guessing)


def _by_guessing(item: BenchItem) -> float:
    """Return the chance that a random answer is right."""
    right = len(item.chosen)
    return right / (right + len(item.rejected))


def _check(item: BenchItem, scores: Sequence[float]) -> None:
    where = f"RewardBench 2, row {item.id!r}"
    answers = len(item.chosen) + len(item.rejected)
    if not (item.chosen and item.rejected):
        raise DataError(
            f"{where}: needs at least one chosen and one rejected answer."
        )
    if len(scores) != answers:
        raise DataError(f"{where}: {len(scores)} scores of {answers} answers.")
    if not all(map(math.isfinite, scores)):
        raise ModelError(
            f"{where}: a score is not finite. The model's fit diverged."
        )


def _credit(item: BenchItem, scores: Sequence[float]) -> float:
    """Return the share of the top-scored answers that are correct."""
    top = max(scores)
    at_top = [i for i, score in enumerate(scores) if score == top]
    return sum(i < len(item.chosen) for i in at_top) / len(at_top)


def _ties(rows: Sequence[tuple[BenchItem, Sequence[float]]]) -> TiesScore:
    """Score the subset `Ties`. The gap of a question: worst correct minus best wrong score."""
    ref_gaps: dict[str, float] = {}
    tied_gaps: dict[str, float] = {}
    differences: dict[str, float] = {}
    for (form, question), (correct, wrong) in _questions(rows).items():
        gap = min(correct) - max(wrong)
        if form == "ref":
            ref_gaps[question] = gap
        else:
            tied_gaps[question] = gap
            differences[question] = max(correct) - min(correct)
    in_both_forms = [
        question for question in tied_gaps if question in ref_gaps
    ]
    tied = np.array([tied_gaps[question] for question in in_both_forms])
    ref = np.array([ref_gaps[question] for question in in_both_forms])
    difference = np.array(
        [differences[question] for question in in_both_forms]
    )
    smaller = np.minimum(tied, ref)
    with np.errstate(divide="ignore", invalid="ignore"):
        margins = np.tanh(smaller / difference - 1)
    # 0/0 is 0 in the benchmark's own code
    margins = np.nan_to_num(margins, nan=0.0)
    return TiesScore(
        ref_accuracy=_share([gap > 0 for gap in ref_gaps.values()]),
        tied_accuracy=_share([gap > 0 for gap in tied_gaps.values()]),
        preferred=_share((tied > difference).tolist()),
        preferred_hard=_share((smaller > difference).tolist()),
        margin=float(margins.mean()) if in_both_forms else math.nan,
    )


def _questions(
    rows: Sequence[tuple[BenchItem, Sequence[float]]],
) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    """Return the scores of correct and wrong answers by (ref or tied, question)."""
    questions: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    for item, scores in rows:
        form, colon, question = item.id.partition(":")
        if form not in ("ref", "tied") or not colon:
            raise DataError(
                f"RewardBench 2, row {item.id!r}: an id in the subset {TIES} is ref:N or tied:N."
            )
        # rows of the same id are one question
        correct, wrong = questions.setdefault((form, question), ([], []))
        correct += scores[: len(item.chosen)]
        wrong += scores[len(item.chosen) :]
    return questions


def _share(is_true: Sequence[bool]) -> float:
    """Return the share of True; NaN of nothing."""
    return sum(is_true) / len(is_true) if is_true else math.nan


def _json_numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: json_number(value) for name, value in values.items()}


def rewardbench_items(
    source: str | Path,
    *,
    split: str | None = None,
    format: str | None = None,
    columns: Columns | None = None,
    report: list[ReadAs] | None = None,
) -> list[ranked.BenchRow] | None:
    """Return the rows of a source in the format of RewardBench 2; None for another format.

    columns: those that somebody named. report: a list that takes what the source was read as.
    """
    source, columns, settings = described_source(source, columns)
    format = settings.get("format", format)
    if format not in (None, "rewardbench") or columns.describes_a_table:
        return None
    opened = open_source(source, settings.get("split", split), columns.header)
    if not isinstance(opened, Table):
        return None
    reading = recognise(opened, format, columns, past_bad=True)
    if reading is None or reading.format.name != "rewardbench":
        return None
    if columns.is_off("prompt"):
        raise UsageError(
            f"{source}: RewardBench 2 compares answers to a prompt. "
            "Leave out --prompt-column none."
        )
    items = list(ranked.items(reading.table, reading.prompts))
    if report is not None:
        shown = read_as(opened.name, reading.layout, ())
        count = len(items)
        report.append(
            replace(shown, judgements=count, kinds={"ranking": count})
        )
    return items
