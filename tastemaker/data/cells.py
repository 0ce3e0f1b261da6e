"""Cells of a judgement column: how each is read, as a label, a grade or a rating."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Example, Grade, Label, Rating
from tastemaker.data.tables import Metadata
from tastemaker.data.values import (
    bad_cell,
    empty_cell,
    number_in,
    number_of,
    word_of,
)
from tastemaker.errors import DataError


@dataclass(frozen=True)
class LabelCells:
    """Reads a column of labels. meanings: a label's plain form (`word_of`) → whether positive."""

    column: str
    meanings: Mapping[str, bool]
    unlabelled: frozenset[str] = frozenset()
    role = "label"

    @property
    def detail(self) -> str:
        """Which value is positive."""
        words = [word for word, is_it in self.meanings.items() if is_it]
        return f"positive: {' or '.join(words)}" if words else ""

    def judgement(
        self,
        value: Any,
        example: Example,
        metadata: Metadata,
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
    unlabelled: frozenset[str] = frozenset()
    role = "grade"

    @property
    def detail(self) -> str:
        """The scale."""
        return f"{self.lowest}–{self.highest}"

    def judgement(
        self,
        value: Any,
        example: Example,
        metadata: Metadata,
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
    role = "rating"
    unlabelled: frozenset[str] = frozenset()

    @property
    def detail(self) -> str:
        """The scale, where there is one."""
        return "" if self.scale is None else f"{self.scale[0]}–{self.scale[1]}"

    def judgement(
        self,
        value: Any,
        example: Example,
        metadata: Metadata,
    ) -> Rating:
        """Return the cell's rating. Raises DataError unless it is a finite number on the scale."""
        where = metadata["where"]
        number = number_of(value, where, self.column)
        if self.scale:
            _check_scale(number, self.scale, where, self.column)
        return Rating(example.text, number, prompt=example.prompt, **metadata)


@dataclass(frozen=True)
class ClassCells:
    """Reads a column of classes in an order. steps: a class's plain form → its grade from 1."""

    column: str
    steps: Mapping[str, int]
    unlabelled: frozenset[str] = frozenset()
    role = "grade"

    @property
    def detail(self) -> str:
        """The classes in order."""
        return " < ".join(self.steps)

    def judgement(
        self,
        value: Any,
        example: Example,
        metadata: Metadata,
    ) -> Grade:
        """Return the class as a grade. Raises DataError for one that the order does not hold."""
        word, where = word_of(value), metadata["where"]
        if word is None or word not in self.steps:
            order = ", ".join(self.steps)
            raise bad_cell(
                value, where, self.column, f"; the classes are {order}."
            )
        return Grade(
            example.text,
            self.steps[word],
            1,
            len(self.steps),
            prompt=example.prompt,
            **metadata,
        )


@dataclass(frozen=True)
class WordedCells:
    """Reads a column of classes whose names hold a number, by cells of that number."""

    cells: GradeCells | RatingCells
    unlabelled: frozenset[str] = frozenset()

    @property
    def column(self) -> str:
        """The column's name."""
        return self.cells.column

    @property
    def role(self) -> str:
        """The role of the numbers."""
        return self.cells.role

    @property
    def detail(self) -> str:
        """The scale, where there is one."""
        return self.cells.detail

    def judgement(
        self,
        value: Any,
        example: Example,
        metadata: Metadata,
    ) -> Grade | Rating:
        """Return the judgement of the number. Raises DataError for a class without a number."""
        number = number_in(word_of(value) or "")
        of_cell = value if number is None else number.value
        return self.cells.judgement(of_cell, example, metadata)


Cells = LabelCells | GradeCells | RatingCells | ClassCells | WordedCells


def _check_scale(
    number: float,
    scale: tuple[int, int],
    where: str,
    column: str,
) -> None:
    lowest, highest = scale
    if not lowest <= number <= highest:
        beyond = f"outside the scale of {lowest} to {highest}"
        raise DataError(
            f"{where}: column {column!r} holds {number:g}, {beyond}."
        )


def listed(
    names: Collection[str],
) -> str:
    """Return names in quotes, with commas."""
    return ", ".join(repr(name) for name in names)
