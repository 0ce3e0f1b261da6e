"""Rows of CSV and TSV files, and whether a quote in a TSV file is a character or encloses a field.

Most corpora are written without quoting: a line is a row, and a quote is a character. Programs that
write CSV quote the fields that hold a tab, a quote or a line end. A file is read with quoting only
where its lines cannot be rows otherwise. In a file whose lines are all rows, a column is unquoted
where all of its fields are quoted, and a field where it holds doubled quotes.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tastemaker.data.beginnings import check_names
from tastemaker.errors import DataError

TAB, QUOTE = "\t", '"'

Lines = Callable[[], Iterator[str]]
"""Opens the file once more."""


LONGEST_FIELD = 64 * 2**20
"""Characters. The library's own limit, 128 KiB, is less than a long text."""

_quotings: dict[tuple[str, int, int], "Quoting"] = {}
"""Of files by path, size and time of change: a file is read more than once."""

NumberedRows = Iterator[tuple[int, dict[str, Any] | DataError]]


def delimited_rows(
    path: Path, lines: Lines, delimiter: str, names: Sequence[str] = ()
) -> NumberedRows:
    """Yield (line, row), or the error of a row. names: the header of a file that has none."""
    check_header(names, path.name)
    csv.field_size_limit(LONGEST_FIELD)  # the whole process's
    if delimiter == TAB:
        status = path.stat()
        version = (str(path), status.st_size, status.st_mtime_ns)
        if version not in _quotings:
            _quotings[version] = quoting_of(lines)
        quoting = _quotings[version]
        if not quoting.encloses:
            yield from _line_rows(path, lines, quoting, names)
            return
    # strict: a quote left open is an error
    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    header = list(names)
    start = 1
    name = path.name
    try:
        for fields in reader:
            if not header:
                check_header(fields, name)
                check_names(fields, delimiter, name)
                header = fields
            elif len(fields) == len(header):
                yield start, dict(zip(header, fields, strict=True))
            elif fields:
                yield start, _uneven(header, fields, name, start, delimiter)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path.name}:{start}: not well-formed: {error}."
        ) from error


def _uneven(
    header: list[str], fields: list[str], name: str, line: int, delimiter: str
) -> DataError:
    return DataError(
        f"{name}:{line}: {len(fields)} fields, but the header has {len(header)}. "
        f"Quote the fields that hold a {delimiter!r}, a quote or a line break."
    )


def _line_rows(
    path: Path, lines: Lines, quoting: "Quoting", names: Sequence[str]
) -> NumberedRows:
    """Yield the rows of a file in which every line is a row."""
    header = list(names)
    for number, line in enumerate(lines(), 1):
        if not without_end(line):
            continue
        fields = quoting.fields(line)
        if not header:
            check_header(fields, path.name)
            check_names(fields, TAB, path.name)
            header = fields
        elif len(fields) == len(header):
            yield number, dict(zip(header, fields, strict=True))
        else:
            problem = f"{len(fields)} fields, but the header has {len(header)}"
            yield (
                number,
                DataError(
                    f"{path.name}:{number}: {problem}. Tabs and line ends divide this file; "
                    "take them out of its texts."
                ),
            )


def check_header(names: Sequence[str], file: str) -> None:
    """Raise DataError for two columns of one name."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        listed = ", ".join(repr(name) for name in repeated)
        raise DataError(
            f"{file}: two columns have the same name: {listed}. Rename one."
        )


@dataclass(frozen=True)
class Quoting:
    """How quotes in a file are read. encloses: as in CSV. columns: numbers of those all quoted."""

    encloses: bool
    columns: frozenset[int] = frozenset()

    def fields(self, line: str) -> list[str]:
        """Return the fields of a line in which quotes do not enclose tabs or line ends."""
        fields = without_end(line).split(TAB)
        if QUOTE not in line:
            return fields
        for number, field in enumerate(fields):
            if _is_quoted(field):
                fields[number] = self._unquoted(field, number)
        return fields

    def _unquoted(self, field: str, number: int) -> str:
        inner = field[1:-1]
        without_pairs = inner.replace(QUOTE * 2, "")
        is_as_in_csv = QUOTE not in without_pairs
        if number in self.columns:
            pair = QUOTE * 2 if is_as_in_csv else "\\" + QUOTE
            return inner.replace(pair, QUOTE)
        has_pairs = len(without_pairs) < len(inner)
        needs_quotes = has_pairs or "\r" in inner
        if needs_quotes and is_as_in_csv:
            return inner.replace(QUOTE * 2, QUOTE)
        return field


def quoting_of(lines: Lines) -> Quoting:
    """Return how the quotes of a file are to be read. Goes through it once, seldom twice."""
    tabs = -1
    uneven: set[int] = set()
    has_quotes = False
    quoted: set[int] | None = None  # None: before the second line
    for number, line in enumerate(lines(), 1):
        if not line.strip():
            continue
        if tabs < 0:
            tabs = line.count(TAB)
            continue
        if line.count(TAB) != tabs:
            uneven.add(number)
        if QUOTE in line:
            has_quotes = True
            quoted = _quoted_columns(line, quoted)
        else:
            quoted = set()
    if not has_quotes:
        return Quoting(encloses=False)
    # in one column no tab tells where a row ends
    if tabs == 0 or (uneven and _explains(lines, tabs, uneven)):
        return Quoting(encloses=True)
    return Quoting(encloses=False, columns=frozenset(quoted or ()))


def _quoted_columns(line: str, before: set[int] | None) -> set[int]:
    """Return the columns that are quoted in this line and in all lines before it."""
    if before is not None and not before:
        return before
    fields = without_end(line).split(TAB)
    quoted = {n for n, field in enumerate(fields) if _is_quoted(field)}
    return quoted if before is None else before & quoted


def _is_quoted(field: str) -> bool:
    return len(field) > 1 and field[0] == QUOTE == field[-1]


def _explains(lines: Lines, tabs: int, uneven: Iterable[int]) -> bool:
    """Return whether quotes as in CSV make rows of all lines, also of those with too few tabs.

    A row of several lines that each have the right number of tabs speaks against it.
    """
    uneven = set(uneven)
    reader = csv.reader(lines(), delimiter=TAB, strict=True)
    before = 0
    try:
        for fields in reader:
            span = range(before + 1, reader.line_num + 1)
            before = reader.line_num
            if not fields:
                continue
            if len(fields) != tabs + 1:
                return False
            if len(span) > 1 and uneven.isdisjoint(span):
                return False
    except csv.Error:
        return False
    return True


def without_end(line: str) -> str:
    """Return a line without its end."""
    return line.removesuffix("\n").removesuffix("\r")
