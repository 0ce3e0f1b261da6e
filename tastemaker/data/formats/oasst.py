"""OpenAssistant's trees of messages: every place with ranked answers is one ranking."""

from typing import Any

from tastemaker.data.formats import (
    Format,
    records_of,
    register_format,
    tiers_of,
)
from tastemaker.data.judgements import Judgement, Message, Ranking
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import answer_of, text_of, whole_of
from tastemaker.errors import SaysNothing

ROLES = {"prompter": "user", "assistant": "assistant"}


def _tree(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    rankings: list[Judgement] = []
    # a stack instead of a recursion: a tree may be deep
    waiting: list[tuple[dict[str, Any], tuple[Message, ...]]] = [
        (row["prompt"], ())
    ]
    while waiting:
        message, before = waiting.pop()
        turns = (*before, _turn(message, where))
        replies = records_of(message.get("replies") or [], where, "replies")
        waiting += [(reply, turns) for reply in reversed(replies)]
        ranked = _ranked(replies)
        if len(ranked) > 1:
            rankings.append(_ranking(ranked, turns, metadata))
    if not rankings:
        raise SaysNothing(f"{where}: no two answers of this tree are ranked.")
    return rankings


def _turn(message: dict[str, Any], where: str) -> Message:
    role = text_of(message.get("role"), where, "role")
    content = answer_of(message.get("text"), where, "text")
    return Message(ROLES.get(role, role), content)


def _ranked(replies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the answers of assistants that have a rank and were not deleted."""
    ranked = []
    for reply in replies:
        is_answer = reply.get("role") == "assistant"
        is_ranked = reply.get("rank") is not None
        if is_answer and is_ranked and not reply.get("deleted"):
            ranked.append(reply)
    return ranked


def _ranking(
    replies: list[dict[str, Any]],
    turns: tuple[Message, ...],
    metadata: Metadata,
) -> Ranking:
    where = metadata["where"]
    ranks = [whole_of(reply["rank"], where, "rank") for reply in replies]
    texts = [answer_of(reply.get("text"), where, "text") for reply in replies]
    return Ranking(tiers_of(ranks, texts), prompt=turns, **metadata)


register_format(
    Format(
        "oasst-trees",
        ("message_tree_id", "prompt"),
        _tree,
        (Ranking,),
        matches=lambda row: isinstance(row["prompt"], dict),
        excludes_others=True,
        own_prompt=False,
    )
)
