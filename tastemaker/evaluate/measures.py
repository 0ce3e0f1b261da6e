"""The figures of one kind of judgement, with intervals.

The model is measured beside the linear baseline and rivals that learn nothing. The `KindMetrics` of
a kind (`tastemaker/kinds`) define its figures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.kinds.metrics import Judged, KindMetrics, Predictions
from tastemaker.maths.statistics import (
    Statistic,
    bootstrap,
    percentile_interval,
    restricted,
    value_of,
)


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


def measure(
    kind_metrics: KindMetrics,
    judged: Judged,
    model: Predictions,
    linear: Predictions | None,
    *,
    groups: NDArray[Any],
    subsets: Mapping[str, NDArray[np.bool_]],
    seed: int,
    resamples: int,
) -> Measured:
    """Measure m judgements of one kind.

    groups: [m], the cluster of each; the bootstrap draws clusters. subsets: by name, True [m] where
    a judgement belongs to it.
    """
    sources: dict[str, Mapping[str, Statistic]] = {
        "model": kind_metrics.statistics(judged, model)
    }
    if linear is not None:
        sources["linear"] = kind_metrics.statistics(judged, linear)
    sources["longer"] = kind_metrics.longer(judged)
    sources["people"] = kind_metrics.people(judged)
    sources["subsets"] = {
        name: _within(kind_metrics, judged, model, where)
        for name, where in subsets.items()
    }
    tables = kind_metrics.parts(judged, model)
    for table, parts in tables.items():
        for number, part in enumerate(parts):
            sources[f"{table} {number}"] = part.statistics
    figures = _Figures(sources, groups, len(judged), seed, resamples)

    model_measures = figures.of("model")
    model_measures.update(_points(kind_metrics.points(judged, model)))
    linear_measures = difference = None
    if linear is not None:
        linear_measures = figures.of("linear")
        linear_measures.update(_points(kind_metrics.points(judged, linear)))
        difference = figures.difference("linear")
    measured_parts: dict[str, list[MeasuredPart]] = {}
    for table, parts in tables.items():
        measured_parts[table] = []
        for number, part in enumerate(parts):
            measures = figures.of(f"{table} {number}")
            measured_parts[table].append(MeasuredPart(part.name, part.n, measures))
    return Measured(
        model=model_measures,
        linear=linear_measures,
        longer=figures.of("longer"),
        constant=_points(kind_metrics.constant(judged)),
        difference=difference,
        over_longer=figures.difference("longer"),
        people=figures.of("people"),
        counts=kind_metrics.counts(judged),
        subsets=figures.of("subsets"),
        parts=measured_parts,
    )


def _points(values: Mapping[str, float]) -> dict[str, Estimate]:
    """Return figures without intervals."""
    return {name: Estimate(value) for name, value in values.items()}


class _Figures:
    """Statistics by source and name: their values, and samples from shared resamples."""

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, Statistic]],
        groups: NDArray[Any],
        n: int,
        seed: int,
        resamples: int,
    ) -> None:
        self.sources = sources
        everything = {}
        for source, statistics in sources.items():
            for name, statistic in statistics.items():
                everything[f"{source}.{name}"] = statistic
        self.samples = bootstrap(everything, groups, seed=seed, resamples=resamples)
        self.values = {
            name: value_of(statistic, n) for name, statistic in everything.items()
        }

    def of(self, source: str) -> dict[str, Estimate]:
        """Return a source's figures with their intervals."""
        estimates = {}
        for name in self.sources[source]:
            key = f"{source}.{name}"
            interval = percentile_interval(self.samples[key])
            estimates[name] = Estimate(self.values[key], *interval)
        return estimates

    def difference(self, rival: str) -> dict[str, Estimate]:
        """Return model − rival for each figure that both have, from the same resamples."""
        estimates = {}
        for name in self.sources["model"]:
            if name not in self.sources[rival]:
                continue
            ours, theirs = f"model.{name}", f"{rival}.{name}"
            value = self.values[ours] - self.values[theirs]
            interval = percentile_interval(self.samples[ours] - self.samples[theirs])
            estimates[name] = Estimate(value, *interval)
        return estimates


def _within(
    kind_metrics: KindMetrics,
    judged: Judged,
    made: Predictions,
    where: NDArray[np.bool_],
) -> Statistic:
    """Return the headline figure of a subset, as a statistic of all the judgements."""
    statistics = kind_metrics.statistics(judged.only(where), made.only(where))
    return restricted(statistics[kind_metrics.headline], where)
