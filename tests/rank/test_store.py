"""The store: what was shown is what is saved, once; old, new, locked and foreign files."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import tastemaker as tm
from tastemaker.data.store import (
    LATEST,
    METADATA,
    Item,
    Judge,
    Store,
    View,
    calibration_items,
    migrate,
    read_items,
)
from tests.shell import fails

TEXTS = ("first", "second", "third", "fourth")


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    opened = Store(address)
    opened.set("seed", 7)
    yield opened
    opened.close()


def shown(store: Store, judge: Judge) -> View:
    """Return the next view, which must be there."""
    view = store.next_view(judge)
    assert view is not None
    return view


def test_each_kind_of_judgement_reads_back(store: Store, address: str) -> None:
    items = [
        Item(TEXTS, (tm.Message("user", "Hi"),)),
        Item(("good", "bad"), (tm.Message("user", "Which?"),)),
    ]
    items += [Item((f"text {ask}",), ask=ask) for ask in ("label", "grade", "rate")]
    assert (store.add(items), store.add(items)) == (5, 0)
    ann = store.judge("ann")
    answers: dict[str, Any] = {"label": True, "grade": 6, "rate": 7.5}
    views = []
    for number in range(5):
        view = shown(store, ann)
        assert shown(store, ann) == view  # loaded again: the same order
        answer: dict[str, Any] = {"value": answers.get(view.ask)}
        if len(view.texts) == 4:
            answer = {"tiers": [[2], [0, 3]]}
        if len(view.texts) == 2:
            answer = {"tiers": [[1], [0]], "strength": 3}
        store.answer(ann, view.id, f"key {number}", answer, 0.0)
        views.append(view)
    assert store.next_view(ann) is None
    by_kind = {j.kind: j for j in tm.read(address)}
    assert {j.judge for j in by_kind.values()} == {"ann"}
    assert all(j.time is not None for j in by_kind.values())
    four, two = (next(v for v in views if len(v.texts) == n) for n in (4, 2))
    ranking, comparison = by_kind["ranking"], by_kind["comparison"]
    assert isinstance(ranking, tm.Ranking)
    assert isinstance(comparison, tm.Comparison)
    assert ranking.prompt == (tm.Message("user", "Hi"),)
    best, first, _, tied = four.texts[2], *four.texts[:1], None, four.texts[3]
    assert ranking.tiers[0] == (best,)
    assert set(ranking.tiers[1]) == {first, tied}
    assert ranking.shown == tuple(t for t in four.texts if t in ranking.texts)
    assert (comparison.chosen, comparison.rejected) == two.texts[::-1]
    assert (comparison.chosen_first, comparison.margin) == (False, 3.0)
    assert by_kind["label"].value == 1
    assert (by_kind["grade"].value, by_kind["grade"].scale) == (6, (1, 7))
    assert by_kind["rating"].value == 7.5


def test_the_order_differs_from_view_to_view(store: Store) -> None:
    store.add([Item(TEXTS, f"prompt {n}") for n in range(80)])
    ann = store.judge("ann")
    places = []
    for number in range(80):
        view = shown(store, ann)
        places.append(view.texts.index("first"))
        store.answer(ann, view.id, f"key {number}", {"tiers": [[0], [1]]})
    assert {places.count(place) > 4 for place in range(4)} == {True}


def test_a_repeated_post_changes_nothing(store: Store, address: str) -> None:
    store.add([Item(TEXTS)])
    ann = store.judge("ann")
    view = shown(store, ann)
    first = store.answer(ann, view.id, "the key", {"tiers": [[0], [1]]})
    again = store.answer(ann, view.id, "the key", {"tiers": [[1], [0]]})
    assert (first.is_new, again.is_new) == (True, False)
    assert first.judgement == again.judgement
    with pytest.raises(tm.UsageError, match="answer already"):
        store.answer(ann, view.id, "another key", {"tiers": [[1], [0]]})
    assert len(tm.read(address)) == 1


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"tiers": [[0], [9]]}, "not shown"),
        ({"tiers": [[0], [-1]]}, "not shown"),
        ({"tiers": [[0], [True]]}, "not shown"),
        ({"tiers": [[0], [0]]}, "twice"),
        ({"tiers": [[0, 1], []]}, "empty"),
        ({"tiers": [[0]]}, "at least two"),
        ({"tiers": "01"}, "list"),
        ({}, "list"),
        ([], "object"),
        ({"tiers": [[0], [1]], "strength": 9}, "strength"),
        ({"tiers": [[0], [1]], "comment": "a" * 5000}, "comment"),
        ({"skip": 7}, "reason"),
    ],
)
def test_answers_that_cannot_be(store: Store, answer: Any, problem: str) -> None:
    store.add([Item(TEXTS)])
    ann = store.judge("ann")
    view = shown(store, ann)
    with pytest.raises(tm.UsageError, match=problem):
        store.answer(ann, view.id, "the key", answer)
    assert shown(store, ann) == view


def test_a_judge_cannot_answer_for_another(store: Store) -> None:
    store.add([Item(TEXTS)], wanted=2)
    ann, bo = store.judge("ann"), store.judge("bo")
    view = shown(store, ann)
    with pytest.raises(tm.UsageError, match="no such view"):
        store.answer(bo, view.id, "the key", {"tiers": [[0], [1]]})
    store.revoke("bo")
    assert store.judge_of(bo.token) is None
    assert store.judge_of(ann.token) == ann


def test_undo_shows_the_item_again(store: Store, address: str) -> None:
    store.add([Item(TEXTS, "one"), Item(TEXTS, "two")])
    ann = store.judge("ann")
    assert not store.undo(ann)
    view = shown(store, ann)
    store.answer(ann, view.id, "key one", {"tiers": [[3], [1]]})
    after = shown(store, ann)
    assert store.undo(ann)
    again = shown(store, ann)
    assert (again.id, again.texts) == (view.id, view.texts)
    assert again.answer == {"tiers": [[3], [1]]}
    store.answer(ann, view.id, "key two", {"tiers": [[0], [1]]})
    assert shown(store, ann) == after
    (judgement,) = tm.read(address)
    assert judgement.texts == view.texts[:2]


def test_skips_are_saved_and_are_no_judgements(store: Store, address: str) -> None:
    store.add([Item(TEXTS)])
    ann = store.judge("ann")
    store.answer(ann, shown(store, ann).id, "the key", {"skip": "broken"})
    assert store.next_view(ann) is None
    assert store.left() == 1
    with pytest.raises(tm.DataError, match="nobody has judged"):
        tm.read(address)


def test_each_item_goes_to_as_many_judges_as_are_wanted(store: Store) -> None:
    store.add([Item(TEXTS, f"prompt {n}") for n in range(6)], wanted=2)
    judges = [store.judge(name) for name in ("ann", "bo", "cy")]
    count = 0
    while True:
        views = [(judge, store.next_view(judge)) for judge in judges]
        for judge, view in views:
            if view is not None:
                count += 1
                store.answer(judge, view.id, f"key {count}", {"tiers": [[0], [1]]})
        if all(view is None for _, view in views):
            break
    assert (count, store.left()) == (12, 0)


def test_planned_repeats_and_known_answers(
    store: Store, address: str, tmp_path: Path
) -> None:
    calibration = tmp_path / "known.jsonl"
    row = {"kind": "ranking", "tiers": [["a"], ["b", "c"]], "prompt": "known"}
    calibration.write_text(json.dumps(row))
    store.add(calibration_items(calibration))
    store.add([Item(TEXTS, f"prompt {n}") for n in range(40)])
    store.set("plan", {"repeats": 0.3, "calibration": 0.2})
    ann = store.judge("ann")
    while (view := store.next_view(ann)) is not None:
        store.answer(ann, view.id, f"the key {view.id}", {"tiers": [[0], [1]]})
    with store.database.reading() as connection:
        query = text("SELECT reason, COUNT(*) FROM views GROUP BY reason")
        counts = dict(connection.execute(query).fetchall())
    assert counts["new"] == 40
    assert counts["calibration"] == 1
    assert 5 < counts["repeat"] < 35
    # a repeat measures the judge, it is no second judgement of the texts
    assert len(tm.read(address)) == 41


def test_what_a_model_asks_for_comes_first(store: Store) -> None:
    store.add([Item(TEXTS, f"prompt {n}") for n in range(200)])
    store.set("plan", {"ask": "optimal"})
    asked = "UPDATE items SET priority = -id WHERE id > 100"
    with store.database.writing() as connection:
        connection.execute(text(asked))
    ann = store.judge("ann")
    prompts = []
    for number in range(60):
        view = shown(store, ann)
        prompts.append(view.prompt)
        store.answer(ann, view.id, f"the key {number}", {"tiers": [[0], [1]]})
    with store.database.reading() as connection:
        arms = connection.execute(text("SELECT arm, COUNT(*) FROM views GROUP BY arm"))
        counts = {arm: count for arm, count in arms}  # noqa: C416
    assert prompts.index("prompt 199") < 6
    assert 2 <= counts["random"] <= 20
    assert counts["random"] + counts["optimal"] == 60


# --- files


def test_an_old_schema_is_migrated_and_a_copy_stays(tmp_path: Path) -> None:
    from sqlalchemy import create_engine

    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, "old.db", steps=1)
        connection.exec_driver_sql(
            "INSERT INTO items VALUES (1, 'd', 'rank', NULL, '[\"a\", \"b\"]', '', 0.5, 1, 1)"
        )
        for number, pair in ((2, '["c", "d"]'), (3, '["e", "f"]')):
            connection.exec_driver_sql(
                f"INSERT INTO items VALUES ({number}, 'd{number}', 'rank', NULL, "
                f"'{pair}', '', 0.{number}, 1, 0)"
            )
        connection.exec_driver_sql(
            "INSERT INTO judges VALUES (1, 'ann', 't', 0, 0, 0, 1)"
        )
        # one judged, one taken back and then skipped, one left
        answers = (
            (1, 1, '{"tiers": [[0], [1]]}', 0, "NULL"),
            (2, 2, '{"tiers": [[1], [0]]}', 0, "7"),
            (3, 2, '{"skip": "no"}', 1, "NULL"),
        )
        for view in (1, 2):
            connection.exec_driver_sql(
                f"INSERT INTO views VALUES ({view}, {view}, 1, '[1, 0]', 0, 0)"
            )
        for number, view, answer, is_skip, withdrawn in answers:
            connection.exec_driver_sql(
                f"INSERT INTO judgements VALUES ({number}, {view}, 'k{number}', "
                f"'{answer}', {is_skip}, 1, 0, {withdrawn})"
            )
    engine.dispose()
    before = tm.read(path)  # without migrating it
    assert before == [
        tm.Comparison("a", "b", chosen_first=False, judge="ann", time=before[0].time)
    ]
    store = Store(path)
    assert store.copy == tmp_path / "old.db.schema-1"
    counts = store.counts()
    assert (counts.items, counts.left) == (3, 2)
    assert (counts.judgements, counts.skips) == (1, 1)
    assert [each.judged for each in store.judges()] == [1]
    view = store.next_view(store.judges()[0])
    assert view is not None
    assert sorted(view.texts) == ["e", "f"]
    store.close()
    assert tm.read(store.copy) == tm.read(path) == before
    assert Store(path).copy is None


def test_the_tables_are_those_of_the_last_migration(store: Store) -> None:
    from sqlalchemy import inspect

    with store.database.reading() as connection:
        inspector = inspect(connection)
        for name, table in METADATA.tables.items():
            columns = [column["name"] for column in inspector.get_columns(name)]
            assert columns == [column.name for column in table.columns], name


def test_a_newer_schema_is_refused(store: Store, address: str) -> None:
    later = f"INSERT INTO migrations VALUES ({LATEST + 1}, 'later', 0)"
    with store.database.writing() as connection:
        connection.execute(text(later))
    with pytest.raises(tm.StorageError, match=f"{LATEST + 1}.*Update"):
        Store(address)
    with pytest.raises(tm.StorageError, match=f"{LATEST + 1}.*Update"):
        tm.read(address)


def test_files_that_are_no_store(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    plain, other, folder = (tmp_path / name for name in ("a.db", "b.db", "c.db"))
    plain.write_text("no database")
    folder.mkdir()
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE films (name TEXT)")
    fails(run("rank", plain), "a.db", "no SQLite file")
    fails(run("rank", other), "b.db", "films")
    fails(run("rank", folder), "c.db", "a folder")
    fails(run("rank", tmp_path / "no" / "d.db"), "there is no folder")
    fails(run("inspect", other), "b.db", "no store")
    fails(run("rank", tmp_path / "e.db", "--host", "0.0.0.0"), "--token")
    fails(run("rank", tmp_path / "e.db", "--export", tmp_path / "e.jsonl"), "e.db")
    assert not (tmp_path / "e.jsonl").exists()


def test_a_locked_store_says_so(tmp_path: Path) -> None:
    path = tmp_path / "judgements.db"
    Store(path).close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(tm.StorageError, match=r"judgements\.db.*another program"):
            Store(path, busy_seconds=0.1)


# --- items


def items_from(path: Path, content: str) -> list[Item]:
    path.write_text(content, encoding="utf-8")
    return read_items(path)


def test_items_of_unjudged_tables(tmp_path: Path) -> None:
    columns = "prompt,answer_a,answer_b,answer_c\nHi,Hello,Yo,Hey\nBye,Ciao,See you,\n"
    assert items_from(tmp_path / "a.csv", columns) == [
        Item(("Hello", "Yo", "Hey"), "Hi", source="a.csv"),
        Item(("Ciao", "See you"), "Bye", source="a.csv"),
    ]
    rows = [
        {"prompt": "Hi", "responses": [{"text": "a"}, {"text": "b"}, {"text": "a"}]}
    ]
    lines = "\n".join(map(json.dumps, rows))
    assert items_from(tmp_path / "b.jsonl", lines) == [
        Item(("a", "b"), "Hi", source="b.jsonl")
    ]
    rows = [{"prompt": "Hi", "completion": text} for text in "abc"]
    lines = "\n".join(map(json.dumps, rows))
    assert items_from(tmp_path / "c.jsonl", lines) == [
        Item(("a", "b", "c"), "Hi", source="c.jsonl")
    ]
    texts = "text\nA warm film.\nA dull film.\n"
    assert [item.ask for item in items_from(tmp_path / "d.csv", texts)] == ["grade"] * 2


def test_items_of_judged_sources(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "chosen": "a", "rejected": "b"}
    assert items_from(tmp_path / "a.jsonl", json.dumps(row)) == [
        Item(("a", "b"), "Hi", source="a.jsonl")
    ]


def test_many_answers_are_divided(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "answers": [f"answer {n}" for n in range(12)]}
    items = items_from(tmp_path / "a.jsonl", json.dumps(row))
    assert sorted(len(item.texts) for item in items) == [6, 6]


def test_columns_of_items_are_named_behind_the_file(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    path.write_text("question,a,b\nWhat?,x,y\n")
    with pytest.raises(tm.DataError, match=r"it\.csv:prompt=question,answers=a\+b"):
        read_items(path)
    report: list[tm.ReadAs] = []
    (item,) = read_items(f"{path}:prompt=question,answers=a+b", report=report)
    assert (item.texts, item.prompt) == (("x", "y"), "What?")
    assert str(report[0]) == "read as: prompt=question, answers=a+b (format answers)"
