"""A figure of an evaluation with its interval, its name, and what it means in plain sentences."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tastemaker.kinds.metrics import amount
from tastemaker.readable import listed

if TYPE_CHECKING:
    from tastemaker.evaluate.findings import (
        Duplicates,
        Evaluation,
        KindFindings,
        Measured,
    )

FIGURES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "auroc": "AUROC",
    "log_loss": "log-loss",
    "ece": "ECE",
    "ece_if_calibrated": "ECE if calibrated",
    "calibration_slope": "calibration slope",
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

LOWER_IS_BETTER = frozenset({"log_loss", "ece", "mae"})

SIGNIFICANT = 0.05
"""The largest p of a difference that is said to be one."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; NaN where undefined or not computed.

    p: of a difference, the two-sided p of there being none. detectable: the true difference that
    would be seen in four of five such evaluations.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    detectable: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def differs(self) -> bool:
        """Whether it is clearly not 0: by its interval, and by the test of a difference."""
        return (self.low > 0 or self.high < 0) and not self.p > SIGNIFICANT


Measures = Mapping[str, Estimate]
"""Figures by name."""


def json_number(value: float) -> float | None:
    """Return a number for JSON, None for one that is not finite."""
    return float(value) if math.isfinite(value) else None


def flat(
    measures: Measures, *, before: str = "", after: str = ""
) -> dict[str, Any]:
    """Return {name: value, name_interval: [low, high]} of each measure.

    A difference has name_p and name_detectable too.
    """
    numbers: dict[str, Any] = {}
    for name, estimate in measures.items():
        key = before + name + after
        numbers[key] = json_number(estimate.value)
        if estimate.has_interval:
            ends = [json_number(estimate.low), json_number(estimate.high)]
            numbers[f"{key}_interval"] = ends
        details = (("p", estimate.p), ("detectable", estimate.detectable))
        for detail, value in details:
            if not math.isnan(value):
                numbers[f"{key}_{detail}"] = json_number(value)
    return numbers


def shown(name: str, estimate: Estimate | None) -> str:
    """Return a measure as text: "0.931 [0.927, 0.935]", or a dash where it is undefined."""
    if estimate is None or math.isnan(estimate.value):
        return "–"
    form = amount if name == "mae" else "{:.3f}".format
    text = form(estimate.value)
    if estimate.has_interval:
        text += f" [{form(estimate.low)}, {form(estimate.high)}]"
    return text


FEW_GROUPS = 20
"""With fewer groups of dependent judgements, the reader is warned."""

_COMPARED_PARTS = ("by_source", "by_judge")
_MOST_NAMED = 5


def verdicts(evaluation: "Evaluation") -> Iterator[str]:
    """Yield what the results mean, one plain sentence each."""
    kinds = evaluation.kinds
    for findings in kinds:
        start = f"{findings.kind.capitalize()}s: " if len(kinds) > 1 else ""
        for verdict in _of_kind(findings):
            yield start + verdict
    yield from _on_slices(evaluation)
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


def _of_kind(findings: "KindFindings") -> Iterator[str]:
    """Yield the verdicts on one kind: the model against each baseline, then the people."""
    measured, kind_metrics = findings.measured, findings.kind_metrics
    if findings.clusters < FEW_GROUPS:
        yield (
            f"Too few prompts or texts: {findings.n:,} {findings.kind}s form only "
            f"{findings.clusters} independent groups, so little is certain. Judge at least "
            f"{FEW_GROUPS} prompts, or texts without one."
        )
    name = kind_metrics.headline
    if measured.difference is not None:
        yield against(name, measured.difference[name], "the linear baseline")
    if name in measured.over_longer:
        rival = (
            f"always the longer text ({shown(name, measured.longer[name])})"
        )
        yield against(name, measured.over_longer[name], rival)
    name = kind_metrics.against_constant
    figure = f"{NAMES[name]} {shown(name, measured.constant[name])}"
    rival = f"{kind_metrics.constant_in_words} ({figure})"
    yield against(name, measured.over_constant[name], rival)
    yield from _on_calibration(measured.model)
    yield from _on_parts(measured)
    yield from _on_people(measured, findings.kind)


def against(name: str, difference: Estimate, rival: str) -> str:
    """Compare the model with a rival, by the paired interval and test of their difference."""
    if math.isnan(difference.value):
        return f"{NAMES[name]} is undefined, so the model cannot be compared with {rival}."
    scale, unit, form = 1, NAMES[name], "{:.3f}"
    if name == "accuracy":
        scale, unit, form = 100, "points of accuracy", "{:.1f}"
    value = scale * difference.value
    low, high = scale * difference.low, scale * difference.high
    p = "" if math.isnan(difference.p) else f", {_p_in_words(difference.p)}"
    if difference.differs:
        is_better = (value < 0) == (name in LOWER_IS_BETTER)
        verb = "beats" if is_better else "loses to"
        if value < 0:
            low, high = -high, -low
        size = form.format(abs(value))
        interval = f"[{form.format(low)}, {form.format(high)}]"
        return f"The model {verb} {rival} by {size} {unit} (95 % interval {interval}{p})."
    size = form.replace(":", ":+").format(value)
    verdict = f"The model cannot be told apart from {rival}: {size} {unit}"
    if not difference.has_interval:
        return f"{verdict} (no interval)."
    verdict += (
        f" (95 % interval [{form.format(low)}, {form.format(high)}]{p})."
    )
    if math.isnan(difference.detectable):
        return f"{verdict} So few groups could show no difference."
    least = form.format(scale * difference.detectable)
    return f"{verdict} Four of five such evaluations would see a true difference of {least}."


def _p_in_words(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _on_calibration(model: Measures) -> Iterator[str]:
    """Yield whether probabilities come true, beyond what noise explains."""
    error = model.get("ece")
    if error is None or math.isnan(error.value):
        return
    if error.has_interval:
        verb = "is more than" if error.low > 0 else "may be only"
        calibrated = shown("ece", model["ece_if_calibrated"])
        yield (
            f"The calibration error (ECE {shown('ece', error)}) {verb} noise: a perfectly "
            f"calibrated model would show {calibrated} here."
        )
    slope = model["calibration_slope"]
    if not slope.has_interval:
        return
    figure = f"calibration slope {shown('calibration_slope', slope)}"
    if slope.high < 1:
        yield f"The probabilities are too sure ({figure}; 1 is right)."
    elif slope.low > 1:
        yield f"The probabilities are too cautious ({figure}; 1 is right)."


def _on_parts(measured: "Measured") -> Iterator[str]:
    """Yield which sources and judges the model fits better or worse than all others."""
    for table in _COMPARED_PARTS:
        parts = measured.parts.get(table, ())
        different = {}
        for part in parts:
            if part.p <= SIGNIFICANT:
                different[part.name] = part.measures["accuracy"]
        yield from _differing(PARTS[table], different, len(parts))


def _on_slices(evaluation: "Evaluation") -> Iterator[str]:
    """Yield which quarters by length the model fits better or worse than all others."""
    different = {}
    tested = [part for part in evaluation.slices if not math.isnan(part.p)]
    for part in tested:
        if part.p <= SIGNIFICANT:
            name = f"{part.shortest:,}–{part.longest:,} characters"
            different[name] = part.measures["accuracy"]
    yield from _differing("length", different, len(tested))


def _differing(
    what: str, different: Mapping[str, Estimate], count: int
) -> Iterator[str]:
    if count < 2:
        return
    corrected = f"{count} comparisons, Holm's correction"
    if not different:
        yield f"By {what}, accuracy does not differ clearly ({corrected})."
        return
    named = []
    for name, accuracy in list(different.items())[:_MOST_NAMED]:
        named.append(f"{name} {accuracy.value:.3f}")
    if len(different) > _MOST_NAMED:
        named.append(f"{len(different) - _MOST_NAMED} more")
    yield (
        f"By {what}, accuracy differs from that of all others: {listed(named)} ({corrected})."
    )


def _on_people(measured: "Measured", kind: str) -> Iterator[str]:
    """Yield facts about the people who judged: preference for length, agreement, ties."""
    people, counts = measured.people, measured.counts
    longer = people.get("people_prefer_longer")
    if longer is not None and not math.isnan(longer.value):
        ours = measured.model["prefers_longer"].value
        yield (
            f"People prefer the longer of two texts in {longer.value:.1%} of pairs; "
            f"the model in {ours:.1%}."
        )
    agreement = people.get("human_agreement")
    if agreement is not None and not math.isnan(agreement.value):
        count = counts["human_agreement_n"]
        yield (
            f"Two judges of the same texts agree with a chance of "
            f"{shown('human_agreement', agreement)} ({count:,} comparisons). If judges err "
            "independently of each other, a perfect score has at least that accuracy and at most "
            f"{shown('human_ceiling', people['human_ceiling'])}."
        )
    if counts.get("ties"):
        yield f"{counts['ties']:,} ties: accuracy leaves them out, log-loss counts them."
    if counts.get("unordered_lists"):
        yield f"{counts['unordered_lists']:,} {kind}s are all ties: they are left out."


def _on_length(correlation: float) -> str:
    if math.isnan(correlation):
        return (
            "Score and length cannot be correlated: one of them does not vary."
        )
    towards = "longer" if correlation > 0 else "shorter"
    if abs(correlation) < 0.1:
        verdict = "The score hardly depends on length"
    elif abs(correlation) < 0.3:
        verdict = f"The score slightly favours {towards} texts"
    else:
        verdict = f"The score favours {towards} texts: see the table by length"
    return f"{verdict} (Spearman {correlation:+.2f})."


def _on_duplicates(duplicates: "Duplicates") -> Iterator[str]:
    if duplicates.texts is None:
        yield "The training texts are unknown, so duplicates of them were not checked."
    elif duplicates.texts == 0:
        yield "No evaluated text occurs in the training data."
    else:
        figures = [
            f"{NAMES[name]} {shown(name, e)}"
            for name, e in duplicates.without.items()
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
