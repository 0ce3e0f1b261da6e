"""Judgements of one text each: KTO's unpaired completions, HelpSteer's attributes, and our own rows of any kind."""

from typing import Any

from tastemaker.data.columns import RECOGNISED
from tastemaker.data.formats.base import Format
from tastemaker.data.json_rows import from_row
from tastemaker.data.judgements import RECORDS, Example, Grade, Judgement, Label
from tastemaker.data.metadata import GradeCells, LabelCells, Metadata, plain_name
from tastemaker.data.tables import Row
from tastemaker.data.values import completion_from, prompt_from

_OTHER_JUDGEMENTS = frozenset(RECOGNISED["grade"] + RECOGNISED["rating"])
_KTO = LabelCells("label", {"false": False, "true": True, "0": False, "1": True})
_HELPSTEER = GradeCells("helpfulness", 0, 4)


def _example(row: Row, column: str, where: str) -> Example:
    return Example(
        completion_from(row[column], where, column), prompt_from(row["prompt"], where, "prompt")
    )


def _kto(row: Row, metadata: Metadata) -> list[Judgement]:
    return [_KTO.judgement(row["label"], _example(row, "completion", metadata["where"]), metadata)]


def _looks_kto(row: Row) -> bool:
    """Labels that are true or false, and nothing else said of the text: other tables are read column by column."""
    return isinstance(row["label"], bool) and not _OTHER_JUDGEMENTS & set(map(plain_name, row))


def _helpsteer(row: Row, metadata: Metadata) -> list[Judgement]:
    """The grade is `helpfulness`; another attribute is read where it is named as the grade column."""
    return [
        _HELPSTEER.judgement(
            row["helpfulness"], _example(row, "response", metadata["where"]), metadata
        )
    ]


def _own(row: Row, metadata: Metadata) -> list[Judgement]:
    return [from_row(row, metadata["where"], metadata["source"])]


def _looks_own(row: Row) -> bool:
    kind: Any = row["kind"]
    return isinstance(kind, str) and kind in RECORDS


KTO = Format("kto", ("prompt", "completion", "label"), _kto, (Label,), looks=_looks_kto)
HELPSTEER = Format(
    "helpsteer", ("prompt", "response", "helpfulness", "correctness"), _helpsteer, (Grade,)
)
OWN = Format("judgements", ("kind",), _own, tuple(RECORDS.values()), looks=_looks_own)
