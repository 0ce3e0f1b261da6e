"""The figures of one kind of judgement, with intervals: the model, the linear baseline, the best constant.

What is measured of a kind is its yardstick; a new kind of judgement adds one row to `YARDSTICKS`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.judgements import Grade, Judgement, Label, Rating
from tastemaker.maths.statistics import (
    Floats,
    Statistic,
    auroc_of,
    bootstrap,
    ece,
    kendall,
    log_loss,
    mean_of,
    pearson_of,
    percentile_interval,
    restricted,
    spearman_of,
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
class Predictions:
    """What one model makes of m judgements.

    scores: [m], the score of each judgement's text. predicted: [m], P(positive), or the expected grade or rating.
    loss: [m], −ln P(judgement | score) in nats.
    """

    scores: Floats
    predicted: Floats
    loss: Floats


def amount(value: float) -> str:
    """Return a number in the judges' own unit, with about three digits: "0.930", "12.4", "1,250"."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


@dataclass(frozen=True)
class Yardstick:
    """What is measured of one kind of judgement, given what was said [m] and the predictions.

    headline: the figure that verdicts and slices quote. said: the number in a judgement. best_constant: what always
    predicting the same comes to, in words; against_constant: the figure by which the model is compared with that.
    is_mistake: of what was said [m] and predicted [m], True where they disagree. in_words: a judgement or prediction.
    statistics: figures with an interval. points: figures without one. constant: those of the best constant prediction.
    """

    headline: str
    best_constant: str
    against_constant: str
    said: Callable[[Any], float]
    is_mistake: Callable[[Floats, Floats], NDArray[np.bool_]]
    in_words: Callable[[float], str]
    statistics: Callable[[Floats, Predictions], dict[str, Statistic]]
    points: Callable[[Floats, Predictions], dict[str, float]]
    constant: Callable[[Floats], dict[str, float]]


def _label_mistakes(said: Floats, predicted: Floats) -> NDArray[np.bool_]:
    return np.not_equal(predicted > 0.5, said > 0.5)


def _label_in_words(value: float) -> str:
    return {1.0: "positive", 0.0: "negative"}.get(value, f"{value:.1%} positive")


def _label_statistics(said: Floats, made: Predictions) -> dict[str, Statistic]:
    positive = said > 0.5
    return {
        "accuracy": mean_of(~_label_mistakes(said, made.predicted)),
        "auroc": auroc_of(made.scores, positive),
        "log_loss": mean_of(made.loss),
    }


def _label_constant(said: Floats) -> dict[str, float]:
    """Return the figures of always saying the share of positives, known in hindsight: the best a constant can do."""
    share = float(said.mean())
    both = 0 < share < 1
    return {
        "accuracy": max(share, 1 - share),
        "auroc": 0.5 if both else math.nan,
        "log_loss": log_loss(np.full(len(said), share), said > 0.5),
    }


def _number_statistics(said: Floats, made: Predictions) -> dict[str, Statistic]:
    return {
        "mae": mean_of(np.abs(made.predicted - said)),
        "pearson": pearson_of(made.predicted, said),
        "spearman": spearman_of(made.predicted, said),
    }


def _number_constant(said: Floats) -> dict[str, float]:
    """Return the figure of always saying the median, known in hindsight: no constant has a smaller absolute error."""
    return {"mae": float(np.abs(said - np.median(said)).mean())}


_LABEL = Yardstick(
    headline="accuracy",
    best_constant="always giving the more frequent label",
    against_constant="accuracy",
    said=lambda judgement: float(judgement.positive),
    is_mistake=_label_mistakes,
    in_words=_label_in_words,
    statistics=_label_statistics,
    points=lambda said, made: {"ece": ece(made.predicted, said > 0.5)},
    constant=_label_constant,
)


def _number_yardstick(said: Callable[[Any], float]) -> Yardstick:
    return Yardstick(
        headline="pearson",
        best_constant="always giving the median",
        against_constant="mae",
        said=said,
        is_mistake=lambda said, predicted: predicted != said,
        in_words=lambda value: f"{value:,.0f}" if value.is_integer() else amount(value),
        statistics=_number_statistics,
        points=lambda said, made: {"kendall_tau": kendall(made.predicted, said)},
        constant=_number_constant,
    )


YARDSTICKS: dict[type[Judgement], Yardstick] = {
    Label: _LABEL,
    Grade: _number_yardstick(lambda judgement: float(judgement.grade)),
    Rating: _number_yardstick(lambda judgement: judgement.rating),
}
"""What is measured of each kind of judgement: the one place to add a row for a new kind."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The figures of one kind. difference: the model's minus the linear baseline's, its interval from paired resamples.

    subsets: the headline figure of each subset of the judgements that was asked for.
    """

    model: Measures
    linear: Measures | None
    constant: Measures
    difference: Measures | None
    subsets: Measures


def measure(
    yardstick: Yardstick,
    said: Floats,
    model: Predictions,
    linear: Predictions | None,
    *,
    groups: NDArray[Any],
    subsets: Mapping[str, NDArray[np.bool_]],
    seed: int,
    resamples: int,
) -> Measured:
    """Measure m judgements of one kind.

    said: [m]. groups: [m], which text each is about; the bootstrap draws texts. subsets: by name, True [m] where a
    judgement belongs to it.
    """
    sources = {"model": model} if linear is None else {"model": model, "linear": linear}
    statistics = {source: yardstick.statistics(said, made) for source, made in sources.items()}
    everything = {f"{source}.{name}": s for source, found in statistics.items() for name, s in found.items()}
    everything |= {f"subset.{name}": _within(yardstick, said, model, where) for name, where in subsets.items()}
    samples = bootstrap(everything, groups, seed=seed, resamples=resamples)
    values = {name: value_of(statistic, len(said)) for name, statistic in everything.items()}

    def estimates(source: str) -> dict[str, Estimate]:
        start = f"{source}."
        return {
            name.removeprefix(start): Estimate(values[name], *percentile_interval(samples[name]))
            for name in everything
            if name.startswith(start)
        }

    def points(made: Predictions) -> dict[str, Estimate]:
        return {name: Estimate(value) for name, value in yardstick.points(said, made).items()}

    return Measured(
        model=estimates("model") | points(model),
        linear=None if linear is None else estimates("linear") | points(linear),
        constant={name: Estimate(value) for name, value in yardstick.constant(said).items()},
        difference=None if linear is None else _differences(statistics["model"], values, samples),
        subsets=estimates("subset"),
    )


def _within(yardstick: Yardstick, said: Floats, made: Predictions, where: NDArray[np.bool_]) -> Statistic:
    """Return the headline figure of a subset, as a statistic of all the judgements."""
    part = Predictions(made.scores[where], made.predicted[where], made.loss[where])
    return restricted(yardstick.statistics(said[where], part)[yardstick.headline], where)


def _differences(
    names: Mapping[str, Statistic], values: Mapping[str, float], samples: Mapping[str, Floats]
) -> Measures:
    """Return model − linear for each name, from the same resamples of the same texts."""
    return {
        name: Estimate(
            values[f"model.{name}"] - values[f"linear.{name}"],
            *percentile_interval(samples[f"model.{name}"] - samples[f"linear.{name}"]),
        )
        for name in names
    }
