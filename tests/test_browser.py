"""The pages in a real browser: hostile texts, prompts and names are shown and never run."""

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from courses import best_of, curve, steered

from tastemaker.data import Comparison, Example, Judgement, Label, Ranking
from tastemaker.doctor import doctor
from tastemaker.evaluate import evaluate
from tastemaker.kinds import ComparisonLink, LabelLink, Link, RankingLink
from tastemaker.report import frontier, write_doctor_page, write_frontier, write_report
from tastemaker.scores import Scores

WIDTH, HEIGHT = 1000, 1400
PHONE = 375  # CSS pixels
SCRIPT = '<script>document.title="owned"</script>'
IMAGE = "<img src=x onerror=\"document.title='owned'\">"
HOSTILE = f"{SCRIPT} {IMAGE} </pre></td></style><svg onload=\"document.title='owned'\">"
QUOTES = (
    "\"><marquee onmouseover='document.title=1'>\"' --> ]]> {{ 7 * 7 }} {% raw %} "
    "\x00\x1b[31m \u202e"
)


@pytest.fixture(scope="module")
def browser() -> str:
    """A Chromium to open pages with; skips where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no chromium is installed: the pages were not opened in a real browser")


def command(browser: str, folder: Path) -> list[str]:
    """How to call the browser, its profile kept in a folder."""
    quiet = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ]
    return [
        browser,
        *quiet,
        "--hide-scrollbars",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
    ]


def browsed(browser: str, folder: Path, *words: str) -> tuple[str, str]:
    """Run the browser and return what it wrote; where it fails, once more with a fresh profile."""
    for is_last in (False, True):
        try:
            ended = subprocess.run(
                [*command(browser, folder), *words],
                check=True,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=100,
                cwd=folder,
            )
            break
        except subprocess.SubprocessError:
            if is_last:
                raise
            shutil.rmtree(folder / "profile", ignore_errors=True)
    return ended.stdout, ended.stderr


@pytest.fixture
def opened(browser: str, tmp_path: Path) -> Callable[..., str]:
    """Open a page as a file: its document after it has been shown, which must look like something.

    The browser must have nothing to complain about, unless `complains`.
    """

    def open_page(page: Path, *, complains: bool = False) -> str:
        picture = tmp_path / "shown.png"
        size = [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"]
        url = page.resolve().as_uri()
        browsed(browser, tmp_path, *size, url)
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", content[16:24]) == (WIDTH, HEIGHT)
        assert len(content) > 20_000  # an empty page of this size takes a third of that
        document, log = browsed(browser, tmp_path, "--dump-dom", url)
        complaints = [line for line in log.splitlines() if "CONSOLE" in line]
        assert bool(complaints) == complains, complaints
        return document

    return open_page


HELD = """<!DOCTYPE html><title>not yet</title><body style="margin: 0">
<iframe width="{width}" height="800" style="border: 0" src="{url}"></iframe><script>
onload = () => {{
  const page = document.querySelector("iframe").contentDocument
  const images = [...page.images]
  const sizes = [...page.querySelectorAll("main *")].map(
    e => parseFloat(getComputedStyle(e).fontSize))
  document.title = JSON.stringify({{
    wide: page.documentElement.scrollWidth,
    cut: [...page.querySelectorAll("main *")].filter(e => !e.closest(".card")
      && e.getBoundingClientRect().right > {width} + 1).map(e => e.tagName),
    images: images.length,
    loaded: images.filter(i => i.complete && i.naturalWidth > 0).length,
    smallest: Math.min(...sizes),
  }})
}}
</script>"""
"""A page inside a narrow frame, as wide as a phone; the title holds the measurements."""


@pytest.fixture
def on_a_phone(browser: str, tmp_path: Path) -> Callable[[Path], dict[str, Any]]:
    """Open a page as wide as a phone: what is found there."""

    def open_page(page: Path) -> dict[str, Any]:
        holder = page.with_name("holder.html")
        holder.write_text(HELD.format(width=PHONE, url=page.name), encoding="utf-8")
        words = ("--allow-file-access-from-files", "--dump-dom")
        url = holder.resolve().as_uri()
        document, _ = browsed(browser, tmp_path, *words, url)
        measured: dict[str, Any] = json.loads(title_of(document))
        return measured

    return open_page


class Lengths:
    """A model that likes long texts, up to a point, so that it is wrong about some."""

    links: Mapping[type[Judgement], Link] = {
        Label: LabelLink(),
        Comparison: ComparisonLink(1.0, -1.0),
        Ranking: RankingLink(),
    }

    def score_all(self, examples: Sequence[Example]) -> Scores:
        values = np.array([len(example.text) % 17 / 5.0 - 1.5 for example in examples])
        return Scores(values, np.zeros(len(examples), dtype=bool))


def title_of(dom: str) -> str:
    match = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert match is not None
    return unescape(match[1])


def assert_harmless(dom: str, title: str, *shown: str) -> None:
    """Check the title, that no element comes from a text, and that `shown` is shown as text."""
    assert title_of(dom) == title
    body = dom[dom.index("<body") :]
    assert not re.search(
        r"<(script|svg|iframe|object|link|marquee)\b", body
    )  # every figure is an <img>
    assert not re.search(r"<[a-z]+[^<>]*\son[a-z]+=", body)
    assert all(
        source.startswith("data:image/svg+xml;base64,")
        for source in re.findall(r'<img[^>]* src="([^"]*)', body)
    )
    text = " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())
    for words in shown:
        assert words in text


def hostile_judgements() -> list[Judgement]:
    """Labels, comparisons and rankings of texts, prompts, judges and files that try everything."""
    judgements: list[Judgement] = []
    for i in range(12):
        asked = {
            "prompt": f"{HOSTILE} {QUOTES} {i}",
            "judge": f"{HOSTILE} {i % 3}",
            "source": f"{HOSTILE}.csv",
        }
        where = f"{SCRIPT}.csv:{i + 2}"
        good, bad, so_so = (
            f"{HOSTILE} good {i}",
            f"{QUOTES} {SCRIPT} bad {i}",
            f"{IMAGE} {QUOTES} {i}",
        )
        judgements += [
            Comparison(good, bad, 1.0, where=where, **asked),
            Comparison(bad, so_so, where=where, **asked),
        ]
        judgements += [
            Comparison(good, so_so, tie=True, where=where, **asked),
            Ranking([so_so, bad, good], where=where, **asked),
        ]
        judgements += [
            Label(good, i % 4 > 0, where=where, **asked),
            Label(bad, i % 4 == 0, where=where, **asked),
        ]
    return judgements


@pytest.mark.slow
def test_the_report_in_a_browser(opened: Callable[..., str], tmp_path: Path) -> None:
    judgements = hostile_judgements()
    title = f"A report of {HOSTILE}"
    write_report(
        evaluate(Lengths(), judgements, resamples=20), tmp_path / "report", title=title
    )
    dom = opened(tmp_path / "report" / "report.html")
    assert_harmless(dom, title, SCRIPT, IMAGE, f"{SCRIPT}.csv:", f"{HOSTILE} 2")
    assert dom.count("<img ") > 3


def test_the_doctors_page_in_a_browser(
    opened: Callable[..., str], tmp_path: Path
) -> None:
    judgements = hostile_judgements()
    title = f"The health of {HOSTILE}"
    write_doctor_page(
        doctor([*judgements, *judgements[:5]], test=judgements[:9]),
        tmp_path / "doctor",
        title=title,
    )
    assert_harmless(
        opened(tmp_path / "doctor" / "doctor.html"),
        title,
        SCRIPT,
        f"{SCRIPT}.csv:2",
        f"{HOSTILE} 2",
    )


def test_the_frontier_in_a_browser(
    opened: Callable[..., str],
    on_a_phone: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    text = f"{HOSTILE} {QUOTES}"
    runs = [
        steered(tmp_path / SCRIPT.replace("/", "∕"), gold=5 + curve(2, 1), text=text)
    ]
    runs += [
        steered(
            tmp_path / "rloo-calm",
            gold=5 + curve(1, 0.05),
            held_out=curve(1, 0.1),
            text=text,
        )
    ]
    title = f"The frontier of {HOSTILE}"
    write_frontier(
        frontier(runs, best_of=best_of()), tmp_path / "frontier", title=title
    )
    dom = opened(tmp_path / "frontier" / "frontier.html")
    assert_harmless(
        dom,
        title,
        f'{HOSTILE} "><marquee',
        SCRIPT.replace("/", "∕"),
        "rloo-calm",
        "best of 8",
    )
    measured = on_a_phone(tmp_path / "frontier" / "frontier.html")
    assert measured["loaded"] == measured["images"] == dom.count("<img ") == 4
    assert (measured["wide"], measured["cut"]) == (PHONE, []), (
        "nothing but a table scrolls sideways, inside its card"
    )
    assert measured["smallest"] >= 12


def test_a_page_that_runs_scripts_would_be_noticed(
    opened: Callable[..., str], tmp_path: Path
) -> None:
    """The test of the test: the browser runs the same text on a page that does not escape it."""
    loud = SCRIPT.replace("document", "console.error('careless'); document")
    for hostile in (SCRIPT, IMAGE, loud):
        page = tmp_path / "careless.html"
        noise = "".join(
            f"<p>{'word ' * i}</p>" for i in range(60)
        )  # so that there is something to see
        page.write_text(
            f"<title>harmless</title><body>{hostile}{noise}", encoding="utf-8"
        )
        dom = opened(page, complains=hostile == loud)
        assert title_of(dom) == "owned"
        with pytest.raises(AssertionError):
            assert_harmless(dom, "harmless")
