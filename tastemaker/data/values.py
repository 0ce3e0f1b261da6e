"""Cells of a table as texts, numbers, labels and chat messages.

Every function takes `where`, the place of the row (`reviews.csv:17`), and `column`, the name of the
cell's column, and raises DataError with one line that names both for a cell that is wrong.
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


def prompt_of(value: object, where: str, column: str) -> str | None:
    """Return the prompt, None for an empty cell. Raises DataError when it is not a text."""
    return None if is_missing(value) else text_of(value, where, column)


def parse_number(value: object) -> float | None:
    """Return the cell as a number, perhaps not finite; None when it is not one (a bool is not)."""
    if isinstance(value, bool) or not isinstance(
        value, str | int | float | Decimal
    ):
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


def is_messages(value: object) -> bool:
    """Return whether the cell looks like a list of messages, valid or not."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(turn, dict) and "role" in turn for turn in value)


def messages_of(value: Any, where: str, column: str) -> tuple[Message, ...]:
    """Return a list of messages. Raises DataError unless roles and contents are all texts."""
    if not isinstance(value, list) or not value:
        raise bad_cell(
            value, where, column, " where a list of messages belongs."
        )
    messages = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            message = f"message {number} in column {column!r} is {show(turn)}"
            raise DataError(f"{where}: {message}, not {{role, content}}.")
        messages.append(_message(turn, where, f"{column}, message {number}"))
    return tuple(messages)


def _message(turn: dict[str, Any], where: str, place: str) -> Message:
    role = text_of(turn.get("role"), where, f"{place}, role")
    content = answer_of(turn.get("content"), where, f"{place}, content")
    return Message(role, content)


def prompt_from(value: Any, where: str, column: str) -> Prompt | None:
    """Return a prompt, a text or messages; None for an empty cell. Raises DataError otherwise."""
    if is_missing(value):
        return None
    if isinstance(value, list):
        return messages_of(value, where, column)
    return text_of(value, where, column)


def completion_from(value: Any, where: str, column: str) -> str:
    """Return a completion, which may be a text or messages. Raises DataError otherwise."""
    if isinstance(value, list):
        return _completion(messages_of(value, where, column))
    return answer_of(value, where, column)


def _completion(turns: tuple[Message, ...]) -> str:
    """Return the turns after a prompt as one text.

    That is the assistant's answer alone, and any later turns as `role: content`.
    """
    if not turns or turns[0].role != "assistant":
        return plain(turns)
    parts = (turns[0].content, plain(turns[1:]))
    return "\n\n".join(part for part in parts if part)


def divided(
    one: tuple[Message, ...], other: tuple[Message, ...], where: str
) -> tuple[tuple[Message, ...], str, str]:
    """Return (the prompt that two dialogues share, the completion in one, the one in the other).

    An assistant's turn follows the prompt. Where the dialogues part at a user's turn, the prompt
    ends before the last answer they share. Raises DataError for dialogues without such a prompt.
    """
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    if shared == len(one) == len(other):
        shared -= 1  # the same dialogue twice is an error of the comparison
    while shared > 0 and not (
        _is_answered(one, shared) and _is_answered(other, shared)
    ):
        shared -= 1
    if not (_is_answered(one, shared) and _is_answered(other, shared)):
        raise DataError(
            f"{where}: the two dialogues share no turns that an assistant's turn follows."
        )
    return one[:shared], _completion(one[shared:]), _completion(other[shared:])


def _is_answered(turns: tuple[Message, ...], count: int) -> bool:
    """Return whether an assistant's turn follows the first turns."""
    return len(turns) > count and turns[count].role == "assistant"
