"""Would more data help? The same model fitted on nested parts of the judgements, and measured.

Each part holds the smaller ones, and the same held-out texts measure all of them.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tastemaker.data.judgements import Judgement, lot, plain
from tastemaker.data.splitting import split
from tastemaker.errors import DataError, UsageError
from tastemaker.readable import notebook_html
from tastemaker.reward.fitting import Backbones, fit

_HELD_OUT = 0.2
_LEAST = 100
"""Judgements of the smallest part."""
_FIGURES = ("accuracy", "pearson")
_SMALL_GAIN = 0.005
"""If doubling the data gains less than this, more data is not advised."""


@dataclass(frozen=True, slots=True)
class Point:
    """A model fitted on a part of the judgements.

    judgements: size of the part. value: the held-out figure. margin: half of its 95 % interval, or
    None if there is no interval.
    """

    judgements: int
    value: float
    margin: float | None


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """A figure by the number of judgements, the fewest first."""

    figure: str
    points: tuple[Point, ...]

    @property
    def gain(self) -> float:
        """The gain from twice the data: the mean over the last two doublings."""
        last = self.points[-3:]
        return (last[-1].value - last[0].value) / (len(last) - 1)

    def sentence(self) -> str:
        """Return whether more data would help, in plain words."""
        last = self.points[-1]
        noise = (last.margin or 0.0) / 2
        gained = (
            f"each doubling of the data up to {last.judgements:,} judgements "
            f"changed {self.figure} by {self.gain:+.3f}"
        )
        if self.gain < _SMALL_GAIN and noise < 4 * _SMALL_GAIN:
            return f"More data of this kind would help little: {gained}."
        if self.gain < max(_SMALL_GAIN, noise):
            return (
                f"It is not clear whether more data would help: {gained}, "
                f"and the last value is uncertain by ± {2 * noise:.3f}."
            )
        return f"More data would help: {gained}."

    def as_dict(self) -> dict[str, Any]:
        """Return the curve, JSON-ready."""
        points = [asdict(point) for point in self.points]
        return {
            "figure": self.figure,
            "points": points,
            "gain": self.gain,
            "sentence": self.sentence(),
        }

    def table(self) -> str:
        """Return the sentence and the points as lines."""
        lines = [self.sentence(), f"judgements  {self.figure}"]
        for point in self.points:
            margin = ""
            if point.margin is not None:
                margin = f" ± {point.margin:.3f}"
            lines.append(f"{point.judgements:10,}  {point.value:.3f}{margin}")
        return "\n".join(lines)

    __str__ = table

    def _repr_html_(self) -> str:
        """Return the sentence and the points, for a notebook."""
        rows = [["judgements", self.figure]]
        for point in self.points:
            rows.append([f"{point.judgements:,}", f"{point.value:.3f}"])
        return notebook_html([self.sentence()], rows)


def learning_curve(
    judgements: Sequence[Judgement],
    *,
    backbone: Backbones = "linear",
    doublings: int = 3,
    seed: int = 0,
    **settings: Any,
) -> LearningCurve:
    """Return how good a model is on an eighth, a quarter, a half and all of the judgements.

    The figures are measured on a fifth of the texts. With the linear backbone, all fits together
    take about as long as two fits. doublings: 3 means that the smallest part is an eighth.
    settings: further arguments of `tm.fit`. Raises UsageError for
    doublings below 1 and DataError for too few judgements.
    """
    if doublings < 1:
        raise UsageError(
            f"doublings {doublings}: a curve needs 1 or more; 3 is usual."
        )
    train, held_out = split(judgements, held_out=_HELD_OUT, seed=seed)
    points = []
    figure = ""
    for number in range(doublings, -1, -1):
        part = nested_part(train, 0.5**number, seed)
        if len(part) < _LEAST:
            continue
        model = fit(
            part, backbone=backbone, held_out=held_out, seed=seed, **settings
        )
        evaluation = model.contract.evaluation
        figure = figure or _figure_of(evaluation)
        points.append(_point(len(part), figure, evaluation))
    if len(points) < 2:
        raise DataError(
            f"{len(judgements):,} judgements are too few for a learning curve: half of the "
            f"training part must be {_LEAST} or more."
        )
    return LearningCurve(figure, tuple(points))


def nested_part(
    judgements: Sequence[Judgement], share: float, seed: int
) -> list[Judgement]:
    """Return a random share of the judgements; a larger share holds a smaller one.

    Judgements with one prompt, or about the same texts, stay together.
    """
    limit = share * 2**64
    part = []
    for judgement in judgements:
        if judgement.prompt is not None:
            unit = plain(judgement.prompt)
        else:
            unit = "\0".join(sorted(judgement.texts))
        if lot(seed, "learning curve", unit) < limit:
            part.append(judgement)
    return part


def _figure_of(evaluation: dict[str, Any]) -> str:
    for name in _FIGURES:
        if evaluation.get(name) is not None:
            return name
    raise DataError(
        "the held-out texts have no figure to draw a learning curve of: they are too few or alike."
    )


def _point(count: int, figure: str, evaluation: dict[str, Any]) -> Point:
    value = evaluation.get(figure)
    if value is None:
        raise DataError(
            f"{figure} is undefined for {count:,} judgements: there are too few of them."
        )
    interval = evaluation.get(f"{figure}_interval")
    margin = None
    if interval is not None and None not in interval:
        low, high = interval
        margin = (high - low) / 2
    return Point(count, value, margin)
