"""Judgements made elsewhere: kept as they are, once, whatever is imported again."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shell import fails

import tastemaker as tm
from tastemaker.data import to_row
from tastemaker.data.store import Store
from tastemaker.demo import keep_judgements
from tastemaker.playground import judgements
from tastemaker.rank import overview

WHEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONG = tuple(f"answer {n}" for n in range(12))
JUDGEMENTS: list[tm.Judgement] = [
    tm.Comparison("a", "b", prompt="Hi", judge="ann", time=WHEN, chosen_first=False),
    tm.Comparison("b", "a", prompt="Hi", judge="bo", margin=2.5),
    tm.Comparison("a", "b", tie=True, prompt="Hi", weight=0.5),
    tm.Comparison("a", "b", tie=True, prompt="Hi", weight=0.5),  # twice
    tm.Ranking((("a",), ("b", "c")), prompt="Yo", judge="bo"),
    tm.Ranking((("c",),), ("a", "b"), shown=("b", "a", "c"), judge="ann"),
    tm.Ranking(tuple((text,) for text in LONG), judge="ann"),
    tm.Label("a", False, judge="ann"),
    tm.Grade("a", 4, 1, 5, judge="bo", time=WHEN),
    tm.Rating("a", 7.25, prompt="Hi"),
]
Run = Callable[..., tuple[int, str, str]]


def written(path: Path, judgements: list[tm.Judgement]) -> Path:
    lines = [json.dumps(to_row(each)) + "\n" for each in judgements]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def rows_of(path: Path) -> list[Any]:
    """Return everything that a store holds."""
    with closing(sqlite3.connect(path)) as connection:
        return [
            connection.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("settings", "items", "judges", "views", "judgements")
        ]


def test_imported_judgements_read_back_and_come_once(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "store.db"
    source = written(tmp_path / "old.jsonl", JUDGEMENTS)
    code, out, err = run("rank", path, "--import", source)
    assert (code, out) == (
        0,
        f"{source}: 10 judgements of 7 new items; 0 were here already, 0 left out\n",
    )
    assert "read as: " in err
    assert tm.read(path) == JUDGEMENTS
    before = rows_of(path)
    more = written(tmp_path / "more.jsonl", [*JUDGEMENTS, JUDGEMENTS[2]])
    code, out, _ = run("rank", path, "--import", source, "--import", more)
    assert code == 0
    assert [line.partition(": ")[2] for line in out.splitlines()] == [
        "0 judgements of 0 new items; 10 were here already, 0 left out",
        "1 judgements of 0 new items; 10 were here already, 0 left out",
    ]
    after = rows_of(path)
    assert after[1][1:] == before[1][1:]
    assert after[3][:-1] == before[3]
    assert after[4][:-1] == before[4]


def test_the_page_goes_on_with_what_was_imported(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "store.db"
    source = written(tmp_path / "old.jsonl", JUDGEMENTS)
    run("rank", path, "--import", source, "--judges-per-item", 4)
    store = Store(path)
    assert not any(each.is_invited or each.judged == 0 for each in store.judges())
    bo = store.judge("bo")  # invites
    assert store.judge_of(bo.token) == bo
    assert not store.undo(bo)  # what was imported is not taken back
    texts = set()
    while (view := store.next_view(bo)) is not None:
        # not what bo has judged, nor the long ranking
        assert view.prompt is None or view.ask == "rate"
        assert len(view.texts) < 10
        texts.add(view.ask)
        store.answer(bo, view.id, f"the key {view.id}", {"skip": "no"})
    assert texts == {"label", "rank", "rate"}
    figures = overview(store)
    assert figures.statistics.agreement["comparison"].pairs == 1
    ann = next(each for each in figures.judges if each.judge.name == "ann")
    assert ann.answers == 4
    # the order of one comparison and of one ranking of ann is known: 1 + 2 pairs
    assert ann.shown_first.n == 3
    for format in ("full", "jsonl", "csv", "trl"):
        target = tmp_path / f"{format}.{'csv' if format == 'csv' else 'jsonl'}"
        assert run("rank", path, "--export", target, "--format", format)[0] == 0
    store.close()


def test_the_demo_keeps_what_its_judges_judged(tmp_path: Path) -> None:
    rankings = judgements(30, kind="ranking", answers=(2, 12))
    parts = {"train": [*rankings, *judgements(60)], "held_out": judgements(20, seed=9)}
    (tmp_path / "collect").mkdir()
    for name, part in parts.items():
        written(tmp_path / "collect" / f"{name}.jsonl", part)
    for _ in range(2):  # a second run of the demo
        keep_judgements(tmp_path)
        stored = tm.read(tmp_path / "judgements.db")
        assert stored == [*parts["train"], *parts["held_out"]]
    store = Store(tmp_path / "judgements.db")
    view = store.next_view(store.judge("me"))
    assert view is not None
    assert len(view.texts) <= 9
    assert len(store.judges()) == 4
    store.close()


def test_a_file_that_cannot_be_read_makes_no_store(tmp_path: Path, run: Run) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"kind": "label", "text": "a", "positive": 7}\n')
    fails(run("rank", tmp_path / "store.db", "--import", bad), "bad.jsonl:1")
    assert not (tmp_path / "store.db").exists()
