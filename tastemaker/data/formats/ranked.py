"""Formats of several ranked answers: NeMo-RL, Nectar, Alpaca lists, best of k, WMT's MQM."""

import math
import re
from collections.abc import Callable
from typing import Any

from tastemaker.data.formats import (
    Format,
    instruction_of,
    list_of,
    records_of,
    register_format,
    tiers_of,
)
from tastemaker.data.judgements import Judgement, Message, Prompt, Ranking
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import (
    answer_of,
    bad_cell,
    completion_from,
    is_missing,
    number_of,
    parse_number,
    prompt_from,
    show,
    text_of,
)
from tastemaker.errors import DataError

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


def _ranks(row: Row, column: str, where: str, best: int) -> list[int]:
    records = records_of(row[column], where, column)
    return [_rank_of(record.get("rank"), where, best) for record in records]


def _texts(
    row: Row,
    column: str,
    name: str,
    where: str,
    text_from: Callable[[Any, str, str], str],
) -> list[str]:
    records = records_of(row[column], where, column)
    return [text_from(record.get(name), where, name) for record in records]


def _nemo(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    texts = _texts(row, "completions", "completion", where, completion_from)
    ranks = _ranks(row, "completions", where, best=0)
    prompt = prompt_from(row["context"], where, "context")
    return [Ranking(tiers_of(ranks, texts), prompt=prompt, **metadata)]


def _nectar(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    texts = _texts(row, "answers", "answer", where, answer_of)
    ranks = _ranks(row, "answers", where, best=1)
    prompt = prompt_from(row["prompt"], where, "prompt")
    return [Ranking(tiers_of(ranks, texts), prompt=prompt, **metadata)]


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
        turns.append(Message("system", text_of(row["system"], where, "system")))
    history = (
        [] if row.get("history") is None else list_of(row["history"], where, "history")
    )
    for pair in history:
        if not isinstance(pair, list) or len(pair) != 2:
            raise bad_cell(pair, where, "history", " where [question, answer] belongs.")
        turns.append(Message("user", answer_of(pair[0], where, "history")))
        turns.append(Message("assistant", answer_of(pair[1], where, "history")))
    return (*turns, Message("user", instruction))


def _best_of_k(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    matches = [_SAMPLE.fullmatch(name) for name in row]
    names = {int(match[1]): match[0] for match in matches if match}
    texts = {k: answer_of(row[names[k]], where, names[k]) for k in sorted(names)}
    best = parse_number(row["best"])
    if best is None or best not in texts:
        samples = ", ".join(str(k) for k in texts)
        raise bad_cell(row["best"], where, "best", f"; the samples are {samples}.")
    chosen = texts.pop(int(best))
    prompt = prompt_from(row["query"], where, "query")
    return [Ranking(((chosen,),), tuple(texts.values()), prompt=prompt, **metadata)]


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
        raise DataError(
            f"{where}: all candidates are one text ({show(text)}). Remove the row."
        )
    means = [math.fsum(values) / len(values) for values in penalties.values()]
    ranks = [round(mean, _MQM_DIGITS) for mean in means]
    prompt = text_of(row["source"], where, "source")
    return [Ranking(tiers_of(ranks, penalties), prompt=prompt, **metadata)]


register_format(Format("nemo", ("context", "completions"), _nemo, (Ranking,)))
register_format(Format("nectar", ("prompt", "answers"), _nectar, (Ranking,)))
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
    Format("best-of-k", ("query", "sample0", "sample1", "best"), _best_of_k, (Ranking,))
)
register_format(Format("mqm", ("source", "candidates"), _mqm, (Ranking,)))
