"""Formats of training frameworks, whose rows begin with a chat: LLaMA-Factory and ms-swift."""

from tastemaker.data.cells import LabelCells
from tastemaker.data.chats import (
    completion_from,
    is_message,
    is_messages,
    messages_of,
)
from tastemaker.data.formats import Format, instruction_of, register_format
from tastemaker.data.judgements import (
    Comparison,
    Example,
    Judgement,
    Label,
    Message,
)
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import answer_of, is_missing, text_of
from tastemaker.errors import DataError

_CHATS = ("conversations", "messages")
_WORDS = {"false": False, "true": True, "0": False, "1": True}


def _system(row: Row, where: str) -> tuple[Message, ...]:
    """Return the turn of the system where a column of its own holds one."""
    if is_missing(row.get("system")):
        return ()
    return (Message("system", text_of(row["system"], where, "system")),)


def _divided(
    row: Row, chat: str, where: str
) -> tuple[tuple[Message, ...], str]:
    """Return (the turns before the last answer, that answer) of a chat."""
    turns = messages_of(row[chat], where, chat)
    if turns[-1].role != "assistant" or len(turns) < 2:
        raise DataError(
            f"{where}: the last message in column {chat!r} is not an assistant's answer."
        )
    return (*_system(row, where), *turns[:-1]), turns[-1].content


class _Pairs:
    """LLaMA-Factory's pairs: a chat that a user's turn ends, and one message for each answer."""

    def __init__(self, chat: str) -> None:
        self.chat = chat

    def matches(self, row: Row) -> bool:
        answers = (row["chosen"], row["rejected"])
        are_answers = all(
            is_message(answer) or isinstance(answer, str) for answer in answers
        )
        return is_messages(row[self.chat]) and are_answers

    def read(self, row: Row, metadata: Metadata) -> list[Judgement]:
        where = metadata["where"]
        turns = messages_of(row[self.chat], where, self.chat)
        prompt = (*_system(row, where), *turns)
        chosen = completion_from(row["chosen"], where, "chosen")
        rejected = completion_from(row["rejected"], where, "rejected")
        return [Comparison(chosen, rejected, prompt=prompt, **metadata)]


class _Labelled:
    """A chat and whether its last answer is good: the KTO rows of both frameworks."""

    def __init__(self, chat: str, label: str) -> None:
        self.chat = chat
        self.cells = LabelCells(label, _WORDS)

    def matches(self, row: Row) -> bool:
        label = row[self.cells.column]
        is_label = isinstance(label, bool) or label in (0, 1)
        return is_messages(row[self.chat]) and is_label

    def read(self, row: Row, metadata: Metadata) -> list[Judgement]:
        prompt, answer = _divided(row, self.chat, metadata["where"])
        value = row[self.cells.column]
        return [self.cells.judgement(value, Example(answer, prompt), metadata)]


def _swift(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    prompt, chosen = _divided(row, "messages", where)
    rejected = row["rejected_response"]
    answers = rejected if isinstance(rejected, list) else [rejected]
    comparisons: list[Judgement] = []
    for answer in answers:
        text = completion_from(answer, where, "rejected_response")
        comparisons.append(Comparison(chosen, text, prompt=prompt, **metadata))
    return comparisons


def _swift_dialogues(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    prompt, chosen = _divided(row, "messages", where)
    _, rejected = _divided(row, "rejected_messages", where)
    return [Comparison(chosen, rejected, prompt=prompt, **metadata)]


_KTO = LabelCells("kto_tag", _WORDS)


def _alpaca_kto(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    text = answer_of(row["output"], where, "output")
    example = Example(text, instruction_of(row, where))
    return [_KTO.judgement(row["kto_tag"], example, metadata)]


def _register() -> None:
    for chat in _CHATS:
        pairs = _Pairs(chat)
        pairs_format = Format(
            f"llama-factory-{chat}",
            (chat, "chosen", "rejected"),
            pairs.read,
            (Comparison,),
            optional=("system",),
            matches=pairs.matches,
            excludes_others=True,
        )
        register_format(pairs_format)
        for label in ("label", "kto_tag"):
            labelled = _Labelled(chat, label)
            labelled_format = Format(
                f"kto-{chat}-{label}",
                (chat, label),
                labelled.read,
                (Label,),
                optional=("system",),
                matches=labelled.matches,
                judging=(label,),
                excludes_others=True,
            )
            register_format(labelled_format)


_register()
register_format(
    Format(
        "alpaca-kto",
        ("instruction", "output", "kto_tag"),
        _alpaca_kto,
        (Label,),
        optional=("input",),
        excludes_others=True,
        judging=("kto_tag",),
    )
)
register_format(
    Format(
        "swift",
        ("messages", "rejected_response"),
        _swift,
        (Comparison,),
        optional=("system",),
        excludes_others=True,
    )
)
register_format(
    Format(
        "swift-dialogues",
        ("messages", "rejected_messages"),
        _swift_dialogues,
        (Comparison,),
        optional=("system",),
        excludes_others=True,
    )
)
