"""A full disk, a locked store, too many posts, texts of 1 MB: said on the page, nothing lost."""

import contextlib
import http.client
import resource
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from rank.conftest import Page, start, stop, write_items
from rank.test_languages import until_said
from rank.test_page import ask
from rank_pages import answered, at_size, element_of, press, texts_shown

import tastemaker as tm

PAIRS = [{"prompt": f"Question {n}?", "answers": ["one", "two"]} for n in range(40)]


@pytest.fixture(params=["a full disk", "a limit of the file's size"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Yield a folder, and a function of a page: a context in which its store cannot grow."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param != "a full disk":

        @contextlib.contextmanager
        def limited(page: Page) -> Iterator[None]:
            size = (folder / "judgements.db-wal").stat().st_size
            before = resource.prlimit(page.process.pid, resource.RLIMIT_FSIZE)
            limit = (size, before[1])
            resource.prlimit(page.process.pid, resource.RLIMIT_FSIZE, limit)
            yield
            resource.prlimit(page.process.pid, resource.RLIMIT_FSIZE, before)

        yield folder, limited
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here: no disk was full")

    @contextlib.contextmanager
    def filled(page: Page) -> Iterator[None]:
        del page
        filler = folder / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield
        filler.unlink()

    yield folder, filled
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_full_loses_nothing(
    chromium: Any, small: Any, tmp_path: Path
) -> None:
    folder, cannot_grow = small
    items = write_items(tmp_path / "items.jsonl", PAIRS)
    store = folder / "judgements.db"
    page = start(store, "--items", items, "--repeats", 0)
    chromium.get(page.links["judge"])
    for _ in range(2):
        answered(chromium, lambda: press(chromium, "1"))
    shown = texts_shown(chromium)
    with cannot_grow(page):
        press(chromium, "2")
        until_said(chromium, "Not saved: judgements.db: the disk ")
        assert "nothing was written" in element_of(chromium, "live").text
        assert texts_shown(chromium) == shown
        assert ask(page, page.links["lead"])[0] == 200
    answered(chromium, lambda: press(chromium, "2"))  # there is room again
    assert stop(page) == ""
    judgements = tm.read(store)
    assert len(judgements) == 3
    assert judgements[-1].best == (shown[1],)


def test_a_locked_store_is_said_and_the_answer_stays(
    chromium: Any, started: Callable[..., Page]
) -> None:
    page = started(PAIRS[:3])
    chromium.get(page.links["judge"] + "?lang=zh")
    with closing(sqlite3.connect(page.store)) as other:
        other.execute("BEGIN IMMEDIATE")
        press(chromium, "1")
        until_said(chromium, "未保存：另一个程序长时间占用")
        other.rollback()
    answered(chromium, lambda: press(chromium, "1"))
    assert len(tm.read(page.store)) == 1


def test_too_many_posts_are_refused_for_a_moment(started: Callable[..., Page]) -> None:
    page = started(PAIRS[:3], "--judge", "ann", "--judge", "bo")
    statuses: list[int] = []
    parts = urlsplit(page.links["ann"])

    def post_on() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=120)
        end = time.monotonic() + 120
        while 429 not in statuses and time.monotonic() < end:
            connection.request("POST", parts.path + "undo")
            reply = connection.getresponse()
            reply.read()
            statuses.append(reply.status)
        connection.close()

    threads = [threading.Thread(target=post_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # threads write the replies down in another order than they came in
    assert statuses.count(200) >= 100
    assert set(statuses) == {200, 429}
    # nobody else is held up, and ann goes on after a moment
    assert ask(page, page.links["bo"] + "undo", {})[0] == 200
    time.sleep(0.5)
    assert ask(page, page.links["ann"] + "undo", {})[0] == 200


def test_texts_of_a_megabyte(chromium: Any, started: Callable[..., Page]) -> None:
    texts = [f"{word} " * (1_000_000 // (len(word) + 1)) for word in ("word", "字")]
    texts = [text[:990_000] for text in texts]
    page = started([{"prompt": "Which?", "answers": texts}])
    at_size(chromium, 1200, 900)
    begun = time.monotonic()
    chromium.get(page.links["judge"])
    shown = texts_shown(chromium)
    assert sorted(shown) == sorted(texts)
    answered(chromium, lambda: press(chromium, "1"))
    assert time.monotonic() - begun < 120
    (judgement,) = tm.read(page.store)
    assert judgement.best == (shown[0],)
    chromium.get(page.links["lead"])
    assert len(chromium.page_source) < 100_000
