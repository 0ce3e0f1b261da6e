"""The figures of one kind of judgement: intervals, paired differences, calibration, parts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tastemaker.evaluate.estimates import SIGNIFICANT, Estimate, Measures
from tastemaker.evaluate.findings import Measured, MeasuredPart
from tastemaker.kinds.metrics import Judged, KindMetrics, Part, Predictions
from tastemaker.maths.calibration import (
    CalibrationSlope,
    ece,
    ece_if_calibrated,
    ece_interval,
)
from tastemaker.maths.resampling import (
    Bounds,
    Clusters,
    Replicates,
    detectable_difference,
    holm,
    replicated,
    rest_p_value,
    sign_flip_p_values,
)
from tastemaker.maths.statistics import (
    Floats,
    Ratio,
    Statistic,
    Transformed,
    restricted,
)

Bools = NDArray[np.bool_]

_SHARE, _CORRELATION, _POSITIVE = (0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)
_BOUNDS: Mapping[str, Bounds] = {
    "accuracy": _SHARE,
    "auroc": _SHARE,
    "longer_baseline": _SHARE,
    "ndcg": _SHARE,
    "top1": _SHARE,
    "prefers_longer": _SHARE,
    "people_prefer_longer": _SHARE,
    "human_agreement": _SHARE,
    "human_ceiling": _SHARE,
    "kendall_tau": _CORRELATION,
    "pearson": _CORRELATION,
    "spearman": _CORRELATION,
    "log_loss": _POSITIVE,
    "mae": _POSITIVE,
}
"""The smallest and largest value of a figure."""


def measure(
    kind_metrics: KindMetrics,
    judged: Judged,
    model: Predictions,
    linear: Predictions | None,
    *,
    clusters: Clusters,
    subsets: Mapping[str, Bools],
    slices: Sequence[str],
    seed: int,
    resamples: int,
) -> Measured:
    """Measure m judgements of one kind.

    subsets: by name, True [m] where a judgement belongs to it. slices: the names of those that are
    compared with each other.
    """
    headline = kind_metrics.headline
    sources: dict[str, Mapping[str, Statistic]] = {}
    sources["model"] = kind_metrics.statistics(judged, model)
    if linear is not None:
        sources["linear"] = kind_metrics.statistics(judged, linear)
    sources["longer"] = kind_metrics.longer(judged)
    of_constant = kind_metrics.of_constant(judged)
    sources["constant"] = {kind_metrics.against_constant: of_constant}
    sources["people"] = kind_metrics.people(judged)
    of_subsets = {}
    for name, where in subsets.items():
        chosen = kind_metrics.statistics(judged.only(where), model.only(where))
        of_subsets[name] = restricted(chosen[headline], where)
    sources["subsets"] = of_subsets
    tables = kind_metrics.parts(judged, model)
    for table, parts in tables.items():
        for number, part in enumerate(parts):
            sources[f"{table} {number}"] = part.statistics
    scorers = {"model": model}
    if linear is not None:
        scorers["linear"] = linear
    for name, predictions in scorers.items():
        slope = _slope(kind_metrics, judged, predictions)
        sources[f"{name}'s slope"] = slope
    figures = _Figures(sources, clusters, headline, seed, resamples)

    by_scorer, measured_parts = {}, {}
    for source, predictions in scorers.items():
        measures = figures.of(source)
        for name, value in kind_metrics.points(judged, predictions).items():
            measures[name] = Estimate(value)
        measures |= _calibration(
            kind_metrics, judged, predictions, clusters, seed
        )
        measures |= figures.of(f"{source}'s slope")
        by_scorer[source] = measures
    whole = sources["model"].get("accuracy")
    for table, parts in tables.items():
        p_values = _part_p_values(parts, whole, clusters)
        measured_parts[table] = figures.of_parts(table, parts, p_values)
    compared = [Part(name, 0, {headline: of_subsets[name]}) for name in slices]
    subset_p = _part_p_values(compared, whole, clusters)
    is_fixed = not kind_metrics.of_one_text
    over_constant = figures.difference("constant", is_fixed=is_fixed)
    of_best = kind_metrics.constant(judged)
    best_constant = {name: Estimate(value) for name, value in of_best.items()}
    return Measured(
        model=by_scorer["model"],
        linear=by_scorer.get("linear"),
        longer=figures.of("longer"),
        constant=best_constant,
        difference=None if linear is None else figures.difference("linear"),
        over_longer=figures.difference("longer"),
        over_constant=over_constant,
        people=figures.of("people"),
        counts=kind_metrics.counts(judged),
        subsets=figures.of("subsets"),
        subset_p=dict(zip(slices, subset_p, strict=True)),
        parts=measured_parts,
    )


def _slope(
    kind_metrics: KindMetrics, judged: Judged, predictions: Predictions
) -> dict[str, Statistic]:
    """Return the calibration slope, of a kind that has one."""
    chances = kind_metrics.chances(judged, predictions)
    if chances is None:
        return {}
    slope = CalibrationSlope(
        *chances, judged.weights, has_intercept=kind_metrics.has_base_rate
    )
    return {"calibration_slope": slope}


def _calibration(
    kind_metrics: KindMetrics,
    judged: Judged,
    predictions: Predictions,
    clusters: Clusters,
    seed: int,
) -> dict[str, Estimate]:
    """Return the calibration error, and what it would be without miscalibration."""
    chances = kind_metrics.chances(judged, predictions)
    if chances is None:
        return {}
    error = ece(*chances, weights=judged.weights)
    ends = ece_interval(*chances, clusters, seed=seed)
    noise = ece_if_calibrated(chances[0], clusters, seed=seed)
    return {
        "ece": Estimate(error, *ends),
        "ece_if_calibrated": Estimate(noise),
    }


def _part_p_values(
    parts: Sequence[Part], whole: Statistic | None, clusters: Clusters
) -> list[float]:
    """Return the p of each part's accuracy being that of the rest, corrected for their number.

    NaN where accuracy is not what is measured.
    """
    p_values = []
    for part in parts:
        accuracy = part.statistics.get("accuracy")
        if not (isinstance(accuracy, Ratio) and isinstance(whole, Ratio)):
            return [math.nan] * len(parts)
        p_values.append(rest_p_value(accuracy, whole, clusters))
    return holm(p_values)


class _Figures:
    """Statistics by source and name, with intervals and paired differences."""

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, Statistic]],
        clusters: Clusters,
        headline: str,
        seed: int,
        resamples: int,
    ) -> None:
        self.sources, self.clusters = sources, clusters
        self.headline, self.seed = headline, seed
        everything = {}
        for source, statistics in sources.items():
            for name, statistic in statistics.items():
                key = f"{source}.{name}"
                everything[key] = statistic
                if isinstance(statistic, Transformed):
                    everything[key] = statistic.statistic
        self.replicates = replicated(
            everything, clusters, seed=seed, resamples=resamples
        )

    def of(self, source: str) -> dict[str, Estimate]:
        """Return a source's figures with their intervals."""
        estimates = {}
        for name, statistic in self.sources[source].items():
            replicates = self.replicates[f"{source}.{name}"]
            bounds = _BOUNDS.get(
                self.headline if source == "subsets" else name
            )
            ends = replicates.interval(bounds)
            numbers = np.array([replicates.value, *ends])
            if isinstance(statistic, Transformed):
                numbers = statistic.function(numbers)
            estimates[name] = Estimate(*numbers.tolist())
        return estimates

    def of_parts(
        self, table: str, parts: Sequence[Part], p_values: Sequence[float]
    ) -> list[MeasuredPart]:
        """Return the figures of the parts of a table."""
        rows = []
        for number, part in enumerate(parts):
            measures = self.of(f"{table} {number}")
            row = MeasuredPart(part.name, part.n, measures, p_values[number])
            rows.append(row)
        return rows

    def difference(self, rival: str, *, is_fixed: bool = False) -> Measures:
        """Return model − rival for each figure that both have, from the same replicates.

        is_fixed: whether the rival's figure is the same for all judgements, as a coin's is.
        """
        estimates, tested, sums = {}, [], []
        for name, ours in self.sources["model"].items():
            if name not in self.sources[rival]:
                continue
            theirs = self.sources[rival][name]
            of_rival = self.replicates[f"{rival}.{name}"]
            replicates = self.replicates[f"model.{name}"].minus(of_rival)
            bounds = None
            if name in _BOUNDS:
                low, high = _BOUNDS[name]
                if math.isfinite(high):
                    bounds = low - high, high - low
                if is_fixed:
                    bounds = low - of_rival.value, high - of_rival.value
            estimates[name] = _difference(replicates, bounds)
            above = _paired(ours, theirs)
            if above is not None and not math.isnan(replicates.value):
                tested.append(name)
                sums.append(self.clusters.sums(above))
        if tested:
            p_values = sign_flip_p_values(np.array(sums), self.seed)
            for name, p in zip(tested, p_values.tolist(), strict=True):
                estimates[name] = _tested(estimates[name], p)
        return estimates


def _tested(difference: Estimate, p: float) -> Estimate:
    """Return a difference with the p of an exact test; its interval holds 0 where p says so."""
    low, high = difference.low, difference.high
    if p > SIGNIFICANT:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    return replace(difference, low=float(low), high=float(high), p=p)


def _paired(ours: Statistic, theirs: Statistic) -> Floats | None:
    """Return what each observation adds to a difference of two ratios of the same pairs [n]."""
    if not (isinstance(ours, Ratio) and isinstance(theirs, Ratio)):
        return None
    if not np.array_equal(ours.denominators, theirs.denominators):
        return None
    return ours.numerators - theirs.numerators


def _difference(replicates: Replicates, bounds: Bounds | None) -> Estimate:
    """Return a difference with its interval, a p of the replicates, and what it could detect."""
    low, high = replicates.interval(bounds)
    detectable = detectable_difference(low, high, replicates.clusters)
    return Estimate(
        replicates.value, low, high, replicates.p_value(), detectable
    )
