"""The pages in a real browser: hostile texts, prompts and names are shown, and nothing of them runs."""

import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from tastemaker.data.judgements import Comparison, Example, Judgement, Label, Ranking
from tastemaker.evaluation.doctor import doctor
from tastemaker.evaluation.doctor_page import write_doctor_page
from tastemaker.evaluation.evaluate import evaluate
from tastemaker.evaluation.report import write_report
from tastemaker.models.links import ComparisonLink, LabelLink, Link, RankingLink
from tastemaker.models.scores import Scores

WIDTH, HEIGHT = 1000, 1400
SCRIPT = '<script>document.title="owned"</script>'
IMAGE = "<img src=x onerror=\"document.title='owned'\">"
HOSTILE = f"{SCRIPT} {IMAGE} </pre></td></style><svg onload=\"document.title='owned'\">"
QUOTES = "\"><marquee onmouseover='document.title=1'>\"' --> ]]> {{ 7 * 7 }} {% raw %} \x00\x1b[31m \u202e"


@pytest.fixture(scope="module")
def browser() -> str:
    """A Chromium to open pages with; skips where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no chromium is installed: the pages were not opened in a real browser")


@pytest.fixture
def opened(browser: str, tmp_path: Path) -> Callable[[Path], str]:
    """Open a page as a file: its document after it has been shown, which must look like something."""

    def open_page(page: Path) -> str:
        picture = tmp_path / "shown.png"
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        command = [browser, *quiet, "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}"]
        size = [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}"]
        url = page.resolve().as_uri()
        subprocess.run([*command, *size, url], check=True, capture_output=True, timeout=60, cwd=tmp_path)
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">II", content[16:24]) == (WIDTH, HEIGHT)
        assert len(content) > 20_000  # an empty page of this size takes a third of that
        shown = subprocess.run([*command, "--dump-dom", url], check=True, capture_output=True, timeout=60, cwd=tmp_path)
        return shown.stdout.decode("utf-8")

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
    found = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert found is not None
    return unescape(found[1])


def assert_harmless(dom: str, title: str, *shown: str) -> None:
    """The document has the title it was written with, no element of the texts', and shows each of `shown` as text."""
    assert title_of(dom) == title
    body = dom[dom.index("<body") :]
    assert not re.search(r"<(script|svg|iframe|object|link|marquee)\b", body)  # every figure is an <img>
    assert not re.search(r"<[a-z]+[^<>]*\son[a-z]+=", body)
    assert all(
        source.startswith("data:image/svg+xml;base64,") for source in re.findall(r'<img[^>]* src="([^"]*)', body)
    )
    text = " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())
    for words in shown:
        assert words in text


def hostile_judgements() -> list[Judgement]:
    """Labels, comparisons and rankings of texts, prompts, judges and files that try everything."""
    said: list[Judgement] = []
    for i in range(12):
        asked = {"prompt": f"{HOSTILE} {QUOTES} {i}", "judge": f"{HOSTILE} {i % 3}", "source": f"{HOSTILE}.csv"}
        where = f"{SCRIPT}.csv:{i + 2}"
        good, bad, so_so = f"{HOSTILE} good {i}", f"{QUOTES} {SCRIPT} bad {i}", f"{IMAGE} {QUOTES} {i}"
        said += [Comparison(good, bad, 1.0, where=where, **asked), Comparison(bad, so_so, where=where, **asked)]
        said += [
            Comparison(good, so_so, tie=True, where=where, **asked),
            Ranking([so_so, bad, good], where=where, **asked),
        ]
        said += [Label(good, i % 4 > 0, where=where, **asked), Label(bad, i % 4 == 0, where=where, **asked)]
    return said


@pytest.mark.slow
def test_the_report_in_a_browser(opened: Callable[[Path], str], tmp_path: Path) -> None:
    said = hostile_judgements()
    title = f"A report of {HOSTILE}"
    write_report(evaluate(Lengths(), said, resamples=20), tmp_path / "report", title=title)
    dom = opened(tmp_path / "report" / "report.html")
    assert_harmless(dom, title, SCRIPT, IMAGE, f"{SCRIPT}.csv:", f"{HOSTILE} 2")
    assert dom.count("<img ") > 3


def test_the_doctors_page_in_a_browser(opened: Callable[[Path], str], tmp_path: Path) -> None:
    said = hostile_judgements()
    title = f"The health of {HOSTILE}"
    write_doctor_page(doctor([*said, *said[:5]], test=said[:9]), tmp_path / "doctor", title=title)
    assert_harmless(opened(tmp_path / "doctor" / "doctor.html"), title, SCRIPT, f"{SCRIPT}.csv:2", f"{HOSTILE} 2")


def test_a_page_that_runs_scripts_would_be_noticed(opened: Callable[[Path], str], tmp_path: Path) -> None:
    """The test of the tests: the same browser runs the same text where a page does not escape it."""
    for hostile in (SCRIPT, IMAGE):
        page = tmp_path / "careless.html"
        noise = "".join(f"<p>{'word ' * i}</p>" for i in range(60))  # so that there is something to see
        page.write_text(f"<title>harmless</title><body>{hostile}{noise}", encoding="utf-8")
        dom = opened(page)
        assert title_of(dom) == "owned"
        with pytest.raises(AssertionError):
            assert_harmless(dom, "harmless")
