"""Figures in words: how they are called, how they are written, and what they say in plain sentences.

What an evaluation found: a record that reads as a table, as a few plain sentences, and as JSON.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.evaluate.measures import (
    LOWER_IS_BETTER,
    Estimate,
    Judged,
    Measured,
    MeasuredPart,
    Measures,
    Predictions,
    Yardstick,
    amount,
)
from tastemaker.maths.statistics import Floats
from tastemaker.text_tables import aligned

FIGURES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "log_loss": "log-loss",
    "ece": "ECE",
    "mae": "MAE",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "kendall_tau": "Kendall's τ",
    "ndcg": "NDCG",
    "top1": "top-1",
    "prefers_longer": "prefers longer",
}
"""How people call the figures that an evaluation keeps by name."""

NAMES = {**FIGURES, "longer_baseline": "the longer"}
"""How each figure is called on screen."""


def shown(name: str, estimate: Estimate | None) -> str:
    """Return a figure as people read it: "0.931 [0.927, 0.935]", a dash where it is undefined."""
    if estimate is None or math.isnan(estimate.value):
        return "–"
    form = amount if name == "mae" else "{:.3f}".format
    text = form(estimate.value)
    return (
        f"{text} [{form(estimate.low)}, {form(estimate.high)}]" if estimate.has_interval else text
    )


def verdicts_of(yardstick: Yardstick, measured: Measured, kind: str) -> Iterator[str]:
    """Yield what the figures of one kind say, one plain sentence each."""
    name = yardstick.headline
    if measured.difference is not None:
        yield _against(name, measured.difference[name], "the linear baseline")
    if name in measured.over_longer:
        yield _against(
            name,
            measured.over_longer[name],
            f"always the longer text ({shown(name, measured.longer[name])})",
        )
    name = yardstick.against_constant
    model, constant = measured.model[name], measured.constant[name]
    better = model.high < constant.value if name in LOWER_IS_BETTER else model.low > constant.value
    verdict = "beats" if better else "cannot be told apart from, or is worse than,"
    yield f"The model {verdict} {yardstick.constant_in_words} ({NAMES[name]} {shown(name, constant)})."
    yield from _on_people(measured, kind)


def _on_people(measured: Measured, kind: str) -> Iterator[str]:
    """Yield what is known of the people who judged: their leaning to length, their ties, how far they agree."""
    people, counts = measured.people, measured.counts
    if "people_prefer_longer" in people:
        theirs, ours = people["people_prefer_longer"], measured.model["prefers_longer"]
        if not math.isnan(theirs.value):
            yield f"People prefer the longer of two in {theirs.value:.1%} of pairs, the model in {ours.value:.1%}."
    ceiling = people.get("human_ceiling")
    if ceiling is not None and not math.isnan(ceiling.value):
        yield (
            f"A judge agrees with the majority of the others in {shown('human_ceiling', ceiling)} of "
            f"{counts['human_ceiling_n']:,} comparisons: about what a perfect score could reach."
        )
    if counts.get("ties"):
        yield f"{counts['ties']:,} ties have no right side: accuracy leaves them out, the log-loss counts them."
    if counts.get("unordered_lists"):
        yield f"{counts['unordered_lists']:,} {kind}s hold one tier only: they order nothing and are left out."


def _against(name: str, difference: Estimate, rival: str) -> str:
    """Return whether the model's figure and a rival's can be told apart, by a paired interval of their difference."""
    if math.isnan(difference.value):
        return (
            f"{NAMES[name]} is undefined here, so the model and {rival} cannot be compared by it."
        )
    scale, unit, form = (
        (100, "points of accuracy", "{:.1f}") if name == "accuracy" else (1, NAMES[name], "{:.3f}")
    )
    by, low, high = (scale * v for v in (difference.value, difference.low, difference.high))
    if not (low > 0 or high < 0):  # also where the interval is undefined
        signed = form.replace(":", ":+").format(by)
        verdict = f"The model and {rival} cannot be told apart: {signed} {unit}"
    else:
        verdict = f"The model {'beats' if by > 0 else 'loses to'} {rival} by {form.format(abs(by))} {unit}"
        low, high = sorted((math.copysign(1, by) * low, math.copysign(1, by) * high))
    return f"{verdict}, interval [{form.format(low)}, {form.format(high)}] (paired bootstrap)."


def on_length(correlation: float) -> str:
    """Return what the correlation of score and length says."""
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


@dataclass(frozen=True, eq=False)
class KindFindings:
    """What was found for one kind of judgement, and the m judgements behind it that the figures draw.

    clusters: how many there are of judgements that depend on each other; the bootstrap draws these.
    """

    kind: str
    yardstick: Yardstick
    measured: Measured
    judged: Judged = field(repr=False)
    predictions: Predictions = field(repr=False)
    linear_predictions: Predictions | None = field(repr=False)
    clusters: int

    @property
    def n(self) -> int:
        """How many judgements were evaluated."""
        return len(self.judged)

    @property
    def said(self) -> Floats:
        """What people said, as the yardstick reads it."""
        return self.judged.said

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, JSON-ready."""
        measured = self.measured
        longer = {
            "baseline" if name == "accuracy" else name: e for name, e in measured.longer.items()
        }
        return {
            "n": self.n,
            "clusters": self.clusters,
            **measured.counts,
            **_flat(measured.model),
            **_flat(measured.people),
            **_flat(measured.constant, before="constant_"),
            **_flat(longer, before="longer_"),
            "linear_baseline": _flat(measured.linear),
            "difference_to_linear": _flat(measured.difference),
            **({"difference_to_longer": _flat(measured.over_longer)} if longer else {}),
            **{table: [_part(part) for part in parts] for table, parts in measured.parts.items()},
        }


def _part(part: MeasuredPart) -> dict[str, Any]:
    return {"part": part.name, "n": part.n, **_flat(part.measures)}


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
                **_flat(self.duplicates.without, after="_without"),
            },
            "not_evaluated": dict(self.not_evaluated),
            "by_kind": by_kind,
        }

    def table(self) -> str:
        """Return the figures as aligned plain text, then one sentence for each verdict."""
        parts = [
            aligned(rows)
            for found in self.kinds
            for rows in (measure_rows(found), *part_rows(found))
        ]
        parts.append(aligned(slice_rows(self)))
        parts.append("\n".join(self.verdicts()))
        return "\n\n".join(parts)

    def verdicts(self) -> list[str]:
        """Return what the figures say, one plain sentence each."""
        return list(_verdicts(self))

    __str__ = table


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _flat(measures: Measures | None, after: str = "", before: str = "") -> Any:
    """Return {name: value, name_interval: [low, high]}, or None for no measures."""
    if measures is None:
        return None
    flat: dict[str, Any] = {}
    for name, estimate in measures.items():
        key = before + name + after
        flat[key] = _plain(estimate.value)
        if estimate.has_interval:
            flat[f"{key}_interval"] = [_plain(estimate.low), _plain(estimate.high)]
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


def measure_rows(found: KindFindings) -> list[list[str]]:
    """Return the table of one kind, a heading first: the model, the linear baseline if there is one, simpler rivals."""
    measured = found.measured
    columns: dict[str, Measures | None] = {
        "model": measured.model,
        "linear baseline": measured.linear,
    }
    columns |= {
        "the longer": measured.longer or None,
        found.yardstick.constant_title: measured.constant,
    }
    columns = {title: measures for title, measures in columns.items() if measures is not None}
    rows = [[f"{found.n:,} {found.kind}s", *columns]]
    for name in measured.model:
        rows.append(
            [
                NAMES[name],
                *(shown(name, (measures or {}).get(name)) for measures in columns.values()),
            ]
        )
    return rows


PARTS = {
    "by_margin": "margin",
    "by_length_difference": "difference in characters",
    "by_distance": "tiers apart",
    "by_source": "source",
    "by_judge": "judge",
}
"""What the parts of each table are, on screen."""


def part_rows(found: KindFindings) -> Iterator[list[list[str]]]:
    """Yield the tables of the judgements' parts, each with a heading first; none for a table without parts."""
    for table, parts in found.measured.parts.items():
        if parts:
            names = list(parts[0].measures)
            rows = [[PARTS[table], "pairs", *(NAMES[name] for name in names)]]
            rows += [
                [p.name, f"{p.n:,}", *(shown(name, p.measures[name]) for name in names)]
                for p in parts
            ]
            yield rows


def slice_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the table of the length slices, a heading first."""
    names = list(
        dict.fromkeys(
            found.yardstick.headline for found in evaluation.kinds if found.yardstick.of_one_text
        )
    )
    rows = [["characters", "texts", *(NAMES[name] for name in names), "mean score"]]
    for s in evaluation.slices:
        figures = [shown(name, s.measures.get(name)) for name in names]
        rows.append([f"{s.shortest:,}–{s.longest:,}", f"{s.n:,}", *figures, f"{s.mean_score:+.2f}"])
    return rows


def _verdicts(evaluation: Evaluation) -> Iterator[str]:
    for found in evaluation.kinds:
        about = f"{found.kind.capitalize()}s: " if len(evaluation.kinds) > 1 else ""
        yield from (
            about + said for said in verdicts_of(found.yardstick, found.measured, found.kind)
        )
    yield on_length(evaluation.score_length_correlation)
    yield from _on_duplicates(evaluation)
    if evaluation.truncated:
        share = evaluation.truncated / len(evaluation.examples)
        yield f"{evaluation.truncated:,} texts ({share:.1%}) were longer than the model reads and were cut."
    for kind, count in evaluation.not_evaluated.items():
        learned = ", ".join(f"{found.kind}s" for found in evaluation.kinds)
        yield f"{count:,} {kind}s were not evaluated: the model learned {learned}."


def _on_duplicates(evaluation: Evaluation) -> Iterator[str]:
    duplicates = evaluation.duplicates
    if duplicates.texts is None:
        yield "The training texts are not known, so duplicates of them were not looked for."
    elif duplicates.texts == 0:
        yield "No evaluated text occurs in the training data."
    else:
        without = ", ".join(
            f"{NAMES[name]} {shown(name, e)}" for name, e in duplicates.without.items()
        )
        yield f"{duplicates.texts:,} evaluated texts also occur in the training data; without them: {without}."
    if duplicates.within:
        yield f"{duplicates.within:,} judgements repeat another one's text inside the evaluated data."
