"""The page at `/`: a text, or two side by side, with score, place and the sentences that made it.

The server writes the whole page. Its script only replaces the result without loading the page
again, so everything works without it.
"""

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, Template
from starlette.requests import ClientDisconnect

from tastemaker.data.judgements import Example
from tastemaker.serve.bodies import Reader, checked_numbers
from tastemaker.serve.openapi import operations
from tastemaker.serve.refusals import Refusal
from tastemaker.serve.shown_texts import (
    Question,
    histogram,
    preference,
    signed,
)

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
    for field, name in names.items():
        text = reader.text(fields.get(field, ""), field)
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
