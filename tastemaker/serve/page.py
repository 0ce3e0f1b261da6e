"""The page at `/`: a text, or two side by side, with score, place and the sentences that made it.

The server writes the whole page. Its script only replaces the result without loading the page
again, so everything works without it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import torch
from fastapi import FastAPI, Request, Response
from jinja2 import Environment, Template
from starlette.requests import ClientDisconnect

from tastemaker.data.judgements import Comparison, Example, Ranking
from tastemaker.reward.explain import Part, pieces_of, without_each
from tastemaker.reward.model import RewardModel
from tastemaker.scores import Scores
from tastemaker.serve.openapi import operations
from tastemaker.serve.requests import Reader, Refusal, checked_numbers

# ---- questions and figures -----------------------------------------------------------------------


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
class Tick:
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

    def ticks(self) -> list[Tick]:
        """Return the whole numbers on the axis, at most about nine."""
        first = math.ceil(self.low)
        last = math.floor(self.high)
        stride = max(1, (last - first) // 8)
        ticks = []
        for number in range(first, last + 1):
            if number % stride == 0:
                ticks.append(Tick(self.x(number), signed(number, 0)))
        return ticks


@dataclass(frozen=True)
class ScoreHistogram:
    """The reference texts by score. markers: the places of the texts."""

    bars: list[Bar]
    ticks: list[Tick]
    markers: list[Tick]
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
) -> ScoreHistogram | None:
    """Return the drawing of the reference texts with the texts' places; None without them."""
    quantiles = _quantiles(model)
    anchor = model.contract.anchor
    if not quantiles or anchor is None:
        return None
    axis = Axis(quantiles[0] - _BEYOND, quantiles[-1] + _BEYOND)
    markers = []
    for one in shown_texts:
        markers.append(Tick(axis.x(one.score), one.name))
    bars = _bars(quantiles, axis)
    return ScoreHistogram(bars, axis.ticks(), markers, anchor.texts)


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


# ---- the page ------------------------------------------------------------------------------------


_FOLDER = Path(__file__).parent
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_FILES = {
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}


@cache
def _template(name: str) -> Template:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True)
    environment.filters["signed"] = signed
    environment.filters["place"] = _place
    environment.filters["percent"] = _percent
    return environment.from_string(text)


def _place(share: float) -> str:
    """Return where a text stands among the reference texts, in words."""
    percent = round(100 * share)
    if share <= 0 or share >= 1:
        return f"{'above' if share >= 1 else 'below'} all"
    return f"above {min(99, max(1, percent))} %"


def _percent(probability: float) -> str:
    """Return a probability; one that rounds to 0 or 1 as a bound, since it is neither."""
    percent = 100 * probability
    if percent < 0.05:
        return "below 0.1 %"
    return "over 99.9 %" if percent >= 99.95 else f"{percent:.1f} %"


def _page(
    service: Any, status: int = 200, name: str = "page.html", **values: Any
) -> Response:
    names = list(service.shelf.models)
    html = _template(name).render(models=names, **values)
    headers = {"Content-Security-Policy": _POLICY}
    return Response(html, status, headers, "text/html; charset=utf-8")


def add_to(app: FastAPI, service: Any) -> None:
    """Add the page, its two files, and `/docs`: the paths with examples."""

    @app.get("/", include_in_schema=False)
    async def show() -> Response:
        return _page(service, fields={})

    @app.post("/", include_in_schema=False)
    async def score(request: Request) -> Response:
        fields: dict[str, str] = {}
        try:
            fields = await _fields(service, request)
            values = await _scored(service, request, fields)
        except Refusal as refusal:
            problem = refusal.message
            return _page(
                service, refusal.status, fields=fields, problem=problem
            )
        except ClientDisconnect:
            return Response(status_code=400)
        return _page(service, fields=fields, **values)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        document = app.openapi()
        url = request.url
        address = f"{url.scheme}://{url.netloc}"
        return _page(
            service,
            name="docs.html",
            operations=list(operations(document, address)),
            has_token="security" in document,
        )

    for name, kind in _FILES.items():
        _add_file(app, name, kind)


async def _fields(service: Any, request: Request) -> dict[str, str]:
    """Return the fields of the form. Raises Refusal where it cannot be read."""
    body = await service.body(request)
    try:
        fields = parse_qs(body.decode("utf-8"), errors="strict")
    except ValueError as error:
        raise Refusal(400, "the form cannot be read.") from error
    # browsers send lines that end in CRLF; the library reads them as typed
    return {name: v[0].replace("\r\n", "\n") for name, v in fields.items()}


async def _scored(
    service: Any, request: Request, fields: dict[str, str]
) -> dict[str, Any]:
    """Score the texts of a form; return what the page shows of them."""
    reader = Reader(fields, service.settings)
    served = service.shelf.named(fields.get("model"))
    model = served.model
    prompt = fields.get("prompt") or None
    if prompt is not None:
        prompt = reader.text(prompt, "prompt")
    is_two = fields.get("mode") == "two"
    names = {"text": "A", "other": "B"} if is_two else {"text": "this text"}
    questions = []
    for key, name in names.items():
        text = reader.text(fields.get(key, ""), key)
        questions.append(Question(name, Example(text, prompt)))
    examples = [e for question in questions for e in question.examples]
    scores = await service.scores(request, served, examples)
    checked_numbers(scores.as_list())
    shown_texts = []
    start = 0
    for question in questions:
        end = start + len(question.examples)
        part = scores.part(start, end)
        shown_texts.append(question.shown_text(model, part))
        start = end
    values: dict[str, Any] = {
        "shown_texts": shown_texts,
        "histogram": histogram(model, shown_texts),
    }
    if len(shown_texts) == 2:
        first, second = (one.score for one in shown_texts)
        values["preference"] = preference(model, first, second)
    return values


def _add_file(app: FastAPI, name: str, kind: str) -> None:
    content = (_FOLDER / name).read_bytes()

    @app.get(f"/{name}", include_in_schema=False, name=name)
    async def read() -> Response:
        return Response(content, media_type=kind)
