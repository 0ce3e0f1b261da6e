"""What an evaluation found: a record that reads as a table, as a few plain sentences, and as JSON."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.evaluation.measures import LOWER_IS_BETTER, Estimate, Measured, Measures, Predictions, Yardstick, amount
from tastemaker.maths.statistics import Floats

NAMES = {
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "log_loss": "log-loss",
    "ece": "ECE",
    "mae": "MAE",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "kendall_tau": "Kendall's τ",
}
"""How each figure is called on screen."""


@dataclass(frozen=True, eq=False)
class KindFindings:
    """What was found for one kind of judgement, and the m numbers behind it that the figures draw.

    text: [m], which of the evaluation's examples each judgement is about. said: [m], 1 or 0 for a label, the grade or
    the rating. where: [m], the file and row of each judgement.
    """

    kind: str
    yardstick: Yardstick
    measured: Measured
    text: NDArray[np.intp] = field(repr=False)
    said: Floats = field(repr=False)
    predictions: Predictions = field(repr=False)
    linear_predictions: Predictions | None = field(repr=False)
    where: Sequence[str] = field(repr=False)

    @property
    def n(self) -> int:
        """How many judgements were evaluated."""
        return len(self.said)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, JSON-ready."""
        constant = {f"constant_{name}": value for name, value in _flat(self.measured.constant).items()}
        return {
            "n": self.n,
            **_flat(self.measured.model),
            **constant,
            "linear_baseline": _flat(self.measured.linear),
            "difference_to_linear": _flat(self.measured.difference),
        }


@dataclass(frozen=True, eq=False)
class LengthSlice:
    """The n texts of `shortest` to `longest` characters: their mean score and each kind's headline figure."""

    shortest: int
    longest: int
    n: int
    mean_score: float
    measures: Measures


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Exact duplicates (texts are compared without the white space around them).

    texts: how many evaluated texts occur in the training data; None when the training texts are not known.
    within: how many judgements repeat one of the same judge about the same text inside the evaluated data.
    without: each kind's headline figure over the texts that do not occur in the training data.
    in_training: [n], True for the examples that do.
    """

    texts: int | None
    within: int
    without: Measures
    in_training: NDArray[np.bool_] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How far to trust a reward model, on judgements it has not seen. `print` it, or take `as_dict()`.

    truncated: how many texts were longer than the model reads. score_length_correlation: Spearman's, of score and
    number of characters. not_evaluated: by kind, how many judgements the model has no link for. examples, scores: the
    n unique texts and their scores.
    """

    kinds: tuple[KindFindings, ...]
    slices: tuple[LengthSlice, ...]
    duplicates: Duplicates
    score_length_correlation: float
    truncated: int
    not_evaluated: Mapping[str, int]
    examples: Sequence[Example] = field(repr=False)
    scores: Floats = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return every figure, JSON-ready: plain numbers, null for what is undefined.

        The figures of the kinds lie at the top level (of two kinds with a figure of one name, the first one's) and once
        more, each in full, under `by_kind`.
        """
        by_kind = {found.kind: found.as_dict() for found in self.kinds}
        return {
            **_merged(list(by_kind.values())),
            "texts": len(self.examples),
            "truncated": self.truncated,
            "score_length_correlation": _plain(self.score_length_correlation),
            "slices": [
                {
                    "shortest": s.shortest,
                    "longest": s.longest,
                    "n": s.n,
                    **(_flat(s.measures) or {}),
                    "mean_score": _plain(s.mean_score),
                }
                for s in self.slices
            ],
            "duplicates": {
                "texts": self.duplicates.texts,
                "within": self.duplicates.within,
                "accuracy_without": None,
                "pearson_without": None,
                **_flat(self.duplicates.without, "_without"),
            },
            "not_evaluated": dict(self.not_evaluated),
            "by_kind": by_kind,
        }

    def table(self) -> str:
        """Return the figures as aligned plain text, then one sentence for each verdict."""
        parts = [aligned(measure_rows(found)) for found in self.kinds]
        parts.append(aligned(slice_rows(self)))
        parts.append("\n".join(self.verdicts()))
        return "\n\n".join(parts)

    def verdicts(self) -> list[str]:
        """Return what the figures say, one plain sentence each."""
        return list(_verdicts(self))

    __str__ = table


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _flat(measures: Measures | None, suffix: str = "") -> Any:
    """Return {name: value, name_interval: [low, high]}, or None for no measures."""
    if measures is None:
        return None
    flat: dict[str, Any] = {}
    for name, estimate in measures.items():
        flat[name + suffix] = _plain(estimate.value)
        if estimate.has_interval:
            flat[f"{name}{suffix}_interval"] = [_plain(estimate.low), _plain(estimate.high)]
    return flat


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join dictionaries, nested ones too; the first one wins where two hold a name."""
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping | None):
                merged[name] = _merged([merged.get(name) or {}, value])
            else:
                merged.setdefault(name, value)
    return merged


# --- in words ---------------------------------------------------------------------------------------------------------


def shown(name: str, estimate: Estimate | None) -> str:
    """Return a figure as people read it: "0.931 [0.927, 0.935]", a dash where it is undefined."""
    if estimate is None or math.isnan(estimate.value):
        return "–"
    form = amount if name == "mae" else "{:.3f}".format
    text = form(estimate.value)
    return f"{text} [{form(estimate.low)}, {form(estimate.high)}]" if estimate.has_interval else text


def measure_rows(found: KindFindings) -> list[list[str]]:
    """Return the table of one kind, a heading first: the model, the linear baseline if there is one, the constant."""
    measured = found.measured
    columns = {"model": measured.model, "linear baseline": measured.linear, "constant": measured.constant}
    columns = {title: measures for title, measures in columns.items() if measures is not None}
    rows = [[f"{found.n:,} {found.kind}s", *columns]]
    for name in measured.model:
        rows.append([NAMES[name], *(shown(name, (measures or {}).get(name)) for measures in columns.values())])
    return rows


def slice_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the table of the length slices, a heading first."""
    names = [found.yardstick.headline for found in evaluation.kinds]
    names = list(dict.fromkeys(names))
    rows = [["characters", "texts", *(NAMES[name] for name in names), "mean score"]]
    for s in evaluation.slices:
        figures = [shown(name, s.measures.get(name)) for name in names]
        rows.append([f"{s.shortest:,}–{s.longest:,}", f"{s.n:,}", *figures, f"{s.mean_score:+.2f}"])
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as columns of plain text, a rule under the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])


def _verdicts(evaluation: Evaluation) -> Iterator[str]:
    for found in evaluation.kinds:
        yield from _against_others(found)
    yield _on_length(evaluation.score_length_correlation)
    yield from _on_duplicates(evaluation)
    if evaluation.truncated:
        share = evaluation.truncated / len(evaluation.examples)
        yield f"{evaluation.truncated:,} texts ({share:.1%}) were longer than the model reads and were cut."
    for kind, count in evaluation.not_evaluated.items():
        learned = ", ".join(f"{found.kind}s" for found in evaluation.kinds)
        yield f"{count:,} {kind}s were not evaluated: the model learned {learned}."


def _against_others(found: KindFindings) -> Iterator[str]:
    yardstick, measured = found.yardstick, found.measured
    if measured.difference is not None:
        yield _against_linear(yardstick.headline, measured.difference[yardstick.headline])
    name = yardstick.against_constant
    model, constant = measured.model[name], measured.constant[name]
    better = model.high < constant.value if name in LOWER_IS_BETTER else model.low > constant.value
    verdict = "beats" if better else "cannot be told apart from, or is worse than,"
    yield f"The model {verdict} {yardstick.best_constant} ({NAMES[name]} {shown(name, constant)})."


def _against_linear(name: str, difference: Estimate) -> str:
    if math.isnan(difference.value):
        return f"{NAMES[name]} is undefined here, so the model and the linear baseline cannot be compared by it."
    scale, unit, form = (100, "points of accuracy", "{:.1f}") if name == "accuracy" else (1, NAMES[name], "{:.3f}")
    by, low, high = (scale * v for v in (difference.value, difference.low, difference.high))
    if not (low > 0 or high < 0):  # also where the interval is undefined
        signed = form.replace(":", ":+").format(by)
        verdict = f"The model and the linear baseline cannot be told apart: {signed} {unit}"
    else:
        verdict = f"The model {'beats' if by > 0 else 'loses to'} the linear baseline by {form.format(abs(by))} {unit}"
        low, high = sorted((math.copysign(1, by) * low, math.copysign(1, by) * high))
    return f"{verdict}, interval [{form.format(low)}, {form.format(high)}] (paired bootstrap)."


def _on_length(correlation: float) -> str:
    if math.isnan(correlation):
        return "Score and length cannot be correlated: one of them does not vary."
    towards = "longer" if correlation > 0 else "shorter"
    if abs(correlation) < 0.1:
        verdict = "The score hardly depends on length"
    elif abs(correlation) < 0.3:
        verdict = f"The score leans towards {towards} texts"
    else:
        verdict = f"The score depends on length, towards {towards} texts: look at the slices"
    return f"{verdict} (Spearman {correlation:+.2f})."


def _on_duplicates(evaluation: Evaluation) -> Iterator[str]:
    duplicates = evaluation.duplicates
    if duplicates.texts is None:
        yield "The training texts are not known, so duplicates of them were not looked for."
    elif duplicates.texts == 0:
        yield "No evaluated text occurs in the training data."
    else:
        without = ", ".join(f"{NAMES[name]} {shown(name, e)}" for name, e in duplicates.without.items())
        yield f"{duplicates.texts:,} evaluated texts also occur in the training data; without them: {without}."
    if duplicates.within:
        yield f"{duplicates.within:,} judgements repeat another one's text inside the evaluated data."
