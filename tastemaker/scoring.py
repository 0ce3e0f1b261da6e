"""Files in, files out: every row of a table gets its score, in memory that does not grow with the file.

The file is read more than once. The first passes find the columns and look at every text, so that a row that cannot be
scored is named within seconds and not after hours; the last one scores, a chunk of rows at a time. Leaves out: folders
of texts and hub names (read those with `read_examples`, and call `score_all`).
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tastemaker.data.judgements import Example
from tastemaker.data.readers.columns import Columns, plan
from tastemaker.data.readers.tables import Row, Table, format_of, rows
from tastemaker.data.readers.values import prompt_of, text_of
from tastemaker.errors import DataError, UsageError
from tastemaker.files import writing_file
from tastemaker.models.scores import Scores
from tastemaker.progress import progress

_ROW_GROUP = 8 * 2**20  # bytes of rows that a Parquet target gathers before it writes them
_PAGE = 2**20  # bytes that a Parquet source reads ahead

Content = list[Row] | pa.RecordBatch
Write = Callable[[Content, Scores], None]


class Scorer(Protocol):
    """Anything that scores: a reward model, or a stand-in for one."""

    def score_all(self, examples: Sequence[Example], *, precision: str = "float32") -> Scores:
        """Return the scores of the examples, in order."""
        ...


@dataclass(frozen=True, slots=True)
class FileScores:
    """How many rows were scored, and how many of their texts were longer than the model reads."""

    rows: int
    truncated: int


class LineScore(NamedTuple):
    """The score of one line, and whether it was longer than the model reads."""

    score: float
    truncated: bool


def score_file(
    model: Scorer,
    source: Path,
    target: Path,
    *,
    text_column: str | None = None,
    prompt_column: str | None = None,
    score_column: str = "score",
    precision: str = "float32",
    chunk: int = 2048,
) -> FileScores:
    """Score every row of `source` and write it to `target` with two more columns: its score, and whether it was cut.

    Both are JSONL, CSV, TSV or Parquet by their names, and may differ. Rows keep their order and columns their values,
    from Parquet to Parquet also their types. The columns are called `score` and `truncated`, or `NAME` and
    `NAME_truncated` for another `score_column`. text_column, prompt_column: None for the ones recognised by name.
    chunk: rows a model is given at a time.

    Raises UsageError where the source has a column of the new name already, DataError, with the row, for a file or text
    that cannot be read or written in the target's format, and StorageError for a full disk. On any error `target` is as
    it was before.
    """
    kind = format_of(target)
    found = _look(source, Columns(text=text_column, prompt=prompt_column), is_typed=kind == "parquet")
    added = (score_column, "truncated" if score_column == "score" else f"{score_column}_truncated")
    for name in added:
        if name in found.columns:
            raise UsageError(
                f"{source.name}: there is a column {name!r} already. Name the new one otherwise with --score-column."
            )
    is_exact = kind == "parquet" and format_of(source) == "parquet"
    chunks = _record_batches(found, chunk) if is_exact else _row_chunks(found, chunk)
    done = truncated = 0
    with writing_file(target) as temporary, ExitStack() as stack:
        write = stack.enter_context(_SINKS[kind](temporary, target.name, found, added))
        advance = stack.enter_context(progress(f"scoring {source.name}", found.rows))
        for examples, content in chunks:
            scores = model.score_all(examples, precision=precision)
            try:
                write(content, scores)
            except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
                raise _unwritable(f"{source.name}, rows {done + 1} to {done + len(scores)}", kind, error) from error
            done, truncated = done + len(scores), truncated + int(scores.truncated.sum())
            advance(len(scores), "")
    return FileScores(done, truncated)


def score_lines(
    model: Scorer, lines: Iterable[str], *, precision: str = "float32", chunk: int = 256
) -> Iterator[LineScore]:
    """Yield the score of every line, one text a line, in order: `chunk` lines are read before their scores come.

    Raises DataError, with the line, for one that is empty or not UTF-8; the lines before it are scored first.
    """
    texts = _texts(lines)
    trouble: DataError | None = None
    while trouble is None:
        examples: list[Example] = []
        try:
            examples.extend(map(Example, islice(texts, chunk)))
        except DataError as error:
            trouble = error
        if not examples:
            break
        scores = model.score_all(examples, precision=precision)
        yield from map(LineScore, scores.values.tolist(), scores.truncated.tolist())
    if trouble is not None:
        raise trouble


def _texts(lines: Iterable[str]) -> Iterator[str]:
    number = 0
    try:
        for number, line in enumerate(lines, 1):  # noqa: B007  the error below names it
            text = line.rstrip("\r\n")
            if not text.strip():
                raise DataError(f"standard input:{number}: the line is empty. Give one text a line.")
            text.encode()  # a line that was not UTF-8 may come as half surrogate pairs
            yield text
    except UnicodeError as error:
        raise DataError(f"standard input: not UTF-8 after line {number}. Convert it to UTF-8.") from error


@dataclass(frozen=True)
class _Found:
    """What a first look at a source found. schema: its columns' types, None unless they were asked for."""

    path: Path
    text: str
    prompt: str | None
    columns: list[str]
    rows: int
    schema: pa.Schema | None

    def example(self, row: Row, number: int) -> Example:
        """Return what a row asks to score. Raises DataError for a missing or empty text."""
        where = f"{self.path.name}:{number}"
        prompt = prompt_of(row.get(self.prompt), where, self.prompt) if self.prompt else None
        return Example(text_of(row.get(self.text), where, self.text), prompt)


def _look(source: Path, columns: Columns, *, is_typed: bool) -> _Found:
    """Find the columns of a source and check the text of every row."""
    kind = format_of(source)
    first = None if kind == "jsonl" else 1  # in the other formats every row has the same columns
    chosen = plan(Table(source.name, lambda: islice(rows(source), first)), columns, judged=False)
    found = _Found(source, chosen.text, chosen.prompt, [], 0, None)
    if kind == "parquet":
        with pq.ParquetFile(source) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
        read = [name for name in (chosen.text, chosen.prompt) if name is not None]
        for _ in _record_batches(found, 1024, read):
            pass
        return _Found(source, chosen.text, chosen.prompt, schema.names, count, schema)
    names: dict[str, None] = {}
    count, schema = 0, pa.schema([])
    for examples, content in _row_chunks(found, 1024):
        for row in content:
            names.update(dict.fromkeys(row))
        count += len(examples)
        if is_typed:
            schema = _widened(schema, content, list(names), source)
    return _Found(source, chosen.text, chosen.prompt, list(names), count, schema if is_typed else None)


def _widened(schema: pa.Schema, content: list[Row], names: list[str], source: Path) -> pa.Schema:
    """Return the schema that holds these rows too."""
    try:
        seen = pa.schema([(name, pa.array([row.get(name) for row in content]).type) for name in names])
        return pa.unify_schemas([schema, seen], promote_options="permissive")
    except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
        raise _unwritable(source.name, "parquet", error) from error


def _unwritable(where: str, kind: str, error: Exception) -> DataError:
    reason = str(error).splitlines()[0]
    return DataError(f"{where}: cannot be written as {kind.upper()} ({reason}). Choose another format for the target.")


def _row_chunks(found: _Found, size: int) -> Iterator[tuple[list[Example], list[Row]]]:
    """Yield the rows of any table, `size` at a time, and what they ask to score."""
    numbered = rows(found.path)
    while part := list(islice(numbered, size)):
        yield [found.example(row, number) for number, row in part], [row for _, row in part]


def _record_batches(
    found: _Found, size: int, columns: list[str] | None = None
) -> Iterator[tuple[list[Example], pa.RecordBatch]]:
    """Yield the rows of a Parquet file as they are, `size` at a time, and what they ask to score."""
    number = 0
    try:
        with pq.ParquetFile(found.path, buffer_size=_PAGE) as file:
            for batch in file.iter_batches(size, columns=columns):
                read = [name for name in (found.text, found.prompt) if name is not None]
                texts = batch.select(read).to_pylist()
                yield [found.example(row, number + i) for i, row in enumerate(texts, 1)], batch
                number += len(batch)
    except UnicodeDecodeError as error:
        raise DataError(f"{found.path.name}: a text after row {number} is not UTF-8.") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{found.path.name}: cannot be read as Parquet after row {number} ({reason}).") from error


def _scored(content: list[Row], scores: Scores, added: tuple[str, str]) -> Iterator[Row]:
    pairs = zip(scores.values.tolist(), scores.truncated.tolist(), strict=True)
    for row, (score, truncated) in zip(content, pairs, strict=True):
        yield {**row, added[0]: score, added[1]: truncated}


@contextmanager
def _bytes_to(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for writing, packed if its final name ends in .gz: without date and name, so always the same bytes."""
    with path.open("wb") as file:
        if not name.lower().endswith(".gz"):
            yield file
            return
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            yield cast(IO[bytes], packed)


@contextmanager
def _jsonl(path: Path, name: str, found: _Found, added: tuple[str, str]) -> Iterator[Write]:
    with _bytes_to(path, name) as file:

        def write(content: Content, scores: Scores) -> None:
            for row in _scored(content, scores, added):
                file.write(_json(row) + b"\n")

        yield write


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can only spell
        return json.dumps(value, default=_plain).encode()


def _plain(value: Any) -> str:
    """Return what JSON has no word for (a date, a decimal) as text. Raises TypeError for bytes."""
    if isinstance(value, bytes):
        raise TypeError("a column holds bytes")
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


class _Lines:
    """What csv.writer writes to: it must be told \\r\\n to quote both, but the lines of the file end in \\n."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def write(self, line: str) -> None:
        self.file.write(line.removesuffix("\r\n").encode() + b"\n")


@contextmanager
def _csv(path: Path, name: str, found: _Found, added: tuple[str, str], delimiter: str = ",") -> Iterator[Write]:
    with _bytes_to(path, name) as file:
        writer = csv.writer(_Lines(file), delimiter=delimiter)
        columns = [*found.columns, *added]
        writer.writerow(columns)

        def write(content: Content, scores: Scores) -> None:
            for row in _scored(content, scores, added):
                writer.writerow([_cell(row.get(column)) for column in columns])

        yield write


def _tsv(path: Path, name: str, found: _Found, added: tuple[str, str]) -> Any:
    return _csv(path, name, found, added, "\t")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value).decode().strip('"')


@contextmanager
def _parquet(path: Path, name: str, found: _Found, added: tuple[str, str]) -> Iterator[Write]:
    assert found.schema is not None
    kept = found.schema
    schema = kept.append(pa.field(added[0], pa.float64())).append(pa.field(added[1], pa.bool_()))
    gathered: list[pa.RecordBatch] = []
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_batches(gathered, schema))
            gathered.clear()

        def write(content: Content, scores: Scores) -> None:
            if isinstance(content, list):
                content = pa.RecordBatch.from_pylist(content, kept)
            columns = [*content.columns, pa.array(scores.values), pa.array(scores.truncated)]
            gathered.append(pa.RecordBatch.from_arrays(columns, schema=schema))
            if sum(batch.nbytes for batch in gathered) > _ROW_GROUP:
                flush()

        yield write
        flush()


_SINKS = {"jsonl": _jsonl, "csv": _csv, "tsv": _tsv, "parquet": _parquet}
