"""Rows of JSONL, CSV, TSV and Parquet files, one after the other, in memory that does not grow with the file.

Text files are UTF-8, with or without a byte order mark, and may be gzipped. A place is `name:line` in a text file (the
line that the row begins on) and `name:row` in a Parquet file; both count from 1. A .json file may also be one JSON
array of objects, which is read as a whole; its places are `name:row`.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal, cast

from tastemaker.data.values import show
from tastemaker.errors import DataError

Row = dict[str, Any]
Rows = Iterator[tuple[int, Row]]
Format = Literal["jsonl", "csv", "tsv", "parquet"]

SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
"""What a file's name says about its format; all but Parquet also with `.gz` behind."""

LONGEST_LINE = 64 * 2**20
"""Bytes. A longer line is an error, so that no file can fill the memory."""

LARGEST_ARRAY = 2 * 2**30
"""Bytes, unpacked. A longer JSON array is an error, for the same reason."""

_BATCH = 1024


@dataclass(frozen=True)
class Table:
    """Rows under one name, that can be read more than once.

    past: as `rows`, but rows that are not well formed are put into the list as their errors, and reading goes on.
    is_text: every cell is a text, so that an empty one says nothing (CSV and TSV files).
    """

    name: str
    rows: Callable[[], Rows]
    past: Callable[[list[DataError]], Rows] | None = None
    is_text: bool = False

    def rows_past(self, skipped: list[DataError] | None) -> Rows:
        """Yield (number, row) for every row, past bad ones where there is a list for their errors."""
        return self.rows() if skipped is None or self.past is None else self.past(skipped)

    def place(self, number: int) -> str:
        """Return where a row is, for messages and for `where`."""
        return f"{self.name}:{number}"


def format_of(path: Path) -> Format:
    """Return the format that the file's name says. Raises DataError for a name that says none of them."""
    name = path.name.lower()
    plain = Path(name.removesuffix(".gz"))
    found = SUFFIXES.get(plain.suffix)
    if found is None or (found == "parquet" and name.endswith(".gz")):
        raise DataError(
            f"{path}: what kind of file is this? Tables end in {', '.join(SUFFIXES)}, text tables also in .gz after it."
        )
    return found


def rows(path: Path, skipped: list[DataError] | None = None) -> Rows:
    """Yield (line or row number from 1, row) for every row of a table.

    skipped: takes the errors of single rows that are not well formed, where given; reading goes on behind them.
    Raises DataError, with the file and the row, for a file that is missing, cut short, not UTF-8, or not well formed.
    """
    kind = format_of(path)
    if not path.is_file():
        raise DataError(
            f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}."
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty.")
    if kind == "parquet":
        return _parquet_rows(path)
    found = _json_rows(path) if kind == "jsonl" else _csv_rows(path, "\t" if kind == "tsv" else ",")
    return _well_formed(found, skipped)


def _well_formed(
    found: Iterator[tuple[int, Row | DataError]], skipped: list[DataError] | None
) -> Rows:
    for number, row in found:
        if not isinstance(row, DataError):
            yield number, row
        elif skipped is None:
            raise row
        else:
            skipped.append(row)


def table(path: Path) -> Table:
    """Return the file as a table that can be read more than once."""
    is_text = format_of(path) in {"csv", "tsv"}
    return Table(path.name, lambda: rows(path), lambda skipped: rows(path, skipped), is_text)


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, ends included, cut at \\n alone.

    Lines are decoded one by one, not by the file object, so that the byte offset of a bad one is exact.
    """
    offset = 0
    packed = path.name.lower().endswith(".gz")
    try:
        with cast(IO[bytes], gzip.open(path) if packed else path.open("rb")) as file:
            limit = LONGEST_LINE
            while line := file.readline(limit + 1):
                if offset == 0 and _begins_array(line, path):
                    limit, rest = (
                        LARGEST_ARRAY,
                        b"" if line.endswith(b"\n") else file.readline(LARGEST_ARRAY),
                    )
                    line += rest
                if len(line) > limit:
                    raise DataError(
                        f"{path.name}: a line of more than {limit >> 20} MiB at byte {offset}."
                    )
                yield line.decode("utf-8-sig" if offset == 0 else "utf-8")
                offset += len(line)
    except UnicodeDecodeError as error:
        # `start` counts from behind the byte order mark where there is one
        mark = 3 if offset == 0 and line.startswith(b"\xef\xbb\xbf") else 0
        at = offset + mark + error.start
        raise DataError(
            f"{path.name}: not UTF-8 at byte {at}. Convert the file to UTF-8."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path.name}: cut short or damaged ({error}). Get the file again."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _begins_array(line: bytes, path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(".json") and line.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _json_rows(path: Path) -> Iterator[tuple[int, Row | DataError]]:
    lines = _lines(path)
    is_first = True
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if is_first and _begins_array(line.encode(), path):
            yield from _array_rows(path, chain([line], lines))
            return
        is_first = False
        yield number, _object(line, f"{path.name}:{number}")


def _object(line: str, where: str) -> Row | DataError:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        is_array = line.lstrip().startswith("[")
        array = (
            " A file that is one JSON array ends in .json; in others write one object a line."
            if is_array
            else ""
        )
        return DataError(f"{where}: not JSON: {error.msg} at character {error.colno}.{array}")
    except (
        ValueError,
        RecursionError,
    ) as error:  # a number of thousands of digits; brackets without end
        return DataError(f"{where}: JSON that cannot be read: {error}.")
    return _row(row, where)


def _row(row: Any, where: str) -> Row | DataError:
    if isinstance(row, dict):
        return row
    return DataError(f"{where}: a row must be a JSON object {{…}}, not {show(row)}.")


def _array_rows(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Row | DataError]]:
    """Yield the elements of a file that is one JSON array, numbered from 1."""
    size, parts = 0, []
    for line in lines:
        size += len(line.encode())
        if size > LARGEST_ARRAY:
            raise DataError(
                f"{path.name}: a JSON array of more than {LARGEST_ARRAY >> 20} MiB. Write one object a line (.jsonl)."
            )
        parts.append(line)
    try:
        found = json.loads("".join(parts))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name}: not JSON: {error.msg} at line {error.lineno}, character {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name}: JSON that cannot be read: {error}.") from error
    for number, row in enumerate(found, 1):
        yield number, _row(row, f"{path.name}:{number}")


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, Row | DataError]]:
    # the limit is the whole process's, and 128 KiB unless told: less than a long text
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(
        _lines(path), delimiter=delimiter, strict=True
    )  # strict: a quote left open is an error
    header: list[str] | None = None
    start = 1
    try:
        for fields in reader:
            if header is None and fields:
                header = _checked_header(fields, path)
            elif header is not None and fields:
                if len(fields) == len(header):
                    yield start, dict(zip(header, fields, strict=True))
                else:
                    said = f"{path.name}:{start}: {len(fields)} fields, but the header has {len(header)}. "
                    yield (
                        start,
                        DataError(
                            f"{said}Quote the fields that hold a {delimiter!r}, a quote or a line break."
                        ),
                    )
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path.name}:{start}: not well-formed: {error}.") from error


def _checked_header(names: list[str], path: Path) -> list[str]:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        listed = ", ".join(map(repr, sorted(twice)))
        raise DataError(f"{path.name}: two columns have the same name: {listed}. Rename one.")
    return names


def _parquet_rows(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            _checked_header(file.schema_arrow.names, path)
            for batch in file.iter_batches(batch_size=_BATCH):
                for number, row in enumerate(batch.to_pylist(), number + 1):  # noqa: B020  counts on through the batches
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
