"""Judgements that were made elsewhere, written into a store as if they had been made on its page.

Each keeps its judge, time and weight, and the order shown where it is known. A judgement's key is
made of what it says, so a second import of the same source changes nothing.
"""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from tastemaker.data.formats.single import to_row
from tastemaker.data.judgements import Judgement
from tastemaker.data.store import schema as s
from tastemaker.data.store.counting import add_counts, left_is_counted
from tastemaker.data.store.items import (
    ASK_OF,
    MOST_ANSWERS,
    Item,
    item_row,
)
from tastemaker.data.store.store import (
    LONGEST_NAME,
    UNINVITED,
    Store,
    new_judge,
)
from tastemaker.errors import DataError

_BATCH = 1000


@dataclass
class Imported:
    """What an import changed. present: judgements that were here already."""

    judgements: int = 0
    present: int = 0
    items: int = 0
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Entry:
    key: str
    item: Item
    judgement: Judgement


def import_judgements(
    store: Store, judgements: Iterable[Judgement], wanted: int = 1
) -> Imported:
    """Write judgements into a store, all of them or, where an error comes, none.

    wanted: from how many judges a judgement is wanted of a new item; imported ones count. Judges
    get no invitation.
    """
    done = Imported()
    numbers: Counter[str] = Counter()
    with store.database.writing() as connection:
        batch: list[_Entry] = []
        for judgement in judgements:
            try:
                item = _item_of(judgement)
            except DataError as error:
                done.left_out.append(str(error))
                continue
            digest = _digest(judgement)
            numbers[digest] += 1
            # equal judgements of one source are told apart by their number
            key = f"import:{digest}:{numbers[digest]}"
            batch.append(_Entry(key, item, judgement))
            if len(batch) == _BATCH:
                _write(connection, batch, wanted, done)
                batch = []
        if batch:
            _write(connection, batch, wanted, done)
    return done


def _digest(judgement: Judgement) -> str:
    row = to_row(judgement)
    row.pop("source", None)
    content = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
    return blake2b(
        content.encode("utf-8", "replace"), digest_size=16
    ).hexdigest()


def _item_of(judgement: Judgement) -> Item:
    """Return what was judged. Raises DataError for what the store cannot hold."""
    if len(judgement.judge or "") > LONGEST_NAME:
        raise judgement.wrong(
            f"the judge's name has more than {LONGEST_NAME} characters."
        )
    ask = "rank" if judgement.ranks else ASK_OF.get(judgement.kind)
    if ask is None:
        raise judgement.wrong(f"the store holds no {judgement.kind}.")
    is_closed = len(judgement.texts) > MOST_ANSWERS
    return Item(
        judgement.texts,
        judgement.prompt,
        ask,
        judgement.source,
        is_closed=is_closed,
    )


def _write(
    connection: Connection, batch: list[_Entry], wanted: int, done: Imported
) -> None:
    query = select(s.judgements.c.key).where(
        s.judgements.c.key.in_([entry.key for entry in batch])
    )
    present = set(connection.scalars(query))
    new = [entry for entry in batch if entry.key not in present]
    done.present += len(present)
    done.judgements += len(new)
    if not new:
        return
    items, count = _items(connection, new, wanted)
    done.items += count
    judges = _judges(connection, new)
    views = []
    answers = []
    for entry in new:
        number, texts = items[entry.item.digest]
        view, answer = _rows(entry, number, texts)
        view["judge_id"] = judges[entry.judgement.judge or ""]
        views.append(view)
        answers.append(answer)
    made = connection.scalars(
        insert(s.views).returning(s.views.c.id, sort_by_parameter_order=True),
        views,
    )
    for view_id, answer in zip(made, answers, strict=True):
        answer["view_id"] = view_id
    connection.execute(insert(s.judgements), answers)
    of_item = Counter(view["item_id"] for view in views)
    with left_is_counted(connection, list(of_item)):
        _count(connection, s.items, of_item)
    _count(connection, s.judges, Counter(view["judge_id"] for view in views))
    add_counts(connection, judgements=len(new), changes=1)


def _items(
    connection: Connection, entries: Sequence[_Entry], wanted: int
) -> tuple[dict[str, tuple[int, list[str]]], int]:
    """Return (number, texts) of each item by its digest, and how many items are new."""
    by_digest = {entry.item.digest: entry.item for entry in entries}
    columns = s.items.c
    query = select(columns.digest, columns.id, columns.texts).where(
        columns.digest.in_(list(by_digest))
    )
    present = {row.digest for row in connection.execute(query)}
    rows = []
    for digest, item in by_digest.items():
        if digest not in present:
            # the digest is as good as a drawn lot, and needs no state
            lot = int(digest[:13], 16) / 16**13
            rows.append(item_row(item, wanted, lot))
    if rows:
        connection.execute(insert(s.items), rows)
        left = sum(row["wanted"] > 0 for row in rows)
        add_counts(connection, items=len(rows), left=left, openings=1)
    items = {}
    for row in connection.execute(query):
        items[row.digest] = (row.id, json.loads(row.texts))
    return items, len(rows)


def _judges(
    connection: Connection, entries: Sequence[_Entry]
) -> dict[str, int]:
    names = sorted({entry.judgement.judge or "" for entry in entries})
    query = select(s.judges.c.name, s.judges.c.id).where(
        s.judges.c.name.in_(names)
    )
    present = {row.name for row in connection.execute(query)}
    rows = []
    for name in names:
        if name not in present:
            rows.append(new_judge(name, UNINVITED, is_revoked=True))
    if rows:
        connection.execute(insert(s.judges), rows)
    return {row.name: row.id for row in connection.execute(query)}


def _rows(
    entry: _Entry, item: int, texts: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row of a view and that of its judgement."""
    judgement = entry.judgement
    number = {text: place for place, text in enumerate(texts)}
    answer: dict[str, Any] = {}
    if judgement.ranks:
        tiers: dict[int, list[int]] = {}
        for text, rank in zip(judgement.texts, judgement.ranks, strict=True):
            tiers.setdefault(rank, []).append(number[text])
        rest = tiers.pop(judgement.unordered_rank, [])
        answer["tiers"] = [tiers[rank] for rank in sorted(tiers)]
        if rest:
            answer["rest"] = rest
        if judgement.kind == "ranking" and len(texts) == 2:
            answer["ranking"] = True  # and no comparison
        if judgement.kind == "comparison" and judgement.details[0]:
            answer["strength"] = judgement.details[0]
    else:
        answer["value"] = judgement.details[0]
        if judgement.scale is not None:
            answer["scale"] = list(judgement.scale)
    if judgement.weight != 1:
        answer["weight"] = judgement.weight
    if judgement.time is None:
        answer["undated"] = True
    shown = None
    if judgement.places:
        shown = [0] * len(texts)
        for text, place in zip(judgement.texts, judgement.places, strict=True):
            shown[place] = number[text]
    moment = time.time()
    if judgement.time is not None:
        moment = judgement.time.timestamp()
    view = {
        "item_id": item,
        "shown": json.dumps(shown),
        "is_open": False,
        "time": moment,
        "reason": "imported",
        "arm": "imported",
    }
    row = {
        "key": entry.key,
        "answer": json.dumps(answer, ensure_ascii=False),
        "is_skip": False,
        "time": moment,
    }
    return view, row


def _count(connection: Connection, table: Any, numbers: Counter[int]) -> None:
    """Add to how often items, or judges, have judged."""
    change = (
        update(table)
        .where(table.c.id == bindparam("number"))
        .values(judged=table.c.judged + bindparam("more"))
    )
    rows = [{"number": key, "more": n} for key, n in numbers.items()]
    connection.execute(change, rows)
