"""One cell of a table → a text or a number, or one clear line that says what is wrong with it.

`where` is the place a message names (`reviews.csv:17`), `column` the name of the cell's column.

Chat messages in a table: a prompt that is a text or turns, and two dialogues divided into prompt and completions.

A list of messages is `[{"role": "user", "content": "Hi"}, …]`.
"""

import math
from decimal import Decimal
from typing import Any

from tastemaker.data.judgements import Message, Prompt, plain
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
        raise DataError(
            f"{where}: the text in column {column!r} is empty. Fill it in or remove the row."
        )
    return text


def answer_of(value: object, where: str, column: str) -> str:
    """Return the cell as it is, empty or not: a model that said nothing is judged too. Raises DataError otherwise."""
    if value is None:
        raise DataError(f"{where}: no text in column {column!r}. Fill it in or remove the row.")
    if not isinstance(value, str):
        kind = type(value).__name__
        raise DataError(
            f"{where}: column {column!r} holds {show(value)} ({kind}) where a text belongs."
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
        raise DataError(
            f"{where}: column {column!r} holds {show(value)}, which is not a finite number."
        )
    return number


def whole_of(value: object, where: str, column: str) -> int:
    """Return the cell as a whole number ("2.0" is one), or raise DataError."""
    number = number_of(value, where, column)
    if not number.is_integer():
        raise DataError(
            f"{where}: column {column!r} holds {show(value)}, which is not a whole number."
        )
    return int(number)


def word_of(value: object) -> str | None:
    """Return a label's plain form ("Pos " → "pos", True → "true", 1.0 → "1"); None for an empty cell."""
    if is_missing(value):
        return None
    number = parse_number(value)
    if number is not None and math.isfinite(number) and number.is_integer():
        return str(int(number))
    return str(value).strip().casefold()


def is_messages(value: object) -> bool:
    """Return whether the cell looks like a list of messages, valid or not."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and "role" in turn for turn in value)
    )


def messages_of(value: Any, where: str, column: str) -> tuple[Message, ...]:
    """Return the turns of a list of messages. Raises DataError unless roles and contents are all texts."""
    if not isinstance(value, list) or not value:
        raise DataError(
            f"{where}: column {column!r} holds {show(value)} where a list of messages belongs."
        )
    turns = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise DataError(
                f"{where}: message {number} in column {column!r} is {show(turn)}, not {{role, content}}."
            )
        place = f"{column}, message {number}"
        role = text_of(turn.get("role"), where, f"{place}, role")
        turns.append(Message(role, answer_of(turn.get("content"), where, f"{place}, content")))
    return tuple(turns)


def prompt_from(value: Any, where: str, column: str) -> Prompt | None:
    """Return a prompt, a text or turns; None for an empty cell. Raises DataError for anything else."""
    if is_missing(value):
        return None
    return (
        messages_of(value, where, column)
        if isinstance(value, list)
        else text_of(value, where, column)
    )


def completion_from(value: Any, where: str, column: str) -> str:
    """Return a completion, given as a text or as turns. Raises DataError for anything else."""
    if isinstance(value, list):
        return spoken(messages_of(value, where, column))
    return answer_of(value, where, column)


def spoken(turns: tuple[Message, ...]) -> str:
    """Return the turns after a prompt as one text: the answer alone, and any later turns as `role: content`."""
    if turns and turns[0].role == "assistant":
        return "\n\n".join(filter(None, [turns[0].content, plain(turns[1:])]))
    return plain(turns)


def divided(
    one: tuple[Message, ...], other: tuple[Message, ...], where: str
) -> tuple[tuple[Message, ...], str, str]:
    """Return (the shared turns that the assistant answers, what follows in one, what follows in the other).

    Dialogues that part at a user's turn are divided before the last answer they share. Raises DataError for dialogues
    that share nothing before an answer.
    """
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    if shared == len(one) == len(other):
        shared -= 1  # the same dialogue twice: let the comparison say so
    while shared > 0 and not all(
        len(turns) > shared and turns[shared].role == "assistant" for turns in (one, other)
    ):
        shared -= 1
    if one[shared].role != "assistant" or other[shared].role != "assistant":
        raise DataError(
            f"{where}: the two dialogues share no turns that an assistant's turn follows."
        )
    return one[:shared], spoken(one[shared:]), spoken(other[shared:])
