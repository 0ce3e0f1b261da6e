"""Which published shape a table has, seen by its columns, and its rows → judgements.

| format | columns |
|---|---|
| preference | TRL: prompt?, chosen, rejected (texts or messages), margin? |
| hh | hh-rlhf: chosen, rejected, whole dialogues; the prompt is what they share up to the last Assistant turn |
| kto | prompt, completion, label (true or false) |
| helpsteer | prompt, response, helpfulness, correctness …: the grade is helpfulness, or the grade column named |
| helpsteer3 | context, response1, response2, overall_preference (below 0: the first is better) |
| webgpt | question.full_text, answer_0, answer_1, score_0, score_1 |
| shp | history, human_ref_A, human_ref_B, labels (1: A is better) |
| arena | prompt, response_a, response_b, winner_model_a, winner_model_b, winner_tie |
| pandalm | instruction, input?, response1, response2, annotator1 … (0: a tie) |
| nemo | context, completions [{rank (0: the best), completion}] |
| nectar | prompt, answers [{answer, rank (1: the best)}] |
| alpaca | instruction, input?, output [best … worst], history? [[question, answer] …] |
| best-of-k | query, sample0 …, best |
| mqm | source, candidates [{text, mqm_penalty}]: lower is better |
| rewardbench | prompt, chosen [texts], rejected [texts], subset?, id? |
| judgements | our own rows of every kind (`tastemaker.data.json_rows`) |
| table | a text column, and columns of labels, grades or ratings (`readers.columns`): what has none of these shapes |

A new shape is a `Format` in `readers/formats/` and its place in `_ALL`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tastemaker.data import columns
from tastemaker.data.formats import graded, mqm, pairs, ranked, rewardbench, single, voted
from tastemaker.data.formats.base import Format
from tastemaker.data.judgements import Judgement, Prompt
from tastemaker.data.metadata import column_for, metadata_columns
from tastemaker.data.tables import Row, Table
from tastemaker.errors import DataError, UsageError

_ALL = (
    pairs.TRL,
    pairs.HH,
    single.KTO,
    single.HELPSTEER,
    graded.HELPSTEER3,
    graded.WEBGPT,
    graded.SHP,
    voted.ARENA,
    voted.PANDALM,
    ranked.NEMO,
    ranked.NECTAR,
    ranked.ALPACA,
    ranked.BEST_OF_K,
    mqm.MQM,
    rewardbench.REWARDBENCH,
    single.OWN,
)
FORMATS: dict[str, Format] = {format.name: format for format in _ALL}
"""The published shapes by name."""

TABLE = "table"
"""The name of what is no published shape: a text column and columns of labels, grades or ratings."""

CHOICES = (*FORMATS, TABLE)
"""What `format` may say."""

_FIRST_ROWS = 100


@dataclass(frozen=True)
class Reading:
    """How to read a table that has a published shape.

    also: the shapes that its rows have besides, by their columns; more than those is a file of two formats.
    columns: those of the first rows. A row that lacks one that the format reads, and need not have, says nothing there.
    """

    table: Table
    format: Format
    also: frozenset[str]
    columns: tuple[str, ...]

    def judgements(self, skipped: list[DataError] | None = None) -> Iterator[Judgement]:
        """Yield the judgements of every row. Raises DataError at the first row that cannot be read.

        skipped: takes the errors of such rows instead, where given.
        """
        first: Judgement | None = (
            None  # the first with a prompt: all others' are a chat or plain as its is
        )
        for number, row in self.table.rows_past(skipped):
            try:
                found = self._row(number, row)
                for judgement in found:
                    first = first or (judgement if judgement.prompt is not None else None)
                    _check_prompt(judgement, first)
            except DataError as error:
                if skipped is None:
                    raise
                skipped.append(error)
            else:
                yield from found

    def _row(self, number: int, row: Row) -> list[Judgement]:
        row = _pythonic(row)
        where = self.table.place(number)
        others = {format.name for format in _fitting(row)} - {self.format.name} - self.also
        if others:
            raise DataError(
                f"{where}: a row of the format {min(others)!r} in a file of the format {self.format.name!r}. "
                f"Keep one format a file."
            )
        for name in self.format.needs:
            if name not in row:
                raise DataError(
                    f"{where}: no column {name!r}, which every row of the format {self.format.name!r} has. "
                    f"Keep one format a file."
                )
        missing = [
            name for name in self.format.optional if name in self.columns and name not in row
        ]
        row |= dict.fromkeys(missing)
        taken = frozenset((*self.format.needs, *self.format.optional))
        metadata = metadata_columns(tuple(row), taken).read(row, self.table, number)
        return self.format.judgements(row, metadata)


def recognise(table: Table, format: str | None = None, *, past_bad: bool = False) -> Reading | None:
    """Return how to read a table of a published shape; None: it has none, and is read column by column.

    format: the shape's name, or "table"; None: the one that the columns of the first rows say. past_bad: rows that are
    not well formed do not matter yet. Raises UsageError for a name that is none, and DataError where the columns say
    more than one shape.
    """
    if format is not None and format not in CHOICES:
        raise UsageError(f"format {format!r}: choose {', '.join(CHOICES)}.")
    if format == TABLE:
        return None
    head = [
        _pythonic(row) for _, row in islice(table.rows_past([] if past_bad else None), _FIRST_ROWS)
    ]
    names = tuple(dict.fromkeys(name for row in head for name in row))
    told: Row = next(
        (row for row in head if _fitting(row)), {}
    )  # the first row that says its shape
    fitting = _fitting(told)
    also = frozenset(found.name for found in fitting)
    if format is not None:
        return Reading(table, FORMATS[format], also, names)
    if not fitting:
        return None
    _check_one(table, fitting, tuple(told))
    return Reading(table, fitting[0], also, names)


def _fitting(row: Row) -> list[Format]:
    """Return the shapes that a row has. One that names its kind has no other."""
    if single.OWN.fits(row):
        return [single.OWN]
    return [format for format in _ALL if format.fits(row)]


def _check_one(table: Table, fitting: list[Format], names: tuple[str, ...]) -> None:
    found = [format.name for format in fitting]
    taken = {*fitting[0].needs, *fitting[0].optional}
    has_text = column_for(columns.RECOGNISED["text"], names, taken)
    has_judgement = any(
        column_for(columns.RECOGNISED[kind], names, taken) for kind in ("label", "grade", "rating")
    )
    if has_text and has_judgement and fitting[0] is not single.OWN:
        found.append(TABLE)
    if len(found) > 1:
        raise DataError(
            f"{table.name}: the columns are those of the formats {' and '.join(map(repr, found))}. Name one (--format)."
        )


def _check_prompt(judgement: Judgement, first: Judgement | None) -> None:
    """Raise DataError for a chat prompt in a file of plain ones, and for a plain one among chats."""
    if (
        first is None
        or judgement.prompt is None
        or _is_chat(judgement.prompt) == _is_chat(first.prompt)
    ):
        return
    this, that = (
        ("a chat", "a plain text") if _is_chat(judgement.prompt) else ("a plain text", "a chat")
    )
    raise judgement.wrong(
        f"the prompt is {this}, but that of {first.where} is {that}. Keep one kind a file."
    )


def _is_chat(prompt: Prompt | None) -> bool:
    return isinstance(prompt, tuple)


def _pythonic(value: Any) -> Any:
    """Return the value with lists where a table's reader gives arrays or tuples."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {name: _pythonic(cell) for name, cell in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_pythonic(cell) for cell in value] if isinstance(value, list | tuple) else value
