"""The figures of one kind of judgement, with intervals: the model, the linear baseline, and rivals
that learn nothing.

What is measured of a kind is its `KindMetrics` (`tastemaker/kinds`); the measuring is the same for
all.
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
    sources |= {
        "longer": kind_metrics.longer(judged),
        "people": kind_metrics.people(judged),
    }
    sources["subsets"] = {
        name: _within(kind_metrics, judged, model, where)
        for name, where in subsets.items()
    }
    parts = kind_metrics.parts(judged, model)
    sources |= {
        f"{table} {i}": part.statistics
        for table, found in parts.items()
        for i, part in enumerate(found)
    }
    figures = _Figures(sources, groups, len(judged), seed, resamples)

    def points(made: Predictions) -> dict[str, Estimate]:
        return {
            name: Estimate(value)
            for name, value in kind_metrics.points(judged, made).items()
        }

    return Measured(
        model=figures.of("model") | points(model),
        linear=None if linear is None else figures.of("linear") | points(linear),
        longer=figures.of("longer"),
        constant={
            name: Estimate(value)
            for name, value in kind_metrics.constant(judged).items()
        },
        difference=None if linear is None else figures.difference("linear"),
        over_longer=figures.difference("longer"),
        people=figures.of("people"),
        counts=kind_metrics.counts(judged),
        subsets=figures.of("subsets"),
        parts={
            table: [
                MeasuredPart(part.name, part.n, figures.of(f"{table} {i}"))
                for i, part in enumerate(found)
            ]
            for table, found in parts.items()
        },
    )


class _Figures:
    """Statistics by source and name: their values, and their samples from one and the same
    resamples.
    """

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, Statistic]],
        groups: NDArray[Any],
        n: int,
        seed: int,
        resamples: int,
    ) -> None:
        self.sources = sources
        everything = {
            f"{source}.{name}": s
            for source, found in sources.items()
            for name, s in found.items()
        }
        self.samples = bootstrap(everything, groups, seed=seed, resamples=resamples)
        self.values = {
            name: value_of(statistic, n) for name, statistic in everything.items()
        }

    def of(self, source: str) -> dict[str, Estimate]:
        """Return a source's figures with their intervals."""
        keys = {name: f"{source}.{name}" for name in self.sources[source]}
        return {
            n: Estimate(self.values[key], *percentile_interval(self.samples[key]))
            for n, key in keys.items()
        }

    def difference(self, rival: str) -> dict[str, Estimate]:
        """Return model − rival for each figure of both, from the same resamples of the same
        clusters.
        """
        names = [name for name in self.sources["model"] if name in self.sources[rival]]
        keys = {name: (f"model.{name}", f"{rival}.{name}") for name in names}
        return {
            name: Estimate(
                self.values[ours] - self.values[theirs],
                *percentile_interval(self.samples[ours] - self.samples[theirs]),
            )
            for name, (ours, theirs) in keys.items()
        }


def _within(
    kind_metrics: KindMetrics,
    judged: Judged,
    made: Predictions,
    where: NDArray[np.bool_],
) -> Statistic:
    """Return the headline figure of a subset, as a statistic of all the judgements."""
    statistics = kind_metrics.statistics(judged.only(where), made.only(where))
    return restricted(statistics[kind_metrics.headline], where)
