"""The figures of one kind of judgement, with intervals: the model, the linear baseline, and rivals that learn nothing.

What is measured of a kind is its yardstick (`single.py`, `several.py`); the measuring is the same for all.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from tastemaker.kinds.registry import Link
from tastemaker.maths.statistics import (
    Floats,
    Statistic,
    bootstrap,
    percentile_interval,
    restricted,
    value_of,
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; NaN where it is undefined, or where no interval was computed."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return not (math.isnan(self.low) or math.isnan(self.high))


Measures = Mapping[str, Estimate]

LOWER_IS_BETTER = frozenset({"log_loss", "ece", "mae"})


@dataclass(frozen=True, eq=False, slots=True)
class Judged:
    """m judgements of one kind. Arrays are [m] for a kind about one text, [m, K] for judgements about up to K texts.

    said: what people said, by the kind's yardstick: a number; or the tier of each text, 0 the best, NaN for no text.
    text: which of the evaluation's examples; 0 where there is none. lengths: their characters.
    """

    judgements: Sequence[Any]
    said: Floats
    text: NDArray[np.intp]
    lengths: Floats

    def __len__(self) -> int:
        return len(self.judgements)

    def only(self, where: NDArray[np.bool_]) -> "Judged":
        """Return the judgements where `where` [m] is True."""
        chosen = [judgement for judgement, keep in zip(self.judgements, where, strict=True) if keep]
        return Judged(chosen, self.said[where], self.text[where], self.lengths[where])


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """What one model makes of m judgements.

    scores: those of the judgements' texts, [m] or [m, K]. predicted: [m], what a judge would say on average:
    P(positive), the expected grade or rating, the credit of the chosen text, P(best) of a list's top-scored text.
    loss: [m], −ln P(judgement | scores) in nats; NaN where the model says nothing about such a judgement.
    """

    scores: Floats
    predicted: Floats
    loss: Floats

    def only(self, where: NDArray[np.bool_]) -> "Predictions":
        """Return those of the judgements where `where` [m] is True."""
        return Predictions(self.scores[where], self.predicted[where], self.loss[where])


def amount(value: float) -> str:
    """Return a number in the judges' own unit, with about three digits: "0.930", "12.4", "1,250"."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


@dataclass(frozen=True, eq=False)
class Part:
    """Some of what was judged, by name, how much of it (`n`), and figures of it."""

    name: str
    n: int
    statistics: Mapping[str, Statistic]


class Yardstick(ABC):
    """What is measured of one kind of judgement. To add a kind: a subclass, and a row in `yardsticks.py`.

    headline: the figure that verdicts and slices quote. against_constant: the figure by which the model is compared
    with the best constant. constant_title, constant_in_words: what that is. of_one_text: whether a judgement is about
    one text, so that slices by text make sense.
    """

    headline: ClassVar[str]
    against_constant: ClassVar[str]
    constant_title: ClassVar[str] = "constant"
    constant_in_words: ClassVar[str]
    of_one_text: ClassVar[bool] = True

    @abstractmethod
    def said(self, judgements: Sequence[Any]) -> Floats:
        """Return what people said, [m] or [m, K]."""

    def predictions(self, link: Link, judged: Judged, scores: Floats) -> Predictions:
        """Return what the link makes of scores [m] or [m, K], in float64."""
        s = torch.from_numpy(scores)
        with torch.no_grad():
            loss = -link.log_likelihood(s, link.targets(judged.judgements))
            return Predictions(scores, link.predict(s).numpy(), loss.numpy())

    @abstractmethod
    def statistics(self, judged: Judged, made: Predictions) -> dict[str, Statistic]:
        """Return the figures that have an interval."""

    def points(self, judged: Judged, made: Predictions) -> dict[str, float]:
        """Return the figures without an interval."""
        return {}

    @abstractmethod
    def constant(self, judged: Judged) -> dict[str, float]:
        """Return the figures of saying the same of every text, as well as can be known in hindsight."""

    def longer(self, judged: Judged) -> dict[str, Statistic]:
        """Return the figures of a score that is the text's length; nothing where that is no rival."""
        return {}

    def people(self, judged: Judged) -> dict[str, Statistic]:
        """Return figures of what people said that no model has a part in."""
        return {}

    def counts(self, judged: Judged) -> dict[str, int]:
        """Return what was counted besides the judgements themselves."""
        return {}

    def parts(self, judged: Judged, made: Predictions) -> dict[str, list[Part]]:
        """Return tables, by name, of figures over parts of the judgements."""
        return {}


@dataclass(frozen=True, eq=False)
class MeasuredPart:
    """The figures of a part of the judgements."""

    name: str
    n: int
    measures: Measures


@dataclass(frozen=True, eq=False)
class Measured:
    """The figures of one kind, by who made the predictions, and of the people who judged.

    longer: of a score that is the text's length; empty for kinds that do not compare. difference, over_longer: the
    model's minus the linear baseline's or the length's, intervals from paired resamples. subsets: the headline figure
    of each subset of the judgements that was asked for. parts: tables of figures over parts of the judgements.
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
    yardstick: Yardstick,
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

    groups: [m], the cluster of each; the bootstrap draws clusters. subsets: by name, True [m] where a judgement belongs
    to it.
    """
    sources: dict[str, Mapping[str, Statistic]] = {"model": yardstick.statistics(judged, model)}
    if linear is not None:
        sources["linear"] = yardstick.statistics(judged, linear)
    sources |= {"longer": yardstick.longer(judged), "people": yardstick.people(judged)}
    sources["subsets"] = {
        name: _within(yardstick, judged, model, where) for name, where in subsets.items()
    }
    parts = yardstick.parts(judged, model)
    sources |= {
        f"{table} {i}": part.statistics
        for table, found in parts.items()
        for i, part in enumerate(found)
    }
    figures = _Figures(sources, groups, len(judged), seed, resamples)

    def points(made: Predictions) -> dict[str, Estimate]:
        return {name: Estimate(value) for name, value in yardstick.points(judged, made).items()}

    return Measured(
        model=figures.of("model") | points(model),
        linear=None if linear is None else figures.of("linear") | points(linear),
        longer=figures.of("longer"),
        constant={name: Estimate(value) for name, value in yardstick.constant(judged).items()},
        difference=None if linear is None else figures.difference("linear"),
        over_longer=figures.difference("longer"),
        people=figures.of("people"),
        counts=yardstick.counts(judged),
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
    """Statistics by source and name: their values, and their samples from one and the same resamples."""

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
            f"{source}.{name}": s for source, found in sources.items() for name, s in found.items()
        }
        self.samples = bootstrap(everything, groups, seed=seed, resamples=resamples)
        self.values = {name: value_of(statistic, n) for name, statistic in everything.items()}

    def of(self, source: str) -> dict[str, Estimate]:
        """Return a source's figures with their intervals."""
        keys = {name: f"{source}.{name}" for name in self.sources[source]}
        return {
            n: Estimate(self.values[key], *percentile_interval(self.samples[key]))
            for n, key in keys.items()
        }

    def difference(self, rival: str) -> dict[str, Estimate]:
        """Return model − rival for each figure of both, from the same resamples of the same clusters."""
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
    yardstick: Yardstick, judged: Judged, made: Predictions, where: NDArray[np.bool_]
) -> Statistic:
    """Return the headline figure of a subset, as a statistic of all the judgements."""
    statistics = yardstick.statistics(judged.only(where), made.only(where))
    return restricted(statistics[yardstick.headline], where)
