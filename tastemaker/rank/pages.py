"""The pages, written by the server: templates escape texts, and no text is part of a script.

Markdown becomes HTML that cannot do anything: no raw HTML, no images, links to web pages alone.
markdown-it escapes what it writes; the text of every token also passes `safe`, which shows hidden
characters by name. An image becomes its description and its address, in words.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape
from sqlalchemy import select

from tastemaker.data.judgements import Message
from tastemaker.data.store import Judge, Store, View
from tastemaker.data.store import schema as s
from tastemaker.rank.verdicts import Answer, Share, equal_share

# ---- a judge's figures ---------------------------------------------------------------------------


_LATEST = 120
"""Views that are read: a repeat is of one of the 60 views before it."""


@dataclass(frozen=True)
class JudgeFeedback:
    """A judge's pace and consistency, which the judge sees.

    seconds: the median of an item, None before the first. repeats: pairs answered as before.
    """

    seconds: float | None
    repeats: Share


def judge_feedback(store: Store, judge: Judge) -> JudgeFeedback:
    """Return a judge's figures on the latest views."""
    views, judgements = s.views.c, s.judgements.c
    latest = (
        select(views.id, views.item_id, views.reason)
        .where(views.judge_id == judge.id)
        .order_by(views.id.desc())
        .limit(_LATEST)
        .subquery()
    )
    query = (
        select(latest, judgements.answer, judgements.seconds)
        .join(s.judgements, judgements.view_id == latest.c.id)
        .where(judgements.withdrawn.is_(None), judgements.is_skip.is_(False))
        .order_by(latest.c.id)
    )
    with store.database.reading() as connection:
        rows = connection.execute(query).all()
    seconds = [row.seconds for row in rows if row.seconds is not None]
    earlier: dict[int, Answer] = {}
    hits = n = 0
    for row in rows:
        answer = json.loads(row.answer)
        if row.reason == "repeat" and row.item_id in earlier:
            equal, shared = equal_share(answer, earlier[row.item_id])
            hits += equal
            n += shared
        earlier.setdefault(row.item_id, answer)
    return JudgeFeedback(median(seconds) if seconds else None, Share(hits, n))


# ---- texts in HTML -------------------------------------------------------------------------------


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
"""Characters that nobody sees and that change what one reads."""
_HIDDEN_PATTERN = re.compile("|".join(map(re.escape, _HIDDEN)))


_LONG = 20_000
_PART = 4000
"""Characters that a browser lays out together; of a long text, only the parts that are in view."""


def safe(text: str) -> Markup:
    """Return a text as HTML: escaped, with hidden characters shown by name; a long one in parts."""
    if len(text) <= _LONG:
        return _escaped(text)
    part = Markup('<div class="part">{}</div>')
    return Markup("").join(
        part.format(_escaped(each)) for each in _parts(text)
    )


def _parts(text: str) -> Iterator[str]:
    """Yield a long text in parts, cut behind a line or a word where there is one."""
    start = 0
    while start < len(text):
        end = start + _PART
        if end < len(text):
            for mark in ("\n", " "):
                cut = text.rfind(mark, start + _PART // 2, end) + 1
                if cut:
                    end = cut
                    break
        yield text[start:end]
        start = end


def _escaped(text: str) -> Markup:
    parts = []
    start = 0
    for match in _HIDDEN_PATTERN.finditer(text):
        parts.append(escape(text[start : match.start()]))
        mark = '<span class="mark">{}</span>'
        parts.append(Markup(mark).format(_HIDDEN[match[0]]))
        start = match.end()
    parts.append(escape(text[start:]))
    return Markup("").join(parts)


MOST = 20_000
"""Characters of a text that is rendered; a longer one is shown as it is."""
_LINKS = ("http://", "https://", "mailto:")


class _Renderer(RendererHTML):
    """Writes tokens; its methods are named as the tokens are."""

    def text(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        return safe(tokens[idx].content)

    def code_inline(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        return f"<code>{safe(tokens[idx].content)}</code>"

    def code_block(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        code = safe(tokens[idx].content)
        return f'<pre tabindex="0"><code>{code}</code></pre>\n'

    fence = code_block

    def image(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        token = tokens[idx]
        words = f"[{token.content}]({token.attrs.get('src', '')})"
        return f'<span class="image">{safe(words)}</span>'

    def link_open(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        address = str(tokens[idx].attrs.get("href", ""))
        if not address.lower().startswith(_LINKS):
            return '<span class="link">'
        return (
            f'<a href="{escape(address)}" target="_blank" '
            'rel="noopener noreferrer nofollow">'
        )

    def link_close(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        depth = 0
        for token in reversed(tokens[:idx]):
            depth += {"link_close": 1, "link_open": -1}.get(token.type, 0)
            if depth < 0:
                address = str(token.attrs.get("href", "")).lower()
                return "</a>" if address.startswith(_LINKS) else "</span>"
        return ""


_PARSER = MarkdownIt(
    "commonmark",
    {"html": False, "linkify": False, "maxNesting": 20},
    renderer_cls=_Renderer,
).enable(["table", "strikethrough"])


@lru_cache(256)
def rendered(text: str) -> Markup:
    """Return Markdown as HTML; a text that is too long is escaped and not rendered."""
    if len(text) > MOST:
        return safe(text)
    html = _PARSER.render(text)
    # headings of a text are no headings of the page
    for level in "123456":
        html = html.replace(f"<h{level}>", f'<p class="h h{level}">')
        html = html.replace(f"</h{level}>", "</p>")
    return Markup(html)


# ---- pages ---------------------------------------------------------------------------------------


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
    figures: JudgeFeedback,
) -> Response:
    """Return a judge's page: an item, or the end. figures: the judge's pace and consistency."""
    phrases = words()[language(request)]
    values: dict[str, Any] = {"judge": judge, "left": left, "view": view}
    values["figures"] = figures
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
