"""Counts that a page shows. They are kept by the transactions that change what they count.

A page that counted items or judgements itself would take longer with each judgement. One writer at
a time means that no change is lost.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from tastemaker.data.store import schema as s


class Counts(NamedTuple):
    """What a store holds. left: items that want more judgements.

    judgements, skips: those that were not withdrawn; repeats are judgements too. changes: goes up
    with every answer, every answer that is taken back, and every import. openings: goes up when an
    item may want a judge whom it did not want before.
    """

    items: int = 0
    left: int = 0
    judgements: int = 0
    skips: int = 0
    changes: int = 0
    openings: int = 0


def counts_of(connection: Connection) -> Counts:
    """Return the counts of a store."""
    rows = connection.execute(select(s.counts.c.name, s.counts.c.value))
    return Counts(**{row.name: row.value for row in rows})


def add_counts(connection: Connection, **more: int) -> None:
    """Add to counts, by name."""
    changed = []
    for name, number in more.items():
        if number:
            changed.append({"count": name, "more": number})
    if changed:
        change = (
            update(s.counts)
            .where(s.counts.c.name == bindparam("count"))
            .values(value=s.counts.c.value + bindparam("more"))
        )
        connection.execute(change, changed)


@contextmanager
def left_is_counted(
    connection: Connection, items: Sequence[int]
) -> Iterator[None]:
    """Bring the count of items that want judgements up to date after a change of some of them."""
    columns = s.items.c
    wanting = (
        select(func.count())
        .select_from(s.items)
        .where(columns.id.in_(items), columns.judged < columns.wanted)
    )
    before = connection.scalar(wanting) or 0
    yield
    after = connection.scalar(wanting) or 0
    add_counts(connection, left=after - before)


def count_answer(
    connection: Connection, view: Any, is_skip: bool, sign: int
) -> None:
    """Count an answer to a view. sign: 1, or −1 for one that is taken back.

    An item counts the answers that it wanted: no skip, no repeat, no known answer. A judge counts
    all but skips.
    """
    wanted = 0 if is_skip or view.reason != "new" else sign
    if wanted:
        item = update(s.items).where(s.items.c.id == view.item_id)
        with left_is_counted(connection, [view.item_id]):
            connection.execute(item.values(judged=s.items.c.judged + wanted))
    judged = 0 if is_skip else sign
    judge = update(s.judges).where(s.judges.c.id == view.judge_id)
    connection.execute(judge.values(judged=s.judges.c.judged + judged))
    skips = sign - judged
    # an answer that is taken back, and a skip, leave the item to others
    opened = int(wanted < 0 or (is_skip and sign > 0))
    add_counts(
        connection, judgements=judged, skips=skips, changes=1, openings=opened
    )


def recount(connection: Connection) -> None:
    """Bring the counts back to what the tables hold, such as after a repair of the file."""
    items, judgements = s.items.c, s.judgements.c
    totals = {
        "items": select(func.count()).select_from(s.items),
        "left": select(func.count())
        .select_from(s.items)
        .where(items.judged < items.wanted),
        "skips": select(func.count())
        .select_from(s.judgements)
        .where(judgements.is_skip, judgements.withdrawn.is_(None)),
        # those of both kinds, which an index counts
        "judgements": select(func.count())
        .select_from(s.judgements)
        .where(judgements.withdrawn.is_(None)),
    }
    values = {}
    for name, query in totals.items():
        values[name] = int(connection.scalar(query) or 0)
    values["judgements"] -= values["skips"]
    before = counts_of(connection)
    more = {name: values[name] - getattr(before, name) for name in values}
    add_counts(connection, **more)
