"""Formats of two whole conversations and a winner: LMArena's newer files and MT-bench."""

from typing import Any

from tastemaker.data.chats import divided, is_messages, messages_of
from tastemaker.data.formats import Format, register_format
from tastemaker.data.formats.pairs import comparison
from tastemaker.data.judgements import Comparison, Judgement, Message
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import bad_cell, whole_of, word_of

_SIDES = ("conversation_a", "conversation_b")
_LEADS = {
    "model_a": 1.0,
    "a": 1.0,
    "model_b": -1.0,
    "b": -1.0,
    "tie": 0.0,
    "tie (bothbad)": 0.0,
    "tie (bothgood)": 0.0,
    "both_bad": 0.0,
    "bothbad": 0.0,
    "both_good": 0.0,
    "tie (inconsistent)": 0.0,
}
"""By how much the conversation a is better, by the winner's name."""


def _first_turns(
    turns: tuple[Message, ...], count: int | None
) -> tuple[Message, ...]:
    """Return a conversation up to the answer of a number; all of it for None."""
    answers = 0
    for place, turn in enumerate(turns, 1):
        if turn.role == "assistant":
            answers += 1
        if answers == count:
            return turns[:place]
    return turns


def _number_of_answers(row: Row, where: str) -> int | None:
    """Return how many answers were judged, where MT-bench's column `turn` says so."""
    turn: Any = row.get("turn")
    return None if turn is None else whole_of(turn, where, "turn")


def _conversations(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    winner = word_of(row["winner"])
    if winner not in _LEADS:
        winners = ", ".join(_LEADS)
        problem = f"; the winners are {winners}."
        raise bad_cell(row["winner"], where, "winner", problem)
    count = _number_of_answers(row, where)
    dialogues = []
    for side in _SIDES:
        turns = messages_of(row[side], where, side)
        dialogues.append(_first_turns(turns, count))
    prompt, first, second = divided(dialogues[0], dialogues[1], where)
    lead = _LEADS[winner]
    return comparison(first, second, lead, prompt, metadata, has_margin=False)


register_format(
    Format(
        "conversations",
        (*_SIDES, "winner"),
        _conversations,
        (Comparison,),
        optional=("turn",),
        judging=("winner",),
        matches=lambda row: all(is_messages(row[side]) for side in _SIDES),
        excludes_others=True,
    )
)
