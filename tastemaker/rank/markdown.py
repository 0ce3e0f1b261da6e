"""Markdown as HTML that cannot do anything: no raw HTML, no images, links to web pages alone.

markdown-it escapes what it writes; the text of every token also passes `safe`, which shows hidden
characters by name. An image becomes its description and its address, in words.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup, escape

from tastemaker.rank.texts import safe

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
