"""Texts as HTML: escaped, with the characters that nobody sees shown by name."""

import re

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
