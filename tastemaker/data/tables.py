"""Rows of JSONL, JSON, CSV, TSV and Parquet files, in memory that does not grow with the file.

Text files are UTF-8, with or without a byte order mark, and may be packed (`data.packed`). A place
is `name:line` in a text file (the line that the row begins on) and `name:row` in a Parquet file;
both count from 1. A .json file may also be one JSON array of objects, which is read item by item;
its places are `name:row`.

`tastemaker.data.metadata` has the columns of the judge, the time and the weight.
"""

import gzip
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from tastemaker.data.beginnings import (
    check_first_line,
    check_is_row,
    json_hint,
)
from tastemaker.data.delimited import TAB, check_header, delimited_rows
from tastemaker.data.packed import PACKINGS, opened, unpacked_name
from tastemaker.data.stored_values import (
    array_items,
    cells_of,
    check_nesting,
    decoded,
)
from tastemaker.data.values import (
    show,
)
from tastemaker.errors import DataError, SaysNothing
from tastemaker.progress import remark

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row]]
Format = Literal["jsonl", "csv", "tsv", "parquet"]
_Item = TypeVar("_Item")
_RowsOrErrors = Iterator[tuple[int, Row | DataError]]

SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""The format of a file by the end of its name; text formats also with `.gz` after it."""

LONGEST_LINE = 64 * 2**20
"""In bytes. A longer line or array item is an error, so that no file fills the memory."""

MOST_BAD_ROWS = 100_000
"""With --skip-bad, more bad rows than this are an error if they outnumber the good rows."""

_BATCH = 1024  # rows of a Parquet file in memory
_MOST_ERRORS = 1_000_000
_BEGINNING = 2**16  # bytes in which the first character of an array must come
_MARK = b"\xef\xbb\xbf"  # the byte order mark


@dataclass(frozen=True)
class Table:
    """A named table whose rows can be read more than once.

    rows: yields (number, row). past: as `rows`, but the errors of rows that are not well formed go
    into a list, and reading goes on. is_text: every cell is a text, so that an empty one is missing
    (CSV and TSV files). path: of a file or folder, which tells two of one name apart.
    original_names: those of renamed columns, by the new name.
    """

    name: str
    rows: Callable[[], Rows]
    past: Callable[[list[DataError]], Rows] | None = None
    is_text: bool = False
    path: str = ""
    original_names: Mapping[str, str] = field(default_factory=dict)

    def rows_past(self, skipped: list[DataError] | None) -> Rows:
        """Yield (number, row) for every row. skipped: takes the errors of bad rows, if given."""
        return (
            self.rows()
            if skipped is None or self.past is None
            else self.past(skipped)
        )

    def renamed(self, names: Mapping[str, str]) -> "Table":
        """Return the table with some columns under other names. names: a column → its new name."""

        def rows_of(numbered: Rows) -> Rows:
            for number, row in numbered:
                yield number, renamed_row(row, names)

        return replace(
            self,
            rows=lambda: rows_of(self.rows()),
            past=lambda skipped: rows_of(self.rows_past(skipped)),
            original_names={new: name for name, new in names.items()},
        )

    def in_own_names(self, message: str) -> str:
        """Return a message about renamed columns with the names that the table has."""
        for new, name in self.original_names.items():
            message = message.replace(f"column {new!r}", f"column {name!r}")
        return message

    def read_rows(
        self,
        read: Callable[[int, Row], Iterable[_Item]],
        skipped: list[DataError] | None,
        left_out: Counter[str],
    ) -> Iterator[_Item]:
        """Yield the items of every row, as `read(number, row)` returns them.

        Two kinds of rows give no item. One that holds no judgement (`SaysNothing`) is left out; a
        line on standard error says how many. One that cannot be read raises its DataError.
        skipped: a list that takes the errors of both kinds instead; DataError is raised only where
        most of very many rows are bad. left_out: their numbers are added to it, as "no_judgement"
        and "unreadable".
        """
        first_silent: DataError | None = None
        before = len(skipped or ())
        good = silent = 0
        for number, row in self.rows_past(skipped):
            try:
                items = read(number, row)
            except DataError as error:
                is_silent = isinstance(error, SaysNothing)
                if skipped is None and not is_silent:
                    raise
                # the frames of a traceback would keep the row in memory
                error = error.with_traceback(None)
                if skipped is not None:
                    skipped.append(error)
                if is_silent:
                    first_silent = first_silent or error
                    silent += 1
            else:
                good += 1
                yield from items
            if skipped is not None:
                self._check_bad(skipped, before, good)
        left_out["no_judgement"] += silent
        if skipped is not None:
            left_out["unreadable"] += len(skipped) - before - silent
        elif first_silent is not None:
            self._report(silent, first_silent, good)

    def _report(self, silent: int, first: DataError, good: int) -> None:
        """Say how many rows were left out. Raises DataError where no other row was read."""
        if not good:
            raise DataError(f"{self.name}: no row holds a judgement; {first}")
        rows = "1 row holds no judgement and was left out"
        if silent > 1:
            rows = f"{silent:,} rows hold no judgement and were left out"
        remark(f"{self.name}: {rows}; the first: {first}")

    def _check_bad(
        self, skipped: list[DataError], before: int, good: int
    ) -> None:
        """Raise DataError where most of very many rows are bad: their errors fill the memory."""
        bad = len(skipped) - before
        if bad > max(MOST_BAD_ROWS, good):
            raise DataError(
                f"{self.name}: {bad:,} rows cannot be read and {good:,} can; "
                f"the first bad one: {skipped[before]}"
            )

    def place(self, number: int) -> str:
        """Return where a row is, for messages and for `where`."""
        return f"{self.name}:{number}"


def renamed_row(row: Row, names: Mapping[str, str]) -> Row:
    """Return a row with some columns under other names."""
    return {names.get(name, name): cell for name, cell in row.items()}


def format_of(path: Path) -> Format:
    """Return the format that the file's name ends in. Raises DataError for another name."""
    name = unpacked_name(path)
    format = SUFFIXES.get(Path(name).suffix)
    is_packed = path.name.lower().endswith(PACKINGS)
    if format is None or (format == "parquet" and is_packed):
        ends = ", ".join(SUFFIXES)
        raise DataError(
            f"{path}: what kind of file is this? Tables end in {ends}, "
            "text tables also in .gz, .zst or .zip after it."
        )
    return format


def rows(
    path: Path,
    skipped: list[DataError] | None = None,
    header: Sequence[str] = (),
) -> Rows:
    """Yield (line or row number from 1, row) for every row of a table.

    header: the names of the columns of a CSV or TSV file that has none.
    skipped: a list that takes the errors of rows that are not well formed; reading goes on.
    Raises DataError, with the file and the row, for a file that is missing, cut short, not UTF-8,
    or not well formed.
    """
    kind = format_of(path)
    if not path.is_file():
        reason = "is a folder, not a file" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {reason}.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty.")
    if kind == "parquet":
        return _parquet_rows(path)
    if kind == "jsonl":
        return _well_formed(_json_rows(path), skipped)
    delimiter = TAB if kind == "tsv" else ","
    numbered = delimited_rows(path, lambda: _lines(path), delimiter, header)
    return _well_formed(numbered, skipped)


def table(path: Path, header: Sequence[str] = ()) -> Table:
    """Return the file as a table that can be read more than once. header: see `rows`."""
    is_text = format_of(path) in ("csv", "tsv")
    return Table(
        path.name,
        lambda: rows(path, None, header),
        lambda skipped: rows(path, skipped, header),
        is_text,
    )


def _well_formed(
    numbered: _RowsOrErrors, skipped: list[DataError] | None
) -> Rows:
    for number, row in numbered:
        if not isinstance(row, DataError):
            yield number, row
        elif skipped is None:
            raise row
        elif len(skipped) > _MOST_ERRORS:
            raise DataError(
                f"{len(skipped):,} rows cannot be read; the first one: {skipped[0]}"
            )
        else:
            skipped.append(row)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, ends included, cut at \\n alone.

    Lines are decoded one by one, not by the file object: so the byte offset of a bad one is exact.
    """
    offset = 0
    line = b""
    try:
        with damage_as_data_error(path, path.name), opened(path) as file:
            while line := file.readline(LONGEST_LINE + 1):
                if len(line) > LONGEST_LINE:
                    most = LONGEST_LINE >> 20
                    raise DataError(
                        f"{path.name}: a line of more than {most} MiB at byte {offset}."
                    )
                if offset == 0:
                    check_first_line(line, path.name)
                yield line.decode("utf-8-sig" if offset == 0 else "utf-8")
                offset += len(line)
    except UnicodeDecodeError as error:
        # `start` counts from behind the byte order mark where there is one
        mark = len(_MARK) if offset == 0 and line.startswith(_MARK) else 0
        bad_byte = offset + mark + error.start
        raise DataError(
            f"{path.name}: not UTF-8 at byte {bad_byte}. Convert the file to UTF-8."
        ) from error


@contextmanager
def damage_as_data_error(path: Path, name: str) -> Iterator[None]:
    """Turn errors of reading a file into DataErrors. name: of the file, in the message."""
    try:
        yield
    except (
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        zipfile.BadZipFile,
    ) as error:
        raise DataError(
            f"{name}: cut short or damaged ({error}). Get the file again."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})."
        ) from error


def _holds_array(path: Path) -> bool:
    """Return whether a .json file begins with an array."""
    if not unpacked_name(path).endswith(".json"):
        return False
    with damage_as_data_error(path, path.name), opened(path) as file:
        start = file.read(_BEGINNING)
    return start.removeprefix(_MARK).lstrip().startswith(b"[")


def _json_rows(path: Path) -> _RowsOrErrors:
    if _holds_array(path):
        yield from _array_rows(path)
        return
    name = path.name
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            row = _object(line, name, number)
            if number == 1 and isinstance(row, dict):
                check_is_row(row, name)
            yield number, row


def _object(line: str, name: str, number: int) -> Row | DataError:
    try:
        value = decoded(line)
        if isinstance(value, dict):
            return value
        return _row(value, f"{name}:{number}")
    except json.JSONDecodeError as error:
        hint = json_hint(line)
        return DataError(
            f"{name}:{number}: not JSON: {error.msg} at character {error.colno}.{hint}"
        )
    # a number of thousands of digits; deep brackets
    except ValueError as error:
        return DataError(
            f"{name}:{number}: JSON that cannot be read: {error}."
        )


def _row(value: Any, where: str) -> Row | DataError:
    if isinstance(value, dict):
        return value
    hint = json_hint("[") if isinstance(value, list) else ""
    shown = "null" if value is None else show(value)
    return DataError(
        f"{where}: a row must be a JSON object {{…}}, not {shown}.{hint}"
    )


def _array_rows(path: Path) -> _RowsOrErrors:
    """Yield the elements of a file that is one JSON array, numbered from 1."""
    with damage_as_data_error(path, path.name), opened(path) as file:
        items = array_items(file, path.name, LONGEST_LINE)
        for number, value in enumerate(items, 1):
            yield number, _row(value, f"{path.name}:{number}")


def _parquet_rows(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            check_header(file.schema_arrow.names, path.name)
            check_nesting(file.schema_arrow, path.name)
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in cells_of(batch):
                    number += 1
                    yield number, row
    except UnicodeDecodeError as error:
        last = number + _BATCH
        raise DataError(
            f"{path.name}: a text in rows {number + 1} to {last} is not UTF-8."
        ) from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path.name}: cannot be read as Parquet after row {number} ({reason})."
        ) from error


class Metadata(TypedDict):
    """The fields that every judgement of a row has; passed to it as `**metadata`."""

    judge: str | None
    time: datetime | None
    weight: float
    where: str
    source: str
    path: str


NO_METADATA = Metadata(
    judge=None, time=None, weight=1.0, where="", source="", path=""
)
"""The fields of a judgement of which nothing is known."""
