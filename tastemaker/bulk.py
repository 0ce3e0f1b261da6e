"""Files in, files out: score every row of a table, or complete every prompt of a file.

Memory does not grow with the file. A file is read more than once: first to find its columns and to
check every text, so that a bad row is named within seconds and not after hours; then to do the
work, one chunk of rows at a time. The result replaces an older file only when it is complete.

Folders of texts and hub names are not handled here: read them with `read_examples` and score them
with `RewardModel.score_all`.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tastemaker.data.columns import ColumnPlan, plan
from tastemaker.data.first_rows import telling_rows
from tastemaker.data.judgements import Example, Prompt
from tastemaker.data.prompts import may_prompt
from tastemaker.data.read_as import ReadAs, texts_read_as
from tastemaker.data.roles import Columns, described_file
from tastemaker.data.stored_values import cells_of
from tastemaker.data.tables import Row, Table, format_of, rows
from tastemaker.data.texts import open_prompts
from tastemaker.data.writers import (
    Content,
    Say,
    silent,
    widened,
    writing_table,
)
from tastemaker.errors import DataError, UsageError
from tastemaker.fast.processor import ScoringChoice
from tastemaker.progress import progress
from tastemaker.scores import Caution, Scores

COMPLETION_COLUMNS = ("completion", "ended", "log_prob")
"""The columns that `complete_file` adds."""
SCORE_COLUMN = "score"
"""One more column of `complete_file`, where a reward chose the completions."""
_READ_AHEAD = 2**20  # bytes
_FIRST_PASS_ROWS = 1024  # rows at a time


class Scorer(Protocol):
    """Anything that scores: a reward model, or a stand-in for one."""

    def score_all(
        self,
        examples: Sequence[Example],
        *,
        precision: ScoringChoice = "float32",
    ) -> Scores:
        """Return the scores of the examples, in order."""
        ...


Chunks = Callable[[], Iterable[Sequence[Example]]]
"""Reads the texts of a file from its start, some at a time. It can be sent to another process."""


class Engine(Protocol):
    """Scores a file's texts in other processes."""

    def scoring(
        self, chunks: Chunks
    ) -> AbstractContextManager[Iterator[Scores]]:
        """Return the context in which the scores of each chunk come, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Part number `number` of `of`, as an array job gives it: 1 of 4, 2 of 4 …"""

    number: int = 1
    of: int = 1

    @staticmethod
    def from_text(text: str) -> "Part":
        """Return the part that "1/4" names. Raises UsageError for what names none."""
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UsageError(
                f"part {text!r}: must be a number and how many there are, such as 1/4 to 4/4."
            )
        return Part(int(match[1]), int(match[2]))

    def rows(self, count: int) -> range:
        """Return the numbers of the part's rows among all rows."""
        start = count * (self.number - 1) // self.of
        return range(start, count * self.number // self.of)

    def file(self, source: Path) -> str:
        """Return the name of the part's output: reviews-00001-of-00004.csv."""
        unpacked = source
        if source.suffix in {".gz", ".zst", ".zip"}:
            unpacked = source.with_suffix("")
        name = f"{unpacked.stem}-{self.number:05d}-of-{self.of:05d}"
        return f"{name}{unpacked.suffix}"


@dataclass(frozen=True, slots=True)
class FileScores:
    """How many rows were scored, and how many of their texts were cut at the model's limit.

    read_as: which columns were read as what.
    """

    rows: int
    truncated: int
    read_as: ReadAs | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Written:
    """One completion: its text, how it ended, its log-probability, and its score if it has one."""

    text: str
    ended: str
    log_prob: float
    score: float | None = None


Complete = Callable[[Sequence[Prompt], int], Sequence[Sequence[Written]]]
"""(prompts, number of the first prompt) → the completions of each prompt."""


class _WithMeanings(Protocol):
    def meanings(self, scores: Scores) -> Mapping[str, Sequence[float]]: ...


def score_file(
    model: Scorer,
    source: Path,
    target: Path,
    *,
    text_column: str | None = None,
    prompt_column: str | None = None,
    system_column: str | None = None,
    score_column: str = "score",
    precision: ScoringChoice = "float32",
    caution: Caution = 0.0,
    uncertainty: bool = False,
    has_meanings: bool = False,
    chunk: int = 2048,
    part: Part | None = None,
    engine: Engine | None = None,
    say: Say = silent,
) -> FileScores:
    """Score every row of `source` and write it, with its score, to `target`.

    Both are JSONL, CSV, TSV or Parquet by their names, and may differ. Rows keep their order and
    columns their values; from Parquet to Parquet columns also keep their types.
    Two columns are added: `score` and `truncated`, or `NAME` and `NAME_truncated` for another
    `score_column`. uncertainty: add `uncertainty` or `NAME_uncertainty`, the standard deviation of
    an ensemble's members. has_meanings: add `probability` and `rating`, or `NAME_…`, where the
    model has them. Of `tastemaker_score` the other columns begin with `tastemaker_`, and are never
    read back as judgements. source may be described: `reviews.csv:text=body`. text_column,
    prompt_column, system_column: None: recognised by name. caution: see `Scores.cautious`. chunk:
    how many rows the model is given at a time. part: only this part of the rows; the parts, one
    after the other, are all rows. engine: what computes the model's scores, in its place. say:
    takes a remark.

    Raises UsageError where the source has a column of a new name already. Raises DataError, with
    the row, for a file or text that cannot be read, or cannot be written in the target's format.
    Raises StorageError for a full disk. On any error `target` is as it was before.
    """
    kind = format_of(target)
    columns = Columns(text_column, prompt_column, system=system_column)
    source, columns = described_file(source, columns)
    table = _look(source, columns, is_typed=kind == "parquet")
    meanings = _meanings_of(model) if has_meanings else []
    new = _new_columns(table, score_column, meanings, uncertainty=uncertainty)
    schema = None if table.schema is None else _with_fields(table.schema, new)
    keeps_types = kind == format_of(source) == "parquet"
    read = _batches if keeps_types else _rows
    chosen = (part or Part()).rows(table.rows)
    done = chosen.start
    truncated = 0
    texts = partial(_texts, read, table, chunk, chosen)
    with (
        writing_table(
            target, [*table.columns, *new], schema, say=say
        ) as write,
        progress(f"scoring {source.name}", len(chosen)) as advance,
        # ended first: while it runs, standard error goes nowhere
        engine.scoring(texts) if engine else nullcontext() as scored,
    ):
        for examples, content in _within(read(table, chunk), chosen):
            if scored is None:
                plain = model.score_all(examples, precision=precision)
            else:
                plain = next(scored)
            scores = plain.cautious(caution)
            by_name: Mapping[str, Sequence[float]] = {}
            if meanings:
                by_name = cast(_WithMeanings, model).meanings(plain)
            values = [np.asarray(by_name[name]) for name in meanings]
            last = done + len(scores)
            try:
                write(_with_scores(content, scores, values, new))
            except DataError as error:
                raise DataError(
                    f"{source.name}, rows {done + 1} to {last}: {error}"
                ) from error
            done = last
            truncated += int(scores.truncated.sum())
            advance(len(scores), "")
    shown = texts_read_as(source.name, table.plan.layout)
    return FileScores(done - chosen.start, truncated, shown)


def _texts(
    read: Callable[[Any, int], Iterable[tuple[list[Example], Any]]],
    table: "_Source",
    chunk: int,
    chosen: range,
) -> Iterator[list[Example]]:
    """Yield the texts of the chosen rows, in the chunks in which `score_file` reads them."""
    for examples, _ in _within(read(table, chunk), chosen):
        yield examples


def _within(
    read: Iterable[tuple[list[Example], Content]], chosen: range
) -> Iterator[tuple[list[Example], Content]]:
    """Yield what was read of the chosen rows, and read no further than these."""
    at = 0
    for examples, content in read:
        first = max(chosen.start - at, 0)
        last = min(chosen.stop - at, len(examples))
        if first < last:
            # of a record batch, as of a list
            yield examples[first:last], content[first:last]
        at += len(examples)
        if at >= chosen.stop:
            return


def complete_file(
    complete: Complete,
    source: Path,
    target: Path,
    *,
    prompt_column: str | None = None,
    chat: bool = False,
    is_scored: bool = False,
    chunk: int = 512,
    say: Say = silent,
    say_read_as: Callable[[ReadAs], None] = lambda one: None,
) -> list[Written]:
    """Write the completions of every prompt of `source` to `target`; return them without texts.

    source: JSONL, CSV, TSV or Parquet with a column of prompts, or a text file with one prompt a
    line. target: JSONL, CSV or TSV, one row a completion, with the source's columns.
    chat: prompts are messages of a user. is_scored: add a column with the scores of completions.
    say: takes a remark. say_read_as: takes what the source was read as.
    Raises DataError for a file or row that cannot be read. Raises UsageError for another target,
    and where the source has a column of a new name already. Raises StorageError for a full disk.
    On any error `target` is as it was before.
    """
    if format_of(target) == "parquet":
        raise UsageError(
            f"{target}: completions are written as JSONL, CSV or TSV. "
            "Choose another name for --out."
        )
    of_scores = (SCORE_COLUMN,) if is_scored else ()
    new = (*COMPLETION_COLUMNS, *of_scores)
    prompts = open_prompts(source, prompt_column)
    say_read_as(prompts.read_as())
    for name in new:
        if name in prompts.columns:
            raise UsageError(
                f"{source.name}: there is a column {name!r} already. Rename it: completions need "
                f"the columns {', '.join(new)}."
            )
    done: list[Written] = []
    number = 0
    with (
        writing_table(target, [*prompts.columns, *new], say=say) as write,
        progress(f"writing for {source.name}", prompts.count) as advance,
    ):
        numbered = prompts.rows(chat=chat)
        while part := list(islice(numbered, chunk)):
            completions = complete([prompt for _, prompt in part], number)
            number += len(part)
            new_rows = []
            for (row, _), of_prompt in zip(part, completions, strict=True):
                new_rows += [row | _cells(written) for written in of_prompt]
                done += [replace(written, text="") for written in of_prompt]
            write(new_rows)
            advance(len(part), "")
    return done


def _cells(written: Written) -> dict[str, Any]:
    cells = {
        "completion": written.text,
        "ended": written.ended,
        "log_prob": written.log_prob,
    }
    # JSON has no −∞
    if written.score is not None and math.isfinite(written.score):
        cells[SCORE_COLUMN] = written.score
    return cells


@dataclass(frozen=True)
class _Source:
    """A table to score, after the first pass. schema: its columns' types, where they are needed."""

    path: Path
    plan: ColumnPlan
    columns: tuple[str, ...] = ()
    rows: int = 0
    schema: pa.Schema | None = None

    def example(self, row: Row, number: int) -> Example:
        """Return the text and prompt of a row. Raises DataError for a missing or empty text."""
        return self.plan.example(row, f"{self.path.name}:{number}")


def _look(path: Path, columns: Columns, *, is_typed: bool) -> _Source:
    """Find the columns of a source, and check the text of every row."""
    kind = format_of(path)
    table = Table(path.name, lambda: rows(path))
    if kind != "jsonl":
        # in the other formats every row has the same columns
        table = Table(path.name, lambda: telling_rows(rows(path), may_prompt))
    chosen = plan(table, columns, judged=False)
    source = _Source(path, chosen)
    if kind == "parquet":
        return _look_at_parquet(source)
    return _look_at_rows(source, is_typed=is_typed)


def _look_at_parquet(source: _Source) -> _Source:
    with pq.ParquetFile(source.path) as file:
        schema = file.schema_arrow
    parts = _batches(source, _FIRST_PASS_ROWS, is_text_only=True)
    count = sum(len(examples) for examples, _ in parts)
    return replace(
        source, columns=tuple(schema.names), rows=count, schema=schema
    )


def _look_at_rows(source: _Source, *, is_typed: bool) -> _Source:
    names: dict[str, None] = {}
    count, schema = 0, pa.schema([])
    for examples, content in _rows(source, _FIRST_PASS_ROWS):
        for row in content:
            names.update(dict.fromkeys(row))
        count += len(examples)
        if is_typed:
            try:
                schema = widened(schema, content, list(names))
            except DataError as error:
                raise DataError(
                    f"{source.path.name}, before row {count + 1}: {error}"
                ) from error
    columns = tuple(names)
    return replace(
        source,
        columns=columns,
        rows=count,
        schema=schema if is_typed else None,
    )


def _new_columns(
    source: _Source,
    score_column: str,
    meanings: Sequence[str],
    *,
    uncertainty: bool,
) -> tuple[str, ...]:
    """Return the names of the new columns: score, truncation, uncertainty, meanings.

    Raises UsageError where the source has one of them already.
    """
    prefix = f"{score_column}_"
    if score_column in {"score", "tastemaker_score"}:
        prefix = score_column.removesuffix("score")
    new = [score_column, f"{prefix}truncated"]
    if uncertainty:
        new.append(f"{prefix}uncertainty")
    new += [f"{prefix}{_SINGULAR[name]}" for name in meanings]
    for name in new:
        if name in source.columns:
            raise UsageError(
                f"{source.path.name}: there is a column {name!r} already. "
                "Name the new one with --score-column."
            )
    return tuple(new)


def _with_fields(schema: pa.Schema, new: Sequence[str]) -> pa.Schema:
    """Return a schema with the new columns."""
    fields = []
    for number, name in enumerate(new):
        is_truncation = number == 1
        kind = pa.bool_() if is_truncation else pa.float64()
        fields.append(pa.field(name, kind))
    return pa.schema([*schema, *fields], schema.metadata)


def _with_scores(
    content: Content,
    scores: Scores,
    meanings: Sequence[NDArray[Any]],
    new: Sequence[str],
) -> Content:
    """Return rows with their new columns. Raises UsageError for uncertainty of a single model."""
    columns: list[NDArray[Any]] = [scores.values, scores.truncated]
    if len(new) > len(columns) + len(meanings):
        columns.append(uncertainty_of(scores))
    columns += meanings
    if not isinstance(content, list):
        arrays = [*content.columns, *map(pa.array, columns)]
        return pa.RecordBatch.from_arrays(
            arrays, schema=_with_fields(content.schema, new)
        )
    cells = zip(*[column.tolist() for column in columns], strict=True)
    added = [dict(zip(new, values, strict=True)) for values in cells]
    return [row | more for row, more in zip(content, added, strict=True)]


_SINGULAR = {"probabilities": "probability", "ratings": "rating"}


def _meanings_of(model: Any) -> list[str]:
    """Return the names of the judgements that a model's score means; [] for a stand-in."""
    names = getattr(model, "meaning_names", ())
    return [name for name in names if name in _SINGULAR]


def uncertainty_of(scores: Scores) -> NDArray[Any]:
    """Return the uncertainty of scores. Raises UsageError for a single model."""
    if scores.uncertainty is None:
        raise UsageError(
            "uncertainty needs an ensemble, and this is a single model. Fit one with --members 5."
        )
    return scores.uncertainty


def _rows(
    source: _Source, size: int
) -> Iterator[tuple[list[Example], list[Row]]]:
    """Yield (examples, rows) of any table, `size` rows at a time."""
    numbered = rows(source.path)
    while part := list(islice(numbered, size)):
        yield (
            [source.example(row, number) for number, row in part],
            [row for _, row in part],
        )


def _batches(
    source: _Source, size: int, *, is_text_only: bool = False
) -> Iterator[tuple[list[Example], pa.RecordBatch]]:
    """Yield (examples, record batch) of a Parquet file, `size` rows at a time."""
    number = 0
    needed = [source.plan.text, *source.plan.prompts.all]
    columns = needed if is_text_only else None
    try:
        # pre_buffer, pyarrow's default, would take the whole file into memory
        with pq.ParquetFile(
            source.path, buffer_size=_READ_AHEAD, pre_buffer=False
        ) as file:
            for batch in file.iter_batches(size, columns=columns):
                read = enumerate(cells_of(batch.select(needed)), number + 1)
                yield [source.example(row, at) for at, row in read], batch
                number += len(batch)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source.path.name}: a text after row {number} is not UTF-8."
        ) from error
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{source.path.name}: cannot be read as Parquet after row {number} ({reason})."
        ) from error
