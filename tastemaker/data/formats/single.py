"""Rows of one judgement: our own format of any kind (`to_row` and back), KTO and two of grades.

    {"kind": "comparison", "prompt": "Hi", "chosen": "Hello!", "rejected": "What?", "judge": "ann"}

The columns of our own format are the fields of the kind's record. A chat prompt is a list of {role,
content}, a time is ISO 8601. What has its default value is left out of the columns that all kinds
share, and what is unknown or empty out of the others.
"""

from dataclasses import MISSING, fields
from functools import cache
from typing import Any, get_type_hints

from tastemaker.data.cells import GradeCells, LabelCells
from tastemaker.data.chats import completion_from, prompt_from
from tastemaker.data.columns import RECOGNISED
from tastemaker.data.formats import Format, register_format
from tastemaker.data.judgements import (
    RECORDS,
    Example,
    Grade,
    Judgement,
    Label,
    Prompt,
)
from tastemaker.data.metadata import judge_of, time_of, weight_of
from tastemaker.data.roles import plain_name
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import answer_of, bad_cell, number_of, whole_of

_OTHER_JUDGEMENTS = {*RECOGNISED["grade"], *RECOGNISED["rating"]}
_KTO = LabelCells(
    "label", {"false": False, "true": True, "0": False, "1": True}
)
_HELPSTEER = GradeCells("helpfulness", 0, 4)
_PROMETHEUS = GradeCells("orig_score", 1, 5)


def _example(row: Row, column: str, where: str) -> Example:
    text = completion_from(row[column], where, column)
    return Example(text, prompt_from(row["prompt"], where, "prompt"))


def _kto(row: Row, metadata: Metadata) -> list[Judgement]:
    example = _example(row, "completion", metadata["where"])
    return [_KTO.judgement(row["label"], example, metadata)]


def _matches_kto(row: Row) -> bool:
    """Return whether the label is true or false, and the row has no grade or rating."""
    names = {plain_name(name) for name in row}
    return isinstance(row["label"], bool) and not _OTHER_JUDGEMENTS & names


def _helpsteer(row: Row, metadata: Metadata) -> list[Judgement]:
    """Return `helpfulness` as a grade. Other attributes: name one as the grade column."""
    example = _example(row, "response", metadata["where"])
    return [_HELPSTEER.judgement(row["helpfulness"], example, metadata)]


def _prometheus(row: Row, metadata: Metadata) -> list[Judgement]:
    where = metadata["where"]
    text = completion_from(row["orig_response"], where, "orig_response")
    prompt = prompt_from(row["orig_instruction"], where, "orig_instruction")
    example = Example(text, prompt)
    return [_PROMETHEUS.judgement(row["orig_score"], example, metadata)]


def _judgements(row: Row, metadata: Metadata) -> list[Judgement]:
    origin = (metadata["where"], metadata["source"], metadata["path"])
    return [from_row(row, *origin)]


def _matches_judgements(row: Row) -> bool:
    return isinstance(row["kind"], str) and row["kind"] in RECORDS


_SHARED = frozenset(field.name for field in fields(Judgement))


def to_row(judgement: Judgement) -> Row:
    """Return a judgement as a JSON object. `from_row` makes an equal one of it, without `where`."""
    row: Row = {"kind": judgement.kind}
    for name, (_, is_needed) in _columns(type(judgement)).items():
        value = getattr(judgement, name)
        if is_needed or value not in (None, ()):
            row[name] = _plain(value)
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


def from_row(
    row: Row, where: str = "", source: str = "", path: str = ""
) -> Judgement:
    """Return the judgement of a row of `to_row`. Raises DataError, naming `where`, for others.

    source, path: where the judgement comes from, unless the row says so itself.
    """
    where = where or "a row"
    kind = row.get("kind")
    if not isinstance(kind, str) or kind not in RECORDS:
        kinds = ", ".join(RECORDS)
        raise bad_cell(kind, where, "kind", f"; the kinds are {kinds}.")
    named = row.get("source")
    metadata: Metadata = {
        "judge": judge_of(row.get("judge")),
        "time": time_of(row.get("time"), where, "time"),
        "weight": weight_of(row.get("weight"), where, "weight"),
        "where": where,
        "source": source
        if named is None
        else answer_of(named, where, "source"),
        "path": path if named is None else "",
    }
    prompt = prompt_from(row.get("prompt"), where, "prompt")
    record = RECORDS[kind]
    values = {}
    for name, (column_type, is_needed) in _columns(record).items():
        if is_needed or row.get(name) is not None:
            values[name] = _READERS[column_type](row.get(name), where, name)
    judgement = record(**values, prompt=prompt, **metadata)
    if problem := judgement.row_problem():
        raise judgement.wrong(problem)
    return judgement


@cache
def _columns(record: type[Judgement]) -> dict[str, tuple[Any, bool]]:
    """Return the columns of a kind: the type of each, and whether a row must have it."""
    types = get_type_hints(record)
    columns = {}
    for field in fields(record):
        if field.name not in _SHARED:
            is_needed = (
                field.default is MISSING and field.default_factory is MISSING
            )
            columns[field.name] = (types[field.name], is_needed)
    return columns


def _plain(value: Any) -> Any:
    """Return a value with lists in the place of tuples."""
    return (
        [_plain(item) for item in value] if isinstance(value, tuple) else value
    )


def _prompt_row(prompt: Prompt) -> str | list[dict[str, str]]:
    return (
        prompt
        if isinstance(prompt, str)
        else [turn._asdict() for turn in prompt]
    )


def _texts_of(value: object, where: str, column: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise bad_cell(value, where, column, " where a list of texts belongs.")
    return tuple(answer_of(text, where, column) for text in value)


def _tiers_of(
    value: object, where: str, column: str
) -> tuple[tuple[str, ...], ...]:
    """Return a list of lists of texts; a text alone is a tier of one."""
    if not isinstance(value, list):
        raise bad_cell(value, where, column, " where a list of tiers belongs.")
    tiers = [[tier] if isinstance(tier, str) else tier for tier in value]
    return tuple(_texts_of(tier, where, column) for tier in tiers)


def _truth_of(value: object, where: str, column: str) -> bool:
    if not isinstance(value, bool):
        raise bad_cell(value, where, column, " where true or false belongs.")
    return value


_READERS = {
    str: answer_of,
    bool: _truth_of,
    bool | None: _truth_of,
    int: whole_of,
    float: number_of,
    tuple[str, ...]: _texts_of,
    tuple[tuple[str, ...], ...]: _tiers_of,
}
"""How a cell of each type is read."""


register_format(
    Format(
        "kto",
        ("prompt", "completion", "label"),
        _kto,
        (Label,),
        matches=_matches_kto,
        judging=("label",),
    )
)
register_format(
    Format(
        "helpsteer",
        ("prompt", "response", "helpfulness", "correctness"),
        _helpsteer,
        (Grade,),
        judging=("helpfulness",),
    )
)
register_format(
    Format(
        "prometheus",
        ("orig_instruction", "orig_response", "orig_score"),
        _prometheus,
        (Grade,),
        judging=("orig_score",),
    )
)
register_format(
    Format(
        "judgements",
        ("kind",),
        _judgements,
        (Judgement,),
        matches=_matches_judgements,
        excludes_others=True,
        of_some_rows=tuple(
            name for record in RECORDS.values() for name in _columns(record)
        ),
    )
)
