"""Rankings in exports of annotation tools, and the exports of Potato, as rows of our own format.

A tool names the ranked texts by an id, a column, a letter or a number; a row here holds the texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tastemaker.data.prompts import RECOGNISED
from tastemaker.data.roles import column_for
from tastemaker.data.tables import Row
from tastemaker.data.values import show
from tastemaker.errors import DataError

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def ranking_row(
    data: Row, tiers: Sequence[Sequence[str]], judge: str | None
) -> Row:
    """Return a ranking as a row. data: what was shown, of which the prompt is taken."""
    row: Row = {"kind": "ranking", "tiers": [list(tier) for tier in tiers]}
    column = column_for(RECOGNISED, list(data), ())
    if column is not None:
        row["prompt"] = data[column]
    if judge is not None:
        row["judge"] = judge
    return row


def _named(
    tiers: Sequence[Sequence[Any]], texts: Mapping[str, str], where: str
) -> list[list[str]]:
    """Return tiers of names as tiers of texts. Raises DataError for a name that is not there."""
    named = []
    for tier in tiers:
        for name in tier:
            if str(name) not in texts:
                listed = ", ".join(texts) or "none"
                raise DataError(
                    f"{where}: ranks {show(name)}, which is not among what was shown ({listed})."
                )
        named.append([texts[str(name)] for name in tier])
    return named


# --- Label Studio


def label_studio_ranking(
    data: Row, ranker: Any, judge: str | None, where: str
) -> Row:
    """Return the row of a `ranker`: {name: [ids, the best first]}, of a list of {id, body}."""
    columns = list(ranker.values()) if isinstance(ranker, dict) else [ranker]
    if len(columns) != 1 or not isinstance(columns[0], list):
        raise DataError(
            f"{where}: Label Studio sorted into buckets, whose order is not in the export. "
            "A ranker without buckets can be read."
        )
    texts = {}
    for cell in data.values():
        for item in cell if isinstance(cell, list) else ():
            match item:
                case {"id": name, **parts}:
                    words = (parts.get("title"), parts.get("body"))
                    texts[str(name)] = "\n\n".join(str(w) for w in words if w)
    tiers = [[name] for name in columns[0]]
    return ranking_row(data, _named(tiers, texts, where), judge)


# --- Argilla


def argilla_ranking(
    fields: Row, value: Sequence[Any], judge: str, where: str
) -> Row:
    """Return the row of an answer: names of fields in order, or {value, rank}; equal ranks tie."""
    ranks: dict[int, list[Any]] = {}
    for place, each in enumerate(value):
        match each:
            case {"value": name, "rank": int(rank)}:
                ranks.setdefault(rank, []).append(name)
            case {"value": name}:
                continue  # it was not ranked
            case name:
                ranks.setdefault(place, []).append(name)
    texts = {name: text for name, text in fields.items() if text}
    tiers = [ranks[rank] for rank in sorted(ranks)]
    return ranking_row(fields, _named(tiers, texts, where), judge)


# --- Potato

_SCHEMES = ("label_annotations", "annotations")
_JUDGES = ("user_id", "user", "annotator")


def is_potato(row: Row) -> bool:
    """Return whether this is a row of an export of Potato: {scheme: {label: value}} of a text."""
    has_id = any(name in row for name in ("instance_id", "id"))
    return has_id and bool(_schemes(row))


def _schemes(row: Row) -> dict[str, dict[str, Any]]:
    for name in _SCHEMES:
        match row.get(name):
            case dict(schemes) if schemes and all(
                isinstance(each, dict) for each in schemes.values()
            ):
                return schemes
    return {}


def potato(row: Row, where: str) -> list[Row]:
    """Return a row for each scheme that was answered."""
    judge = next((str(row[name]) for name in _JUDGES if row.get(name)), None)
    about = (*_SCHEMES, *_JUDGES, "id", "instance_id", "behavioral_data")
    data = {}
    for name, cell in row.items():
        if name not in about and not name.startswith("span"):
            data["text" if name == "displayed_text" else name] = cell
    made = []
    for answers in _schemes(row).values():
        made += _potato_scheme(data, answers, judge, where)
    return made


def _potato_scheme(
    data: Row, answers: dict[str, Any], judge: str | None, where: str
) -> list[Row]:
    match answers:
        case {"selection": side}:
            tiers = {"A": [["A"], ["B"]], "B": [["B"], ["A"]]}
            order = tiers.get(str(side), [["A", "B"]])
        case {"scale_value": value}:
            first = float(value)
            order = [["A"], ["B"]] if first < 0 else [["B"], ["A"]]
            order = order if first else [["A", "B"]]
        case {"rank_order": str(words)}:
            order = [tier.split("=") for tier in words.split(",")]
        case _:
            return _potato_single(data, answers, judge)
    texts = _potato_texts(data)
    return [ranking_row(data, _named(order, texts, where), judge)]


def _potato_single(
    data: Row, answers: dict[str, Any], judge: str | None
) -> list[Row]:
    """Return a label or a rating; none where several or no labels were ticked."""
    ticked = [
        (label, value)
        for label, value in answers.items()
        if value not in (None, False, "false", "")
    ]
    if len(ticked) != 1:
        return []
    label, value = ticked[0]
    row = {**data, "judge": judge}
    if str(value).lstrip("-").isdecimal():
        return [{**row, "rating": int(value)}]
    return [{**row, "label": label}]


def _potato_texts(data: Row) -> dict[str, str]:
    """Return what was compared, by letter and by the text itself."""
    texts: list[str] = []
    for cell in data.values():
        if isinstance(cell, list) and len(cell) > 1:
            texts = [str(each) for each in cell]
    if not texts and {"left", "right"} <= data.keys():
        texts = [str(data["left"]), str(data["right"])]
    named = {text: text for text in texts}
    return dict(zip(_LETTERS, texts, strict=False)) | named
