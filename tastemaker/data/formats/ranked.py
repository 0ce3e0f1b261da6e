"""Lists of answers in order: NeMo-RL, Nectar, Alpaca-style lists, and lm-human-preferences' best of k."""

import re
from collections.abc import Callable
from typing import Any

from tastemaker.data.formats.base import Format, instruction_of, list_of, records_of, tiers_of
from tastemaker.data.judgements import Judgement, Message, Prompt, Ranking
from tastemaker.data.metadata import Metadata
from tastemaker.data.tables import Row
from tastemaker.data.values import (
    answer_of,
    completion_from,
    is_missing,
    parse_number,
    prompt_from,
    show,
    text_of,
)
from tastemaker.errors import DataError

_SAMPLE = re.compile(r"sample\d+", re.ASCII)


def rank_of(value: Any, where: str, best: int) -> int:
    """Return a rank of a list, `best` or more. Raises DataError for one that is not a whole number or not known."""
    number = parse_number(value)
    if number is None or not number.is_integer() or number < best:
        raise DataError(
            f"{where}: the rank {show(value)} is unknown; a rank is a whole number, {best} for the best."
        )
    return int(number)


def _numbered(
    prompt: str, answers: str, answer: str, text_from: Callable[[Any, str, str], str], *, best: int
) -> Callable[[Row, Metadata], list[Judgement]]:
    """Return the reader of rows with a column of answers, each with its text and a `rank`, `best` for the best.

    prompt, answers: columns. answer: the name of the text in each of `answers`, which `text_from` reads.
    """

    def read(row: Row, metadata: Metadata) -> list[Judgement]:
        where = metadata["where"]
        found = records_of(row[answers], where, answers)
        texts = [text_from(record.get(answer), where, answer) for record in found]
        ranks = [rank_of(record.get("rank"), where, best) for record in found]
        asked = prompt_from(row[prompt], where, prompt)
        return [Ranking(tiers_of(zip(ranks, texts, strict=True)), prompt=asked, **metadata)]

    return read


def _alpaca(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    texts = [answer_of(text, where, "output") for text in list_of(row["output"], where, "output")]
    return [
        Ranking(tuple((text,) for text in texts), prompt=_alpaca_prompt(row, where), **metadata)
    ]


def _alpaca_prompt(row: Row, where: str) -> Prompt:
    """Return the instruction, as the last turn of a chat where the table has a `history` or a `system` column."""
    instruction = instruction_of(row, where)
    if "history" not in row and "system" not in row:
        return instruction
    turns = (
        []
        if is_missing(row.get("system"))
        else [Message("system", text_of(row["system"], where, "system"))]
    )
    for turn in [] if row.get("history") is None else list_of(row["history"], where, "history"):
        if not isinstance(turn, list) or len(turn) != 2:
            raise DataError(
                f"{where}: column 'history' holds {show(turn)} where [question, answer] belongs."
            )
        question, answer = (answer_of(text, where, "history") for text in turn)
        turns += [Message("user", question), Message("assistant", answer)]
    return (*turns, Message("user", instruction))


def _best_of_k(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    names = sorted(
        filter(_SAMPLE.fullmatch, row), key=lambda name: int(name.removeprefix("sample"))
    )
    texts = {name.removeprefix("sample"): answer_of(row[name], where, name) for name in names}
    number = parse_number(row["best"])
    best = str(int(number)) if number is not None and number.is_integer() else None
    if best not in texts:
        raise DataError(
            f"{where}: column 'best' holds {show(row['best'])}; the samples are {', '.join(texts)}."
        )
    chosen = texts.pop(best)
    return [
        Ranking(
            ((chosen,),),
            tuple(texts.values()),
            prompt=prompt_from(row["query"], where, "query"),
            **metadata,
        )
    ]


NEMO = Format(
    "nemo",
    ("context", "completions"),
    _numbered("context", "completions", "completion", completion_from, best=0),
    (Ranking,),
)
NECTAR = Format(
    "nectar",
    ("prompt", "answers"),
    _numbered("prompt", "answers", "answer", answer_of, best=1),
    (Ranking,),
)
ALPACA = Format(
    "alpaca",
    ("instruction", "output"),
    _alpaca,
    (Ranking,),
    optional=("input", "history", "system"),
    looks=lambda row: isinstance(row["output"], list),
)
BEST_OF_K = Format("best-of-k", ("query", "sample0", "sample1", "best"), _best_of_k, (Ranking,))
