"""Which item a judge gets next.

Most items come from one of two arms: the random order, or the order that a model asked for
(`priority`; 15 % stay random, so that there is always an honest sample). Some are planned: an item
that the judge has answered before, which shows how consistent the judge is, and an item whose
answer is known.

The search may pass over every open item, so it only reads, while others write. What it chose is
looked at again before it is shown (`still_wanted`), which takes the same time in any store.
"""

import math
import random
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    exists,
    func,
    select,
    update,
)

from tastemaker.data.store import schema as s

LEASE = 900.0
"""Seconds for which an open view holds its place among the judgements that an item wants."""
RANDOM_SHARE = 0.15
"""Of the items that are not planned, how many stay random whatever the model asks for."""
_RECENT = 60
_GAP = 5
"""A repeat is one of the judge's last 60 items, but none of the last 5."""
_WINDOW = 200
"""Open items that are looked at where another judge was faster."""


@dataclass(frozen=True)
class AskPlan:
    """What to ask. repeats, calibration: shares of the views. ask: random or a model's order."""

    seed: int
    repeats: float = 0.0
    calibration: float = 0.0
    ask: str = "random"


class NextItem(NamedTuple):
    """An item to show. reason: new, repeat, calibration. arm: the order that it comes from."""

    item: Row[Any]
    reason: str
    arm: str


@dataclass(frozen=True)
class Finished:
    """Nothing is wanted of a judge. It stays so while the count of openings is the same.

    openings: `Counts.openings`. until: when the first open view of the others lapses.
    """

    openings: int
    until: float


def finished(connection: Connection, openings: int, now: float) -> Finished:
    """Return for how long a judge stays without an item, after a search without a result.

    now: before the search, so that a view that has lapsed meanwhile counts.
    """
    views = s.views.c
    begun = select(func.min(views.time)).where(
        views.is_open, views.reason == "new", views.time > now - LEASE
    )
    first = connection.scalar(begun)
    return Finished(openings, math.inf if first is None else first + LEASE)


def next_number(connection: Connection) -> int:
    """Return the number of the next view; it seeds what is drawn for it."""
    return int(connection.scalar(select(func.max(s.views.c.id))) or 0) + 1


def next_item(
    connection: Connection, plan: AskPlan, judge: int
) -> NextItem | None:
    """Return the next item of a judge; None where none wants a judgement of this judge."""
    draws = random.Random(
        f"{plan.seed}:plan:{judge}:{next_number(connection)}"
    )
    planned = draws.random()
    item = None
    if planned < plan.repeats:
        item = _repeat(connection, judge, draws)
        if item is not None:
            return NextItem(item, "repeat", "planned")
    elif planned < plan.repeats + plan.calibration:
        item = connection.execute(_calibration(judge)).first()
        if item is not None:
            return NextItem(item, "calibration", "planned")
    if plan.ask != "random" and draws.random() >= RANDOM_SHARE:
        item = connection.execute(_asked_for(judge)).first()
        if item is not None:
            return NextItem(item, "new", plan.ask)
    item = _in_random_order(connection, judge)
    return None if item is None else NextItem(item, "new", "random")


def _in_random_order(connection: Connection, judge: int) -> Row[Any] | None:
    query = select(s.judges.c.cursor).where(s.judges.c.id == judge)
    cursor = float(connection.scalar(query) or -1.0)
    # past the last item asked; at the end, once more from the beginning
    for start in dict.fromkeys((cursor, -1.0)):
        query = _wanted(judge).where(s.items.c.lot > start)
        item = connection.execute(
            query.order_by(s.items.c.lot).limit(1)
        ).first()
        if item is not None:
            return item
    return None


def still_wanted(
    connection: Connection, chosen: NextItem, judge: int
) -> NextItem | None:
    """Return what to show a judge, before it is shown: the choice, or another where that is gone.

    None: search again. A random choice moves the judge's place in the random order.
    """
    if chosen.reason != "new":
        return chosen
    items = s.items.c
    query = _wanted(judge).where(items.id == chosen.item.id)
    item = connection.execute(query).first()
    if chosen.arm != "random":
        return chosen if item is not None else None
    if item is None:
        window = (
            select(items.id)
            .where(items.judged < items.wanted, items.lot > chosen.item.lot)
            .order_by(items.lot)
            .limit(_WINDOW)
        )
        query = _wanted(judge).where(items.id.in_(window))
        item = connection.execute(query.order_by(items.lot).limit(1)).first()
    if item is None:
        return None
    change = update(s.judges).where(s.judges.c.id == judge)
    connection.execute(change.values(cursor=item.lot))
    return NextItem(item, "new", "random")


def _is_his(judge: int) -> ColumnElement[bool]:
    views = s.views.c
    return exists().where(
        views.item_id == s.items.c.id, views.judge_id == judge
    )


def _wanted(judge: int) -> Select[Any]:
    """Select the items that want a judgement of this judge.

    Open views of others hold a place for a while, so that two judges do not answer the last one.
    """
    items, views = s.items.c, s.views.c
    others = (
        select(func.count())
        .select_from(s.views)
        .where(views.item_id == items.id, views.is_open)
        .where(views.time > time.time() - LEASE, views.reason == "new")
        .scalar_subquery()
    )
    return (
        select(s.items)
        .where(items.judged < items.wanted, ~_is_his(judge))
        .where(others < items.wanted - items.judged)
    )


def _asked_for(judge: int) -> Select[Any]:
    priority = s.items.c.priority
    query = _wanted(judge).where(priority.is_not(None))
    return query.order_by(priority).limit(1)


def _calibration(judge: int) -> Select[Any]:
    query = select(s.items).where(
        s.items.c.expected.is_not(None), ~_is_his(judge)
    )
    return query.order_by(s.items.c.lot).limit(1)


def _repeat(
    connection: Connection, judge: int, draws: random.Random
) -> Row[Any] | None:
    """Return one of the judge's recent items that has not been repeated."""
    recent = (
        select(s.views.c.item_id, s.views.c.reason)
        .where(s.views.c.judge_id == judge)
        .order_by(s.views.c.id.desc())
        .limit(_RECENT)
    )
    rows = connection.execute(recent).all()
    repeated = {row.item_id for row in rows if row.reason == "repeat"}
    late = {row.item_id for row in rows[:_GAP]}
    fit = [row.item_id for row in rows if row.reason == "new"]
    candidates = sorted(set(fit) - repeated - late)
    if not candidates:
        return None
    query = select(s.items).where(s.items.c.id == draws.choice(candidates))
    return connection.execute(query).first()
