"""The judgements of a store as rows of our own format, so that it is a source like any other.

An old store is read as it is: the columns are those of the first schema, and others are asked for
only where they are.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, select

from tastemaker.data.formats.single import to_row
from tastemaker.data.judgements import (
    Comparison,
    Grade,
    Judgement,
    Label,
    Ranking,
    Rating,
)
from tastemaker.data.store import schema as s
from tastemaker.data.store.addresses import shown_name
from tastemaker.data.store.answering import renumbered
from tastemaker.data.store.engines import Database
from tastemaker.data.store.items import prompt_of
from tastemaker.data.store.schema import schema_number
from tastemaker.data.tables import Rows, Table
from tastemaker.errors import DataError


def store_table(address: str | Path) -> Table:
    """Return the judgements of a store as a table; the number of a row is the judgement's.

    Raises DataError, when it is read, for a store in which nobody has judged anything.
    """

    def rows() -> Rows:
        count = 0
        for number, judgement in judgements(address):
            count += 1
            yield number, to_row(judgement)
        if not count:
            raise DataError(
                f"{shown_name(address)}: nobody has judged anything yet."
            )

    return Table(shown_name(address), rows)


def content_of(address: str | Path) -> list[Any]:
    """Return numbers that change whenever `judgements` would give others.

    A judgement is never changed, only withdrawn. The bytes of a SQLite file would not do: what was
    judged last stands in a file beside it.
    """
    database = Database(address, must_exist=True)
    try:
        database.check()
        withdrawn = s.judgements.c.withdrawn
        counts = select(
            func.count(), func.max(s.judgements.c.id), func.count(withdrawn)
        ).add_columns(func.max(withdrawn))
        scale = select(s.settings.c.value).where(s.settings.c.name == "scale")
        with database.reading() as connection:
            row = connection.execute(counts.select_from(s.judgements)).one()
            return [*row, connection.scalar(scale)]
    finally:
        database.close()


def judgements(address: str | Path) -> Iterator[tuple[int, Judgement]]:
    """Yield (number, judgement), oldest first; skips and withdrawn answers are left out.

    A ranking is followed by the grades and labels of its texts, which have its number.
    """
    database = Database(address, must_exist=True)
    try:
        database.check()
        with database.reading() as connection:
            scale = json.loads(
                connection.scalar(
                    select(s.settings.c.value).where(
                        s.settings.c.name == "scale"
                    )
                )
                or "[1, 7]"
            )
            query = answered()
            if schema_number(connection) > 1:
                # a repeat says how consistent a judge is, not more about the texts
                query = query.where(s.views.c.reason != "repeat")
            streamed = connection.execution_options(yield_per=1000)
            for row in streamed.execute(query):
                for judgement in judgements_of(row, (scale[0], scale[1])):
                    yield row.id, judgement
    finally:
        database.close()


def answered() -> Select[Any]:
    """Select every judgement that counts, with what was shown and who judged."""
    return (
        select(
            s.judgements.c.id,
            s.judgements.c.answer,
            s.judgements.c.time,
            s.judgements.c.seconds,
            s.views.c.shown,
            s.items.c.ask,
            s.items.c.prompt,
            s.items.c.texts,
            s.judges.c.name,
        )
        .join(s.views, s.views.c.id == s.judgements.c.view_id)
        .join(s.items, s.items.c.id == s.views.c.item_id)
        .join(s.judges, s.judges.c.id == s.views.c.judge_id)
        .where(s.judgements.c.withdrawn.is_(None))
        .where(s.judgements.c.is_skip.is_(False))
        .order_by(s.judgements.c.id)
    )


def judgements_of(row: Any, scale: tuple[int, int]) -> Iterator[Judgement]:
    """Yield the judgements of a row of `answered`. scale: of a grade that has no other."""
    answer = json.loads(row.answer)
    texts = json.loads(row.texts)
    prompt = None if row.prompt is None else prompt_of(json.loads(row.prompt))
    shared: dict[str, Any] = {
        "prompt": prompt,
        "judge": row.name or None,
        "time": datetime.fromtimestamp(row.time, UTC),
        "weight": answer.get("weight", 1.0),
    }
    if answer.get("undated"):
        shared["time"] = None
    if row.ask == "rank":
        yield _ranked(answer, texts, json.loads(row.shown), shared)
    elif row.ask == "rate":
        yield Rating(texts[0], answer["value"], **shared)
    grades, labels = answer.get("grades", ()), answer.get("labels", ())
    if row.ask == "grade":
        grades = [answer["value"]]
    if row.ask == "label":
        labels = [answer["value"]]
    # a ranking may hold an answer without a grade, or without a label
    for text, value in zip(texts, grades, strict=False):
        if value is not None:
            yield Grade(text, value, *answer.get("scale", scale), **shared)
    for text, value in zip(texts, labels, strict=False):
        if value is not None:
            yield Label(text, value, **shared)


def _ranked(
    answer: dict[str, Any],
    texts: list[str],
    shown: list[int] | None,
    shared: dict[str, Any],
) -> Judgement:
    tiers = answer["tiers"]
    rest = answer.get("rest", [])
    ranked = [number for tier in tiers for number in tier] + rest
    in_order = [number for number in shown or () if number in ranked]
    if len(texts) == 2 and "ranking" not in answer:
        is_tie = len(tiers) == 1 and not rest
        # of a tie, the one that was shown first
        first, second = in_order if is_tie and in_order else ranked
        return Comparison(
            texts[first],
            texts[second],
            float(answer.get("strength", 0)),
            is_tie,
            chosen_first=first == in_order[0] if in_order else None,
            **shared,
        )
    return Ranking(
        tuple(map(tuple, renumbered(tiers, texts))),
        tuple(texts[number] for number in rest),
        shown=tuple(texts[number] for number in in_order),
        **shared,
    )
