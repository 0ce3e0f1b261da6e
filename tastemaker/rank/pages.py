"""The pages, written by the server: templates escape texts, and no text is part of a script."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from tastemaker.data.judgements import Message
from tastemaker.data.store import Judge, View
from tastemaker.rank.markdown import rendered
from tastemaker.rank.own import Own
from tastemaker.rank.texts import safe

_FOLDER = Path(__file__).parent
LANGUAGES = {"en": "English", "zh": "中文"}
FILES = {
    "machine.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "lead.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
}
NOTICES = {404: "no_link", 422: "no_page", 500: "no_store", 503: "no_store"}
"""The page that is shown instead of one that failed, by status."""
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


def notice(
    request: Request, name: str, status: int, more: str = ""
) -> Response:
    """Return a page that says one thing. more: about it, in place of what the page has."""
    if "/export/" in request.url.path and name == "no_page":
        name, more = "no_export", ""
    return page(request, "notice.html", status, notice=name, more=more)


def reason(request: Request, message: str, status: int) -> str:
    """Return why a post is refused, in the language of the page. message: in English."""
    errors = words()[language(request)].get("errors")
    if errors is None:
        return message or f"refused ({status})."
    for english, translated in errors.items():
        if english and english in message:
            return str(translated)
    return str(errors[""]).format(status=status)


def judge_page(
    request: Request,
    judge: Judge,
    view: View | None,
    left: int,
    form: dict[str, Any],
    *,
    own: Own,
) -> Response:
    """Return a judge's page: an item, or the end. own: the judge's figures."""
    phrases = words()[language(request)]
    values: dict[str, Any] = {"judge": judge, "left": left, "view": view}
    values["own"] = own
    if view is not None:
        show = rendered if form.get("markdown") else safe
        values["turns"] = _turns(view, show)
        values["mode"] = _mode(view)
        values["texts"] = [show(text) for text in view.texts]
        values["look"] = "text markdown" if form.get("markdown") else "text"
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
        values |= _of_each(view, form, phrases, values)
    return page(request, "judge.html", **values)


def _of_each(
    view: View,
    form: dict[str, Any],
    phrases: dict[str, Any],
    values: dict[str, Any],
) -> dict[str, Any]:
    """Return what each answer of a ranking gets beside it, as (value, word, name), and the keys."""
    grades, labels = [], []
    keys = phrases["keys"][values["mode"]]
    asked = []
    if view.ask == "rank" and form.get("grade_each"):
        low, high = values["scale"]
        grades = [(grade, grade, grade) for grade in range(low, high + 1)]
        asked.append(["G", phrases["grade"]])
    if view.ask == "rank" and form.get("label_each"):
        yes, no = values["labels"]
        labels = [("true", yes, "yes"), ("false", no, "no")]
        asked.append(["L", phrases["label"]])
    return {
        "grades": grades,
        "answer_labels": labels,
        "legend": [*keys[:-2], *asked, *keys[-2:]],
    }


def reasons_in(request: Request, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of skip reasons, those of the page's own in the reader's language."""
    in_language = words()[language(request)]["reasons"]
    translated: dict[str, str] = {}
    for phrases in words().values():
        translated.update(zip(phrases["reasons"], in_language, strict=True))
    totals: Counter[str] = Counter()
    for reason, count in counts.items():
        totals[translated.get(reason, reason)] += count
    return dict(totals)


def _mode(view: View) -> str:
    """Return how an item is answered: rank, pair, label, grade or rate."""
    if view.ask == "rank" and len(view.texts) == 2:
        return "pair"
    return view.ask


def _turns(view: View, show: Callable[[str], Markup]) -> list[Message]:
    if view.prompt is None:
        return []
    if isinstance(view.prompt, str):
        return [Message("", show(view.prompt))]
    return [Message(turn.role, show(turn.content)) for turn in view.prompt]
