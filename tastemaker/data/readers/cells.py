"""The cells of a judgement column → labels, grades or ratings, or one clear line that says what is wrong with one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Example, Grade, Label, Rating
from tastemaker.data.readers.said import Said
from tastemaker.data.readers.values import number_of, show, word_of
from tastemaker.errors import DataError


def _check_range(number: float, lowest: float, highest: float, where: str, column: str) -> None:
    if not lowest <= number <= highest:
        raise DataError(f"{where}: column {column!r} holds {number:g}, outside the scale of {lowest:g} to {highest:g}.")


@dataclass(frozen=True)
class LabelCells:
    """Reads the cells of a column of labels. meanings: a label's plain form (`word_of`) → is it positive?"""

    column: str
    meanings: Mapping[str, bool]

    def judgement(self, value: Any, example: Example, said: Said) -> Label:
        """Return the cell's label. Raises DataError for an empty cell and for an unknown value."""
        word, where = word_of(value), said["where"]
        if word is None:
            raise DataError(f"{where}: no value in column {self.column!r}. Fill it in or remove the row.")
        if word not in self.meanings:
            known = " and ".join(self.meanings)
            raise DataError(f"{where}: column {self.column!r} holds {show(value)}; the labels are {known}.")
        return Label(example.text, self.meanings[word], prompt=example.prompt, **said)


@dataclass(frozen=True)
class GradeCells:
    """Reads the cells of a column of grades, whole numbers from `lowest` to `highest`."""

    column: str
    lowest: int
    highest: int

    def judgement(self, value: Any, example: Example, said: Said) -> Grade:
        """Return the cell's grade. Raises DataError unless it is a whole number on the scale."""
        where = said["where"]
        number = number_of(value, where, self.column)
        if not number.is_integer():
            raise DataError(
                f"{where}: column {self.column!r} holds {show(value)}, which is not a whole grade. "
                f"Name the column as ratings instead (--rating-column)."
            )
        _check_range(number, self.lowest, self.highest, where, self.column)
        return Grade(example.text, int(number), self.lowest, self.highest, prompt=example.prompt, **said)


@dataclass(frozen=True)
class RatingCells:
    """Reads the cells of a column of ratings, finite numbers, within `scale` where it is given."""

    column: str
    scale: tuple[int, int] | None = None

    def judgement(self, value: Any, example: Example, said: Said) -> Rating:
        """Return the cell's rating. Raises DataError unless it is a finite number on the scale."""
        number = number_of(value, said["where"], self.column)
        if self.scale:
            _check_range(number, *self.scale, said["where"], self.column)
        return Rating(example.text, number, prompt=example.prompt, **said)


Cells = LabelCells | GradeCells | RatingCells
