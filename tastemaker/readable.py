"""Readable text: lists in a sentence, tables, excerpts, notebook cells and model cards.

A model card is `README.md` beside the weights, filled in from a template. All its values are
hostile: names of judges, sources and labels come from data. The template escapes all it is given
but what is `Markdown` already. huggingface_hub's ModelCard neither escapes what it fills in nor
writes atomically, so it would save only the two lines of the front matter.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker.files import writing_file

if TYPE_CHECKING:
    from jinja2 import Template

CARD = "README.md"
_SPECIAL = re.compile(r"[\\`*_\[\]|~$#@]|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""Markup, and what pages turn into links by themselves."""
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
UNPRINTABLE = frozenset({"Cc", "Cs"})
"""Unicode categories: control characters and surrogates."""
INVISIBLE = UNPRINTABLE | {"Cf"}
"""Unicode categories: these, and characters that only direct the layout."""
_REPLACEMENT = "\ufffd"
_LONGEST_NAME = 200
_NOTEBOOK_ROWS = 20
_NOTEBOOK_CELL = 160  # characters


def listed(items: Iterable[str]) -> str:
    """Return items joined as in a sentence: "a", "a and b", "a, b and c"."""
    names = list(items)
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns, with a line under the first row (the heading)."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    rule = "─" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join([lines[0], rule, *lines[1:]])


def notebook_html(
    sentences: Iterable[str], *tables: Sequence[Sequence[str]]
) -> str:
    """Return what a notebook shows of an object: sentences, and tables with a heading each.

    All texts are escaped. There are no scripts and no styles of our own, so that it fits any theme.
    """
    parts = ["<div>"]
    for sentence in sentences:
        parts.append(f"<p>{_cell(sentence, len(sentence))}</p>")
    for rows in tables:
        parts += _html_table(rows)
    return "\n".join([*parts, "</div>"])


def _html_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    heading, *others = rows
    yield "<table>"
    yield _html_row("th", heading)
    for row in others[:_NOTEBOOK_ROWS]:
        yield _html_row("td", row)
    yield "</table>"
    rest = len(others) - _NOTEBOOK_ROWS
    if rest > 0:
        yield f"<p>and {rest:,} more; <code>print</code> shows all</p>"


def _html_row(tag: str, row: Sequence[str]) -> str:
    cells = [f"<{tag}>{_cell(text, _NOTEBOOK_CELL)}</{tag}>" for text in row]
    return f"<tr>{''.join(cells)}</tr>"


def _cell(text: str, characters: int) -> str:
    shown = excerpt(text, characters, replaced=INVISIBLE)
    return html.escape(shown)


def excerpt(
    text: str, characters: int, *, replaced: frozenset[str] = UNPRINTABLE
) -> str:
    """Return the beginning of a text as one line of printable characters.

    replaced: Unicode categories of characters that a replacement stands for.
    """
    start = " ".join(text[: 4 * characters].split())
    if len(start) > characters or len(text) > 4 * characters:
        start = start[:characters].rstrip() + " …"
    return _without(start, replaced)


def printable(text: str) -> str:
    """Return a text with a replacement for each control character and lone surrogate."""
    return _without(text, UNPRINTABLE)


_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal obeys or cannot show: control characters but for line breaks and tabs, changes of
the direction of writing, and halves of surrogate pairs."""


def visible(text: str) -> str:
    """Return a text whose control characters a terminal shows and does not obey: "\\x1b".

    Everything that is printed, on a terminal or into a log, goes through here.
    """
    return _OBEYED.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def visible_json(text: str) -> str:
    """Return JSON with an escape for each character that a terminal would obey."""
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _without(text: str, categories: frozenset[str]) -> str:
    """Return a text with a replacement for each character of some Unicode categories."""
    characters = []
    for character in text:
        is_of_them = unicodedata.category(character) in categories
        characters.append(_REPLACEMENT if is_of_them else character)
    return "".join(characters)


# --- model cards ---


class Markdown(str):
    """Text that is Markdown already; all other strings are escaped."""

    __slots__ = ()


def filled_in(template: Path, /, **values: Any) -> str:
    """Return a card: the template with the values, which are escaped unless they are `Markdown`.

    A template may also use number (four digits) and count (with thousands separators).
    """
    return _compiled(template).render(
        number=number, count="{:,}".format, **values
    )


@cache
def _compiled(template: Path) -> "Template":
    """Return a template. It is compiled once in a process: that takes longer than to fill it in."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(template.read_text(encoding="utf-8"))


def write_as_card(folder: Path, text: str) -> None:
    """Write a text as a folder's card, half a surrogate pair as "?".

    Raises StorageError for a full disk or an unwritable folder.
    """
    with writing_file(folder / CARD) as temporary:
        temporary.write_bytes(text.encode("utf-8", "replace"))


def escaped(text: str) -> Markdown:
    """Return any text as one line of Markdown that shows it letter by letter.

    The line holds no markup, no HTML and no links.
    """
    line = " ".join(text.split())
    if len(line) > _LONGEST_NAME:
        line = line[:_LONGEST_NAME].rstrip() + " …"
    line = _without(line, INVISIBLE)
    line = "".join(_HTML.get(character, character) for character in line)
    return Markdown(_SPECIAL.sub(r"\\\g<0>", line))


def number(value: float) -> Markdown:
    """Return a number with four digits."""
    return Markdown(f"{value:.4g}")


def _finalized(value: Any) -> Any:
    return value if isinstance(value, Markdown | int) else escaped(str(value))
