"""A data format of your own: a question, two answers, and how many people voted for each answer."""

from pathlib import Path

import tastemaker as tm
from tastemaker.data import (
    Format,
    Metadata,
    Row,
    answer_of,
    register_format,
    text_of,
    whole_of,
)


def read_votes(row: Row, metadata: Metadata) -> list[tm.Judgement]:
    """Return the row as a comparison, which counts for as many judgements as it has votes."""
    where = metadata["where"]  # "votes.jsonl:3", for messages
    question = text_of(row["question"], where, "question")
    first = answer_of(row["first"], where, "first")
    second = answer_of(row["second"], where, "second")
    votes = whole_of(row["votes_first"], where, "votes_first")
    others = whole_of(row["votes_second"], where, "votes_second")
    if votes < others:
        first, second = second, first
    metadata["weight"] = float(votes + others)
    return [
        tm.Comparison(first, second, tie=votes == others, prompt=question, **metadata)
    ]


VOTES = Format(
    name="votes",
    columns=("question", "first", "second", "votes_first", "votes_second"),
    read=read_votes,
    kinds=(tm.Comparison,),
)


def judgements_of(path: Path) -> list[tm.Judgement]:
    """Return the judgements of a file, which `tm.read` now recognises by its columns."""
    register_format(VOTES)
    return tm.read(path)
