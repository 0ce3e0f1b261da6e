"""The page at `/`: type a text and see its score. It works without JavaScript too."""

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, Template
from starlette.requests import ClientDisconnect

from tastemaker.serve.bodies import Reader
from tastemaker.serve.refusals import Refusal
from tastemaker.serve.wires import Work

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
def _template() -> Template:
    text = (_FOLDER / "page.html").read_text(encoding="utf-8")
    return Environment(autoescape=True).from_string(text)


def _page(service: Any, status: int = 200, **values: Any) -> Response:
    names = list(service.shelf.models)
    html = _template().render(models=names, **values)
    headers = {"Content-Security-Policy": _POLICY}
    return Response(html, status, headers, "text/html; charset=utf-8")


def add_to(app: FastAPI, service: Any) -> None:
    """Add the page and its two files."""

    @app.get("/", include_in_schema=False)
    async def show() -> Response:
        return _page(service)

    @app.post("/", include_in_schema=False)
    async def score(request: Request) -> Response:
        try:
            return await _scored(service, request)
        except Refusal as refusal:
            return _page(service, refusal.status, problem=refusal.message)
        except ClientDisconnect:
            return Response(status_code=400)

    for name, kind in _FILES.items():
        _add_file(app, name, kind)


async def _scored(service: Any, request: Request) -> Response:
    body = await service.body(request)
    try:
        fields = parse_qs(body.decode("utf-8"), errors="strict")
    except ValueError as error:
        raise Refusal(400, "the form cannot be read.") from error
    values = {name: given[0] for name, given in fields.items()}
    reader = Reader(values, service.settings)
    served = service.shelf.named(values.get("model"))
    example = reader.example(values.get("text", ""), "text")
    work = Work([example], lambda answer: None, served.name)
    scores = await service.scores(request, served, work)
    meanings = {
        name: numbers[0]
        for name, numbers in served.model.meanings(scores).items()
    }
    return _page(
        service,
        text=example.text,
        model=served.name,
        score=float(scores.values[0]),
        truncated=bool(scores.truncated[0]),
        **meanings,
    )


def _add_file(app: FastAPI, name: str, kind: str) -> None:
    content = (_FOLDER / name).read_bytes()

    @app.get(f"/{name}", include_in_schema=False, name=name)
    async def read() -> Response:
        return Response(content, media_type=kind)
