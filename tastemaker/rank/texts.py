"""Texts as HTML: escaped, with the characters that nobody sees shown by name."""

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

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
