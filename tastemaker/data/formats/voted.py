"""Pairs with votes, ties among them: Chatbot Arena, PandaLM."""

import json
import re
from typing import Any

from tastemaker.data.formats.base import Format, instruction_of, list_of
from tastemaker.data.judgements import Comparison, Judgement, Message, Prompt
from tastemaker.data.metadata import Metadata
from tastemaker.data.tables import Row
from tastemaker.data.values import (
    answer_of,
    divided,
    is_messages,
    messages_of,
    show,
    text_of,
    whole_of,
    word_of,
)
from tastemaker.errors import DataError

_WINNERS = ("winner_model_a", "winner_model_b", "winner_tie")
_ANNOTATOR = re.compile(r"annotator\d+", re.ASCII)


def _arena(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    words = [word_of(row[name]) for name in _WINNERS]
    won = [word in ("1", "true") for word in words]
    if sum(won) != 1 or not all(word in ("0", "1", "false", "true") for word in words):
        shown = ", ".join(f"{name}: {show(row[name])}" for name in _WINNERS)
        raise DataError(
            f"{where}: one of the three winners must be 1 and the others 0, not {shown}."
        )
    prompt, first, second = _arena_sides(row, where)
    if won[1]:
        first, second = second, first
    return [Comparison(first, second, tie=won[2], prompt=prompt, **metadata)]


def _arena_sides(row: Row, where: str) -> tuple[Prompt, str, str]:
    """Return (prompt, answer a, answer b). Cells that are lists of turns, or JSON of them, make a chat."""
    cells = {name: _parsed(row[name]) for name in ("prompt", "response_a", "response_b")}
    if all(isinstance(cell, str) for cell in cells.values()):
        prompt, first, second = cells.values()
        text = text_of(prompt, where, "prompt")
        return text, answer_of(first, where, "response_a"), answer_of(second, where, "response_b")
    asked = list_of(cells["prompt"], where, "prompt")
    if is_messages(asked):
        asked = [turn.content for turn in messages_of(asked, where, "prompt")]
    dialogues = [
        _dialogue(asked, cells[name], where, name) for name in ("response_a", "response_b")
    ]
    if dialogues[0] == dialogues[1]:  # said by the comparison, which shows the text
        return dialogues[0][:1], dialogues[0][-1].content, dialogues[1][-1].content
    return divided(dialogues[0], dialogues[1], where)


def _parsed(value: Any) -> Any:
    """Return the list that a text spells in JSON; anything else as it is."""
    if isinstance(value, str) and value.startswith("[") and value.rstrip().endswith("]"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            pass
    return value


def _dialogue(asked: list[Any], answers: Any, where: str, column: str) -> tuple[Message, ...]:
    answers = list_of(answers, where, column)
    if len(asked) != len(answers) or not asked:
        raise DataError(
            f"{where}: {len(asked)} turns in column 'prompt', but {len(answers)} in column {column!r}."
        )
    turns = []
    for question, answer in zip(asked, answers, strict=True):
        turns.append(Message("user", answer_of(question, where, "prompt")))
        # the published file spells an answer of nothing as null
        turns.append(
            Message("assistant", "" if answer is None else answer_of(answer, where, column))
        )
    return tuple(turns)


def _pandalm(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    prompt = instruction_of(row, where)
    first, second = (answer_of(row[name], where, name) for name in ("response1", "response2"))
    found: list[Judgement] = []
    for judge in filter(_ANNOTATOR.fullmatch, row):
        vote = whole_of(row[judge], where, judge)
        if vote not in (0, 1, 2):
            raise DataError(
                f"{where}: column {judge!r} holds {vote}; 1 and 2 say which is better, 0 that neither is."
            )
        pair = (second, first) if vote == 2 else (first, second)
        by: Metadata = {**metadata, "judge": judge}
        found.append(Comparison(*pair, tie=vote == 0, prompt=prompt, **by))
    return found


ARENA = Format("arena", ("prompt", "response_a", "response_b", *_WINNERS), _arena, (Comparison,))
PANDALM = Format(
    "pandalm",
    ("instruction", "response1", "response2", "annotator1"),
    _pandalm,
    (Comparison,),
    optional=("input",),
)
