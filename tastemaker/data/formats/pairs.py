"""Pairs of a chosen and a rejected text: TRL's preference rows and Anthropic's hh-rlhf dialogues."""

import os.path
from typing import Any

from tastemaker.data.formats.base import Format
from tastemaker.data.judgements import Comparison, Judgement, Message, Prompt
from tastemaker.data.metadata import Metadata
from tastemaker.data.tables import Row
from tastemaker.data.values import (
    answer_of,
    divided,
    is_messages,
    is_missing,
    messages_of,
    number_of,
    prompt_from,
    text_of,
)
from tastemaker.errors import DataError

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"


def split_dialogues(chosen: str, rejected: str, where: str = "a row") -> tuple[str, str, str]:
    """Return (prompt, chosen completion, rejected completion) of two whole dialogues.

    The prompt is what the two share up to the last `\\n\\nAssistant:`, that included. One space before a completion is
    dropped. Raises DataError for dialogues that share no Assistant turn.
    """
    shared = os.path.commonprefix([chosen, rejected])  # noqa: RUF071  characters, not folders
    at = shared.rfind(ASSISTANT)
    if at < 0:
        raise DataError(
            f"{where}: the two dialogues share no turn up to an '\\n\\nAssistant:', so there is no prompt."
        )
    end = at + len(ASSISTANT)
    return shared[:end], chosen[end:].removeprefix(" "), rejected[end:].removeprefix(" ")


def _is_dialogue(value: Any) -> bool:
    return (
        isinstance(value, str) and value.lstrip().startswith(HUMAN.lstrip()) and ASSISTANT in value
    )


def _looks_hh(row: Row) -> bool:
    return (
        row.get("prompt") is None and _is_dialogue(row["chosen"]) and _is_dialogue(row["rejected"])
    )


def _looks_trl(row: Row) -> bool:
    sides = row["chosen"], row["rejected"]
    return all(map(is_messages, sides)) or (
        all(isinstance(side, str) for side in sides) and not _looks_hh(row)
    )


def _hh(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    chosen, rejected = (text_of(row[name], where, name) for name in ("chosen", "rejected"))
    prompt, chosen, rejected = split_dialogues(chosen, rejected, where)
    return [Comparison(chosen, rejected, prompt=prompt, **metadata)]


def _trl(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    margin = 0.0 if is_missing(row.get("margin")) else number_of(row["margin"], where, "margin")
    prompt = prompt_from(row.get("prompt"), where, "prompt")
    if isinstance(row["chosen"], list) or isinstance(row["rejected"], list):
        sides = [messages_of(row[name], where, name) for name in ("chosen", "rejected")]
        shared, chosen, rejected = divided(sides[0], sides[1], where)
        prompt = _joined(prompt, shared, where)
    else:
        read = text_of if prompt is None else answer_of
        chosen, rejected = (read(row[name], where, name) for name in ("chosen", "rejected"))
    return [Comparison(chosen, rejected, margin, prompt=prompt, **metadata)]


def _joined(prompt: Prompt | None, shared: tuple[Message, ...], where: str) -> Prompt | None:
    """Return the prompt of the `prompt` column and the turns that both dialogues begin with as one."""
    if not shared or prompt is None:
        return shared or prompt
    if isinstance(prompt, tuple):
        return shared if shared[: len(prompt)] == prompt else prompt + shared
    if any(turn.content.strip() == prompt.strip() for turn in shared):
        return shared
    raise DataError(
        f"{where}: the text in column 'prompt' is in none of the turns that both dialogues begin with."
    )


HH = Format("hh", ("chosen", "rejected"), _hh, (Comparison,), looks=_looks_hh)
TRL = Format(
    "preference", ("chosen", "rejected"), _trl, (Comparison,), ("prompt", "margin"), _looks_trl
)
