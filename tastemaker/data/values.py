"""Cells of a table as texts, numbers and labels (`chats` reads chat messages).

Every function takes `where`, the place of the row (`reviews.csv:17`), and `column`, the name of the
cell's column, and raises DataError with one line that names both for a cell that is wrong.
"""

import math
from decimal import Decimal

from tastemaker.errors import DataError

_SHOWN = 40

LABEL_PAIRS = (
    ("false", "true"),
    ("0", "1"),
    ("-1", "1"),
    ("neg", "pos"),
    ("negative", "positive"),
    ("no", "yes"),
    ("bad", "good"),
)
"""(negative, positive): the pairs of labels that need no `positive`."""

UNJUDGED_WORDS = frozenset(("null", "nan", "n/a", "na", "<na>", "#n/a"))
"""Plain forms of cells that spell an empty one."""


def show(value: object) -> str:
    """Return the value as one short line for a message."""
    line = repr(value)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def bad_cell(
    value: object, where: str, column: str, problem: str
) -> DataError:
    """Return the error of a cell: what it holds, and what is wrong with that."""
    return DataError(
        f"{where}: column {column!r} holds {show(value)}{problem}"
    )


def empty_cell(where: str, column: str, missing: str = "value") -> DataError:
    """Return the error of a cell that must not be empty."""
    return DataError(
        f"{where}: no {missing} in column {column!r}. Fill it in or remove the row."
    )


def is_missing(value: object) -> bool:
    """Return whether a cell is empty: None, white space, or the NaN that data frames write."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value: object, where: str, column: str) -> str:
    """Return the cell as it is. Raises DataError unless it is a text with something in it."""
    text = answer_of(value, where, column)
    if not text.strip():
        raise DataError(
            f"{where}: the text in column {column!r} is empty. Fill it in or remove the row."
        )
    return text


def answer_of(value: object, where: str, column: str) -> str:
    """Return the cell as it is, empty or not: an empty answer is judged too.

    Raises DataError for what is not a text.
    """
    if value is None:
        raise empty_cell(where, column, "text")
    if not isinstance(value, str):
        kind = type(value).__name__
        raise bad_cell(
            value, where, column, f" ({kind}) where a text belongs."
        )
    if not value.isascii():
        _check_unicode(value, where, column)
    return value


def _check_unicode(text: str, where: str, column: str) -> None:
    try:  # JSON can spell half a surrogate pair; no tokenizer can read it
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        raise DataError(
            f"{where}: the text in column {column!r} is not valid Unicode: "
            f"half a surrogate pair, {half}, at character {error.start}."
        ) from error


# a tuple: `str | int` would be made for each cell
_NUMERIC = (str, int, float, Decimal)


def parse_number(value: object) -> float | None:
    """Return the cell as a number, perhaps not finite; None when it is not one (a bool is not)."""
    if isinstance(value, bool) or not isinstance(value, _NUMERIC):
        return None
    # Python reads 1_000; no table means it
    if isinstance(value, str) and "_" in value:
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
    if number is None and is_missing(value):
        raise empty_cell(where, column)
    if number is None:
        raise bad_cell(value, where, column, ", which is not a number.")
    if not math.isfinite(number):
        raise bad_cell(value, where, column, ", which is not a finite number.")
    return number


def whole_of(value: object, where: str, column: str) -> int:
    """Return the cell as a whole number ("2.0" is one), or raise DataError."""
    number = number_of(value, where, column)
    if not number.is_integer():
        raise bad_cell(value, where, column, ", which is not a whole number.")
    return int(number)


def word_of(value: object) -> str | None:
    """Return a label's plain form: "pos" for "Pos ", "true" for True, "1" for 1.0.

    An empty cell gives None.
    """
    if is_missing(value):
        return None
    number = parse_number(value)
    if number is not None and math.isfinite(number) and number.is_integer():
        return str(int(number))
    return str(value).strip().casefold()
