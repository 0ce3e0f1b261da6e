"""What the beginning of a file says about a file that is no table of rows."""

from collections.abc import Collection
from typing import Any

from tastemaker.data.values import parse_number
from tastemaker.errors import DataError

_POINTER = b"version https://git-lfs"
_WRAPPERS = ("data", "rows", "examples", "instances", "items", "records")
_DELIMITERS = {
    ";": "semicolons",
    "\t": "tabs",
    "|": "bars",
    ",": "commas",
}


def check_first_line(line: bytes, file: str) -> None:
    """Raise DataError for a Git LFS pointer, and for line ends that no program writes now."""
    if line.startswith(_POINTER):
        raise DataError(
            f"{file}: a Git LFS pointer, not the file itself. Get that with `git lfs pull`."
        )
    inner = line.rstrip(b"\r\n")
    is_only_line = not line.endswith(b"\n")
    if is_only_line and b"\r" in inner and not inner.startswith((b"{", b"[")):
        raise DataError(
            f"{file}: its lines end in a carriage return alone, as on old Macs. Save it with "
            "line feeds."
        )


def check_is_row(row: dict[str, Any], file: str) -> None:
    """Raise DataError for an object that holds all rows: as a list, or column by column."""
    (name, value), *others = row.items() or [("", None)]
    match value:
        case [dict(), *_] if not others and name in _WRAPPERS:
            raise DataError(
                f"{file}: one object that holds the rows in {name!r}. Write that list alone as a "
                ".json file."
            )
    for cells in row.values():
        is_column = isinstance(cells, dict) and bool(cells)
        if not is_column or not all(key.isdigit() for key in cells):
            return
    raise DataError(
        f"{file}: one object with a column under each name, as pandas' to_json writes it. "
        "Write rows: to_json(..., orient='records', lines=True)."
    )


def json_hint(line: str) -> str:
    """Return advice for a line that is not one JSON object."""
    start = line.lstrip()
    if start.startswith("["):
        return (
            " A file that is one JSON array ends in .json; "
            "in others write one object a line."
        )
    if start.rstrip() == "{":
        return (
            " It is one object over several lines: if it holds the rows, write their list alone "
            "as a .json file; else write each object on one line."
        )
    return ""


def check_names(names: list[str], delimiter: str, file: str) -> None:
    """Raise DataError for a header that another character divides."""
    if len(names) != 1:
        return
    for other, word in _DELIMITERS.items():
        if other != delimiter and other in names[0]:
            own = _DELIMITERS[delimiter]
            raise DataError(
                f"{file}: {word} divide its first line, and {own} none. Write the file with "
                f"{own}, or name a file with tabs .tsv."
            )


def header_hint(names: list[str]) -> str:
    """Return advice for a first line that looks like a row."""
    odd = [name for name in names if not name.strip()]
    for name in names:
        if parse_number(name) is not None:
            odd.append(name)
    if not odd:
        return ""
    return " The first line looks like a row: name the columns with --header."


_PARTS = {
    "PKU-SafeRLHF": ("response_0", "response_1", "better_response_id"),
    "HelpSteer2-preference": (
        "response_1",
        "response_2",
        "preference_strength",
    ),
    "LMArena": ("conversation_a", "conversation_b", "winner"),
    "UltraFeedback": ("instruction", "completions"),
    "OpenAssistant": ("message_id", "parent_id", "text", "role", "rank"),
    "pairs": ("chosen", "rejected"),
    "ms-swift": ("messages", "rejected_response"),
    "TL;DR comparisons": ("info", "summaries", "choice"),
    "Stack Exchange paired": ("question", "response_j", "response_k"),
    "SHP": ("history", "human_ref_A", "human_ref_B", "labels"),
}
"""Layouts, and the columns by which each is recognised."""


def layout_hint(names: Collection[str]) -> str:
    """Return which layout a table nearly has, and the columns that are missing."""
    for layout, columns in _PARTS.items():
        missing = [name for name in columns if name not in names]
        if len(missing) == 1:
            return (
                f" It looks like {layout} without the column {missing[0]!r}."
            )
    return ""
