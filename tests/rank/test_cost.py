"""What a page costs does not grow with the store: counts are kept, indexes are used."""

import gc
import json
import random
import sqlite3
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

import tastemaker as tm
from tastemaker.data.store import (
    Item,
    Judge,
    Store,
    View,
    calibration_items,
    import_judgements,
)
from tastemaker.rank import Figures, judge_feedback

ORDER = {"tiers": [[0], [1]]}


def test_the_counts_are_those_of_the_rows(address: str, tmp_path: Path) -> None:
    store = Store(address)
    draws = random.Random(3)
    store.add([Item(("a", "b"), f"prompt {n}") for n in range(20)], wanted=2)
    calibration = tmp_path / "known.jsonl"
    calibration.write_text(json.dumps({"kind": "ranking", "tiers": [["a"], ["c"]]}))
    store.add(calibration_items(calibration))
    pairs = [tm.Comparison("a", "b", prompt=f"prompt {n}") for n in range(15, 25)]
    pairs.append(pairs[0])
    assert import_judgements(store, pairs).items == 5
    store.set("plan", {"repeats": 0.2, "calibration": 0.2})
    judges = [store.judge(name) for name in ("ann", "bo", "cy")]
    for step in range(50):
        judge = draws.choice(judges)
        if draws.random() < 0.2:
            store.undo(judge)
        view = store.next_view(judge)
        if view is not None:
            is_skip = draws.random() < 0.2
            answer: dict[str, Any] = {"skip": "no"} if is_skip else ORDER
            store.answer(judge, view.id, f"the key {step}", answer)
    queries = {
        "items": "items",
        "left": "items WHERE judged < wanted",
        "judgements": "judgements WHERE withdrawn IS NULL AND NOT is_skip",
        "skips": "judgements WHERE withdrawn IS NULL AND is_skip",
    }
    with store.database.reading() as connection:
        for name, query in queries.items():
            count = connection.scalar(text(f"SELECT COUNT(*) FROM {query}"))
            assert getattr(store.counts(), name) == count, name
            assert count, name
    store.close()


def test_counts_that_are_wrong_are_right_after_the_next_start(address: str) -> None:
    store = Store(address)
    store.add([Item(("a", "b"), f"prompt {n}") for n in range(4)])
    ann = store.judge("ann")
    answers: list[Any] = [ORDER, {"skip": "no"}, ORDER]
    for number, answer in enumerate(answers):
        view = store.next_view(ann)
        assert view is not None
        store.answer(ann, view.id, f"the key {number}", answer)
    right = store.counts()
    assert right[:4] == (4, 2, 2, 1)
    with store.database.writing() as connection:
        connection.execute(text("UPDATE counts SET value = 77 + value"))
    assert store.counts().left == 79
    store.close()
    store = Store(address)
    assert store.counts()[:4] == right[:4]
    store.close()


def test_a_finished_judge_searches_once_and_holds_nobody_up(tmp_path: Path) -> None:
    costs: dict[str, list[int]] = {"again": [], "after another": []}
    for items in (300, 3000):
        with counted_steps() as steps:
            store = Store(tmp_path / f"{items}.db", busy_seconds=0.2)
            store.add([Item(("a", "b"), f"prompt {n}") for n in range(items)], 9)
            cy, dee = store.judge("cy"), store.judge("dee")
            every = "SELECT id, 1, '[0, 1]', 0, 0, 'new', 'random' FROM items"
            columns = "item_id, judge_id, shown, is_open, time, reason, arm"
            with store.database.writing() as connection:
                connection.execute(text(f"INSERT INTO views ({columns}) {every}"))
            view = store.next_view(dee)
            assert view is not None
            with closing(sqlite3.connect(store.database.path or "")) as other:
                other.execute("BEGIN IMMEDIATE")  # a search waits for no writer
                assert store.next_view(cy) is None
                other.rollback()
            before = steps[0]
            for _ in range(5):
                assert store.next_view(cy) is None
            costs["again"].append(steps[0] - before)
            store.answer(dee, view.id, "the key of dee", ORDER)
            before = steps[0]
            assert store.next_view(cy) is None
            costs["after another"].append(steps[0] - before)
            store.close()
    for name, (small, large) in costs.items():
        assert large < 1.5 * small + 3, (name, small, large)


def test_a_finished_judge_goes_on_where_an_item_opens(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(address)
    store.set("plan", {"repeats": 0})
    item = Item(("a", "b"))
    store.add([item])
    ann, bo = store.judge("ann"), store.judge("bo")

    def shown(judge: Judge) -> View:
        view = store.next_view(judge)
        assert view is not None
        return view

    held = shown(ann)
    assert store.next_view(bo) is None  # ann holds it
    store.answer(ann, held.id, "the first key", ORDER)
    assert store.next_view(bo) is None
    store.undo(ann)
    assert store.next_view(bo) is None  # it is ann's again
    store.answer(ann, held.id, "the second key", {"skip": "no"})
    assert shown(bo).texts  # what ann skipped
    store.answer(bo, shown(bo).id, "the third key", ORDER)
    for number, add in enumerate(
        (
            lambda: store.add([Item(("c", "d"))]),
            lambda: import_judgements(store, [tm.Comparison("e", "f", judge="cy")], 2),
        )
    ):
        assert store.next_view(bo) is None
        add()
        store.answer(bo, shown(bo).id, f"a later key {number}", ORDER)
    store.add([Item(("g", "h"))])
    shown(ann)
    assert store.next_view(bo) is None
    later = SimpleNamespace(time=lambda: time.time() + 901)
    for module in ("choosing", "store"):
        monkeypatch.setattr(f"tastemaker.data.store.{module}.time", later)
    assert shown(bo).texts  # ann held it for too long
    store.close()


def filled(path: Path, items: int, judgements: int) -> Store:
    """Return a store in which every item wants one more judgement, and ann judged half of them.

    The database makes the judgements itself.
    """
    store = Store(path)
    store.add([Item(("a", "b"), f"prompt {n}") for n in range(items)], judgements)
    for name in ("ann", "bo"):
        store.judge(name)
    one_more = f"SELECT n + 1 FROM t WHERE n < {judgements}"
    numbers = f"WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL {one_more})"
    statements = (
        f"{numbers} INSERT INTO views SELECT n, 2 * (1 + n % {items // 2}), 1, "
        "'[0, 1]', 0, 0, 'new', 'random' FROM t",
        f"{numbers} INSERT INTO judgements SELECT n, n, 'filled ' || n, "
        """'{"tiers": [[0], [1]]}', 0, 1, 0, NULL FROM t""",
        f"UPDATE counts SET value = {judgements} WHERE name = 'judgements'",
    )
    with store.database.writing() as connection:
        for statement in statements:
            connection.execute(text(statement))
    return store


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Yield a list of one number: the hundreds of steps of SQLite's machine so far."""
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    def connected(connection: Any, record: object) -> None:
        del record
        connection.set_progress_handler(count, 100)

    event.listen(Engine, "connect", connected)
    try:
        yield steps
    finally:
        event.remove(Engine, "connect", connected)


def test_a_page_takes_the_same_steps_in_a_larger_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastemaker.rank.figures.MOST", 300)
    costs: dict[str, list[int]] = {"fresh": [], "old": [], "lead": []}
    for items, judgements in ((600, 1200), (2000, 12_000)):
        with counted_steps() as steps:
            store = filled(tmp_path / f"{judgements}.db", items, judgements)
            ann, bo = store.judges()
            for name, judge in (("fresh", bo), ("old", ann)):
                before = steps[0]
                for number in range(4):
                    view = store.next_view(judge)
                    store.left()
                    judge_feedback(store, judge)
                    assert view is not None
                    assert store.next_view(judge) == view
                    store.answer(judge, view.id, f"{name} key {number}", ORDER)
                costs[name].append(steps[0] - before)
            figures, before = Figures(store), steps[0]
            shown = figures.overview()
            costs["lead"].append(steps[0] - before)
            assert shown.counts.judgements == judgements + 8
            assert 280 <= shown.statistics.sample <= 300
            assert figures.overview().statistics is shown.statistics
            view = store.next_view(bo)
            assert view is not None
            store.answer(bo, view.id, "one more", ORDER)
            assert figures.overview().statistics is not shown.statistics
            store.close()
    for name, (small, large) in costs.items():
        assert large < 1.5 * small, (name, small, large)


def test_what_is_remembered_of_long_rankings_is_small(tmp_path: Path) -> None:
    """Of 30 rankings of 40 texts: 780 verdicts each of six bytes, 140 kB; as lists 1.3 MB."""
    rankings = []
    for number in range(30):
        texts = [f"answer {n} of {number}" for n in range(40)]
        # no two answers are equal: each has its own tie
        tiers = [(text,) for text in texts if text != texts[number]]
        tiers[number] += (texts[number],)
        rankings.append(tm.Ranking(tuple(tiers), judge="ann"))
    store = Store(tmp_path / "store.db")
    import_judgements(store, rankings)
    tracemalloc.start()
    try:
        figures = Figures(store)
        figures.overview()
        del figures
        gc.collect()
        lines = tracemalloc.take_snapshot().statistics("filename")
    finally:
        tracemalloc.stop()
    held = {line.traceback[0].filename: line.size for line in lines}
    [of_sample] = [
        size for name, size in held.items() if name.endswith("rank/verdicts.py")
    ]
    assert 30 * 780 * 6 < of_sample < 30 * 780 * 12
