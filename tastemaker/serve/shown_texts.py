"""What the page shows of a text: its numbers, its place among reference texts, its sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tastemaker.data.judgements import Comparison, Example, Ranking
from tastemaker.reward.explain import Part, pieces_of, without_each
from tastemaker.reward.model import RewardModel
from tastemaker.scores import Scores

_MOST_PIECES = 40
_LEVELS = 4
_WEAKEST = 0.08
"""The share of the largest effect below which a piece is not marked."""

_BARS = 36
_WIDTH = 400
_HEIGHT = 110
_MARGIN = 8
_FLOOR = 88
_HIGHEST = 68
_BEYOND = 0.4
"""How far the axis goes beyond the reference texts, in units of the score."""


@dataclass(frozen=True)
class Mark:
    """A piece of a text, and how the page marks it: "up1" to "up4", "down1" to "down4" or ""."""

    part: Part
    style: str

    @property
    def text(self) -> str:
        """The piece without the space after it, which is not marked."""
        return self.part.text.rstrip()

    @property
    def space(self) -> str:
        """The space after the piece."""
        return self.part.text[len(self.text) :]


@dataclass(frozen=True)
class ShownText:
    """One text on the page. uncertainty: of an ensemble. share: of reference texts below it."""

    name: str
    score: float
    meanings: dict[str, float]
    is_truncated: bool
    marks: list[Mark]
    share: float | None = None
    uncertainty: float | None = None

    @property
    def strongest(self) -> list[Part]:
        """The three pieces of the largest effects, where there are several."""
        parts = [mark.part for mark in self.marks if mark.style]
        parts.sort(key=lambda part: -abs(part.effect))
        return parts[:3] if len(self.marks) > 1 else []


@dataclass(frozen=True)
class Bar:
    """A bar of the drawing."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Label:
    """A name at a place of the axis."""

    x: float
    name: str


@dataclass(frozen=True)
class Axis:
    """The scores that the drawing shows, from `low` to `high`."""

    low: float
    high: float

    def x(self, score: float) -> float:
        """Return the place of a score; beyond an end, that end."""
        share = (score - self.low) / (self.high - self.low)
        inside = min(1.0, max(0.0, share))
        return _MARGIN + inside * (_WIDTH - 2 * _MARGIN)

    def ticks(self) -> list[Label]:
        """Return the whole numbers on the axis, at most about nine."""
        first = math.ceil(self.low)
        last = math.floor(self.high)
        stride = max(1, (last - first) // 8)
        ticks = []
        for number in range(first, last + 1):
            if number % stride == 0:
                ticks.append(Label(self.x(number), signed(number, 0)))
        return ticks


@dataclass(frozen=True)
class Histogram:
    """The reference texts by score. markers: the places of the texts."""

    bars: list[Bar]
    ticks: list[Label]
    markers: list[Label]
    texts: int
    width: int = _WIDTH
    height: int = _HEIGHT
    floor: int = _FLOOR


@dataclass
class Question:
    """A text to be shown, and what must be scored for it: itself, and itself without each piece."""

    name: str
    example: Example
    pieces: list[str] = field(init=False)
    examples: list[Example] = field(init=False)

    def __post_init__(self) -> None:
        text = self.example.text
        pieces = pieces_of(text, "sentences", _MOST_PIECES)
        if len(pieces) == 1:
            pieces = pieces_of(text, "words", _MOST_PIECES)
        self.pieces = pieces
        self.examples = [self.example, *without_each(self.example, pieces)]

    def shown_text(self, model: RewardModel, scores: Scores) -> ShownText:
        """Return what the page shows. scores: of `examples`."""
        score = float(scores.values[0])
        effects = (score - scores.values[1:]).tolist() or [score]
        parts = list(map(Part, self.pieces, effects))
        uncertainty = scores.uncertainty
        meanings = {}
        for name, values in model.meanings(scores).items():
            meanings[name] = values[0]
        return ShownText(
            self.name,
            score,
            meanings,
            bool(scores.truncated[0]),
            _marks(parts),
            _share_below(model, score),
            None if uncertainty is None else float(uncertainty[0]),
        )


def _marks(parts: Sequence[Part]) -> list[Mark]:
    largest = max(abs(part.effect) for part in parts)
    marks = []
    for part in parts:
        share = abs(part.effect) / largest if largest > 0 else 0.0
        style = ""
        if share >= _WEAKEST:
            direction = "up" if part.effect > 0 else "down"
            style = f"{direction}{math.ceil(share * _LEVELS)}"
        marks.append(Mark(part, style))
    return marks


def _quantiles(model: RewardModel) -> list[float]:
    anchor = model.contract.anchor
    return [] if anchor is None else anchor.quantiles


def _share_below(model: RewardModel, score: float) -> float | None:
    """Return the share of reference texts with a lower score; None where they are unknown."""
    quantiles = _quantiles(model)
    if not quantiles:
        return None
    levels = np.linspace(0, 1, len(quantiles))
    return float(np.interp(score, quantiles, levels, left=0.0, right=1.0))


def histogram(
    model: RewardModel, shown_texts: Sequence[ShownText]
) -> Histogram | None:
    """Return the drawing of the reference texts with the texts' places; None without them."""
    quantiles = _quantiles(model)
    anchor = model.contract.anchor
    if not quantiles or anchor is None:
        return None
    axis = Axis(quantiles[0] - _BEYOND, quantiles[-1] + _BEYOND)
    markers = []
    for one in shown_texts:
        markers.append(Label(axis.x(one.score), one.name))
    bars = _bars(quantiles, axis)
    return Histogram(bars, axis.ticks(), markers, anchor.texts)


def _bars(quantiles: list[float], axis: Axis) -> list[Bar]:
    edges = np.linspace(axis.low, axis.high, _BARS + 1)
    levels = np.linspace(0, 1, len(quantiles))
    below = np.interp(edges, quantiles, levels, left=0.0, right=1.0)
    counts = np.diff(below)
    heights = _HIGHEST * counts / counts.max()
    width = axis.x(float(edges[1])) - axis.x(float(edges[0]))
    bars = []
    for edge, height in zip(edges.tolist(), heights.tolist(), strict=False):
        if height > 0:
            bar = Bar(
                x=axis.x(edge),
                y=_FLOOR - height,
                width=width - 1,
                height=height,
            )
            bars.append(bar)
    return bars


def preference(
    model: RewardModel, first: float, second: float
) -> float | None:
    """Return the probability that a judge prefers the first text; None where none was learned."""
    link = model.links.get(Comparison) or model.links.get(Ranking)
    if link is None:
        return None
    with torch.no_grad():
        pair = torch.tensor([[first, second]], dtype=torch.float64)
        return float(link.predict(pair).flatten()[0])


def signed(value: float, digits: int = 3) -> str:
    """Return a number with its sign, a true minus; zero has none."""
    text = f"{abs(value):.{digits}f}"
    if not float(text):
        return text
    return ("−" if value < 0 else "+") + text
