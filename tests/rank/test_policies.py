"""Answers written on the spot by policies, and a model whose scores only the lead sees."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from nano import films, nano
from rank.conftest import Page, start, stop
from rank.test_page import ask
from shell import fails

import tastemaker as tm
from tastemaker.data.store import Item
from tastemaker.rank import write_items

PROMPTS = ["A warm film", "A dull film", "The film"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two policies, a reward model and prompts."""
    path: Path = tmp_path_factory.mktemp("policies")
    for seed, name in enumerate(("before", "after")):
        nano(seed=seed).save(path / name)
    judged = [tm.Label(text, k % 6 < 3) for k, text in enumerate(films(60))]
    tm.fit(judged, out=path / "taste")
    (path / "prompts.txt").write_text("\n".join(PROMPTS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[Page]:
    """A page with answers of both policies, and a model."""
    words: list[object] = ["--prompts", folder / "prompts.txt", "--answers", 4]
    for name in ("before", "after"):
        words += ["--policy", folder / name]
    words += ["--model", folder / "taste", "--max-tokens", 6, "--ask", "random"]
    page = start(folder / "judgements.db", *words)
    yield page
    stop(page)


def test_same_seed_same_answers_by_every_policy() -> None:
    policies = {"one": nano(), "two": nano(seed=1)}
    sampling = {"max_tokens": 5}

    def written(seed: int) -> list[Item]:
        return write_items(policies, PROMPTS, answers=5, sampling=sampling, seed=seed)

    items = written(3)
    assert items == written(3) != written(4)
    assert [item.prompt for item in items] == PROMPTS
    for item in items:
        assert item.writers == ("one",) * 3 + ("two",) * 2
        assert len(set(item.texts)) == 5


def test_answers_that_cannot_be_written() -> None:
    lines: list[str] = []
    with pytest.raises(tm.UsageError, match="no two different answers"):
        write_items({"one": nano()}, ["A"], sampling={"top_k": 1}, say=lines.append)
    assert lines == ["1 prompts were left out: fewer than two different answers"]
    for answers in (1, 10):
        with pytest.raises(tm.UsageError, match=f"--answers {answers}"):
            write_items({"one": nano()}, ["A"], answers=answers)


def test_a_policy_goes_with_prompts(
    run: Callable[..., tuple[int, str, str]], folder: Path
) -> None:
    store = folder / "none.db"
    fails(run("rank", store, "--policy", folder / "before"), "--prompts")
    words = ("--policy", folder / "before") * 2
    fails(run("rank", store, *words, "--prompts", folder / "prompts.txt"), "twice")
    fails(run("rank", store, "--model", folder / "before"), "before")
    assert not store.exists()


def test_only_the_lead_sees_who_wrote_and_what_the_model_thinks(page: Page) -> None:
    with closing(sqlite3.connect(page.store)) as connection:
        rows = connection.execute("SELECT texts, writers FROM items").fetchall()
    assert len(rows) == len(PROMPTS)
    for texts, writers in rows:
        assert len(set(json.loads(texts))) == 4
        assert json.loads(writers) == ["before", "before", "after", "after"]
    _, before, _ = ask(page, page.links["lead"])
    assert "Scores are shown once a judge has answered." in before
    assert not re.search(r"<td>-?\d+\.\d\d</td>", before)
    link = page.links["judge"]
    _, shown, _ = ask(page, link)
    view = int(re.search(r'data-view="(\d+)"', shown)[1])  # type: ignore[index]
    body: dict[str, Any] = {"view": view, "key": "a key of a test"}
    body["answer"] = {"tiers": [[0], [1], [2, 3]]}
    status, reply, _ = ask(page, link + "answer", body)
    assert status == 200
    _, after, _ = ask(page, page.links["lead"])
    scores = re.findall(r"<td>(\d)</td><td>(-?\d+\.\d\d)</td>", after)
    assert sorted(rank for rank, _ in scores) == ["1", "2", "3", "3"]
    assert re.search(r'data-testid="model-judge">.*of 5|n = 5\)', after)
    assert re.search(r"before</span>: \d+% \(", after)
    _, following, _ = ask(page, link)
    for text in (shown, reply, following):
        assert not re.search(r"before|after|taste|-?\d+\.\d\d", text)
