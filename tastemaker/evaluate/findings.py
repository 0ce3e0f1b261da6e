"""The results of an evaluation: as records, tables, plain sentences and JSON, and one verdict.

The verdict says in plain words whether to use a model, and how good it is. Where the texts that the
model was trained on are known, the figures leave them out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Example
from tastemaker.evaluate.estimates import (
    FEW_GROUPS,
    LOWER_IS_BETTER,
    NAMES,
    PARTS,
    Estimate,
    Measures,
    flat,
    json_number,
    shown,
    verdicts,
)
from tastemaker.kinds.metrics import Judged, KindMetrics, Predictions, amount
from tastemaker.maths.statistics import Floats
from tastemaker.readable import aligned, listed, notebook_html

# ---- the verdict ---------------------------------------------------------------------------------


USABLE, WEAK, USELESS, UNKNOWN = (
    "Usable for ordering",
    "Weak for ordering",
    "Not usable for ordering",
    "Too little data to tell",
)
_LEVELS = (USABLE, WEAK, USELESS, UNKNOWN)

# value at chance of each figure of ordering; the first one measured is shown
_CHANCE = {"accuracy": 0.5, "auroc": 0.5, "pearson": 0.0}
# the least value at which a model is called usable
_USABLE_FROM = {"accuracy": 0.6, "auroc": 0.65, "pearson": 0.3}
_NEW = "new"


def verdict(evaluation: "Evaluation") -> str:
    """Return the verdict as one line that ends in a full stop."""
    parts = [*_levels(evaluation)]
    for findings in evaluation.kinds:
        parts += _average_error(findings)
    parts += _against_linear(evaluation)
    copied = evaluation.duplicates.texts
    if copied:
        parts.append(
            f"{copied:,} evaluated texts are in the training data too"
        )
    return "; ".join(parts) + "."


def _levels(evaluation: "Evaluation") -> Iterator[str]:
    """Yield each level that is reached, with the figures of the kinds that reach it."""
    several = len(evaluation.kinds) > 1
    for level in _LEVELS:
        figures = []
        for findings in evaluation.kinds:
            if level_of(evaluation, findings) == level:
                name, estimate = ordering_of(evaluation, findings)
                of_kind = f" of {findings.kind}s" if several else ""
                figure = _with_margin(estimate)
                figures.append(f"{NAMES[name]}{of_kind} {figure}")
        if figures:
            yield f"{level} ({listed(figures)})"


def ordering_of(
    evaluation: "Evaluation", findings: "KindFindings"
) -> tuple[str, Estimate]:
    """Return the figure that tells how well texts are ordered, by name and value."""
    model = findings.measured.model
    name = next(name for name in (*_CHANCE, *model) if name in model)
    new = findings.measured.subsets.get(_NEW)
    is_headline = name == findings.kind_metrics.headline
    if evaluation.duplicates.texts and is_headline and new is not None:
        return name, new
    return name, model[name]


def level_of(evaluation: "Evaluation", findings: "KindFindings") -> str:
    """Return the level (one of `_LEVELS`) that the figures of one kind of judgement reach."""
    measured = findings.measured
    shown_name, shown = ordering_of(evaluation, findings)
    is_of_new = shown is not measured.model[shown_name]
    groups = findings.new_clusters if is_of_new else findings.clusters
    if groups < FEW_GROUPS:
        return UNKNOWN
    name = findings.kind_metrics.against_constant
    over = measured.over_constant[name]
    is_better = over.differs and (over.value < 0) == (name in LOWER_IS_BETTER)
    is_usable = False
    for name, chance in _CHANCE.items():
        estimate = measured.model.get(name)
        if estimate is None:
            continue
        # of labels, accuracy depends on which one is rare
        if name != "accuracy" or not findings.kind_metrics.of_one_text:
            is_better = is_better or estimate.low > chance
        is_usable = is_usable or estimate.value >= _USABLE_FROM[name]
    # the other figures are of all texts, also those of the training data
    if is_of_new:
        is_better = is_better and shown.low > _CHANCE[shown_name]
        is_usable = shown.value >= _USABLE_FROM[shown_name]
    if not is_better:
        return USELESS
    return USABLE if is_usable else WEAK


def _with_margin(estimate: Estimate) -> str:
    """Return a value with half of its 95 % interval, such as "0.83 ± 0.02"."""
    if math.isnan(estimate.value):
        return "undefined"
    text = f"{estimate.value:.2f}"
    if estimate.has_interval:
        half = (estimate.high - estimate.low) / 2
        text += f" ± {half:.2f}"
    return text


def _average_error(findings: "KindFindings") -> Iterator[str]:
    """Yield the mean absolute error of predicted grades or ratings."""
    error = findings.measured.model.get("mae")
    if error is None or math.isnan(error.value):
        return
    scale = getattr(findings.judged.judgements[0], "scale", None)
    unit = f"{findings.kind}s"
    if scale is not None:
        low, high = scale
        unit += f" ({low} to {high})"
    yield f"{unit} off by {amount(error.value)} on average"


def _against_linear(evaluation: "Evaluation") -> Iterator[str]:
    """Yield how a network compares with the linear model that was fitted beside it."""
    better: list[str] = []
    worse: list[str] = []
    compared = 0
    for findings in evaluation.kinds:
        differences = findings.measured.difference
        if differences is None:
            continue
        difference = differences[findings.kind_metrics.headline]
        compared += 1
        if difference.differs:
            (better if difference.value > 0 else worse).append(findings.kind)
    if not compared:
        return
    simpler = "the simpler linear model"
    if better and not worse:
        yield f"better than {simpler}"
    elif worse and not better:
        yield f"worse than {simpler}: use that one"
    elif better and worse:
        yield f"better than {simpler} at {listed(better)}s, worse at {listed(worse)}s"
    else:
        yield f"no better than {simpler}: use that one"


# ---- findings ------------------------------------------------------------------------------------


# --- records ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class MeasuredPart:
    """The figures of a part of the judgements.

    p: that its accuracy is that of all other judgements, after Holm's correction for the parts of
    its table.
    """

    name: str
    n: int
    measures: Measures
    p: float

    def as_dict(self) -> dict[str, Any]:
        """Return the results, JSON-ready."""
        return {
            "part": self.name,
            "n": self.n,
            **flat(self.measures),
            "p_holm": json_number(self.p),
        }


@dataclass(frozen=True, eq=False)
class Measured:
    """The figures of one kind, by who made the predictions, and of the people who judged.

    longer: of a score that is the text's length; empty for kinds that do not compare.
    difference, over_longer, over_constant: the model's minus the linear baseline's, the length's or
    the constant's, with intervals and tests of the pairs.
    subsets: the headline figure of each subset of the judgements that was asked for.
    subset_p: that the accuracy of a length slice is that of all others, after Holm's correction.
    parts: tables of figures over parts of the judgements.
    """

    model: Measures
    linear: Measures | None
    longer: Measures
    constant: Measures
    difference: Measures | None
    over_longer: Measures
    over_constant: Measures
    people: Measures
    counts: Mapping[str, int]
    subsets: Measures
    subset_p: Mapping[str, float]
    parts: Mapping[str, Sequence[MeasuredPart]]


@dataclass(frozen=True, eq=False)
class KindFindings:
    """The results for one kind of judgement, with the m judgements that the figures draw.

    clusters: the number of groups of dependent judgements; new_clusters: of those about texts that
    are not in the training data.
    """

    kind: str
    kind_metrics: KindMetrics
    measured: Measured
    judged: Judged = field(repr=False)
    predictions: Predictions = field(repr=False)
    linear_predictions: Predictions | None = field(repr=False)
    clusters: int
    new_clusters: int

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
            "few_clusters": self.clusters < FEW_GROUPS,
            **measured.counts,
        }
        numbers.update(flat(measured.model))
        numbers.update(flat(measured.people))
        numbers.update(flat(measured.constant, before="constant_"))
        for name, estimate in measured.longer.items():
            key = "baseline" if name == "accuracy" else name
            numbers.update(flat({key: estimate}, before="longer_"))
        for key, measures in (
            ("linear_baseline", measured.linear),
            ("difference_to_linear", measured.difference),
        ):
            numbers[key] = None if measures is None else flat(measures)
        if measured.longer:
            numbers["difference_to_longer"] = flat(measured.over_longer)
        numbers["difference_to_constant"] = flat(measured.over_constant)
        for table, parts in measured.parts.items():
            numbers[table] = [part.as_dict() for part in parts]
        return numbers


@dataclass(frozen=True, eq=False)
class LengthSlice:
    """The n texts of `shortest` to `longest` characters.

    measures: the headline measure of each kind of judgement about one text.
    p: that the accuracy is that of the other slices, after Holm's correction; NaN for other kinds.
    """

    shortest: int
    longest: int
    n: int
    mean_score: float
    measures: Measures
    p: float = math.nan

    def as_dict(self) -> dict[str, Any]:
        """Return the results, JSON-ready."""
        return {
            "shortest": self.shortest,
            "longest": self.longest,
            "n": self.n,
            **flat(self.measures),
            "mean_score": json_number(self.mean_score),
            "p_holm": json_number(self.p),
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
            **flat(self.without, after="_without"),
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
        by_kind = {
            findings.kind: findings.as_dict() for findings in self.kinds
        }
        return {
            **_merged(list(by_kind.values())),
            "verdict": self.verdict(),
            "texts": len(self.examples),
            "truncated": self.truncated,
            "score_length_correlation": json_number(
                self.score_length_correlation
            ),
            "slices": [part.as_dict() for part in self.slices],
            "duplicates": self.duplicates.as_dict(),
            "not_evaluated": dict(self.not_evaluated),
            "by_kind": by_kind,
        }

    def table(self) -> str:
        """Return the results as plain text: aligned tables, then one sentence for each verdict.

        Where some texts are in the training data, the figures without them come first.
        """
        tables = [new_text_rows(self)] if self.duplicates.texts else []
        for findings in self.kinds:
            tables += [measure_rows(findings), *part_rows(findings)]
        tables.append(slice_rows(self))
        blocks = [aligned(rows) for rows in tables]
        return "\n\n".join([*blocks, "\n".join(self.verdicts())])

    def verdict(self) -> str:
        """Return whether to use the model, and how good it is, in one line."""
        return verdict(self)

    def extremes(self, count: int) -> list[Example]:
        """Return the `count` texts with the highest scores, and those with the lowest."""
        order = np.argsort(self.scores, kind="stable")
        count = min(count, len(order) // 2)
        chosen = [*order[::-1][:count], *order[:count][::-1]]
        return [self.examples[number] for number in chosen]

    def verdicts(self) -> list[str]:
        """Return what the results mean, one plain sentence each."""
        return list(verdicts(self))

    __str__ = table

    def _repr_html_(self) -> str:
        """Return the verdict and a table of each kind, for a notebook."""
        tables = [new_text_rows(self)] if self.duplicates.texts else []
        tables += [measure_rows(findings) for findings in self.kinds]
        return notebook_html([self.verdict()], *tables)


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
        cells = [
            shown(name, measures.get(name)) for measures in columns.values()
        ]
        rows.append([NAMES[name], *cells])
    return rows


def new_text_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return the headline measures over texts that are not in the training data, as a table."""
    measures = evaluation.duplicates.without
    headlines = [each.kind_metrics.headline for each in evaluation.kinds]
    rows = [["without texts of the training data", "model"]]
    for name in dict.fromkeys(headlines):
        rows.append([NAMES[name], shown(name, measures.get(name))])
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
        rows.append(
            [lengths, f"{part.n:,}", *cells, f"{part.mean_score:+.2f}"]
        )
    return rows
