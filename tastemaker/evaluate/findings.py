"""The results of an evaluation: as records, tables, plain sentences and JSON."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.kinds.metrics import Judged, KindMetrics, Predictions, amount
from tastemaker.maths.statistics import Floats
from tastemaker.readable import aligned, listed

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
"""The measures of a model by key, and their names on screen."""

NAMES = {**FIGURES, "longer_baseline": "longer text"}
"""All measures that tables show, and their names on screen."""

PARTS = {
    "by_margin": "margin",
    "by_length_difference": "difference in characters",
    "by_distance": "tiers apart",
    "by_source": "source",
    "by_judge": "judge",
}
"""The tables over parts of the judgements, and what a part is."""


# --- records ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; NaN where undefined or not computed."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return not (math.isnan(self.low) or math.isnan(self.high))


Measures = Mapping[str, Estimate]
"""Figures by name."""

LOWER_IS_BETTER = frozenset({"log_loss", "ece", "mae"})


@dataclass(frozen=True, eq=False)
class MeasuredPart:
    """The figures of a part of the judgements."""

    name: str
    n: int
    measures: Measures


@dataclass(frozen=True, eq=False)
class Measured:
    """The figures of one kind, by who made the predictions, and of the people who judged.

    longer: of a score that is the text's length; empty for kinds that do not compare. difference,
    over_longer: the model's minus the linear baseline's or the length's, intervals from paired
    resamples. subsets: the headline figure of each subset of the judgements that was asked for.
    parts: tables of figures over parts of the judgements.
    """

    model: Measures
    linear: Measures | None
    longer: Measures
    constant: Measures
    difference: Measures | None
    over_longer: Measures
    people: Measures
    counts: Mapping[str, int]
    subsets: Measures
    parts: Mapping[str, Sequence[MeasuredPart]]


@dataclass(frozen=True, eq=False)
class KindFindings:
    """The results for one kind of judgement, with the m judgements that the figures draw.

    clusters: the number of groups of dependent judgements; the bootstrap draws groups.
    """

    kind: str
    kind_metrics: KindMetrics
    measured: Measured
    judged: Judged = field(repr=False)
    predictions: Predictions = field(repr=False)
    linear_predictions: Predictions | None = field(repr=False)
    clusters: int

    @property
    def n(self) -> int:
        """The number of judgements."""
        return len(self.judged)

    @property
    def answers(self) -> Floats:
        """The judgements as numbers: values, or ranks of texts."""
        return self.judged.answers

    def as_dict(self) -> dict[str, Any]:
        """Return the results, JSON-ready."""
        measured = self.measured
        numbers: dict[str, Any] = {
            "n": self.n,
            "clusters": self.clusters,
            **measured.counts,
        }
        numbers.update(_flat(measured.model))
        numbers.update(_flat(measured.people))
        numbers.update(_flat(measured.constant, before="constant_"))
        for name, estimate in measured.longer.items():
            key = "baseline" if name == "accuracy" else name
            numbers.update(_flat({key: estimate}, before="longer_"))
        for key, measures in (
            ("linear_baseline", measured.linear),
            ("difference_to_linear", measured.difference),
        ):
            numbers[key] = None if measures is None else _flat(measures)
        if measured.longer:
            numbers["difference_to_longer"] = _flat(measured.over_longer)
        for table, parts in measured.parts.items():
            numbers[table] = [
                {"part": p.name, "n": p.n, **_flat(p.measures)} for p in parts
            ]
        return numbers


@dataclass(frozen=True, eq=False)
class LengthSlice:
    """The n texts of `shortest` to `longest` characters.

    measures: the headline measure of each kind of judgement about one text.
    """

    shortest: int
    longest: int
    n: int
    mean_score: float
    measures: Measures

    def as_dict(self) -> dict[str, Any]:
        """Return the results, JSON-ready."""
        return {
            "shortest": self.shortest,
            "longest": self.longest,
            "n": self.n,
            **_flat(self.measures),
            "mean_score": json_number(self.mean_score),
        }


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Exact duplicates, where white space around a text does not count, and near-copies.

    texts: evaluated texts that occur in the training data; None if the training texts are unknown.
    near_copies: other evaluated texts that are near-copies of training texts; None likewise.
    within: judgements that repeat one of the same judge about the same texts.
    without: the headline measures over texts that do not occur in the training data.
    in_training: [n], True for the examples that do.
    """

    texts: int | None
    within: int
    without: Measures
    in_training: NDArray[np.bool_] = field(repr=False)
    near_copies: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the results, JSON-ready."""
        return {
            "texts": self.texts,
            "near_copies": self.near_copies,
            "within": self.within,
            "accuracy_without": None,
            "pearson_without": None,
            **_flat(self.without, after="_without"),
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How far to trust a reward model, on held-out judgements. `print` it, or take `as_dict()`.

    score_length_correlation: Spearman's, of score and number of characters.
    truncated: texts longer than the model's limit.
    not_evaluated: by kind, the judgements that the model has no link for.
    examples, scores: the n unique texts and their scores.
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
        """Return every result, JSON-ready: plain numbers, null for what is undefined.

        `by_kind` holds the results of each kind. They also stand at the top level; where two
        kinds have a measure of the same name, the first kind's stands there.
        """
        by_kind = {findings.kind: findings.as_dict() for findings in self.kinds}
        return {
            **_merged(list(by_kind.values())),
            "texts": len(self.examples),
            "truncated": self.truncated,
            "score_length_correlation": json_number(self.score_length_correlation),
            "slices": [part.as_dict() for part in self.slices],
            "duplicates": self.duplicates.as_dict(),
            "not_evaluated": dict(self.not_evaluated),
            "by_kind": by_kind,
        }

    def table(self) -> str:
        """Return the results as plain text: aligned tables, then one sentence for each verdict."""
        tables = []
        for findings in self.kinds:
            tables += [measure_rows(findings), *part_rows(findings)]
        tables.append(slice_rows(self))
        blocks = [aligned(rows) for rows in tables]
        return "\n\n".join([*blocks, "\n".join(self.verdicts())])

    def verdicts(self) -> list[str]:
        """Return what the results mean, one plain sentence each."""
        return list(_verdicts(self))

    __str__ = table


def json_number(value: float) -> float | None:
    """Return a number for JSON, None for one that is not finite."""
    return float(value) if math.isfinite(value) else None


def _flat(measures: Measures, *, before: str = "", after: str = "") -> dict[str, Any]:
    """Return {name: value, name_interval: [low, high]} of each measure."""
    flat: dict[str, Any] = {}
    for name, estimate in measures.items():
        key = before + name + after
        flat[key] = json_number(estimate.value)
        if estimate.has_interval:
            flat[f"{key}_interval"] = [
                json_number(estimate.low),
                json_number(estimate.high),
            ]
    return flat


def _merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join dictionaries, nested ones too; the first one wins where two hold a name."""
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            if isinstance(value, Mapping) and isinstance(
                merged.get(name), Mapping | None
            ):
                merged[name] = _merged([merged.get(name) or {}, value])
            else:
                merged.setdefault(name, value)
    return merged


def shown(name: str, estimate: Estimate | None) -> str:
    """Return a measure as text: "0.931 [0.927, 0.935]", or a dash where it is undefined."""
    if estimate is None or math.isnan(estimate.value):
        return "–"
    form = amount if name == "mae" else "{:.3f}".format
    text = form(estimate.value)
    if estimate.has_interval:
        text += f" [{form(estimate.low)}, {form(estimate.high)}]"
    return text


# --- tables -----------------------------------------------------------------------------------


def measure_rows(findings: KindFindings) -> list[list[str]]:
    """Return the table of one kind, the heading first: the model beside its baselines."""
    measured = findings.measured
    columns: dict[str, Measures] = {"model": measured.model}
    if measured.linear is not None:
        columns["linear baseline"] = measured.linear
    if measured.longer:
        columns["longer text"] = measured.longer
    columns[findings.kind_metrics.constant_title] = measured.constant
    rows = [[f"{findings.n:,} {findings.kind}s", *columns]]
    for name in measured.model:
        cells = [shown(name, measures.get(name)) for measures in columns.values()]
        rows.append([NAMES[name], *cells])
    return rows


def part_rows(findings: KindFindings) -> Iterator[list[list[str]]]:
    """Yield the tables over parts of the judgements, each with its heading first."""
    for table, parts in findings.measured.parts.items():
        if not parts:
            continue
        names = list(parts[0].measures)
        titles = [NAMES[name] for name in names]
        rows = [[PARTS[table], "pairs", *titles]]
        for part in parts:
            cells = [shown(name, part.measures[name]) for name in names]
            rows.append([part.name, f"{part.n:,}", *cells])
        yield rows


def slice_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the table of the length slices, the heading first."""
    names: list[str] = []
    for findings in evaluation.kinds:
        headline = findings.kind_metrics.headline
        if findings.kind_metrics.of_one_text and headline not in names:
            names.append(headline)
    titles = [NAMES[name] for name in names]
    rows = [["characters", "texts", *titles, "mean score"]]
    for part in evaluation.slices:
        cells = [shown(name, part.measures.get(name)) for name in names]
        lengths = f"{part.shortest:,}–{part.longest:,}"
        rows.append([lengths, f"{part.n:,}", *cells, f"{part.mean_score:+.2f}"])
    return rows


# --- sentences --------------------------------------------------------------------------------


def _verdicts(evaluation: Evaluation) -> Iterator[str]:
    kinds = evaluation.kinds
    for findings in kinds:
        start = f"{findings.kind.capitalize()}s: " if len(kinds) > 1 else ""
        for verdict in _of_kind(findings):
            yield start + verdict
    yield _on_length(evaluation.score_length_correlation)
    yield from _on_duplicates(evaluation.duplicates)
    if evaluation.truncated:
        share = evaluation.truncated / len(evaluation.examples)
        yield (
            f"{evaluation.truncated:,} texts ({share:.1%}) were longer than the model's limit "
            "and were cut."
        )
    learned = listed(f"{findings.kind}s" for findings in kinds)
    for kind, count in evaluation.not_evaluated.items():
        yield f"{count:,} {kind}s were not evaluated: the model learned {learned}."


def _of_kind(findings: KindFindings) -> Iterator[str]:
    """Yield the verdicts on one kind: the model against each baseline, then the people."""
    measured, kind_metrics = findings.measured, findings.kind_metrics
    name = kind_metrics.headline
    if measured.difference is not None:
        yield _against(name, measured.difference[name], "the linear baseline")
    if name in measured.over_longer:
        rival = f"always the longer text ({shown(name, measured.longer[name])})"
        yield _against(name, measured.over_longer[name], rival)
    name = kind_metrics.against_constant
    model, constant = measured.model[name], measured.constant[name]
    if name in LOWER_IS_BETTER:
        is_better = model.high < constant.value
    else:
        is_better = model.low > constant.value
    verb = "beats" if is_better else "does not clearly beat"
    figure = f"{NAMES[name]} {shown(name, constant)}"
    yield f"The model {verb} {kind_metrics.constant_in_words} ({figure})."
    yield from _on_people(measured, findings.kind)


def _against(name: str, difference: Estimate, rival: str) -> str:
    """Compare the model with a baseline, by the paired interval of their difference."""
    if math.isnan(difference.value):
        return (
            f"{NAMES[name]} is undefined, so the model cannot be compared with {rival}."
        )
    scale, unit, form = 1, NAMES[name], "{:.3f}"
    if name == "accuracy":
        scale, unit, form = 100, "points of accuracy", "{:.1f}"
    value = scale * difference.value
    low, high = scale * difference.low, scale * difference.high
    if low > 0 or high < 0:
        verb = "beats" if value > 0 else "loses to"
        size = form.format(abs(value))
        sign = math.copysign(1, value)
        low, high = sorted([sign * low, sign * high])
        verdict = f"The model {verb} {rival} by {size} {unit}"
    else:  # also where the interval is undefined
        size = form.replace(":", ":+").format(value)
        verdict = f"No clear difference between the model and {rival}: {size} {unit}"
    return f"{verdict} (95 % interval [{form.format(low)}, {form.format(high)}])."


def _on_people(measured: Measured, kind: str) -> Iterator[str]:
    """Yield facts about the people who judged: preference for length, agreement, ties."""
    people, counts = measured.people, measured.counts
    longer = people.get("people_prefer_longer")
    if longer is not None and not math.isnan(longer.value):
        ours = measured.model["prefers_longer"].value
        yield (
            f"People prefer the longer of two texts in {longer.value:.1%} of pairs; "
            f"the model in {ours:.1%}."
        )
    ceiling = people.get("human_ceiling")
    if ceiling is not None and not math.isnan(ceiling.value):
        yield (
            f"A judge agrees with the majority of the other judges with accuracy "
            f"{shown('human_ceiling', ceiling)}, on {counts['human_ceiling_n']:,} comparisons: "
            "about the best that a model can reach."
        )
    if counts.get("ties"):
        yield f"{counts['ties']:,} ties: accuracy leaves them out, log-loss counts them."
    if counts.get("unordered_lists"):
        yield f"{counts['unordered_lists']:,} {kind}s are all ties: they are left out."


def _on_length(correlation: float) -> str:
    if math.isnan(correlation):
        return "Score and length cannot be correlated: one of them does not vary."
    towards = "longer" if correlation > 0 else "shorter"
    if abs(correlation) < 0.1:
        verdict = "The score hardly depends on length"
    elif abs(correlation) < 0.3:
        verdict = f"The score slightly favours {towards} texts"
    else:
        verdict = f"The score favours {towards} texts: see the table by length"
    return f"{verdict} (Spearman {correlation:+.2f})."


def _on_duplicates(duplicates: Duplicates) -> Iterator[str]:
    if duplicates.texts is None:
        yield "The training texts are unknown, so duplicates of them were not checked."
    elif duplicates.texts == 0:
        yield "No evaluated text occurs in the training data."
    else:
        figures = [
            f"{NAMES[name]} {shown(name, e)}" for name, e in duplicates.without.items()
        ]
        yield (
            f"{duplicates.texts:,} evaluated texts also occur in the training data; "
            f"without them: {', '.join(figures)}."
        )
    if duplicates.near_copies:
        yield (
            f"{duplicates.near_copies:,} other evaluated texts are near-copies of training texts: "
            "they differ from one in a few characters."
        )
    if duplicates.within:
        yield (
            f"{duplicates.within:,} judgements repeat another one of the same judge "
            "about the same text, within the evaluated data."
        )
