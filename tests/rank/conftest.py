"""A running page, and a real Chromium that judges on it."""

import json
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forked
import pytest

from tastemaker.data.store import Store

pytest.importorskip("uvicorn")
POSTGRES = Path(__file__).resolve().parents[2] / "scripts" / "postgres.sh"


@dataclass
class Page:
    """A running `tastemaker rank`. links: the address of each judge and of the lead."""

    process: forked.Forked
    store: Path
    links: dict[str, str] = field(default_factory=dict)


def start(store: Path, *arguments: object) -> Page:
    """Start a page and wait until its links are printed; that of the lead is the last one."""
    process = forked.start("rank", store, "--port", "0", *arguments)
    page = Page(process, store)
    lines = []
    for line in process.lines():
        lines.append(line)
        match = re.fullmatch(r"(.+): (http://127\.0\.0\.1:\d+/\S+)", line)
        if match:
            page.links[match[1]] = match[2]
        if "lead" in page.links:
            return page
    raise AssertionError(lines)


def stop(page: Page) -> str:
    """End a page; return what else it wrote."""
    if page.process.poll() is None:
        page.process.send_signal(signal.SIGTERM)
    assert page.process.wait(90) == 0
    return page.process.output()


def write_items(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSONL."""
    lines = [json.dumps(row) + "\n" for row in rows]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def started(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Page]]:
    """Start pages that are ended with the session. They draw the same in each session."""
    folder = tmp_path_factory.mktemp("rank")
    pages: list[Page] = []

    def begin(rows: list[dict[str, Any]], *arguments: object) -> Page:
        items = write_items(folder / f"items{len(pages)}.jsonl", rows)
        store = folder / f"judgements{len(pages)}.db"
        with closing(Store(store)) as opened:
            opened.set("seed", 7)
        page = start(store, "--items", items, *arguments)
        pages.append(page)
        return page

    yield begin
    for page in pages:
        assert stop(page) == ""


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Make an empty database and return its address; skips where there is no server."""
    psycopg = pytest.importorskip("psycopg")
    address = os.environ.get("TASTEMAKER_TEST_POSTGRES")
    folder = None
    if not address:
        if shutil.which("pg_ctl") is None and not list(
            Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")
        ):
            pytest.skip("no PostgreSQL: the store was tested on SQLite alone")
        folder = Path("/tmp") / f"tastemaker-{uuid.uuid4().hex[:12]}"
        started = subprocess.run(
            [POSTGRES, "start", folder],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if started.returncode:
            pytest.skip(f"PostgreSQL did not start: {started.stderr[-300:]}")
        address = started.stdout.strip()
    server, _, _ = address.rpartition("/")

    def database() -> str:
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"{server}/{name}"

    yield database
    if folder is not None:
        subprocess.run([POSTGRES, "stop", folder], timeout=60, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new store: a SQLite file, then a PostgreSQL database."""
    if request.param == "sqlite":
        return str(tmp_path / "judgements.db")
    database: Callable[[], str] = request.getfixturevalue("postgres")
    return database()
