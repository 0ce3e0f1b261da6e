"""Write rows as JSONL, CSV, TSV or Parquet, in memory that does not grow with the file.

The two parts of a split are rows of the source's own file, or rows of judgements.
"""

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tastemaker.data import tables
from tastemaker.data.exports import gathers_rows
from tastemaker.data.formats.single import to_row
from tastemaker.data.judgements import Judgement
from tastemaker.data.packed import unpacked_name
from tastemaker.data.roles import described_source
from tastemaker.data.tables import SUFFIXES, Format, Row, format_of
from tastemaker.errors import DataError, UsageError
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


# ---- the parts of a split ---------------------------------------------------


NAMES = ("train", "test")
_ROWS = 1024  # written at a time


def write_split(
    source: Any,
    folder: Path,
    parts: tuple[Sequence[Judgement], Sequence[Judgement]],
    *,
    header: tuple[str, ...] = (),
    say: Say = silent,
) -> tuple[Path, Path]:
    """Write train.* and test.* into a folder and return their paths.

    A single file gives files of its own format and columns, with the rows that were read. Any other
    source gives JSONL of judgements, also an export whose judgements are made of several rows.
    header: the names of the columns of a file that has none; the parts have them. say: takes a
    warning of texts that a spreadsheet would compute. Raises DataError for a value that cannot be
    written, and UsageError where a part would replace the source.
    """
    path, columns, _ = described_source(source)
    path = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or _suffix(path) not in SUFFIXES:
        return _write_judgements(folder, parts)
    table = tables.table(path, columns.header or header)
    if gathers_rows(table):
        return _write_judgements(folder, parts)
    sides: dict[str, int] = {}
    for side, part in enumerate(parts):
        sides.update(dict.fromkeys((each.where for each in part), side))
    rows: tuple[list[Row], list[Row]] = ([], [])
    for number, row in table.rows_past([]):
        side_of_row = sides.get(table.place(number))
        if side_of_row is not None:
            rows[side_of_row].append(row)
    # an array of a .json file becomes lines, which such a file may hold too
    paths = [folder / f"{name}{_ending(path)}" for name in NAMES]
    if path.resolve() in {target.resolve() for target in paths}:
        raise UsageError(
            f"{path}: a part would replace it. Choose another folder for --out."
        )
    for target, of_side in zip(paths, rows, strict=True):
        _write(target, of_side, say)
    return paths[0], paths[1]


def _write_judgements(
    folder: Path,
    parts: tuple[Sequence[Judgement], Sequence[Judgement]],
) -> tuple[Path, Path]:
    paths = []
    for name, part in zip(NAMES, parts, strict=True):
        paths.append(folder / f"{name}.jsonl")
        _write(paths[-1], [to_row(judgement) for judgement in part], silent)
    return paths[0], paths[1]


def _suffix(
    path: Path,
) -> str:
    return Path(unpacked_name(path)).suffix


def _ending(
    path: Path,
) -> str:
    packed = ".gz" if path.name.lower().endswith(".gz") else ""
    return _suffix(path) + packed


def _write(
    path: Path,
    rows: Sequence[Row],
    say: Say,
) -> None:
    import pyarrow as pa

    columns = list(dict.fromkeys(_names(rows)))
    schema = None
    if tables.format_of(path) == "parquet":
        schema = widened(pa.schema([]), list(rows), columns)
    with writing_table(path, columns, schema, say=say) as write:
        for start in range(0, len(rows), _ROWS):
            write(list(rows[start : start + _ROWS]))


def _names(
    rows: Iterable[Row],
) -> Iterable[str]:
    for row in rows:
        yield from row
