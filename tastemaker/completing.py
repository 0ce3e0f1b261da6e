"""Files of prompts in, files of completions out, in memory that does not grow with the file."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from tastemaker.data.columns import RECOGNISED
from tastemaker.data.judgements import Message, Prompt
from tastemaker.data.metadata import column_for
from tastemaker.data.plain_text import documents as plain_documents
from tastemaker.data.plain_text import is_plain
from tastemaker.data.tables import Row, format_of, rows
from tastemaker.data.values import prompt_of
from tastemaker.data.writers import writing_rows
from tastemaker.errors import DataError, UsageError
from tastemaker.files import writing_file
from tastemaker.progress import progress

NEW, SCORE = ("completion", "ended", "log_prob"), "score"
"""The columns that are added; the last only where a reward chose."""


@dataclass(frozen=True, slots=True)
class Written:
    """One completion for a file: its text, how it ended, its log-probability, and its score where there is one."""

    text: str
    ended: str
    log_prob: float
    score: float | None = None


Complete = Callable[[Sequence[Prompt], int], Sequence[Sequence[Written]]]
"""Prompts, and the number of the first of them → the completions of each."""


def complete_file(
    complete: Complete,
    source: Path,
    target: Path,
    *,
    prompt_column: str | None = None,
    chat: bool = False,
    is_scored: bool = False,
    chunk: int = 64,
) -> list[Written]:
    """Write the completions of every prompt of `source` to `target`, and return them without their texts.

    source: JSONL, CSV, TSV or Parquet with a column of prompts (`prompt` and the like, or a text column), or a text
    file with a prompt a line. target: JSONL, CSV or TSV; a row for each completion, the source's columns kept. chat:
    prompts of text are what a user says. is_scored: whether completions have scores, in a column of their own.
    Raises DataError for a file or row that cannot be read, UsageError for a target that is none of these and where the
    source has a column of a new name already, StorageError for a full disk; then `target` is as it was before.
    """
    kind = format_of(target)
    if kind == "parquet":
        raise UsageError(
            f"{target}: completions are written as JSONL, CSV or TSV. Choose another name for --out."
        )
    new = (*NEW, SCORE) if is_scored else NEW
    columns = _look(source, prompt_column, new)
    if not columns.count:
        raise DataError(f"{source}: no prompts in it.")
    done: list[Written] = []
    number = 0
    with (
        writing_file(target) as temporary,
        writing_rows(
            temporary, kind, [*columns.all, *new], is_packed=target.name.lower().endswith(".gz")
        ) as write,
        progress(f"writing for {source.name}", columns.count) as advance,
    ):
        prompts = _prompts(source, columns, chat=chat)
        while part := list(islice(prompts, chunk)):
            answers = complete([prompt for _, prompt in part], number)
            number += len(part)
            pairs = [
                (row, found)
                for (row, _), all_of in zip(part, answers, strict=True)
                for found in all_of
            ]
            write([row | _cells(found) for row, found in pairs])
            done += [replace(found, text="") for _, found in pairs]
            advance(len(part), "")
    return done


def read_prompts(
    source: Path, *, prompt_column: str | None = None, chat: bool = False
) -> Iterator[Prompt]:
    """Yield the prompts of a file, as `complete_file` reads them. Raises DataError for a file that holds none."""
    columns = _look(source, prompt_column, ())
    if not columns.count:
        raise DataError(f"{source}: no prompts in it.")
    for _, prompt in _prompts(source, columns, chat=chat):
        yield prompt


@dataclass(frozen=True, slots=True)
class _Columns:
    """The column of prompts, all columns, and how many rows there are."""

    prompt: str
    all: list[str]
    count: int


def _look(source: Path, prompt_column: str | None, new: Sequence[str]) -> _Columns:
    """Find the column of prompts, and read every prompt once, so that errors come before the work."""
    if is_plain(source):
        return _Columns("prompt", ["prompt"], sum(1 for _ in plain_documents(source, "line")))
    names: dict[str, None] = {}
    count = 0
    prompt = prompt_column
    for number, row in rows(source):
        names.update(dict.fromkeys(row))
        if prompt is None:
            prompt = column_for(RECOGNISED["prompt"], list(row), ()) or column_for(
                RECOGNISED["text"], list(row), ()
            )
        if prompt is None:
            raise DataError(
                f"{source.name}: no column of prompts among {', '.join(row)}. Name it: --prompt-column."
            )
        prompt_of(row.get(prompt), f"{source.name}:{number}", prompt)
        count = number
    if count and prompt not in names:
        raise DataError(
            f"{source.name}: no column {prompt!r} among {', '.join(names)}. See --prompt-column."
        )
    taken = [name for name in new if name in names]
    if taken:
        raise UsageError(
            f"{source.name}: there is a column {taken[0]!r} already, which completions need. Rename it."
        )
    return _Columns(prompt or "", list(names), count)


def _prompts(source: Path, columns: _Columns, *, chat: bool) -> Iterator[tuple[Row, Prompt]]:
    """Yield every row with its prompt."""
    if is_plain(source):
        for text in plain_documents(source, "line"):
            yield {"prompt": text}, as_chat(text) if chat else text
        return
    for number, row in rows(source):
        found = prompt_of(row.get(columns.prompt), f"{source.name}:{number}", columns.prompt) or ""
        yield row, as_chat(found) if chat and isinstance(found, str) else found


def as_chat(text: str) -> Prompt:
    """Return a text as what a user says."""
    return (Message("user", text),)


def _cells(found: Written) -> dict[str, Any]:
    score = (
        {} if found.score is None or not math.isfinite(found.score) else {SCORE: found.score}
    )  # JSON has no −∞
    return {"completion": found.text, "ended": found.ended, "log_prob": found.log_prob} | score
