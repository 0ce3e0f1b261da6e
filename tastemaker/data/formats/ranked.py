"""Formats of several ranked answers.

NeMo-RL, Nectar, Alpaca lists, best of k, WMT's MQM and RewardBench 2; OpenAssistant's trees of
messages, where every place with ranked answers is one ranking.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tastemaker.data.chats import completion_from, is_messages, prompt_from
from tastemaker.data.formats import (
    Format,
    instruction_of,
    list_of,
    records_of,
    register_format,
    tiers_of,
)
from tastemaker.data.judgements import Judgement, Message, Prompt, Ranking
from tastemaker.data.prompts import PromptColumns, earlier_turns
from tastemaker.data.tables import Metadata, Row, Table
from tastemaker.data.values import (
    answer_of,
    bad_cell,
    empty_cell,
    is_missing,
    number_of,
    parse_number,
    show,
    text_of,
    whole_of,
)
from tastemaker.errors import DataError, SaysNothing

# ---- OpenAssistant -------------------------------------------------------------------------------


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


# ---- ranked answers ------------------------------------------------------------------------------


_SAMPLE = re.compile(r"sample(\d+)", re.ASCII)

# MQM penalties are means over raters of multiples of 0.1, published with four digits. The fourth
# digit of a mean of such means is an accident: (2.6667 + 4) / 2 against 3.3333. So ties are
# compared in three digits.
_MQM_DIGITS = 3


def _rank_of(value: Any, where: str, best: int) -> int:
    """Return a rank. Raises DataError unless it is a whole number, `best` or more."""
    number = parse_number(value)
    if number is None or not number.is_integer() or number < best:
        raise DataError(
            f"{where}: the rank {show(value)} is unknown; a rank is a whole number, "
            f"{best} for the best."
        )
    return int(number)


@dataclass(frozen=True)
class _RankedRecords:
    """Reads rows with a column of objects, each a text and its rank.

    prompt, records: the columns of the prompt and of the objects. text: the key of a text.
    text_from: reads a text. best: the best rank.
    """

    prompt: str
    records: str
    text: str
    text_from: Callable[[Any, str, str], str]
    best: int

    def read(self, row: Row, metadata: Metadata) -> list[Judgement]:
        """Return the ranking of a row."""
        where = metadata["where"]
        records = records_of(row[self.records], where, self.records)
        texts = []
        for record in records:
            texts.append(
                self.text_from(record.get(self.text), where, self.text)
            )
        ranks = [
            _rank_of(record.get("rank"), where, self.best)
            for record in records
        ]
        prompt = prompt_from(row[self.prompt], where, self.prompt)
        return [Ranking(tiers_of(ranks, texts), prompt=prompt, **metadata)]


_NEMO = _RankedRecords(
    "context", "completions", "completion", completion_from, best=0
)
_NECTAR = _RankedRecords("prompt", "answers", "answer", answer_of, best=1)


def _alpaca(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    outputs = list_of(row["output"], where, "output")
    tiers = tuple((answer_of(text, where, "output"),) for text in outputs)
    return [Ranking(tiers, prompt=_alpaca_prompt(row, where), **metadata)]


def _alpaca_prompt(row: Row, where: str) -> Prompt:
    """Return the instruction; as the last turn of a chat if there are `history` or `system`."""
    instruction = instruction_of(row, where)
    if "history" not in row and "system" not in row:
        return instruction
    turns = []
    if not is_missing(row.get("system")):
        turns.append(
            Message("system", text_of(row["system"], where, "system"))
        )
    turns += earlier_turns(row.get("history"), where, "history")
    return (*turns, Message("user", instruction))


def _best_of_k(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    columns = {}  # by number
    for name in row:
        match = _SAMPLE.fullmatch(name)
        if match:
            columns[int(match[1])] = name
    texts = {}
    for number in sorted(columns):
        column = columns[number]
        texts[number] = answer_of(row[column], where, column)
    best = parse_number(row["best"])
    if best is None or best not in texts:
        samples = ", ".join(map(str, texts))
        raise bad_cell(
            row["best"], where, "best", f"; the samples are {samples}."
        )
    shown = tuple(texts.values())
    chosen = texts.pop(int(best))
    others = tuple(texts.values())
    prompt = prompt_from(row["query"], where, "query")
    return [
        Ranking(((chosen,),), others, shown=shown, prompt=prompt, **metadata)
    ]


def _mqm(row: Row, metadata: Metadata) -> list[Judgement]:
    """Return one ranking of translations; systems with the same text share its mean penalty."""
    where = metadata["where"]
    penalties: dict[str, list[float]] = {}
    for candidate in records_of(row["candidates"], where, "candidates"):
        text = answer_of(candidate.get("text"), where, "text")
        penalty = number_of(candidate.get("mqm_penalty"), where, "mqm_penalty")
        penalties.setdefault(text, []).append(penalty)
    if len(penalties) == 1:
        (text,) = penalties
        raise SaysNothing(
            f"{where}: all candidates are one text ({show(text)}). Remove the row."
        )
    means = [math.fsum(values) / len(values) for values in penalties.values()]
    ranks = [round(mean, _MQM_DIGITS) for mean in means]
    prompt = text_of(row["source"], where, "source")
    return [Ranking(tiers_of(ranks, penalties), prompt=prompt, **metadata)]


register_format(
    Format("nemo", ("context", "completions"), _NEMO.read, (Ranking,))
)
register_format(
    Format("nectar", ("prompt", "answers"), _NECTAR.read, (Ranking,))
)
register_format(
    Format(
        "alpaca",
        ("instruction", "output"),
        _alpaca,
        (Ranking,),
        optional=("input", "history", "system"),
        matches=lambda row: isinstance(row["output"], list),
    )
)
register_format(
    Format(
        "best-of-k",
        ("query", "sample0", "sample1", "best"),
        _best_of_k,
        (Ranking,),
        judging=("best",),
    )
)
register_format(Format("mqm", ("source", "candidates"), _mqm, (Ranking,)))


# --- RewardBench 2: for every prompt, right completions and wrong ones


class BenchRow(NamedTuple):
    """One row. chosen: right completions; rejected: wrong ones. subset, id: may be ""."""

    prompt: Prompt
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    subset: str
    id: str


def items(
    table: Table, prompts: PromptColumns | None = None
) -> Iterator[BenchRow]:
    """Yield the rows of a table as items. Raises DataError at the first bad row.

    prompts: the columns of the prompt, where it is not in a column of that name.
    """
    for number, row in table.rows():
        where = table.place(number)
        item = _item(row, where)
        if prompts is not None and prompts.names:
            prompt = prompts.read(row, where)
            if prompt is None:
                raise empty_cell(where, str(prompts), "text")
            item = item._replace(prompt=prompt)
        yield item


def _item(row: Row, where: str) -> BenchRow:
    prompt = prompt_from(row.get("prompt"), where, "prompt")
    if prompt is None:
        raise empty_cell(where, "prompt", "text")
    chosen = _completions(row, "chosen", where)
    rejected = _completions(row, "rejected", where)
    subset = identity = ""
    if not is_missing(row.get("subset")):
        subset = text_of(row["subset"], where, "subset")
    if not is_missing(row.get("id")):
        identity = str(row["id"])
    return BenchRow(prompt, chosen, rejected, subset, identity)


def _completions(row: Row, column: str, where: str) -> tuple[str, ...]:
    cells = list_of(row.get(column), where, column)
    if not cells:
        raise empty_cell(where, column, "completion")
    return tuple(completion_from(cell, where, column) for cell in cells)


def _matches_rewardbench(row: Row) -> bool:
    """Return whether both columns hold lists of completions, not the turns of one dialogue."""
    sides = (row["chosen"], row["rejected"])
    return all(
        isinstance(side, list) and not is_messages(side) for side in sides
    )


def _rewardbench(row: Row, metadata: Metadata) -> list[Judgement]:
    item = _item(row, metadata["where"])
    of_subset: Metadata = {
        **metadata,
        "source": item.subset or metadata["source"],
    }
    return [
        Ranking((item.chosen,), item.rejected, prompt=item.prompt, **of_subset)
    ]


register_format(
    Format(
        "rewardbench",
        ("prompt", "chosen", "rejected"),
        _rewardbench,
        (Ranking,),
        optional=("subset", "id"),
        matches=_matches_rewardbench,
    )
)
