"""A running page, and a real Chromium that judges on it."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forked
import pytest

pytest.importorskip("uvicorn")


@dataclass
class Page:
    """A running `tastemaker rank`. links: the address of each judge and of the lead."""

    process: forked.Forked
    store: Path
    links: dict[str, str] = field(default_factory=dict)


def start(store: Path, *arguments: object, links: int = 1) -> Page:
    """Start a page and wait until its links are printed."""
    process = forked.start("rank", store, "--port", "0", *arguments)
    page = Page(process, store)
    lines = []
    for line in process.lines():
        lines.append(line)
        match = re.fullmatch(r"(.+): (http://127\.0\.0\.1:\d+/\S+)", line)
        if match:
            page.links[match[1]] = match[2]
        if len(page.links) == links:
            return page
    raise AssertionError(lines)


def stop(page: Page) -> str:
    """End a page; return what else it wrote."""
    if page.process.poll() is None:
        page.process.send_signal(signal.SIGTERM)
    assert page.process.wait(20) == 0
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
    """Start pages that are ended with the session."""
    folder = tmp_path_factory.mktemp("rank")
    pages: list[Page] = []

    def begin(rows: list[dict[str, Any]], *arguments: object, links: int = 1) -> Page:
        items = write_items(folder / f"items{len(pages)}.jsonl", rows)
        store = folder / f"judgements{len(pages)}.db"
        page = start(store, "--items", items, *arguments, links=links)
        pages.append(page)
        return page

    yield begin
    for page in pages:
        assert stop(page) == ""


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium under Selenium; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver")
    driver, browser = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or browser is None:
        pytest.skip("no chromium and chromedriver: nobody judged in a real browser")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    folder = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--no-first-run",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    chrome = webdriver.Chrome(options=options, service=service)
    yield chrome
    chrome.quit()
