"""One cell of a table → a text, a label, a grade or a rating, or one clear line that says what is wrong with it.

`where` is the place a message names (`reviews.csv:17`), `column` the name of the cell's column.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tastemaker.data.judgements import Example, Grade, Label, Rating
from tastemaker.errors import DataError

_SHOWN = 40


def show(value: object) -> str:
    """Return the value as one short line for a message."""
    line = repr(value)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def is_missing(value: object) -> bool:
    """Return whether a cell is empty: None, white space alone, or the NaN that data frames write for nothing."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value: object, where: str, column: str) -> str:
    """Return the cell as it is. Raises DataError unless it is a text with something in it."""
    if value is None:
        raise DataError(f"{where}: no text in column {column!r}. Fill it in or remove the row.")
    if not isinstance(value, str):
        kind = type(value).__name__
        raise DataError(f"{where}: column {column!r} holds {show(value)} ({kind}) where a text belongs.")
    if not value.strip():
        raise DataError(f"{where}: the text in column {column!r} is empty. Fill it in or remove the row.")
    if not value.isascii():
        _check_unicode(value, where, column)
    return value


def _check_unicode(text: str, where: str, column: str) -> None:
    try:  # JSON can spell half a surrogate pair; no tokenizer can read it
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        raise DataError(
            f"{where}: the text in column {column!r} is not valid Unicode: half a surrogate pair, {half}, at "
            f"character {error.start}."
        ) from error


def prompt_of(value: object, where: str, column: str) -> str | None:
    """Return the prompt, None for an empty cell. Raises DataError when it is not a text."""
    return None if is_missing(value) else text_of(value, where, column)


def judge_of(value: object) -> str | None:
    """Return the judge's name, None for an empty cell; a number is a name too."""
    return None if is_missing(value) else str(value)


def parse_number(value: object) -> float | None:
    """Return the cell as a number, perhaps not finite; None when it is not one (a bool is not)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and "_" in value:  # Python reads 1_000; no table means it
        return None
    if not isinstance(value, str | int | float | Decimal):
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:  # an integer of more than 308 digits
        return math.inf


def number_of(value: object, where: str, column: str) -> float:
    """Return the cell as a finite number, or raise DataError."""
    number = parse_number(value)
    if is_missing(value) and number is None:
        raise DataError(f"{where}: no value in column {column!r}. Fill it in or remove the row.")
    if number is None:
        raise DataError(f"{where}: column {column!r} holds {show(value)}, which is not a number.")
    if not math.isfinite(number):
        raise DataError(f"{where}: column {column!r} holds {show(value)}, which is not a finite number.")
    return number


def word_of(value: object) -> str | None:
    """Return a label's plain form ("Pos " → "pos", True → "true", 1.0 → "1"); None for an empty cell."""
    if is_missing(value):
        return None
    number = parse_number(value)
    if number is not None and math.isfinite(number) and number.is_integer():
        return str(int(number))
    return str(value).strip().casefold()


def _check_range(number: float, lowest: float, highest: float, where: str, column: str) -> None:
    if not lowest <= number <= highest:
        raise DataError(f"{where}: column {column!r} holds {number:g}, outside the scale of {lowest:g} to {highest:g}.")


@dataclass(frozen=True)
class LabelCells:
    """Reads the cells of a column of labels. meanings: a label's plain form (`word_of`) → is it positive?"""

    column: str
    meanings: Mapping[str, bool]

    def judgement(self, value: Any, example: Example, judge: str | None, where: str) -> Label:
        """Return the cell's label. Raises DataError for an empty cell and for an unknown value."""
        word = word_of(value)
        if word is None:
            raise DataError(f"{where}: no value in column {self.column!r}. Fill it in or remove the row.")
        if word not in self.meanings:
            known = " and ".join(self.meanings)
            raise DataError(f"{where}: column {self.column!r} holds {show(value)}; the labels are {known}.")
        return Label(example.text, self.meanings[word], example.prompt, judge, where)


@dataclass(frozen=True)
class GradeCells:
    """Reads the cells of a column of grades, whole numbers from `lowest` to `highest`."""

    column: str
    lowest: int
    highest: int

    def judgement(self, value: Any, example: Example, judge: str | None, where: str) -> Grade:
        """Return the cell's grade. Raises DataError unless it is a whole number on the scale."""
        number = number_of(value, where, self.column)
        if not number.is_integer():
            raise DataError(
                f"{where}: column {self.column!r} holds {show(value)}, which is not a whole grade. "
                f"Name the column as ratings instead (--rating-column)."
            )
        _check_range(number, self.lowest, self.highest, where, self.column)
        return Grade(example.text, int(number), self.lowest, self.highest, example.prompt, judge, where)


@dataclass(frozen=True)
class RatingCells:
    """Reads the cells of a column of ratings, finite numbers, within `scale` where it is given."""

    column: str
    scale: tuple[int, int] | None = None

    def judgement(self, value: Any, example: Example, judge: str | None, where: str) -> Rating:
        """Return the cell's rating. Raises DataError unless it is a finite number on the scale."""
        number = number_of(value, where, self.column)
        if self.scale:
            _check_range(number, *self.scale, where, self.column)
        return Rating(example.text, number, example.prompt, judge, where)


Cells = LabelCells | GradeCells | RatingCells
