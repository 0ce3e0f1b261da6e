"""Pairs with a number that says which is better, and by how much: HelpSteer3, WebGPT, SHP."""

from tastemaker.data.formats.base import Format
from tastemaker.data.judgements import Comparison, Judgement, Prompt
from tastemaker.data.metadata import Metadata
from tastemaker.data.tables import Row
from tastemaker.data.values import answer_of, completion_from, number_of, prompt_from, show, text_of
from tastemaker.errors import DataError

STRONGEST = 3
"""HelpSteer3's preference reaches from -3 (the first is much better) to 3 (the second is)."""


def graded(
    first: str, second: str, lead: float, prompt: Prompt | None, metadata: Metadata
) -> list[Judgement]:
    """Return the comparison in which the first text leads by `lead` (below 0: the second does; 0: a tie)."""
    better, worse = (first, second) if lead >= 0 else (second, first)
    return [Comparison(better, worse, abs(lead), lead == 0, prompt=prompt, **metadata)]


def _helpsteer3(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    preference = number_of(row["overall_preference"], where, "overall_preference")
    if abs(preference) > STRONGEST:
        shown = f"{preference:g}, outside the scale of -{STRONGEST} to {STRONGEST}"
        raise DataError(f"{where}: column 'overall_preference' holds {shown}.")
    prompt = prompt_from(row["context"], where, "context")
    first, second = (completion_from(row[name], where, name) for name in ("response1", "response2"))
    return graded(first, second, -preference, prompt, metadata)


def _webgpt(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    question = row.get("question")
    if isinstance(question, dict):
        question = question.get("full_text")
    prompt = text_of(
        row.get("question.full_text") if question is None else question, where, "question.full_text"
    )
    first, second = (answer_of(row[name], where, name) for name in ("answer_0", "answer_1"))
    score, other = (number_of(row[name], where, name) for name in ("score_0", "score_1"))
    return graded(first, second, score - other, prompt, metadata)


def _shp(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    label = number_of(row["labels"], where, "labels")
    if label not in (0, 1):
        raise DataError(
            f"{where}: column 'labels' holds {show(row['labels'])}; 1 says that A is better, 0 that B is."
        )
    prompt = text_of(row["history"], where, "history")
    a, b = (answer_of(row[name], where, name) for name in ("human_ref_A", "human_ref_B"))
    return [Comparison(*((a, b) if label else (b, a)), prompt=prompt, **metadata)]


HELPSTEER3 = Format(
    "helpsteer3",
    ("context", "response1", "response2", "overall_preference"),
    _helpsteer3,
    (Comparison,),
)
WEBGPT = Format(
    "webgpt",
    ("answer_0", "answer_1", "score_0", "score_1"),
    _webgpt,
    (Comparison,),
    optional=("question", "question.full_text"),
    looks=lambda row: row.get("question") is not None or row.get("question.full_text") is not None,
)
SHP = Format("shp", ("history", "human_ref_A", "human_ref_B", "labels"), _shp, (Comparison,))
