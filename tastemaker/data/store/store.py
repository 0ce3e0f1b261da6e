"""`Store`: items in, views out, judgements in. Each change is one transaction.

A view is one showing of an item to a judge: the item, and the order of its texts. It stays open
until it is answered, so that a page that is loaded again shows the same order.
"""

import json
import random
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    func,
    insert,
    select,
    update,
)

from tastemaker.data.judgements import Prompt
from tastemaker.data.store import schema as s
from tastemaker.data.store.answering import (
    OF_EACH,
    Outcome,
    checked_answer,
    renumbered,
)
from tastemaker.data.store.choosing import (
    AskPlan,
    Finished,
    NextItem,
    finished,
    next_item,
    next_number,
    still_wanted,
)
from tastemaker.data.store.counting import (
    Counts,
    add_counts,
    count_answer,
    counts_of,
    recount,
)
from tastemaker.data.store.engines import BUSY_SECONDS, Database
from tastemaker.data.store.items import (
    MOST_ANSWERS,
    Item,
    item_row,
    prompt_of,
)
from tastemaker.errors import UsageError

_BATCH = 1000
LONGEST_NAME = 80
UNINVITED = "import:"
"""Begins what judges have for a token whose judgements were imported, until they are invited."""


@dataclass(frozen=True)
class Judge:
    """A person who judges. token: the secret part of the invitation link."""

    id: int
    name: str
    token: str
    is_revoked: bool = False
    judged: int = 0

    @property
    def is_invited(self) -> bool:
        """False for a judge whose judgements were imported, and who was never invited."""
        return not self.token.startswith(UNINVITED)


@dataclass(frozen=True)
class View:
    """One showing of an item. texts: in the order shown. answer: a withdrawn one, to begin with."""

    id: int
    ask: str
    prompt: Prompt | None
    texts: tuple[str, ...]
    answer: dict[str, Any] | None = None


class Store:
    """A store of judgements in a SQLite file, or in PostgreSQL by address.

    Raises StorageError for a store that cannot be opened or was written by a newer version. `copy`
    is the copy of an older store that was migrated, None otherwise. busy_seconds: for how long a
    write waits for another program's.
    """

    def __init__(
        self,
        address: str | Path,
        *,
        must_exist: bool = False,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self._finished: dict[int, Finished] = {}
        self.database = Database(
            address, must_exist=must_exist, busy_seconds=busy_seconds
        )
        with self.database.closed_by_errors():
            self.copy = self.database.migrate()
            with self.database.writing() as connection:
                recount(connection)
                first = {
                    "seed": secrets.randbits(53),
                    "lead": secrets.token_urlsafe(24),
                }
                for name, value in first.items():
                    if _setting(connection, name) is None:
                        _set(connection, name, value)

    @property
    def name(self) -> str:
        """The file's name, or the address without its password."""
        return self.database.name

    def close(self) -> None:
        """Close the connections."""
        self.database.close()

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting of the store."""
        with self.database.reading() as connection:
            value = _setting(connection, name)
        return default if value is None else value

    def set(self, name: str, value: Any) -> None:
        """Change a setting; the value is one that JSON holds."""
        with self.database.writing() as connection:
            _set(connection, name, value)

    # --- items

    def add(self, items: Iterable[Item], wanted: int = 1) -> int:
        """Add items and return how many are new. Those that are here already stay as they are.

        wanted: from how many judges a judgement is wanted of each. An item with an expected answer
        is for calibration: each judge may get it.
        """
        if wanted < 1:
            raise UsageError(f"{wanted} judges an item: it takes at least 1.")
        count = left = 0
        with self.database.writing() as connection:
            seed = _setting(connection, "seed")
            draws = random.Random(f"{seed}:{_count(connection, s.items)}")
            by_digest = {item.digest: item for item in items}
            digests = list(by_digest)
            for start in range(0, len(digests), _BATCH):
                part = digests[start : start + _BATCH]
                query = select(s.items.c.digest).where(
                    s.items.c.digest.in_(part)
                )
                present = set(connection.scalars(query))
                rows = []
                for digest in part:
                    if digest not in present:
                        item = by_digest[digest]
                        rows.append(item_row(item, wanted, draws.random()))
                if rows:
                    connection.execute(insert(s.items), rows)
                count += len(rows)
                left += sum(row["wanted"] > 0 for row in rows)
            opened = int(count > 0)
            add_counts(connection, items=count, left=left, openings=opened)
        return count

    # --- judges

    def judge(self, name: str) -> Judge:
        """Return the judge of a name, who is made and invited where there is none."""
        name = name.strip()
        if not name or len(name) > LONGEST_NAME:
            raise UsageError(
                f"a judge's name has 1 to {LONGEST_NAME} characters."
            )
        with self.database.writing() as connection:
            query = select(s.judges).where(s.judges.c.name == name)
            row = connection.execute(query).first()
            if row is None:
                connection.execute(insert(s.judges).values(new_judge(name)))
            elif not _judge(row).is_invited:
                new = new_judge(name)
                change = update(s.judges).where(s.judges.c.id == row.id)
                invited = {key: new[key] for key in ("token", "is_revoked")}
                connection.execute(change.values(invited))
            return _judge(connection.execute(query).one())

    def judge_of(self, token: str) -> Judge | None:
        """Return the judge of an invitation; None for an unknown or a revoked one."""
        query = select(s.judges).where(
            s.judges.c.token == token, s.judges.c.is_revoked.is_(False)
        )
        with self.database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _judge(row)

    def judges(self) -> list[Judge]:
        """Return all judges, in the order in which they were invited."""
        with self.database.reading() as connection:
            rows = connection.execute(select(s.judges).order_by(s.judges.c.id))
            return [_judge(row) for row in rows]

    def revoke(self, name: str, *, is_revoked: bool = True) -> None:
        """End an invitation, or renew it. What was judged stays."""
        change = (
            update(s.judges)
            .where(s.judges.c.name == name)
            .values(is_revoked=is_revoked)
        )
        with self.database.writing() as connection:
            connection.execute(change)

    # --- views

    def next_view(self, judge: Judge) -> View | None:
        """Return what to show a judge next: an open view, or a new one; None at the end."""
        while True:
            now = time.time()
            with self.database.reading() as connection:
                view = _open_view(connection, judge)
                if view is not None or self._is_finished(connection, judge):
                    return view
                plan = self._plan(connection)
                openings = counts_of(connection).openings
                chosen = next_item(connection, plan, judge.id)
                if chosen is None:
                    self._finished[judge.id] = finished(
                        connection, openings, now
                    )
                    return None
            with self.database.writing() as connection:
                view = _open_view(connection, judge)
                if view is not None:
                    return view
                chosen = still_wanted(connection, chosen, judge.id)
                if chosen is not None:
                    return self._show(connection, judge, chosen, plan.seed)

    def _is_finished(self, connection: Connection, judge: Judge) -> bool:
        """Return whether an earlier search found nothing, and nothing has opened since."""
        last = self._finished.get(judge.id)
        if last is None or time.time() >= last.until:
            return False
        return last.openings == counts_of(connection).openings

    def left(self) -> int:
        """Return how many items want more judgements."""
        return self.counts().left

    def counts(self) -> Counts:
        """Return what the store holds, in numbers."""
        with self.database.reading() as connection:
            return counts_of(connection)

    def _plan(self, connection: Connection) -> AskPlan:
        saved = _setting(connection, "plan") or {}
        seed = int(_setting(connection, "seed"))
        return AskPlan(seed, **saved)

    def _show(
        self, connection: Connection, judge: Judge, chosen: NextItem, seed: int
    ) -> View:
        texts = json.loads(chosen.item.texts)
        shown = list(range(len(texts)))
        number = next_number(connection)
        random.Random(f"{seed}:{judge.id}:{number}").shuffle(shown)
        values = {
            "item_id": chosen.item.id,
            "judge_id": judge.id,
            "shown": json.dumps(shown),
            "is_open": True,
            "time": time.time(),
            "reason": chosen.reason,
            "arm": chosen.arm,
        }
        made = connection.execute(insert(s.views).values(values))
        key = made.inserted_primary_key
        assert key is not None
        return _view(int(key[0]), chosen.item, shown, None)

    def show_item(self, judge: Judge, item: int) -> None:
        """Show a judge one item, whether or not it wants a judgement.

        Raises UsageError where there is no such item.
        """
        query = select(s.items).where(s.items.c.id == item)
        with self.database.writing() as connection:
            row = connection.execute(query).first()
            if row is None:
                raise UsageError("there is no such item.")
            count = len(json.loads(row.texts))
            if count > MOST_ANSWERS:
                raise UsageError(
                    f"an item of {count} answers; at most {MOST_ANSWERS} can be shown."
                )
            seed = self._plan(connection).seed
            self._show(
                connection, judge, NextItem(row, "decide", "planned"), seed
            )

    # --- judgements

    def answer(
        self,
        judge: Judge,
        view_id: int,
        key: str,
        answer: Any,
        seconds: float | None = None,
    ) -> Outcome:
        """Save the answer to a view; it is on the disk when this returns.

        key: of the client, new for each answer. The same key again changes nothing. Raises
        UsageError for a view that is another judge's or has an answer, and for an answer that does
        not fit what was shown; nothing is changed then.
        """
        with self.database.writing() as connection:
            query = select(s.judgements).where(s.judgements.c.key == key)
            earlier = connection.execute(query).first()
            if earlier is not None:
                if earlier.view_id != view_id:
                    raise UsageError(
                        "the key of the answer belongs to another view."
                    )
                return Outcome(int(earlier.id), is_new=False)
            view = _view_row(connection, judge, view_id)
            scale = _setting(connection, "scale") or [1, 7]
            checked = checked_answer(
                answer, view.ask, json.loads(view.shown), (scale[0], scale[1])
            )
            values = {
                "view_id": view_id,
                "key": key,
                "answer": json.dumps(checked, ensure_ascii=False),
                "is_skip": "skip" in checked,
                "seconds": _plausible(seconds, view.time),
                "time": time.time(),
            }
            made = connection.execute(insert(s.judgements).values(values))
            change = update(s.views).where(s.views.c.id == view.id)
            connection.execute(change.values(is_open=False))
            count_answer(connection, view, "skip" in checked, 1)
            number = made.inserted_primary_key
            assert number is not None
            return Outcome(int(number[0]), is_new=True)

    def undo(self, judge: Judge) -> bool:
        """Withdraw the judge's last answer and open its view again; False where there is none."""
        query = (
            select(
                s.judgements.c.id,
                s.judgements.c.is_skip,
                s.judgements.c.view_id,
            )
            .add_columns(
                s.views.c.item_id, s.views.c.judge_id, s.views.c.reason
            )
            .join(s.views, s.views.c.id == s.judgements.c.view_id)
            .where(s.views.c.judge_id == judge.id)
            .where(s.judgements.c.withdrawn.is_(None))
            .where(s.views.c.reason != "imported")
            .order_by(s.judgements.c.id.desc())
            .limit(1)
        )
        with self.database.writing() as connection:
            last = connection.execute(query).first()
            if last is None:
                return False
            change = update(s.judgements).where(s.judgements.c.id == last.id)
            connection.execute(change.values(withdrawn=time.time()))
            change = update(s.views).where(s.views.c.id == last.view_id)
            connection.execute(change.values(is_open=True))
            count_answer(connection, last, last.is_skip, -1)
        return True


def new_judge(
    name: str, prefix: str = "", *, is_revoked: bool = False
) -> dict[str, Any]:
    """Return the row of a new judge. prefix: of the token."""
    return {
        "name": name,
        "token": prefix + secrets.token_urlsafe(18),
        "is_revoked": is_revoked,
        "created": time.time(),
        "cursor": -1.0,
        "judged": 0,
    }


def _setting(connection: Connection, name: str) -> Any:
    query = select(s.settings.c.value).where(s.settings.c.name == name)
    value = connection.scalar(query)
    return None if value is None else json.loads(value)


def _set(connection: Connection, name: str, value: Any) -> None:
    connection.execute(s.settings.delete().where(s.settings.c.name == name))
    row = {"name": name, "value": json.dumps(value)}
    connection.execute(insert(s.settings).values(row))


def _count(connection: Connection, table: Any) -> int:
    return int(connection.scalar(select(func.max(table.c.id))) or 0)


def _judge(row: Row[Any]) -> Judge:
    return Judge(row.id, row.name, row.token, row.is_revoked, row.judged)


def _open_view(connection: Connection, judge: Judge) -> View | None:
    query = (
        select(s.views.c.id.label("view_id"), s.views.c.shown, s.items)
        .join(s.items, s.items.c.id == s.views.c.item_id)
        .where(s.views.c.judge_id == judge.id, s.views.c.is_open)
        .order_by(s.views.c.id)
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    earlier = (
        select(s.judgements.c.answer)
        # an open view has no other answers; the index of steps is of withdrawn ones
        .where(
            s.judgements.c.view_id == row.view_id,
            s.judgements.c.withdrawn.is_not(None),
        )
        .order_by(s.judgements.c.id.desc())
        .limit(1)
    )
    answer = connection.scalar(earlier)
    shown = json.loads(row.shown)
    return _view(row.view_id, row, shown, answer)


def _view(
    number: int, item: Row[Any], shown: Sequence[int], answer: str | None
) -> View:
    texts = json.loads(item.texts)
    prompt = (
        None if item.prompt is None else prompt_of(json.loads(item.prompt))
    )
    earlier = None if answer is None else json.loads(answer)
    if earlier and "tiers" in earlier:
        place = {text: place for place, text in enumerate(shown)}
        earlier["tiers"] = renumbered(earlier["tiers"], place)
        for name in OF_EACH:
            if name in earlier:
                earlier[name] = [earlier[name][text] for text in shown]
    return View(
        number, item.ask, prompt, tuple(texts[i] for i in shown), earlier
    )


def _view_row(connection: Connection, judge: Judge, view_id: int) -> Row[Any]:
    query = (
        select(s.views, s.items.c.ask)
        .join(s.items, s.items.c.id == s.views.c.item_id)
        .where(s.views.c.id == view_id, s.views.c.judge_id == judge.id)
    )
    view = connection.execute(query).first()
    if view is None:
        raise UsageError("there is no such view for this judge.")
    if not view.is_open:
        raise UsageError("this view has an answer already. Undo it first.")
    return view


def _plausible(seconds: float | None, begun: float) -> float:
    """Return the client's seconds, at most those that passed here since the view was made."""
    passed = max(0.0, time.time() - begun)
    if not isinstance(seconds, int | float) or not 0 <= seconds <= passed:
        return passed
    return float(seconds)
