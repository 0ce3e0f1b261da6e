"""Formats of one text a row (KTO, HelpSteer), and our own rows of any kind of judgement."""

from tastemaker.data.columns import RECOGNISED, GradeCells, LabelCells
from tastemaker.data.formats import Format, register_format
from tastemaker.data.json_rows import from_row
from tastemaker.data.judgements import RECORDS, Example, Grade, Judgement, Label
from tastemaker.data.tables import Metadata, Row, plain_name
from tastemaker.data.values import completion_from, prompt_from

_OTHER_JUDGEMENTS = {*RECOGNISED["grade"], *RECOGNISED["rating"]}
_KTO = LabelCells("label", {"false": False, "true": True, "0": False, "1": True})
_HELPSTEER = GradeCells("helpfulness", 0, 4)


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


def _judgements(row: Row, metadata: Metadata) -> list[Judgement]:
    return [from_row(row, metadata["where"], metadata["source"])]


def _matches_judgements(row: Row) -> bool:
    return isinstance(row["kind"], str) and row["kind"] in RECORDS


register_format(
    Format(
        "kto", ("prompt", "completion", "label"), _kto, (Label,), matches=_matches_kto
    )
)
register_format(
    Format(
        "helpsteer",
        ("prompt", "response", "helpfulness", "correctness"),
        _helpsteer,
        (Grade,),
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
    )
)
