"""One verdict on a reward model in plain words: whether to use it, and how good it is.

Where the texts that the model was trained on are known, the figures leave them out.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tastemaker.evaluate.estimates import (
    FEW_GROUPS,
    LOWER_IS_BETTER,
    NAMES,
    Estimate,
)
from tastemaker.kinds.metrics import amount
from tastemaker.readable import listed

if TYPE_CHECKING:
    from tastemaker.evaluate.findings import Evaluation, KindFindings

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
