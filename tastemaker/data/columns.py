"""Which column is the text and which the judgement, and how the cells of each are read.

A first pass over the rows (`survey`) sees which columns there are and what the judgement columns hold; a `Plan` then
turns every row into judgements. Two passes, so that nothing but the plan is kept in memory.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from tastemaker.data.judgements import Example, Judgement
from tastemaker.data.metadata import (
    Cells,
    GradeCells,
    LabelCells,
    MetadataColumns,
    RatingCells,
    column_for,
    metadata_columns,
    plain_name,
)
from tastemaker.data.tables import Row, Table
from tastemaker.data.values import parse_number, prompt_of, text_of, word_of
from tastemaker.errors import DataError, UsageError

Target = Literal["label", "rating"]

MOST_STEPS = 20
"""Whole numbers on at most so many steps are grades; on more, ratings."""

RECOGNISED = {
    "text": (
        "text",
        "review",
        "sentence",
        "content",
        "completion",
        "response",
        "comment",
        "body",
        "document",
    ),
    "prompt": ("prompt", "instruction"),
    "label": ("label", "labels", "sentiment", "class", "polarity", "is_positive", "positive"),
    "grade": ("grade", "stars", "star_rating"),
    "rating": ("rating", "score"),
}
"""The column names that are understood untold, the likeliest first; case, spaces and hyphens do not matter.

Who judged, when, and how much it counts: `metadata.RECOGNISED`.
"""

PAIRS = (
    ("false", "true"),
    ("0", "1"),
    ("-1", "1"),
    ("neg", "pos"),
    ("negative", "positive"),
    ("no", "yes"),
    ("bad", "good"),
)
"""(negative, positive): the two labels that are understood untold."""

_JUDGEMENTS = ("label", "grade", "rating")


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None: recognised by name (see `RECOGNISED`).

    Once one judgement column is named, only the named ones are read. A column named as `grade` or `rating` is read as
    that; a recognised rating column of few whole numbers is read as grades.

    positive: which value of the label column means positive, where that is not plain ("pos", "true", "1" …).
    scale: (lowest, highest) grade or rating there can be; None: grades reach as far as those seen, ratings anywhere.
    """

    text: str | None = None
    prompt: str | None = None
    label: str | None = None
    grade: str | None = None
    rating: str | None = None
    positive: str | None = None
    scale: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Raise UsageError for a scale that does not go up."""
        if self.scale and self.scale[0] >= self.scale[1]:
            raise UsageError(
                f"scale {self.scale[0]} to {self.scale[1]}: the lowest must be under the highest."
            )


@dataclass
class Seen:
    """What one column holds: its distinct words with the first place of each, and the range of its numbers."""

    words: dict[str, str] = field(default_factory=dict)
    lowest: float = math.inf
    highest: float = -math.inf
    is_whole: bool = True

    def add(self, value: Any, where: str) -> None:
        """Take note of one cell. Empty and unreadable cells are left for the second pass to complain about."""
        word = word_of(value)
        if word is not None and word not in self.words and len(self.words) <= MOST_STEPS:
            self.words[word] = where
        number = parse_number(value)
        if number is not None and math.isfinite(number):
            self.lowest, self.highest = min(self.lowest, number), max(self.highest, number)
            self.is_whole = self.is_whole and number.is_integer()
        elif word is not None:
            self.is_whole = False

    def are_grades(self) -> bool:
        """Return whether labels such as these are grades: whole numbers, more than two of them."""
        return self.is_whole and len(self.words) > 2

    def has_few_steps(self, scale: tuple[int, int] | None) -> bool:
        """Return whether these are whole numbers on a scale, given or seen, of at most MOST_STEPS steps."""
        lowest, highest = scale or (self.lowest, self.highest)
        return self.is_whole and 0 <= highest - lowest < MOST_STEPS


@dataclass(frozen=True)
class Plan:
    """How to read a table: its columns, and the cells of each judgement column."""

    table: Table
    text: str
    prompt: str | None
    metadata: MetadataColumns
    cells: tuple[Cells, ...]

    def _example(self, row: Row, where: str) -> Example:
        prompt = prompt_of(row.get(self.prompt), where, self.prompt) if self.prompt else None
        return Example(text_of(row.get(self.text), where, self.text), prompt)

    def examples(self) -> Iterator[Example]:
        """Yield the text of every row. Raises DataError at the first row that cannot be read."""
        for number, row in self.table.rows():
            yield self._example(row, self.table.place(number))

    def judgements(self, skipped: list[DataError] | None = None) -> Iterator[Judgement]:
        """Yield the judgements of every row. Raises DataError at the first row that cannot be read.

        skipped: takes the errors of such rows instead, where given.
        """
        for number, row in self.table.rows_past(skipped):
            try:
                found = self._row(number, row)
            except DataError as error:
                if skipped is None:
                    raise
                skipped.append(error)
            else:
                yield from found

    def _row(self, number: int, row: Row) -> list[Judgement]:
        example = self._example(row, self.table.place(number))
        metadata = self.metadata.read(row, self.table, number)
        return [cells.judgement(row.get(cells.column), example, metadata) for cells in self.cells]


def plan(
    table: Table,
    columns: Columns,
    *,
    target: Target | None = None,
    judged: bool = True,
    past_bad: bool = False,
) -> Plan:
    """Return how to read a table's judgements, or only its texts (`judged=False`).

    target: "label" for labels alone, "rating" for grades and ratings alone. past_bad: rows that are not well formed do
    not matter yet. Raises DataError for a named column that is not there, no text or judgement column, and labels of
    which it is not plain which one is positive.
    """
    names, seen = _survey(table, columns, past_bad)
    _check_named(table, columns, names)
    text = columns.text or column_for(RECOGNISED["text"], names, _named(columns))
    if text is None:
        raise DataError(
            f"{table.name}: no column with a text among {_listed(names)}. Name it with --text-column."
        )
    taken = [*_named(columns), text]
    prompt = columns.prompt or column_for(RECOGNISED["prompt"], names, taken)
    metadata = metadata_columns(tuple(names), frozenset(taken))
    cells = _cells(table, columns, target, seen, taken) if judged else ()
    if judged and not cells:
        wanted = {None: "a judgement", "label": "labels", "rating": "grades or ratings"}[target]
        raise DataError(
            f"{table.name}: no column with {wanted} among {_listed(names)}. "
            f"Name it with --label-column, --grade-column or --rating-column."
        )
    return Plan(table, text, prompt, metadata, cells)


def _survey(table: Table, columns: Columns, past_bad: bool) -> tuple[list[str], dict[str, Seen]]:
    """Return the names of all columns, and what those hold that may be judgements."""
    may_judge = {name for kind in _JUDGEMENTS for name in RECOGNISED[kind]}
    names: dict[str, Seen | None] = {}
    for number, row in table.rows_past([] if past_bad else None):
        for name, value in row.items():
            if name not in names:
                names[name] = (
                    Seen() if plain_name(name) in may_judge or name in _named(columns) else None
                )
            if (seen := names[name]) is not None:
                seen.add(value, table.place(number))
    if not names:
        raise DataError(f"{table.name}: no rows in it.")
    return list(names), {name: seen for name, seen in names.items() if seen is not None}


def _named(columns: Columns) -> list[str]:
    return [
        n
        for n in (columns.text, columns.prompt, columns.label, columns.grade, columns.rating)
        if n is not None
    ]


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names))


def _check_named(table: Table, columns: Columns, names: list[str]) -> None:
    for name in _named(columns):
        if name not in names:
            raise DataError(f"{table.name}: no column {name!r}. The columns are {_listed(names)}.")


def _cells(
    table: Table,
    columns: Columns,
    target: Target | None,
    seen: dict[str, Seen],
    taken: Collection[str],
) -> tuple[Cells, ...]:
    """Return how to read every judgement column that the target wants."""
    found = {"label": columns.label, "grade": columns.grade, "rating": columns.rating}
    is_named = any(found.values())
    if not is_named:
        found = {kind: column_for(RECOGNISED[kind], list(seen), taken) for kind in found}
    label, grade, rating = found.values()
    cells: list[Cells] = []
    if label and (target != "rating" or seen[label].are_grades()):
        cells.append(_label_cells(table, label, columns, seen[label]))
    if grade and target != "label":
        cells.append(_grade_cells(table, grade, columns, seen[grade]))
    if rating and target != "label":
        if seen[rating].has_few_steps(columns.scale) and not is_named:
            cells.append(_grade_cells(table, rating, columns, seen[rating]))
        else:
            cells.append(RatingCells(rating, columns.scale))
    return tuple(c for c in cells if target != "label" or isinstance(c, LabelCells))


def _label_cells(table: Table, column: str, columns: Columns, seen: Seen) -> Cells:
    """Return how to read a label column: two values, or more than two whole numbers, which are grades."""
    words = list(seen.words)
    if seen.are_grades() and columns.positive is None:
        return _grade_cells(table, column, columns, seen)
    if len(words) > 2:
        shown = ", ".join(f"{word!r} ({where})" for word, where in list(seen.words.items())[:4])
        raise DataError(
            f"{table.name}: column {column!r} holds more than two labels: {shown}. Keep two, or name another column "
            f"with --label-column, --grade-column or --rating-column."
        )
    if columns.positive is not None:
        positive = word_of(columns.positive)
        if len(words) == 2 and positive not in words:
            raise DataError(
                f"{table.name}: column {column!r} never holds {columns.positive!r}, the positive label. "
                f"It holds {_listed(words)}."
            )
        return LabelCells(column, {word: word == positive for word in words})
    for negative, positive in PAIRS:
        if set(words) <= {negative, positive}:
            return LabelCells(column, {negative: False, positive: True})
    raise DataError(
        f"{table.name}: which label of column {column!r} is positive, {' or '.join(map(repr, words))}? "
        f"Say so with --positive."
    )


def _grade_cells(table: Table, column: str, columns: Columns, seen: Seen) -> GradeCells:
    if columns.scale:
        return GradeCells(column, *columns.scale)
    if not math.isfinite(seen.lowest):  # not one number: let the first row say so
        return GradeCells(column, 1, 10)
    lowest, highest = math.floor(seen.lowest), math.ceil(seen.highest)
    if highest - lowest >= MOST_STEPS:
        raise DataError(
            f"{table.name}: column {column!r} holds {lowest} to {highest}, more than {MOST_STEPS} steps of a grade. "
            f"Name it with --rating-column, or give the --scale."
        )
    return GradeCells(column, lowest, highest)
