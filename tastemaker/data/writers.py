"""Write rows as JSONL, CSV, TSV or Parquet, in memory that does not grow with the file."""

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tastemaker.data.tables import Format, Row, format_of
from tastemaker.errors import DataError
from tastemaker.files import writing_file

Content: TypeAlias = "list[Row] | pa.RecordBatch"
"""Some rows; a record batch only from Parquet to Parquet, which keeps the types."""

Write = Callable[[Any], None]

Say = Callable[[str], None]
"""Takes a remark about what was written."""


def silent(line: str) -> None:
    """Say nothing."""


ROW_GROUP = 8 * 2**20
"""Bytes of rows that a Parquet file gathers before it writes them."""


@contextmanager
def writing_table(
    target: Path,
    columns: list[str],
    schema: pa.Schema | None = None,
    *,
    say: Say,
) -> Iterator[Write]:
    """Yield a function that writes rows into a file, which is replaced when the block ends well.

    say: takes a warning of texts that a spreadsheet would compute. They are written as they are,
    because no change of them would be read back as the same text.
    """
    formulas = 0
    if target.name.lower().endswith((".zst", ".zip")):
        raise DataError(
            f"{target}: .zst and .zip are read, not written. Write .gz, or pack the file later."
        )
    is_packed = target.name.lower().endswith(".gz")
    with (
        writing_file(target) as temporary,
        writing_rows(
            temporary,
            format_of(target),
            columns,
            schema=schema,
            is_packed=is_packed,
        ) as write,
    ):

        def counted(content: Content) -> None:
            nonlocal formulas
            write(content)
            formulas += _formulas_in(content)

        formulas += _formulas_among(columns)
        yield counted
    if formulas and format_of(target) in ("csv", "tsv"):
        say(
            f"{target.name}: {formulas:,} cells begin with =, +, - or @. They are texts; a "
            "spreadsheet that opens the file may compute them. Import the columns as text."
        )


def writing_rows(
    path: Path,
    kind: Format,
    columns: list[str],
    *,
    schema: pa.Schema | None = None,
    is_packed: bool = False,
) -> AbstractContextManager[Write]:
    """Return a context that yields a function that writes `Content`, and then closes the file.

    columns: the names for a CSV header. schema: the types of a Parquet file's columns. is_packed:
    gzip. The function raises DataError for a value that the format cannot hold, and OSError for a
    full disk.
    """
    if kind == "parquet":
        return _parquet(path, schema)
    if kind == "jsonl":
        return _jsonl(path, is_packed)
    return _csv(path, is_packed, columns, "\t" if kind == "tsv" else ",")


def widened(
    schema: pa.Schema, rows: list[Row], columns: list[str]
) -> pa.Schema:
    """Return the schema widened so that it holds these rows too.

    Raises DataError where a column's values have no common type.
    """
    with _data_errors("PARQUET"):
        types = []
        for name in columns:
            cells = pa.array([row.get(name) for row in rows])
            types.append((name, cells.type))
        return pa.unify_schemas(
            [schema, pa.schema(types)], promote_options="permissive"
        )


@contextmanager
def _data_errors(kind: str) -> Iterator[None]:
    """Turn the error of a value that a format cannot hold into a DataError."""
    try:
        yield
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(
            f"cannot be written as {kind} ({reason}). Choose another format for the target."
        ) from error


@contextmanager
def _bytes_to(path: Path, is_packed: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        if not is_packed:
            yield file
            return
        # no name and no date: the same bytes every time
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            yield cast(IO[bytes], packed)


@contextmanager
def _jsonl(path: Path, is_packed: bool) -> Iterator[Write]:
    with _bytes_to(path, is_packed) as file:

        def write(rows: list[Row]) -> None:
            with _data_errors("JSONL"):
                lines = [_json(row) for row in rows]
            file.writelines(lines)

        yield write


def _json(row: Row) -> bytes:
    try:
        return (
            json.dumps(row, ensure_ascii=False, default=_plain) + "\n"
        ).encode()
    # half a surrogate pair: JSON can spell it, UTF-8 cannot
    except UnicodeEncodeError:
        return (json.dumps(row, default=_plain) + "\n").encode()


def _plain(value: object) -> str:
    """Return a value that JSON cannot hold, a date or a decimal, as a text.

    Raises TypeError for bytes.
    """
    if isinstance(value, bytes):
        raise TypeError("a column holds bytes")
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value)


@contextmanager
def _csv(
    path: Path, is_packed: bool, columns: list[str], delimiter: str
) -> Iterator[Write]:
    with _bytes_to(path, is_packed) as file:
        lines: list[bytes] = []
        writer = csv.writer(_Lines(lines), delimiter=delimiter)

        def write(rows: list[Row]) -> None:
            with _data_errors("TSV" if delimiter == "\t" else "CSV"):
                for row in rows:
                    writer.writerow(
                        [_cell(row.get(column)) for column in columns]
                    )
            file.writelines(lines)
            lines.clear()

        writer.writerow(columns)
        yield write


class _Lines:
    """Takes the lines of csv.writer, and ends them in \\n.

    csv.writer itself ends lines in \\r\\n, so that it quotes both characters.
    """

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines

    def write(self, line: str) -> None:
        """Take one line."""
        self.lines.append(line.removesuffix("\r\n").encode() + b"\n")


_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?\d[\d.,]*(?:[eE][+-]?\d+)?%?")


def _formulas_in(rows: Content) -> int:
    """Return how many texts spreadsheets would take for formulas when they open a CSV file."""
    if not isinstance(rows, list):
        return 0
    return sum(_formulas_among(row.values()) for row in rows)


def _formulas_among(cells: Iterable[object]) -> int:
    count = 0
    for cell in cells:
        if isinstance(cell, str) and _FORMULA.match(cell):
            count += not _NUMBER.fullmatch(cell)
    return count


def _cell(value: object) -> str:
    """Return a value as a CSV cell: "" for None, a text as it is, anything else in JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return _plain(value)


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Write]:
    batches: list[pa.RecordBatch] = []
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            if batches:
                writer.write_table(pa.Table.from_batches(batches, schema))
                batches.clear()

        def write(content: Content) -> None:
            with _data_errors("PARQUET"):
                if isinstance(content, list):
                    content = pa.RecordBatch.from_pylist(content, schema)
            batches.append(content)
            if sum(batch.nbytes for batch in batches) > ROW_GROUP:
                flush()

        yield write
        flush()
