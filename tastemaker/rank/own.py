"""What a judge sees of the own work: the time an item takes, and the consistency on repeats."""

import json
from dataclasses import dataclass
from statistics import median

from sqlalchemy import select

from tastemaker.data.store import Judge, Store
from tastemaker.data.store import schema as s
from tastemaker.rank.verdicts import Answer, Share, equal_share

_LATEST = 120
"""Views that are read: a repeat is of one of the 60 views before it."""


@dataclass(frozen=True)
class Own:
    """seconds: the median of an item, None before the first. repeats: pairs answered as before."""

    seconds: float | None
    repeats: Share


def own_figures(store: Store, judge: Judge) -> Own:
    """Return a judge's figures on the latest views."""
    views, judgements = s.views.c, s.judgements.c
    latest = (
        select(views.id, views.item_id, views.reason)
        .where(views.judge_id == judge.id)
        .order_by(views.id.desc())
        .limit(_LATEST)
        .subquery()
    )
    query = (
        select(latest, judgements.answer, judgements.seconds)
        .join(s.judgements, judgements.view_id == latest.c.id)
        .where(judgements.withdrawn.is_(None), judgements.is_skip.is_(False))
        .order_by(latest.c.id)
    )
    with store.database.reading() as connection:
        rows = connection.execute(query).all()
    seconds = [row.seconds for row in rows if row.seconds is not None]
    earlier: dict[int, Answer] = {}
    hits = n = 0
    for row in rows:
        answer = json.loads(row.answer)
        if row.reason == "repeat" and row.item_id in earlier:
            equal, shared = equal_share(answer, earlier[row.item_id])
            hits += equal
            n += shared
        earlier.setdefault(row.item_id, answer)
    return Own(median(seconds) if seconds else None, Share(hits, n))
