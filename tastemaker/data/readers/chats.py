"""Chat messages in a table: a prompt that is a text or turns, and two dialogues divided into prompt and completions.

A list of messages is `[{"role": "user", "content": "Hi"}, …]`.
"""

from typing import Any

from tastemaker.data.judgements import Message, Prompt, plain
from tastemaker.data.readers.values import answer_of, is_missing, show, text_of
from tastemaker.errors import DataError


def is_messages(value: object) -> bool:
    """Return whether the cell looks like a list of messages, valid or not."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, dict) and "role" in turn for turn in value)


def messages_of(value: Any, where: str, column: str) -> tuple[Message, ...]:
    """Return the turns of a list of messages. Raises DataError unless roles and contents are all texts."""
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: column {column!r} holds {show(value)} where a list of messages belongs.")
    turns = []
    for number, turn in enumerate(value, 1):
        if not isinstance(turn, dict):
            raise DataError(f"{where}: message {number} in column {column!r} is {show(turn)}, not {{role, content}}.")
        place = f"{column}, message {number}"
        role = text_of(turn.get("role"), where, f"{place}, role")
        turns.append(Message(role, answer_of(turn.get("content"), where, f"{place}, content")))
    return tuple(turns)


def prompt_from(value: Any, where: str, column: str) -> Prompt | None:
    """Return a prompt, a text or turns; None for an empty cell. Raises DataError for anything else."""
    if is_missing(value):
        return None
    return messages_of(value, where, column) if isinstance(value, list) else text_of(value, where, column)


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


def divided(one: tuple[Message, ...], other: tuple[Message, ...], where: str) -> tuple[tuple[Message, ...], str, str]:
    """Return (the shared turns that the assistant answers, what follows in one, what follows in the other).

    Dialogues that part at a user's turn are divided before the last answer they share. Raises DataError for dialogues
    that share nothing before an answer.
    """
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    if shared == len(one) == len(other):
        shared -= 1  # the same dialogue twice: let the comparison say so
    while shared > 0 and not all(len(turns) > shared and turns[shared].role == "assistant" for turns in (one, other)):
        shared -= 1
    if one[shared].role != "assistant" or other[shared].role != "assistant":
        raise DataError(f"{where}: the two dialogues share no turns that an assistant's turn follows.")
    return one[:shared], spoken(one[shared:]), spoken(other[shared:])
