"""What the beginning of a file says about a file that is no table of rows."""

from collections.abc import Collection
from typing import Any

from tastemaker.data.roles import plain_name
from tastemaker.data.values import parse_number
from tastemaker.errors import DataError

_POINTER = b"version https://git-lfs"
_OTHER_KINDS = {
    b"\x1f\x8b": "the bytes are those of gzip. Add .gz to the name, or unpack it.",
    b"pk\x03\x04": "the bytes are those of a zip archive, as .xlsx files are too. Unpack it, or "
    "save the sheet as CSV.",
    b"\x28\xb5\x2f\xfd": "the bytes are those of Zstandard. Add .zst to the name, or unpack it.",
    b"par1": "the bytes are those of Parquet. Let its name end in .parquet.",
    b"\xff\xfe": "not UTF-8 at byte 0: the text is UTF-16. Convert the file to UTF-8.",
    b"\xfe\xff": "not UTF-8 at byte 0: the text is UTF-16. Convert the file to UTF-8.",
    b"<!doctype": "a web page, not a table. Get the file itself.",
    b"<html": "a web page, not a table. Get the file itself.",
    b"%pdf": "a PDF, not a table. Write its rows as CSV or JSONL.",
    b"sep=": "its first line, 'sep=…', is for a spreadsheet. Remove the line.",
}
"""How the first line of another kind of file begins, in small letters, and what to do."""

_WRAPPERS = ("data", "rows", "examples", "instances", "items", "records")
_DELIMITERS = {
    ";": "semicolons",
    "\t": "tabs",
    "|": "bars",
    ",": "commas",
}
_SUFFIXES = {"\t": ".tsv", ",": ".csv"}
"""The ends of the names of files with these characters between cells."""


def check_first_line(line: bytes, file: str) -> None:
    """Raise DataError for a Git LFS pointer, and for line ends that no program writes now."""
    if line.startswith(_POINTER):
        raise DataError(
            f"{file}: a Git LFS pointer, not the file itself. Get that with `git lfs pull`."
        )
    for start, kind in _OTHER_KINDS.items():
        if line.lower().startswith(start):
            raise DataError(f"{file}: {kind}")
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
    if _are_columns(row):
        raise DataError(
            f"{file}: one object with a column under each name, as pandas' to_json writes it. "
            "Write rows: to_json(..., orient='records', lines=True)."
        )
    if row and all(_is_number_of_row(*entry) for entry in row.items()):
        raise DataError(
            f"{file}: one object with a row under each number. Write the rows alone, one a line."
        )


def _are_columns(row: dict[str, Any]) -> bool:
    """Return whether an object holds columns: their cells by number, or as lists."""
    if not row:
        return False
    by_number = True
    for cells in row.values():
        is_column = isinstance(cells, dict) and bool(cells)
        by_number = by_number and is_column and all(k.isdigit() for k in cells)
    if by_number:
        return True
    # without a column of texts, the lists may be the answers of one row
    are_lists = all(isinstance(cells, list) for cells in row.values())
    return are_lists and "text" in row and len(row) > 1


def _is_number_of_row(name: str, value: Any) -> bool:
    return name.isdigit() and isinstance(value, dict)


def json_hint(line: str) -> str:
    """Return advice for a line that is not one JSON object."""
    start = line.lstrip()
    if start.startswith("["):
        return (
            " A file that is one JSON array ends in .json; "
            "in others write one object a line."
        )
    end = start.rstrip()
    if end.endswith("},"):
        return " A comma ends the line: end each row with a line end alone."
    if end.startswith("{'"):
        return " It is written as Python writes it: write it with json.dumps."
    if end.startswith("{") and end.endswith("}") and "} {" in end:
        return " Several objects are in the line: write one object a line."
    if end == "{":
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
            divider = _DELIMITERS[delimiter]
            advice = f"Write the file with {divider}"
            suffix = _SUFFIXES.get(other)
            if suffix is not None:
                advice += f", or name a file with {word} {suffix}"
            raise DataError(
                f"{file}: {word} divide its first line, and {divider} none. {advice}."
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
    "KTO": ("prompt", "completion", "label"),
    "OpenAI's preferences": (
        "input",
        "preferred_output",
        "non_preferred_output",
    ),
    "ms-swift": ("messages", "rejected_response"),
    "TL;DR comparisons": ("info", "summaries", "choice"),
    "Stack Exchange paired": ("question", "response_j", "response_k"),
    "SHP": ("history", "human_ref_A", "human_ref_B", "labels"),
}
"""Layouts, and the columns by which each is recognised."""


def layout_hint(names: Collection[str]) -> str:
    """Return which layout a table nearly has, and the columns that are missing."""
    plain = {plain_name(name) for name in names}
    for layout, columns in _PARTS.items():
        missing = [name for name in columns if plain_name(name) not in plain]
        if len(missing) == 1:
            return (
                f" It looks like {layout} without the column {missing[0]!r}."
            )
    return ""
