"""Exports of annotation tools, and lists of single messages, as tables of a known layout.

| export | a row becomes |
|---|---|
| Label Studio | a row for each annotation: its choice, rating, number, better text or ranking |
| Argilla | a row for each response, a ranking too; of older versions one with the annotation |
| Potato | a row for each scheme that was answered: label, rating, better text or ranking |
| Doccano | a row with its one label |
| Prodigy | a row with its label, choice or pair; "ignore" is no label |
| OpenAssistant's messages | a tree for each conversation (the messages are kept in memory) |
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tastemaker.data.exported_rankings import (
    argilla_ranking,
    is_potato,
    label_studio_ranking,
    potato,
)
from tastemaker.data.tables import Row, Table
from tastemaker.data.values import empty_cell, is_missing, show
from tastemaker.errors import DataError

Numbered = Iterable[tuple[int, Row]]


@dataclass(frozen=True)
class Export:
    """One export. matches: whether a row is of it. rows: its rows → those of a plain table.

    gathers: a row of the plain table is made of several rows of the export.
    """

    matches: Callable[[Row], bool]
    rows: Callable[[Table, Numbered], Iterator[tuple[int, Row]]]
    gathers: bool = False


def flat(table: Table) -> Table:
    """Return an export as a plain table; any other table as it is."""
    export = _export_of(table)
    return table if export is None else _flattened(table, export)


def gathers_rows(table: Table) -> bool:
    """Return whether this is an export whose judgements are made of several rows each."""
    export = _export_of(table)
    return export is not None and export.gathers


def _export_of(table: Table) -> Export | None:
    try:
        _, first = next(iter(table.rows()), (0, {}))
    except DataError:
        return None  # whoever reads the rows reports it
    return next((each for each in EXPORTS if each.matches(first)), None)


def _flattened(table: Table, export: Export) -> Table:
    return replace(
        table,
        rows=lambda: export.rows(table, table.rows()),
        past=lambda skipped: export.rows(table, table.rows_past(skipped)),
    )


def _of_each(
    flatten: Callable[[Row, str], list[Row]],
) -> Callable[[Table, Numbered], Iterator[tuple[int, Row]]]:
    """Return the reader of an export whose rows are independent."""

    def read(table: Table, numbered: Numbered) -> Iterator[tuple[int, Row]]:
        for number, row in numbered:
            for made in flatten(row, table.place(number)):
                yield number, made

    return read


# --- Label Studio


def _is_label_studio(row: Row) -> bool:
    match row:
        case {"data": dict(), "annotations": list()}:
            return True
        case {"data": dict(), "completions": list()}:
            return True
    return False


def _label_studio(row: Row, where: str) -> list[Row]:
    data = row["data"]
    annotations = row.get("annotations") or row.get("completions")
    made = []
    for annotation in annotations or []:
        if annotation.get("was_cancelled"):
            continue
        judge = _label_studio_judge(annotation)
        for result in annotation.get("result") or []:
            match result:
                case {"type": "ranker", "value": {"ranker": ranker}}:
                    ranking = label_studio_ranking(data, ranker, judge, where)
                    made.append(ranking)
                    continue
            cells = _label_studio_result(data, result, where)
            cells["judge"] = judge
            made.append(cells)
    return made or [{**data, "label": None}]


def _label_studio_judge(annotation: Row) -> str | None:
    match annotation.get("completed_by"):
        case {"email": str(name)}:
            return name
        case {"id": number}:
            return str(number)
        case None:
            return None
        case name:
            return str(name)


def _label_studio_result(data: Row, result: Row, where: str) -> Row:
    match result:
        case {"type": "choices", "value": {"choices": choices}}:
            label = _only(choices, where, "choices")
            return {**data, "label": label}
        case {"type": "rating", "value": {"rating": number}}:
            return {**data, "rating": number}
        case {"type": "number", "value": {"number": number}}:
            return {**data, "rating": number}
        case {"type": "pairwise", "value": {"selected": side}}:
            return _better(data, side, where)
    kind = show(result.get("type"))
    raise DataError(
        f"{where}: a result of the type {kind} in an export of Label Studio. Choices, "
        "ratings, numbers, pairs and rankings can be read."
    )


def _better(data: Row, selected: Any, where: str) -> Row:
    """Return the comparison of the two texts that a task shows side by side."""
    sides = _two_sides(data)
    if sides is None or selected not in ("left", "right"):
        names = ", ".join(data)
        raise DataError(
            f"{where}: which two of {names} did Label Studio compare, and is "
            f"{show(selected)} left or right?"
        )
    chosen, rejected = sides
    if selected == "right":
        rejected, chosen = sides
    made = dict(data)
    for name in sides:
        del made[name]
    made["chosen"] = data[chosen]
    made["rejected"] = data[rejected]
    return made


_ENDS = (
    ("1", "2"),
    ("0", "1"),
    ("a", "b"),
    ("left", "right"),
)


def _two_sides(data: Row) -> tuple[str, str] | None:
    """Return the two names that differ only in their end: `answer1` and `answer2`."""
    for name in data:
        for first, second in _ENDS:
            if not name.lower().endswith(first):
                continue
            stem = name[: -len(first)]
            for end in (second, second.upper()):
                if stem + end in data:
                    return name, stem + end
    return None


# --- Doccano


def _is_doccano(row: Row) -> bool:
    match row:
        case {"text": str(), "label": list(labels)}:
            pass
        case {"data": str(), "label": list(labels)}:
            pass
        case {"text": str(), "labels": list(labels)}:
            pass
        case _:
            return False
    return all(isinstance(each, str | list) for each in labels)


def _doccano(row: Row, where: str) -> list[Row]:
    made = dict(row)
    text = made.pop("data", None)
    labels = made.pop("labels", None)
    made.setdefault("text", text)
    label = _only(made.get("label", labels), where, "label")
    if isinstance(label, list):
        raise DataError(
            f"{where}: the label {show(label)} marks a part of the text. Labels of whole "
            "texts can be read."
        )
    made["label"] = label
    return [made]


def _only(values: Any, where: str, column: str) -> Any:
    """Return the one value of a list, None of an empty one. Raises DataError for several."""
    match values:
        case None | []:
            return None
        case [value]:
            return value
        case [*several]:
            count = len(several)
            raise DataError(
                f"{where}: {count} values in {column!r}, where one belongs: {show(values)}."
            )
    return values


# --- Prodigy

_NEGATIVE = (
    "negative",
    "neg",
    "bad",
    "no",
    "false",
    "0",
)
"""Labels of which "accept" says that the text is not good."""


def _is_prodigy(row: Row) -> bool:
    match row:
        case {"answer": "accept" | "reject" | "ignore"}:
            signs = {"label", "options", "accept", "_task_hash"}
            return not signs.isdisjoint(row)
    return False


def _prodigy(row: Row, where: str) -> list[Row]:
    made: Row = {}
    for name in ("prompt", "text"):
        if isinstance(row.get(name), str):
            made[name] = row[name]
    judge = row.get("_annotator_id") or row.get("_session_id")
    if judge:
        made["judge"] = judge
    match row:
        case {"accept": dict()}:
            made.update(_prodigy_pair(row))
        case {"answer": "accept", "options": list(), "accept": choices}:
            made["label"] = _only(choices, where, "accept")
        case {"answer": "ignore"} | {"options": list()}:
            made["label"] = None
        case {"answer": answer, "label": label}:
            is_negative = str(label).strip().casefold() in _NEGATIVE
            made["label"] = (answer == "accept") != is_negative
        case {"answer": answer}:
            made["label"] = answer == "accept"
    return [made]


def _prodigy_pair(row: Row) -> Row:
    """Return the pair of a row of `prodigy compare`."""
    texts = {}
    for name in ("input", "accept", "reject"):
        cell = row.get(name) or {}
        texts[name] = cell.get("text")
    chosen, rejected = texts["accept"], texts["reject"]
    match row["answer"]:
        case "reject":
            chosen, rejected = rejected, chosen
        case "ignore":
            # a text compared with itself says nothing
            rejected = chosen
    return {
        "prompt": texts["input"],
        "chosen": chosen,
        "rejected": rejected,
    }


# --- Argilla


def _is_argilla(row: Row) -> bool:
    match row:
        case {"annotation": _, "prediction": _, "status": _}:
            return True
    return bool(_questions(row))


def _questions(row: Row) -> list[str]:
    """Return the questions that people answered, in either of the two newer layouts."""
    questions = []
    for name, value in row.items():
        if name.endswith(_RESPONSES):
            questions.append(name.removesuffix(_RESPONSES))
        match value:
            case [{"user_id": _, "value": _}, *_]:
                questions.append(name)
    return questions


_RESPONSES = ".responses"


def _argilla(row: Row, where: str) -> list[Row]:
    if "annotation" in row:
        return [_argilla_record(row)]
    questions = _questions(row)
    fields = _argilla_fields(row, questions)
    made: dict[str, Row] = {}
    rankings = []
    for question in questions:
        for user, value in _responses(row, question):
            if isinstance(value, list):
                rankings.append(argilla_ranking(fields, value, user, where))
                continue
            if user not in made:
                made[user] = {**fields, "judge": user}
            role = question
            if len(questions) == 1:
                role = _role_of(value)
            made[user][role] = value
    if made or rankings:
        return [*made.values(), *rankings]
    return [{**fields, "label": None}]


def _argilla_record(row: Row) -> Row:
    """Return the row of a record of Argilla before version 1.8."""
    text = row.get("text")
    match row.get("inputs"):
        case {"text": str(inner)} if text is None:
            text = inner
    label = row["annotation"]
    if row["status"] in ("Discarded", "Default"):
        label = None
    judge = row.get("annotation_agent")
    return {"text": text, "label": label, "judge": judge}


def _argilla_fields(row: Row, questions: list[str]) -> Row:
    """Return the columns that people were shown."""
    match row.get("fields"):
        case dict(fields):
            return fields
    about = tuple(f"{question}{end}" for question in questions for end in ".-")
    fields = {}
    for name, value in row.items():
        is_shown = name not in questions and not name.startswith(about)
        if is_shown and isinstance(value, str | list):
            fields[name] = value
    return fields


def _role_of(value: Any) -> str:
    """Return whether the answer to the only question is a label or a rating."""
    match value:
        case bool() | str():
            return "label"
    return "rating"


def _responses(row: Row, question: str) -> Iterator[tuple[str, Any]]:
    """Yield (user, value) of the responses to a question that were submitted."""
    for response in _records(row, question):
        match response:
            case {"status": "draft" | "discarded" | "pending"}:
                continue
            case {"value": value}:
                user = response.get("user_id")
                yield str(user), value


def _records(row: Row, question: str) -> list[Row]:
    """Return the responses to a question as records."""
    column = question + _RESPONSES
    if column not in row:
        return list(row[question])
    names = {
        "value": column,
        "user_id": f"{column}.users",
        "status": f"{column}.status",
    }
    records: list[Row] = []
    for place, _ in enumerate(row[column] or []):
        record = {}
        for name, of_name in names.items():
            cells = row.get(of_name) or []
            if place < len(cells):
                record[name] = cells[place]
        records.append(record)
    return records


# --- OpenAssistant's messages


def _is_oasst_message(row: Row) -> bool:
    match row:
        case {"message_id": str(), "parent_id": _, "role": str(), "rank": _}:
            return isinstance(row.get("text"), str)
    return False


def _oasst_trees(
    table: Table, numbered: Numbered
) -> Iterator[tuple[int, Row]]:
    messages: dict[str, Row] = {}
    roots: list[tuple[int, Row]] = []
    for number, row in numbered:
        name, parent = row.get("message_id"), row.get("parent_id")
        if not isinstance(name, str):
            where = table.place(number)
            raise empty_cell(where, "message_id")
        message = dict(row)
        message["replies"] = []
        messages[name] = message
        if is_missing(parent):
            tree = {"message_tree_id": name, "prompt": message}
            roots.append((number, tree))
    for message in messages.values():
        parent = messages.get(message["parent_id"])
        if parent is not None:
            parent["replies"].append(message)
    yield from roots


EXPORTS = (
    Export(_is_label_studio, _of_each(_label_studio)),
    Export(_is_prodigy, _of_each(_prodigy)),
    Export(_is_argilla, _of_each(_argilla)),
    Export(_is_doccano, _of_each(_doccano)),
    Export(is_potato, _of_each(potato)),
    Export(_is_oasst_message, _oasst_trees, gathers=True),
)
