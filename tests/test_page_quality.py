"""What Lighthouse and axe-core look at, on a report and on pages of the docs' site."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accessibility import axe_source, barriers
from courses import curve, steered

import tastemaker as tm
from tastemaker.data import Label
from tastemaker.report import report_runs, write_doctor_page

MOST_BYTES = 3_000_000
SITE = Path(__file__).resolve().parents[1] / "build" / "site"

MEASURED = """
const all = [...document.querySelectorAll("body *")]
const shown = (e) => e.getClientRects().length > 0
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number)
function background(e) {
  for (; e; e = e.parentElement) {
    const [r, g, b, a = 1] = numbers(getComputedStyle(e).backgroundColor)
    if (a > 0.5) return [r, g, b]
  }
  return [255, 255, 255]
}
function light([r, g, b]) {
  const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
  return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b)
}
function contrast(e) {
  const [high, low] = [light(numbers(getComputedStyle(e).color)), light(background(e))]
    .sort((a, b) => b - a)
  return (high + 0.05) / (low + 0.05)
}
const written = all.filter((e) => shown(e) && [...e.childNodes].some(
  (n) => n.nodeType === 3 && n.data.trim()))
const levels = all.filter((e) => /^H[1-6]$/.test(e.tagName)).map((e) => +e.tagName[1])
const targets = all.filter((e) => shown(e) && e.matches("a, summary, button, input, select"))
return {
  language: document.documentElement.lang,
  title: document.title,
  viewport: document.querySelector("meta[name=viewport]")?.content ?? "",
  firsts: levels.filter((level) => level === 1).length,
  skipped: levels.filter((level, i) => i && level > levels[i - 1] + 1).length,
  silent: [...document.images].filter((i) => !i.alt).length,
  unnamed: all.filter((e) => e.matches("input, select, textarea")
    && !e.labels.length && !e.ariaLabel).length,
  faint: written.map((e) => [contrast(e), e.className + " " + e.textContent.slice(0, 40)])
    .filter(([value]) => value < 4.5),
  wide: document.documentElement.scrollWidth - innerWidth,
  small: targets.map((e) => [e.getBoundingClientRect().height, e.textContent.slice(0, 40)])
    .filter(([height]) => height < 24),
  outside: performance.getEntriesByType("resource").map((e) => e.name)
    .filter((name) => !name.startsWith("data:")),
}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a report of data with problems and of a steered run, with marks in its samples."""
    folder = tmp_path_factory.mktemp("report")
    labels = [Label(f"a film {n % 30}", n % 3 == 0, judge="ann") for n in range(60)]
    write_doctor_page(tm.doctor(labels), folder / "data")
    run = steered(folder / "ppo", gold=5 + curve(2, 0.1))
    return report_runs([folder / "data", run], folder / "out", language="zh")


@pytest.fixture(params=["light", "dark"])
def report_on_a_phone(
    chromium: Any, report: Path, request: pytest.FixtureRequest
) -> Any:
    """The browser, which shows the report with all its details."""
    chromium.get_log("browser")
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": request.param}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    chromium.get(report.as_uri())
    chromium.execute_script(
        "document.querySelectorAll('details').forEach(d => d.open = true)"
    )
    return chromium


def test_a_report_in_a_browser(report_on_a_phone: Any, report: Path) -> None:
    chromium = report_on_a_phone
    measured = chromium.execute_script(MEASURED)
    assert measured.pop("language") == "zh-CN"
    assert measured.pop("title")
    assert "width=device-width" in measured.pop("viewport")
    assert measured.pop("firsts") == 1
    # nothing skipped, silent, unnamed, faint, too wide or too small, and nothing fetched
    assert {name: value for name, value in measured.items() if value} == {}
    assert chromium.get_log("browser") == []
    assert report.stat().st_size < MOST_BYTES


def test_a_report_has_no_barriers(report_on_a_phone: Any) -> None:
    assert barriers(report_on_a_phone) == []


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Serve the docs' site; yield its address."""
    axe_source()
    if not (SITE / "index.html").is_file():
        pytest.skip("no site: `make docs` builds it")
    handler = functools.partial(_Silent, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_of_the_site_in_a_browser(chromium: Any, site: str, theme: str) -> None:
    feature = {"name": "prefers-color-scheme", "value": theme}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    for page in (
        "",
        "docs/guide/",
        "docs/benchmarks/",
        "README.zh/",
        "docs/zh/report/",
    ):
        chromium.get(f"{site}/404.html")
        # the theme of the first visit is kept
        chromium.execute_script("localStorage.clear()")
        chromium.get(f"{site}/{page}")
        assert barriers(chromium) == [], page
        assert "Tastemaker" in chromium.title
        language = chromium.execute_script(
            "return document.querySelector('article').lang"
        )
        assert language == ("zh-CN" if "zh" in page else ""), page


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_of_the_site_has_a_serious_barrier(
    chromium: Any, site: str, theme: str
) -> None:
    feature = {"name": "prefers-color-scheme", "value": theme}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    chromium.get(f"{site}/404.html")
    chromium.execute_script("localStorage.clear()")
    pages = sorted(SITE.rglob("index.html"))
    assert len(pages) > 30
    for page in pages:
        name = page.parent.relative_to(SITE).as_posix()
        chromium.get(f"{site}/{name}/")
        serious = []
        for barrier in barriers(chromium):
            if barrier[1] in ("serious", "critical"):
                serious.append(barrier)
        assert serious == [], name
