"""What a page costs does not grow with the store: counts are kept, indexes are used."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

import tastemaker as tm
from tastemaker.data.store import Item, Store, calibration_items, import_judgements
from tastemaker.rank import Figures, own_figures

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
                    own_figures(store, judge)
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
