"""Read tables column by column: find the columns of texts and judgements, and read their cells.

`plan` goes through the rows once, to see which columns there are and what the judgement columns
hold. The `Plan` then goes through the rows again and turns each one into judgements. Two passes,
so that only the plan is kept in memory.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tastemaker.data.chats import example_from, prompt_from
from tastemaker.data.judgements import Example, Grade, Judgement, Label, Rating
from tastemaker.data.tables import (
    Metadata,
    MetadataColumns,
    Row,
    Table,
    column_for,
    metadata_columns,
    plain_name,
)
from tastemaker.data.values import (
    bad_cell,
    empty_cell,
    number_of,
    parse_number,
    word_of,
)
from tastemaker.errors import DataError, UsageError

Target = Literal["label", "rating"]

MOST_STEPS = 20
"""Whole numbers on at most so many steps are grades; on more steps they are ratings."""

_TEXT_COLUMNS = (
    "text review sentence content completion response comment body document"
)
_LABEL_COLUMNS = "label labels sentiment class polarity is_positive positive"

RECOGNISED: dict[str, tuple[str, ...]] = {
    "text": tuple(_TEXT_COLUMNS.split()),
    "prompt": ("prompt", "instruction"),
    "label": tuple(_LABEL_COLUMNS.split()),
    "grade": ("grade", "stars", "star_rating"),
    "rating": ("rating", "score"),
}
"""Column names that are recognised, the likeliest first; case, spaces and hyphens do not matter.

`tables.RECOGNISED` has those of the judge, the time and the weight.
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
"""(negative, positive): the pairs of labels that need no `positive`."""

_JUDGEMENTS = ("label", "grade", "rating")
_OPTIONS = "--label-column, --grade-column or --rating-column"


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None: recognised by name (see `RECOGNISED`).

    Once one judgement column is named, only the named ones are read. A column named as `grade` or
    `rating` is read as that; a recognised rating column of few whole numbers is read as grades.

    positive: which value of the label column means positive, where that is not plain.
    scale: (lowest, highest) grade or rating there can be; None: grades reach as far as those in the
    table, ratings anywhere.
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
            lowest, highest = self.scale
            raise UsageError(
                f"scale {lowest} to {highest}: the lowest must be under the highest."
            )

    def named(self) -> list[str]:
        """Return the columns that are named."""
        columns = (self.text, self.prompt, self.label, self.grade, self.rating)
        return [name for name in columns if name is not None]


@dataclass(frozen=True)
class LabelCells:
    """Reads a column of labels. meanings: a label's plain form (`word_of`) → whether positive."""

    column: str
    meanings: Mapping[str, bool]

    def judgement(
        self, value: Any, example: Example, metadata: Metadata
    ) -> Label:
        """Return the cell's label. Raises DataError for an empty cell and for an unknown value."""
        word, where = word_of(value), metadata["where"]
        if word is None:
            raise empty_cell(where, self.column)
        if word not in self.meanings:
            labels = " and ".join(self.meanings)
            raise bad_cell(
                value, where, self.column, f"; the labels are {labels}."
            )
        return Label(
            example.text,
            self.meanings[word],
            prompt=example.prompt,
            **metadata,
        )


@dataclass(frozen=True)
class GradeCells:
    """Reads a column of grades, whole numbers from `lowest` to `highest`."""

    column: str
    lowest: int
    highest: int

    def judgement(
        self, value: Any, example: Example, metadata: Metadata
    ) -> Grade:
        """Return the cell's grade. Raises DataError unless it is a whole number on the scale."""
        where = metadata["where"]
        number = number_of(value, where, self.column)
        if not number.is_integer():
            problem = ", which is not a whole grade. Name it with --rating-column instead."
            raise bad_cell(value, where, self.column, problem)
        scale = (self.lowest, self.highest)
        _check_scale(number, scale, where, self.column)
        return Grade(
            example.text,
            int(number),
            *scale,
            prompt=example.prompt,
            **metadata,
        )


@dataclass(frozen=True)
class RatingCells:
    """Reads a column of ratings, finite numbers, within `scale` where it is given."""

    column: str
    scale: tuple[int, int] | None = None

    def judgement(
        self, value: Any, example: Example, metadata: Metadata
    ) -> Rating:
        """Return the cell's rating. Raises DataError unless it is a finite number on the scale."""
        where = metadata["where"]
        number = number_of(value, where, self.column)
        if self.scale:
            _check_scale(number, self.scale, where, self.column)
        return Rating(example.text, number, prompt=example.prompt, **metadata)


Cells = LabelCells | GradeCells | RatingCells


def _check_scale(
    number: float, scale: tuple[int, int], where: str, column: str
) -> None:
    lowest, highest = scale
    if not lowest <= number <= highest:
        beyond = f"outside the scale of {lowest} to {highest}"
        raise DataError(
            f"{where}: column {column!r} holds {number:g}, {beyond}."
        )


@dataclass
class Survey:
    """What one column holds: its first distinct words, each with its place, and its numbers."""

    words: dict[str, str] = field(default_factory=dict)
    lowest: float = math.inf
    highest: float = -math.inf
    is_whole: bool = True

    def add(self, value: Any, where: str) -> None:
        """Take note of one cell. Bad cells are left for the second pass to complain about."""
        word = word_of(value)
        if word is not None and len(self.words) <= MOST_STEPS:
            self.words.setdefault(word, where)
        number = parse_number(value)
        if number is not None and math.isfinite(number):
            self.lowest = min(self.lowest, number)
            self.highest = max(self.highest, number)
            self.is_whole = self.is_whole and number.is_integer()
        elif word is not None:
            self.is_whole = False

    def are_grades(self) -> bool:
        """Return whether labels such as these are grades: more than two whole numbers."""
        return self.is_whole and len(self.words) > 2

    def has_few_steps(self, scale: tuple[int, int] | None) -> bool:
        """Return whether these are whole numbers on a scale of at most MOST_STEPS steps."""
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
        prompt = None
        if self.prompt:
            prompt = prompt_from(row.get(self.prompt), where, self.prompt)
        return example_from(row.get(self.text), prompt, where, self.text)

    def examples(self) -> Iterator[Example]:
        """Yield the text of every row. Raises DataError at the first row that cannot be read."""
        for number, row in self.table.rows():
            yield self._example(row, self.table.place(number))

    def judgements(
        self, skipped: list[DataError] | None = None
    ) -> Iterator[Judgement]:
        """Yield the judgements of every row. Raises DataError at the first row that is bad.

        skipped: a list that takes the errors of such rows instead.
        """
        return self.table.read_rows(self._row, skipped)

    def _row(self, number: int, row: Row) -> list[Judgement]:
        example = self._example(row, self.table.place(number))
        metadata = self.metadata.read(row, self.table, number)
        judgements: list[Judgement] = []
        for cells in self.cells:
            value = row.get(cells.column)
            judgements.append(cells.judgement(value, example, metadata))
        return judgements


def plan(
    table: Table,
    columns: Columns,
    *,
    target: Target | None = None,
    judged: bool = True,
    past_bad: bool = False,
) -> Plan:
    """Return how to read a table's judgements, or only its texts (`judged=False`).

    target: "label" for labels alone, "rating" for grades and ratings alone. past_bad: go past rows
    that are not well formed. Raises DataError for a named column that is not there, for a table
    without a text or judgement column, and for labels of which it is not plain which is positive.
    """
    names, surveys = _survey(table, columns, past_bad)
    for name in columns.named():
        if name not in names:
            raise DataError(
                f"{table.name}: no column {name!r}. The columns are {_listed(names)}."
            )
    text = columns.text or column_for(
        RECOGNISED["text"], names, columns.named()
    )
    if text is None:
        listed = _listed(names)
        raise DataError(
            f"{table.name}: no column with a text among {listed}. Name it with --text-column."
        )
    used = [*columns.named(), text]
    prompt = columns.prompt or column_for(RECOGNISED["prompt"], names, used)
    metadata = metadata_columns(tuple(names), frozenset(used))
    cells = (
        _Cells(table, columns, surveys).for_target(target, used)
        if judged
        else ()
    )
    if judged and not cells:
        missing = {
            None: "a judgement",
            "label": "labels",
            "rating": "grades or ratings",
        }[target]
        listed = _listed(names)
        raise DataError(
            f"{table.name}: no column with {missing} among {listed}. Name it with {_OPTIONS}."
        )
    return Plan(table, text, prompt, metadata, cells)


def _survey(
    table: Table, columns: Columns, past_bad: bool
) -> tuple[list[str], dict[str, Survey]]:
    """Return the names of all columns, and a survey of those that may hold judgements."""
    may_judge = {name for kind in _JUDGEMENTS for name in RECOGNISED[kind]}
    named = columns.named()
    names: dict[str, None] = {}
    surveys: dict[str, Survey] = {}
    for number, row in table.rows_past([] if past_bad else None):
        for name, value in row.items():
            if name not in names:
                names[name] = None
                if name in named or plain_name(name) in may_judge:
                    surveys[name] = Survey()
            if name in surveys:
                surveys[name].add(value, table.place(number))
    if not names:
        raise DataError(f"{table.name}: no rows in it.")
    return list(names), surveys


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)


@dataclass(frozen=True)
class _Cells:
    """Decides how the judgement columns of a table are read, by a survey of what they hold."""

    table: Table
    columns: Columns
    surveys: dict[str, Survey]

    def for_target(
        self, target: Target | None, used: Collection[str]
    ) -> tuple[Cells, ...]:
        """Return how to read each judgement column that the target keeps."""
        columns = self.columns
        label, grade, rating = columns.label, columns.grade, columns.rating
        is_named = bool(label or grade or rating)
        if not is_named:
            label, grade, rating = (
                self._recognised(kind, used) for kind in _JUDGEMENTS
            )
        cells: list[Cells] = []
        if label and (target != "rating" or self.surveys[label].are_grades()):
            cells.append(self._of_labels(label))
        if grade and target != "label":
            cells.append(self._of_grades(grade))
        if rating and target != "label":
            is_grade = not is_named and self.surveys[rating].has_few_steps(
                columns.scale
            )
            cells.append(
                self._of_grades(rating)
                if is_grade
                else RatingCells(rating, columns.scale)
            )
        if target == "label":
            cells = [each for each in cells if isinstance(each, LabelCells)]
        return tuple(cells)

    def _recognised(self, kind: str, used: Collection[str]) -> str | None:
        return column_for(RECOGNISED[kind], self.surveys, used)

    def _of_labels(self, column: str) -> Cells:
        """Return how to read labels: two values, or more whole numbers, which are grades."""
        survey, positive = self.surveys[column], self.columns.positive
        words = list(survey.words)
        if survey.are_grades() and positive is None:
            return self._of_grades(column)
        where = f"{self.table.name}: column {column!r}"
        if len(words) > 2:
            places = ", ".join(
                f"{word!r} ({survey.words[word]})" for word in words[:4]
            )
            raise DataError(
                f"{where} holds more than two labels: {places}. Keep two, or name another column "
                f"with {_OPTIONS}."
            )
        if positive is not None:
            word_for_positive = word_of(positive)
            if len(words) == 2 and word_for_positive not in words:
                raise DataError(
                    f"{where} never holds {positive!r}, the positive label. "
                    f"It holds {_listed(words)}."
                )
            return LabelCells(
                column, {word: word == word_for_positive for word in words}
            )
        for pair in PAIRS:
            if set(words) <= set(pair):
                return LabelCells(
                    column, dict(zip(pair, (False, True), strict=True))
                )
        either = " or ".join(repr(word) for word in words)
        raise DataError(
            f"{self.table.name}: which label of column {column!r} is positive, {either}? "
            "Say so with --positive."
        )

    def _of_grades(self, column: str) -> GradeCells:
        survey = self.surveys[column]
        if self.columns.scale:
            return GradeCells(column, *self.columns.scale)
        # not one number: let the first row say so
        if not math.isfinite(survey.lowest):
            return GradeCells(column, 1, 10)
        lowest, highest = math.floor(survey.lowest), math.ceil(survey.highest)
        if highest - lowest >= MOST_STEPS:
            raise DataError(
                f"{self.table.name}: column {column!r} holds {lowest} to {highest}, more than "
                f"{MOST_STEPS} steps of a grade. Name it with --rating-column, or give the --scale."
            )
        return GradeCells(column, lowest, highest)
