"""The pages, written by the server: templates escape texts, and no text is part of a script."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from tastemaker.data.judgements import Message
from tastemaker.data.store import Judge, View

_FOLDER = Path(__file__).parent
LANGUAGES = {"en": "English", "zh": "中文"}
FILES = {
    "machine.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "lead.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
_HTML = "text/html; charset=utf-8"
_NO_STORE = {"Cache-Control": "no-store"}


def file(name: str) -> bytes:
    """Return the content of one of `FILES`."""
    return (_FOLDER / name).read_bytes()


@cache
def words() -> dict[str, dict[str, Any]]:
    """Return what the pages say, by language."""
    text = (_FOLDER / "words.yaml").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return loaded


@cache
def _environment() -> Environment:
    return Environment(
        autoescape=True,
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def template(name: str) -> Template:
    """Return a template of this folder."""
    return _environment().get_template(name)


def language(request: Request) -> str:
    """Return the language of a page: the address's, else the browser's, else English."""
    asked = request.query_params.get("lang", "")
    if asked in LANGUAGES:
        return asked
    accepted = request.headers.get("accept-language", "").lower()
    return "zh" if accepted.startswith("zh") else "en"


def page(
    request: Request, name: str, status: int = 200, **values: Any
) -> Response:
    """Return a page of a template, in the language of the request."""
    lang = language(request)
    other = "en" if lang == "zh" else "zh"
    html = template(name).render(
        lang=lang,
        other=other,
        other_name=LANGUAGES[other],
        w=words()[lang],
        **values,
    )
    return Response(html, status, _NO_STORE, _HTML)


def notice(request: Request, name: str, status: int) -> Response:
    """Return a page that says one thing."""
    return page(request, "notice.html", status, notice=name)


def judge_page(
    request: Request,
    judge: Judge,
    view: View | None,
    left: int,
    form: dict[str, Any],
) -> Response:
    """Return a judge's page: an item, or the end."""
    phrases = words()[language(request)]
    values: dict[str, Any] = {"judge": judge, "left": left, "view": view}
    if view is not None:
        values["turns"] = _turns(view)
        values["mode"] = _mode(view)
        values["texts"] = [safe(text) for text in view.texts]
        values["messages"] = json.dumps(
            phrases["messages"], ensure_ascii=False
        )
        values["answer"] = json.dumps(view.answer)
        values["form"] = form
        values["scale"] = form.get("scale") or [1, 7]
        values["labels"] = form.get("labels") or [
            phrases["positive"],
            phrases["negative"],
        ]
        values["reasons"] = form.get("reasons") or phrases["reasons"]
    return page(request, "judge.html", **values)


_HIDDEN = {
    "\u202a": "LRE",
    "\u202b": "RLE",
    "\u202d": "LRO",
    "\u202e": "RLO",
    "\u200b": "ZWSP",
    "\u2060": "WJ",
    "\ufeff": "BOM",
    "\x00": "NUL",
}
"""Characters that nobody sees and that change what one reads: they are shown by name."""
_HIDDEN_PATTERN = re.compile("|".join(map(re.escape, _HIDDEN)))


def safe(text: str) -> Markup:
    """Return a text as HTML: escaped, with hidden characters shown by name."""
    parts = []
    start = 0
    for match in _HIDDEN_PATTERN.finditer(text):
        parts.append(escape(text[start : match.start()]))
        mark = '<span class="mark">{}</span>'
        parts.append(Markup(mark).format(_HIDDEN[match[0]]))
        start = match.end()
    parts.append(escape(text[start:]))
    return Markup("").join(parts)


def _mode(view: View) -> str:
    """Return how an item is answered: rank, pair, label, grade or rate."""
    if view.ask == "rank" and len(view.texts) == 2:
        return "pair"
    return view.ask


def _turns(view: View) -> list[Message]:
    if view.prompt is None:
        return []
    if isinstance(view.prompt, str):
        return [Message("", safe(view.prompt))]
    return [Message(turn.role, safe(turn.content)) for turn in view.prompt]
