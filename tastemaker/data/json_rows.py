"""A judgement as a row of our own JSONL, and back without loss; every kind may stand in one file.

    {"kind": "comparison", "prompt": "Hi", "chosen": "Hello!", "rejected": "What?", "judge": "ann", "weight": 2.0}

A chat prompt is a list of {role, content}, a time ISO 8601. What is not said is left out of the row.
"""

from collections.abc import Callable
from typing import Any

from tastemaker.data.judgements import Comparison, Grade, Judgement, Label, Prompt, Ranking, Rating
from tastemaker.data.metadata import Metadata, judge_of, time_of, weight_of
from tastemaker.data.tables import Row
from tastemaker.data.values import answer_of, number_of, prompt_from, show, whole_of
from tastemaker.errors import DataError


def to_row(judgement: Judgement) -> Row:
    """Return a judgement as a JSON object, from which `from_row` makes an equal one. `where` is left out."""
    kind = type(judgement).__name__.lower()
    row: Row = {"kind": kind} | {name: getattr(judgement, name) for name in _FIELDS[kind]}
    if isinstance(judgement, Ranking):
        row |= {"tiers": [list(tier) for tier in judgement.tiers], "rest": list(judgement.rest)}
    if judgement.prompt is not None:
        row["prompt"] = _prompt_row(judgement.prompt)
    if judgement.judge is not None:
        row["judge"] = judgement.judge
    if judgement.time is not None:
        row["time"] = judgement.time.isoformat()
    if judgement.weight != 1:
        row["weight"] = judgement.weight
    if judgement.source:
        row["source"] = judgement.source
    return row


def from_row(row: Row, where: str = "", source: str = "") -> Judgement:
    """Return the judgement of a row that `to_row` made. Raises DataError, naming `where`, for what is not one.

    source: where the judgement comes from, unless the row says so itself.
    """
    where = where or "a row"
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise DataError(
            f"{where}: column 'kind' holds {show(kind)}; the kinds are {', '.join(KINDS)}."
        )
    named = row.get("source")
    metadata: Metadata = {
        "judge": judge_of(row.get("judge")),
        "time": time_of(row.get("time"), where, "time"),
        "weight": weight_of(row.get("weight"), where, "weight"),
        "where": where,
        "source": source if named is None else answer_of(named, where, "source"),
    }
    return KINDS[kind](row, prompt_from(row.get("prompt"), where, "prompt"), metadata)


def _prompt_row(prompt: Prompt) -> str | list[dict[str, str]]:
    return prompt if isinstance(prompt, str) else [turn._asdict() for turn in prompt]


def _label(row: Row, prompt: Prompt | None, metadata: Metadata) -> Label:
    return Label(
        _text(row, "text", metadata), _truth(row, "positive", metadata), prompt=prompt, **metadata
    )


def _grade(row: Row, prompt: Prompt | None, metadata: Metadata) -> Grade:
    steps = {"lowest": 1, "highest": 10} | {
        name: row[name] for name in ("lowest", "highest") if name in row
    }
    lowest, highest = (whole_of(value, metadata["where"], name) for name, value in steps.items())
    grade = whole_of(row.get("grade"), metadata["where"], "grade")
    if not lowest <= grade <= highest:
        raise DataError(
            f"{metadata['where']}: column 'grade' holds {grade}, outside the scale of {lowest} to {highest}."
        )
    return Grade(_text(row, "text", metadata), grade, lowest, highest, prompt=prompt, **metadata)


def _rating(row: Row, prompt: Prompt | None, metadata: Metadata) -> Rating:
    return Rating(
        _text(row, "text", metadata),
        number_of(row.get("rating"), metadata["where"], "rating"),
        prompt=prompt,
        **metadata,
    )


def _comparison(row: Row, prompt: Prompt | None, metadata: Metadata) -> Comparison:
    margin = (
        0.0 if row.get("margin") is None else number_of(row["margin"], metadata["where"], "margin")
    )
    tie = False if row.get("tie") is None else _truth(row, "tie", metadata)
    chosen, rejected = _text(row, "chosen", metadata), _text(row, "rejected", metadata)
    return Comparison(chosen, rejected, margin, tie, prompt=prompt, **metadata)


def _ranking(row: Row, prompt: Prompt | None, metadata: Metadata) -> Ranking:
    tiers = row.get("tiers")
    if not isinstance(tiers, list):
        raise DataError(
            f"{metadata['where']}: column 'tiers' holds {show(tiers)} where a list of tiers belongs."
        )
    listed = [[tier] if isinstance(tier, str) else tier for tier in tiers]
    read = tuple(_texts(tier, "tiers", metadata) for tier in listed)
    return Ranking(read, _texts(row.get("rest") or [], "rest", metadata), prompt=prompt, **metadata)


def _text(row: Row, column: str, metadata: Metadata) -> str:
    return answer_of(row.get(column), metadata["where"], column)


def _texts(value: Any, column: str, metadata: Metadata) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise DataError(
            f"{metadata['where']}: column {column!r} holds {show(value)} where a list of texts belongs."
        )
    return tuple(answer_of(text, metadata["where"], column) for text in value)


def _truth(row: Row, column: str, metadata: Metadata) -> bool:
    value = row.get(column)
    if not isinstance(value, bool):
        raise DataError(
            f"{metadata['where']}: column {column!r} holds {show(value)} where true or false belongs."
        )
    return value


KINDS: dict[str, Callable[[Row, Prompt | None, Metadata], Judgement]] = {
    "label": _label,
    "grade": _grade,
    "rating": _rating,
    "comparison": _comparison,
    "ranking": _ranking,
}
"""What the key "kind" may say, and how such a row is read."""

_FIELDS = {
    "label": ("text", "positive"),
    "grade": ("text", "grade", "lowest", "highest"),
    "rating": ("text", "rating"),
    "comparison": ("chosen", "rejected", "margin", "tie"),
    "ranking": (),
}
