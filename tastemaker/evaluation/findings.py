"""What an evaluation found: a record that reads as a table, as a few plain sentences, and as JSON."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.evaluation.measures import Judged, Measured, MeasuredPart, Measures, Predictions, Yardstick
from tastemaker.evaluation.words import NAMES, aligned, on_length, shown, verdicts_of
from tastemaker.maths.statistics import Floats


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
        longer = {"baseline" if name == "accuracy" else name: e for name, e in measured.longer.items()}
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
        parts = [aligned(rows) for found in self.kinds for rows in (measure_rows(found), *part_rows(found))]
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
    columns: dict[str, Measures | None] = {"model": measured.model, "linear baseline": measured.linear}
    columns |= {"the longer": measured.longer or None, found.yardstick.constant_title: measured.constant}
    columns = {title: measures for title, measures in columns.items() if measures is not None}
    rows = [[f"{found.n:,} {found.kind}s", *columns]]
    for name in measured.model:
        rows.append([NAMES[name], *(shown(name, (measures or {}).get(name)) for measures in columns.values())])
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
            rows += [[p.name, f"{p.n:,}", *(shown(name, p.measures[name]) for name in names)] for p in parts]
            yield rows


def slice_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the table of the length slices, a heading first."""
    names = list(dict.fromkeys(found.yardstick.headline for found in evaluation.kinds if found.yardstick.of_one_text))
    rows = [["characters", "texts", *(NAMES[name] for name in names), "mean score"]]
    for s in evaluation.slices:
        figures = [shown(name, s.measures.get(name)) for name in names]
        rows.append([f"{s.shortest:,}–{s.longest:,}", f"{s.n:,}", *figures, f"{s.mean_score:+.2f}"])
    return rows


def _verdicts(evaluation: Evaluation) -> Iterator[str]:
    for found in evaluation.kinds:
        about = f"{found.kind.capitalize()}s: " if len(evaluation.kinds) > 1 else ""
        yield from (about + said for said in verdicts_of(found.yardstick, found.measured, found.kind))
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
        without = ", ".join(f"{NAMES[name]} {shown(name, e)}" for name, e in duplicates.without.items())
        yield f"{duplicates.texts:,} evaluated texts also occur in the training data; without them: {without}."
    if duplicates.within:
        yield f"{duplicates.within:,} judgements repeat another one's text inside the evaluated data."
