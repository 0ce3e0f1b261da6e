"""Files in, files out: every row of a table gets its score, in memory that does not grow with the file.

The file is read more than once. The first passes find the columns and look at every text, so that a row that cannot be
scored is named within seconds and not after hours; the last one scores, a chunk of rows at a time. Leaves out folders
of texts and hub names: read those with `read_examples`, and call `score_all`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tastemaker.data.columns import Columns, plan
from tastemaker.data.judgements import Example
from tastemaker.data.tables import Row, Table, format_of, rows
from tastemaker.data.values import prompt_of, text_of
from tastemaker.data.writers import Content, widened, writing_rows
from tastemaker.errors import DataError, UsageError
from tastemaker.fast.processor import ScoringWish
from tastemaker.files import writing_file
from tastemaker.progress import progress
from tastemaker.scores import Caution, Scores

_READ_AHEAD = 2**20  # bytes
_LOOK = 1024  # rows a first look takes at a time


class Scorer(Protocol):
    """Anything that scores: a reward model, or a stand-in for one."""

    def score_all(
        self, examples: Sequence[Example], *, precision: ScoringWish = "float32"
    ) -> Scores:
        """Return the scores of the examples, in order."""
        ...


@dataclass(frozen=True, slots=True)
class FileScores:
    """How many rows were scored, and how many of their texts were longer than the model reads."""

    rows: int
    truncated: int


class LineScore(NamedTuple):
    """A line, its score, whether it was longer than the model reads, and how far an ensemble disagrees, if asked."""

    text: str
    score: float
    truncated: bool
    uncertainty: float | None = None


def score_file(
    model: Scorer,
    source: Path,
    target: Path,
    *,
    text_column: str | None = None,
    prompt_column: str | None = None,
    score_column: str = "score",
    precision: ScoringWish = "float32",
    caution: Caution = 0.0,
    uncertainty: bool = False,
    chunk: int = 2048,
) -> FileScores:
    """Score every row of `source` and write it to `target` with two more columns: its score, and whether it was cut.

    Both are JSONL, CSV, TSV or Parquet by their names, and may differ. Rows keep their order and columns their values,
    from Parquet to Parquet also their types. The columns are called `score` and `truncated`, or `NAME` and
    `NAME_truncated` for another `score_column`. text_column, prompt_column: None for the ones recognised by name.
    caution: see `Scores.cautious`. uncertainty: one more column, `uncertainty` or `NAME_uncertainty`, with the
    disagreement of an ensemble's members. chunk: how many rows the model is given at a time.

    Raises UsageError where the source has a column of the new name already; DataError, with the row, for a file or text
    that cannot be read, or not be written in the target's format; StorageError for a full disk. On any error `target`
    is as it was before.
    """
    kind = format_of(target)
    found = _look(
        source, Columns(text=text_column, prompt=prompt_column), is_typed=kind == "parquet"
    )
    new = _new_columns(found, score_column, uncertainty=uncertainty)
    schema = found.schema and pa.schema([*found.schema, *_types(new)], found.schema.metadata)
    is_packed = target.name.lower().endswith(".gz")
    is_exact = kind == format_of(source) == "parquet"
    done = truncated = 0
    with (
        writing_file(target) as temporary,
        writing_rows(
            temporary, kind, [*found.columns, *new], schema=schema, is_packed=is_packed
        ) as write,
        progress(f"scoring {source.name}", found.rows) as advance,
    ):
        for examples, content in _batches(found, chunk) if is_exact else _rows(found, chunk):
            scores = model.score_all(examples, precision=precision).cautious(caution)
            try:
                write(_with_scores(content, scores, new))
            except DataError as error:
                raise DataError(
                    f"{source.name}, rows {done + 1} to {done + len(scores)}: {error}"
                ) from error
            done, truncated = done + len(scores), truncated + int(scores.truncated.sum())
            advance(len(scores), "")
    return FileScores(done, truncated)


def score_lines(
    model: Scorer,
    lines: Iterable[str],
    *,
    precision: ScoringWish = "float32",
    caution: Caution = 0.0,
    uncertainty: bool = False,
    chunk: int = 256,
) -> Iterator[LineScore]:
    """Yield the score of every line, one text a line, in order: `chunk` lines are read before their scores come.

    caution, uncertainty: as in `score_file`.

    Raises DataError, with the line, for one that is empty or not UTF-8, after the scores of the lines before it.
    """
    texts = _texts(lines)
    trouble: DataError | None = None
    while trouble is None:
        examples: list[Example] = []
        try:
            for text in islice(texts, chunk):
                examples.append(Example(text))
        except DataError as error:
            trouble = error
        if not examples:
            break
        scores = model.score_all(examples, precision=precision).cautious(caution)
        deviations = _uncertainty_of(scores).tolist() if uncertainty else [None] * len(scores)
        values, cut = scores.values.tolist(), scores.truncated.tolist()
        yield from map(LineScore, (e.text for e in examples), values, cut, deviations)
    if trouble is not None:
        raise trouble


def _texts(lines: Iterable[str]) -> Iterator[str]:
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            yield _text(line, number)
    except UnicodeDecodeError as error:
        raise DataError(
            f"standard input: not UTF-8 after line {number}. Convert it to UTF-8."
        ) from error


def _text(line: str, number: int) -> str:
    text = line.rstrip("\r\n")
    if not text.strip():
        raise DataError(f"standard input:{number}: the line is empty. Give one text a line.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # where Python takes in stray bytes as half surrogate pairs
        raise DataError(f"standard input:{number}: not UTF-8. Convert it to UTF-8.") from error
    return text


@dataclass(frozen=True)
class _Found:
    """What a first look at a source found. schema: the types of its columns, None unless they were asked for."""

    path: Path
    text: str
    prompt: str | None
    columns: list[str]
    rows: int = 0
    schema: pa.Schema | None = None

    def example(self, row: Row, number: int) -> Example:
        """Return what a row asks to score. Raises DataError for a missing or empty text."""
        where = f"{self.path.name}:{number}"
        prompt = prompt_of(row.get(self.prompt), where, self.prompt) if self.prompt else None
        return Example(text_of(row.get(self.text), where, self.text), prompt)


def _look(source: Path, columns: Columns, *, is_typed: bool) -> _Found:
    """Find the columns of a source, and check the text of every row."""
    kind = format_of(source)
    first = None if kind == "jsonl" else 1  # in the other formats every row has the same columns
    chosen = plan(Table(source.name, lambda: islice(rows(source), first)), columns, judged=False)
    found = _Found(source, chosen.text, chosen.prompt, [])
    return _look_at_parquet(found) if kind == "parquet" else _look_at_rows(found, is_typed=is_typed)


def _look_at_parquet(found: _Found) -> _Found:
    with pq.ParquetFile(found.path) as file:
        schema = file.schema_arrow
    count = sum(len(examples) for examples, _ in _batches(found, _LOOK, is_text_only=True))
    return _Found(found.path, found.text, found.prompt, schema.names, count, schema)


def _look_at_rows(found: _Found, *, is_typed: bool) -> _Found:
    names: dict[str, None] = {}
    count, schema = 0, pa.schema([])
    for examples, content in _rows(found, _LOOK):
        for row in content:
            names.update(dict.fromkeys(row))
        count += len(examples)
        if is_typed:
            try:
                schema = widened(schema, content, list(names))
            except DataError as error:
                raise DataError(f"{found.path.name}, before row {count + 1}: {error}") from error
    return _Found(
        found.path, found.text, found.prompt, list(names), count, schema if is_typed else None
    )


def _new_columns(found: _Found, score_column: str, *, uncertainty: bool) -> tuple[str, ...]:
    """Return the names of the new columns: score, truncation, uncertainty. Raises UsageError where one is there."""
    more = ("truncated", "uncertainty") if uncertainty else ("truncated",)
    new = (
        score_column,
        *(name if score_column == "score" else f"{score_column}_{name}" for name in more),
    )
    for name in new:
        if name in found.columns:
            raise UsageError(
                f"{found.path.name}: there is a column {name!r} already. Name the new one with --score-column."
            )
    return new


def _types(new: Sequence[str]) -> list[pa.Field]:
    kinds = (pa.float64(), pa.bool_(), pa.float64())
    return [pa.field(name, kind) for name, kind in zip(new, kinds, strict=False)]


def _with_scores(content: Content, scores: Scores, new: Sequence[str]) -> Content:
    """Return the rows with their new columns. Raises UsageError for the uncertainty of a single model."""
    columns: list[NDArray[Any]] = [scores.values, scores.truncated]
    if len(new) > len(columns):
        columns.append(_uncertainty_of(scores))
    if isinstance(content, list):
        values = zip(*(column.tolist() for column in columns), strict=True)
        return [
            row | dict(zip(new, found, strict=True))
            for row, found in zip(content, values, strict=True)
        ]
    arrays = [*content.columns, *map(pa.array, columns)]
    return pa.RecordBatch.from_arrays(
        arrays, schema=pa.schema([*content.schema, *_types(new)], content.schema.metadata)
    )


def _uncertainty_of(scores: Scores) -> NDArray[Any]:
    if scores.uncertainty is None:
        raise UsageError(
            "uncertainty needs an ensemble, and this is a single model. Fit one with --members 5."
        )
    return scores.uncertainty


def _rows(found: _Found, size: int) -> Iterator[tuple[list[Example], list[Row]]]:
    """Yield the rows of any table, `size` at a time, and what they ask to score."""
    numbered = rows(found.path)
    while part := list(islice(numbered, size)):
        yield [found.example(row, number) for number, row in part], [row for _, row in part]


def _batches(
    found: _Found, size: int, *, is_text_only: bool = False
) -> Iterator[tuple[list[Example], pa.RecordBatch]]:
    """Yield the rows of a Parquet file as they lie there, `size` at a time, and what they ask to score."""
    number = 0
    read = [found.text] if found.prompt is None else [found.text, found.prompt]
    try:
        # pre_buffer, pyarrow's default, would take the whole file into memory
        with pq.ParquetFile(found.path, buffer_size=_READ_AHEAD, pre_buffer=False) as file:
            for batch in file.iter_batches(size, columns=read if is_text_only else None):
                examples = batch.select(read).to_pylist()
                yield [found.example(row, number + i) for i, row in enumerate(examples, 1)], batch
                number += len(batch)
    except UnicodeDecodeError as error:
        raise DataError(f"{found.path.name}: a text after row {number} is not UTF-8.") from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{found.path.name}: cannot be read as Parquet after row {number} ({reason})."
        ) from error
