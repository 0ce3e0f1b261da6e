"""One cell of a table → a text or a number, or one clear line that says what is wrong with it.

`where` is the place a message names (`reviews.csv:17`), `column` the name of the cell's column.
"""

import math
from decimal import Decimal

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
    text = answer_of(value, where, column)
    if not text.strip():
        raise DataError(f"{where}: the text in column {column!r} is empty. Fill it in or remove the row.")
    return text


def answer_of(value: object, where: str, column: str) -> str:
    """Return the cell as it is, empty or not: a model that said nothing is judged too. Raises DataError otherwise."""
    if value is None:
        raise DataError(f"{where}: no text in column {column!r}. Fill it in or remove the row.")
    if not isinstance(value, str):
        kind = type(value).__name__
        raise DataError(f"{where}: column {column!r} holds {show(value)} ({kind}) where a text belongs.")
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


def whole_of(value: object, where: str, column: str) -> int:
    """Return the cell as a whole number ("2.0" is one), or raise DataError."""
    number = number_of(value, where, column)
    if not number.is_integer():
        raise DataError(f"{where}: column {column!r} holds {show(value)}, which is not a whole number.")
    return int(number)


def word_of(value: object) -> str | None:
    """Return a label's plain form ("Pos " → "pos", True → "true", 1.0 → "1"); None for an empty cell."""
    if is_missing(value):
        return None
    number = parse_number(value)
    if number is not None and math.isfinite(number) and number.is_integer():
        return str(int(number))
    return str(value).strip().casefold()
