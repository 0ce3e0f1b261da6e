"""Model cards: `README.md` beside the weights, filled in from a template.

All values are hostile: names of judges, sources and labels come from data. The template escapes all
it is given but what is `Markdown` already. huggingface_hub's ModelCard neither escapes what it
fills in nor writes atomically, so it would save only the two lines of the front matter.
"""

import re
import unicodedata
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tastemaker.files import writing_file

CARD = "README.md"
_SPECIAL = re.compile(r"[\\`*_\[\]|~$#@]|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""Markup, and what pages turn into links by themselves."""
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_CONTROL = {"Cc", "Cf", "Cs"}  # Unicode categories that nobody sees
_LONGEST_NAME = 200


class Markdown(str):
    """Text that is Markdown already; all other strings are escaped."""

    __slots__ = ()


def filled_in(template: Path, /, **values: Any) -> str:
    """Return a card: the template with the values, which are escaped unless they are `Markdown`.

    A template may also use number (four digits) and count (with thousands separators).
    """
    environment = Environment(
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = template.read_text(encoding="utf-8")
    return environment.from_string(text).render(
        number=number, count="{:,}".format, **values
    )


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
    line = "".join("\ufffd" if unicodedata.category(c) in _CONTROL else c for c in line)
    line = "".join(_HTML.get(c, c) for c in line)
    return Markdown(_SPECIAL.sub(r"\\\g<0>", line))


def number(value: float) -> Markdown:
    """Return a number with four digits."""
    return Markdown(f"{value:.4g}")


def _finalized(value: Any) -> Any:
    return value if isinstance(value, Markdown | int) else escaped(str(value))
