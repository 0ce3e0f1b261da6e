"""Plain text for people: lists in a sentence, tables and excerpts."""

import unicodedata
from collections.abc import Iterable, Sequence


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
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    rule = "─" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join([lines[0], rule, *lines[1:]])


def excerpt(text: str, characters: int) -> str:
    """Return the beginning of a text as one line of printable characters."""
    start = " ".join(text[: 4 * characters].split())
    if len(start) > characters or len(text) > 4 * characters:
        start = start[:characters].rstrip() + " …"
    return printable(start)


def printable(text: str) -> str:
    """Return a text with a replacement for each control character and lone surrogate."""
    return "".join(
        "\ufffd" if unicodedata.category(c) in {"Cc", "Cs"} else c for c in text
    )
