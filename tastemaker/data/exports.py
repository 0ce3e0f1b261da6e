"""Exports of annotation tools, and lists of single messages, as tables of a known layout.

| export | a row becomes |
|---|---|
| Label Studio | a row for each annotation, with its choice, rating, number or better text |
| Argilla | a row for each response; of older versions one with the annotation |
| Doccano | a row with its one label |
| Prodigy | a row with its label, choice or pair; "ignore" is no label |
| OpenAssistant's messages | a tree for each conversation (the messages are kept in memory) |
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tastemaker.data.tables import Row, Table
from tastemaker.data.values import is_missing, show
from tastemaker.errors import DataError

Numbered = Iterable[tuple[int, Row]]


@dataclass(frozen=True)
class Export:
    """One export. matches: whether a row is of it. rows: its rows → those of a plain table."""

    matches: Callable[[Row], bool]
    rows: Callable[[Table, Numbered], Iterator[tuple[int, Row]]]


def flat(table: Table) -> Table:
    """Return an export as a plain table; any other table as it is."""
    try:
        _, first = next(iter(table.rows()), (0, {}))
    except DataError:
        return table  # whoever reads the rows reports it
    for export in EXPORTS:
        if export.matches(first):
            return _flattened(table, export)
    return table


def _flattened(table: Table, export: Export) -> Table:
    return Table(
        table.name,
        lambda: export.rows(table, table.rows()),
        lambda skipped: export.rows(table, table.rows_past(skipped)),
        table.is_text,
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
    annotations = row.get("annotations", row.get("completions"))
    return isinstance(row.get("data"), dict) and isinstance(annotations, list)


def _label_studio(row: Row, where: str) -> list[Row]:
    annotations = row.get("annotations", row.get("completions"))
    made = []
    for annotation in annotations or []:
        if annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or []:
            cells = _label_studio_result(row["data"], result, where)
            judge = annotation.get("completed_by")
            if isinstance(judge, dict):
                judge = judge.get("email") or judge.get("id")
            made.append({**cells, "judge": _name(judge)})
    return made or [{**row["data"], "label": None}]


def _label_studio_result(data: Row, result: dict[str, Any], where: str) -> Row:
    kind, value = result.get("type"), result.get("value") or {}
    if kind == "choices":
        return {**data, "label": _only(value.get("choices"), where, "choices")}
    if kind in ("rating", "number"):
        return {**data, "rating": value.get(kind)}
    if kind == "pairwise":
        return _better(data, value.get("selected"), where)
    raise DataError(
        f"{where}: a result of the type {show(kind)} in an export of Label Studio. Choices, "
        "ratings, numbers and pairs can be read."
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
    left, right = sides
    chosen, rejected = (left, right) if selected == "left" else (right, left)
    rest = {name: data[name] for name in data if name not in sides}
    return {**rest, "chosen": data[chosen], "rejected": data[rejected]}


_ENDS = (("1", "2"), ("a", "b"), ("left", "right"), ("0", "1"))


def _two_sides(data: Row) -> tuple[str, str] | None:
    """Return the two names that differ only in their end: `answer1` and `answer2`."""
    names = {name.lower(): name for name in data}
    for name, written in names.items():
        for first, second in _ENDS:
            other = name.removesuffix(first) + second
            if name.endswith(first) and other in names:
                return written, names[other]
    return None


# --- Doccano


def _is_doccano(row: Row) -> bool:
    labels = row.get("label", row.get("labels"))
    text = row.get("text", row.get("data"))
    if not isinstance(labels, list) or not isinstance(text, str):
        return False
    return all(isinstance(each, str | list) for each in labels)


def _doccano(row: Row, where: str) -> list[Row]:
    labels = row.get("label", row.get("labels"))
    text = row.get("text", row.get("data"))
    label = _only(labels, where, "label")
    if isinstance(label, list):
        raise DataError(
            f"{where}: the label {show(label)} marks a part of the text. Labels of whole "
            "texts can be read."
        )
    used = ("label", "labels", "text", "data")
    rest = {name: row[name] for name in row if name not in used}
    return [{**rest, "text": text, "label": label}]


def _only(values: Any, where: str, column: str) -> Any:
    """Return the one value of a list, None of an empty one. Raises DataError for several."""
    if not values:
        return None
    if not isinstance(values, list):
        return values
    if len(values) > 1:
        raise DataError(
            f"{where}: {len(values)} values in {column!r}, where one belongs: {show(values)}."
        )
    return values[0]


# --- Prodigy

_ANSWERS = ("accept", "reject", "ignore")
_NEGATIVE = ("negative", "neg", "bad", "no", "false", "0")


def _is_prodigy(row: Row) -> bool:
    if row.get("answer") not in _ANSWERS:
        return False
    return any(
        name in row for name in ("label", "options", "accept", "_task_hash")
    )


def _prodigy(row: Row, where: str) -> list[Row]:
    answer = row["answer"]
    judge = _name(row.get("_annotator_id", row.get("_session_id")))
    shared = {"judge": judge} if judge else {}
    for name in ("prompt", "text"):
        if isinstance(row.get(name), str):
            shared[name] = row[name]
    if isinstance(row.get("accept"), dict):
        return [{**shared, **_prodigy_pair(row, answer)}]
    if answer == "ignore":
        return [{**shared, "label": None}]
    if "options" in row:
        chosen = row.get("accept") if answer == "accept" else None
        return [{**shared, "label": _only(chosen, where, "accept")}]
    word = str(row.get("label", "")).strip().casefold()
    is_positive = (answer == "accept") != (word in _NEGATIVE)
    return [{**shared, "label": is_positive}]


def _prodigy_pair(row: Row, answer: str) -> Row:
    """Return the pair of a row of `prodigy compare`; "ignore" is a tie of the same weight."""
    accepted = row["accept"].get("text")
    rejected = (row.get("reject") or {}).get("text")
    if answer == "reject":
        accepted, rejected = rejected, accepted
    if answer == "ignore":
        # a text compared with itself says nothing
        rejected = accepted
    prompt = (row.get("input") or {}).get("text")
    return {"prompt": prompt, "chosen": accepted, "rejected": rejected}


# --- Argilla


def _is_argilla(row: Row) -> bool:
    is_old = {"annotation", "prediction", "status"} <= row.keys()
    return is_old or bool(_questions(row))


def _questions(row: Row) -> list[str]:
    """Return the questions that people answered, in either of the two newer layouts."""
    questions = []
    for name, value in row.items():
        if name.endswith(".responses"):
            questions.append(name.removesuffix(".responses"))
        elif isinstance(value, list) and value:
            first = value[0]
            if (
                isinstance(first, dict)
                and {"user_id", "value"} <= first.keys()
            ):
                questions.append(name)
    return questions


def _argilla(row: Row, where: str) -> list[Row]:
    if "annotation" in row:
        label = row["annotation"]
        if row["status"] in ("Discarded", "Default"):
            label = None
        text = row.get("text")
        if text is None and isinstance(row.get("inputs"), dict):
            text = row["inputs"].get("text")
        judge = _name(row.get("annotation_agent"))
        return [{"text": text, "label": label, "judge": judge}]
    questions = _questions(row)
    fields = {}
    for name, value in row.items():
        is_question = any(
            name == question
            or name.startswith((f"{question}.", f"{question}-"))
            for question in questions
        )
        if not is_question and isinstance(value, str | list):
            fields[name] = value
    if isinstance(row.get("fields"), dict):
        fields = dict(row["fields"])
    made: dict[str, Row] = {}
    for question in questions:
        for user, value in _responses(row, question):
            cells = made.setdefault(user, {**fields, "judge": user})
            role = question
            if len(questions) == 1:
                is_number = isinstance(value, int | float)
                is_number = is_number and not isinstance(value, bool)
                role = "rating" if is_number else "label"
            cells[role] = value
    return list(made.values()) or [{**fields, "label": None}]


def _responses(row: Row, question: str) -> Iterator[tuple[str, Any]]:
    """Yield (user, value) of the responses to a question that were submitted."""
    if f"{question}.responses" in row:
        values = row[f"{question}.responses"] or []
        users = row.get(f"{question}.responses.users") or []
        statuses = row.get(f"{question}.responses.status") or []
    else:
        responses = row[question]
        values = [response.get("value") for response in responses]
        users = [response.get("user_id") for response in responses]
        statuses = [response.get("status") for response in responses]
    for place, value in enumerate(values):
        user = users[place] if place < len(users) else None
        status = statuses[place] if place < len(statuses) else "submitted"
        if status in (None, "submitted"):
            yield _name(user) or "unnamed", value


def _name(value: Any) -> str | None:
    return None if is_missing(value) else str(value)


# --- OpenAssistant's messages


def _is_oasst_message(row: Row) -> bool:
    needed = {"message_id", "parent_id", "text", "role", "rank"}
    return needed <= row.keys()


def _oasst_trees(
    table: Table, numbered: Numbered
) -> Iterator[tuple[int, Row]]:
    messages: dict[str, Row] = {}
    roots: list[tuple[int, Row]] = []
    for number, row in numbered:
        message = {name: row.get(name) for name in ("text", "role", "rank")}
        message["deleted"] = row.get("deleted")
        message["parent"] = row.get("parent_id")
        message["replies"] = []
        messages[row["message_id"]] = message
        if is_missing(row.get("parent_id")):
            tree = {"message_tree_id": row["message_id"], "prompt": message}
            roots.append((number, tree))
    for message in messages.values():
        parent = messages.get(message["parent"])
        if parent is not None:
            parent["replies"].append(message)
    yield from roots


EXPORTS = (
    Export(_is_label_studio, _of_each(_label_studio)),
    Export(_is_prodigy, _of_each(_prodigy)),
    Export(_is_argilla, _of_each(_argilla)),
    Export(_is_doccano, _of_each(_doccano)),
    Export(_is_oasst_message, _oasst_trees),
)
