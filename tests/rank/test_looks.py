"""The pages in Chromium: Markdown, accessibility, first paint, own figures, decisions."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accessibility import barriers
from rank_pages import answered, at_size, element_of, press

import tastemaker as tm

MARKDOWN = """# Steps

1. **Heat** the *oil*, `x < 1`
2. Wait

| a | b |
|---|---|
| 1 | 2 |

```html
<script>document.title = "owned"</script>
```
"""
HOSTILE = (
    """<script>document.title="owned"</script> <img src=x onerror="document.title='owned'">

[run](javascript:document.title='owned') [data](data:text/html,<script>1</script>)
[web](https://example.org/?q="onmouseover=alert(1)) ![pixel](https://evil.example/pixel.png)
<https://example.org> [ref]: javascript:alert(1) \u202etxet\u202c \u200b

- """
    + "[" * 500
    + "*a_" * 500
)


@pytest.fixture(scope="module")
def page(started: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page with Markdown, single texts, repeats and two judges."""
    form = tmp_path_factory.mktemp("form") / "form.yaml"
    form.write_text(
        "markdown: true\ncomment: true\nflags: [unsafe]\n"
        "instructions: Which one is better?\n"
    )
    rows: list[dict[str, Any]] = [
        {"prompt": "# Which?", "answers": [MARKDOWN, HOSTILE, "Third"]},
    ]
    rows += [{"prompt": f"Question {n}?", "answers": ["one", "two"]} for n in range(14)]
    judges = ("--judge", "ann", "--judge", "bo", "--judges-per-item", 2)
    return started(rows, *judges, "--form", form, "--repeats", 0.6)


def until(browser: Any, selector: str, key: str) -> None:
    """Answer with a key until an element is there."""
    for _ in range(40):
        if browser.find_elements("css selector", selector):
            return
        judge_one(browser, key)
    raise AssertionError(selector)


def judge_one(browser: Any, key: str) -> None:
    """Rank the item as it is shown, or answer a pair with a key."""
    if element_of(browser, "item").get_attribute("data-mode") == "rank":
        press(browser, "1", "2", "3")
        key = "ENTER"
    answered(browser, lambda: press(browser, key))


def barriers_in_both_themes(browser: Any) -> list[Any]:
    """Return what axe-core finds on the page: all in light, contrast in dark as well."""
    result = []
    for theme, rules in (("light", ()), ("dark", ("color-contrast",))):
        media = [{"name": "prefers-color-scheme", "value": theme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        place = [theme, browser.current_url[-12:]]
        result += [[*place, *each] for each in barriers(browser, *rules)]
    return result


def test_markdown_is_shown_and_runs_nothing(chromium: Any, page: Any) -> None:
    chromium.get_log("browser")
    at_size(chromium, 1200, 900)
    chromium.get(page.links["ann"])
    until(chromium, "[data-mode=rank]", "1")
    inside = "return [...document.querySelectorAll('.answers {}')].map(e => e.{})"

    def of(selector: str, what: str = "textContent") -> list[str]:
        values: list[str] = chromium.execute_script(inside.format(selector, what))
        return values

    assert of("strong") == ["Heat"]
    assert of("td") == ["1", "2"]
    assert of("p.h1") == ["Steps"]
    assert '<script>document.title = "owned"</script>' in of("pre")[0]
    assert of("img") == of("script") == []
    assert all(link.startswith("https://example.org") for link in of("a", "href"))
    assert len(of("a")) == 2
    assert set(of("a", "rel")) == {"noopener noreferrer nofollow"}
    text = " ".join(of(".text"))
    assert "[pixel](https://evil.example/pixel.png)" in text
    assert "RLOtxet" in text
    assert "ZWSP" in text
    assert chromium.title == "Judge · Tastemaker"
    assert chromium.get_log("browser") == []


PAINTED = """
const done = arguments[0]
const observer = new PerformanceObserver((list) => {
  const [entry] = list.getEntriesByName("first-contentful-paint")
  if (entry) done(entry.startTime)
})
observer.observe({ type: "paint", buffered: true })
"""
"""Gives the milliseconds until the first paint; waits for it where there was none yet."""


def test_first_paint_and_weight(chromium: Any, page: Any) -> None:
    chromium.get(page.links["bo"])
    paints: list[float] = []
    # on a busy machine a page waits for its turn, but not each time
    while min(paints, default=math.inf) > 300 and len(paints) < 20:
        chromium.refresh()
        paints.append(chromium.execute_async_script(PAINTED))
    assert min(paints) < 500, paints
    weight = chromium.execute_script(
        "return [...performance.getEntriesByType('navigation'),"
        "...performance.getEntriesByType('resource')].reduce("
        "(sum, e) => sum + e.decodedBodySize, 0)"
    )
    assert 10_000 < weight < 60_000


def test_a_judge_sees_pace_and_consistency(chromium: Any, page: Any) -> None:
    chromium.get(page.links["ann"])
    until(chromium, "[data-testid=consistency]", "2")
    assert re.fullmatch(r"\d+ s an item", element_of(chromium, "pace").text)
    words = element_of(chromium, "consistency").text
    assert re.fullmatch(r"\d+% as before on \d+ repeated pairs", words)
    assert re.fullmatch(r"\d+ judged", element_of(chromium, "count").text)


def test_the_lead_decides_one_after_another(
    chromium: Any, started: Callable[..., Any]
) -> None:
    rows = [{"prompt": f"Question {n}?", "answers": ["one", "two"]} for n in range(4)]
    judges = ("--judge", "ann", "--judge", "bo", "--judges-per-item", 2)
    page = started(rows, *judges, "--repeats", 0)
    # ann calls every pair equal and bo none, so that they disagree about each
    for judge, key in (("ann", "0"), ("bo", "1")):
        chromium.get(page.links[judge])
        for _ in rows:
            judge_one(chromium, key)
    chromium.get(page.links["lead"])
    count = len(chromium.find_elements("css selector", "[data-testid^=decide-]")) - 1
    answered(chromium, lambda: element_of(chromium, "decide-all").click())
    for _ in range(count):
        judge_one(chromium, "1")
    by_lead = [j for j in tm.read(page.store) if j.judge == "lead"]
    assert len(by_lead) == count == len(rows)
    chromium.get(page.links["lead"])
    assert not chromium.find_elements("css selector", "[data-testid=decide-all]")
    assert "decided" in chromium.page_source
    bias = element_of(chromium, "position-bias").text
    assert re.search(r"all judges: \d+% \(\d+%–\d+%, n = \d+\)", bias)
    assert "Undefined" in element_of(chromium, "arms").text


def test_no_page_has_an_accessibility_violation(
    chromium: Any, page: Any, started: Callable[..., Any], tmp_path: Path
) -> None:
    chromium.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
    at_size(chromium, 1200, 900)
    problems = []
    for link in (page.links["lead"], page.links["lead"] + "?lang=zh"):
        chromium.get(link)
        chromium.execute_script(
            "document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        problems += barriers_in_both_themes(chromium)
    form = tmp_path / "form.yaml"
    words = ("strength", "comment", "grade_each", "label_each")
    lines = [f"{word}: true\n" for word in words]
    form.write_text("".join(lines) + "flags: [unsafe]\n")
    rows = [
        {"prompt": "Three?", "answers": ["one", "two", "three"]},
        {"prompt": "Two?", "answers": ["one", "two"]},
    ]
    judged = started(rows, "--form", form, "--repeats", 0)
    texts = started([{"text": "A warm film."}])
    modes = set()
    for link in (judged.links["judge"], texts.links["judge"]):
        chromium.get(link)
        while not chromium.find_elements("css selector", "[data-testid=done]"):
            mode = element_of(chromium, "item").get_attribute("data-mode")
            modes.add(mode)
            press(chromium, *{"rank": "123"}.get(mode, ""), "s")
            problems += barriers_in_both_themes(chromium)
            answered(chromium, lambda: press(chromium, "1"))
    assert modes == {"rank", "pair", "grade"}
    problems += barriers_in_both_themes(chromium)
    chromium.get(judged.links["judge"].rpartition("/j/")[0] + "/j/nobody/")
    assert element_of(chromium, "notice").is_displayed()
    problems += barriers_in_both_themes(chromium)
    assert problems == [], json.dumps(problems, indent=1)[:4000]
