"""Lists in a sentence and tables in plain text."""

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
