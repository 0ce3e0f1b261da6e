"""A figure of an evaluation with its interval, and the names of the figures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tastemaker.kinds.metrics import amount

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


def flat(measures: Measures, *, before: str = "", after: str = "") -> dict[str, Any]:
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
