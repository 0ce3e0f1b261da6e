"""The page of `tastemaker serve`, as it is written and in a real browser."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from accessibility import barriers

import tastemaker as tm
from tastemaker.playground import gold_score, reviews
from tests.pages import HOSTILE, MARK, Page, marks
from tests.serving import Server, start, stop

pytest.importorskip("uvicorn")

GOOD = "It is a wonderful film. The acting is brilliant! I was bored for a minute."
BAD = "A dull film."
PROMPT = "How was it?"
PHONE = 375


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model of labels, ratings and comparisons."""
    folder = tmp_path_factory.mktemp("models") / "taste"
    texts = list(reviews(80))
    judgements: list[tm.Judgement] = []
    for text, other in pairwise(texts):
        judgements.append(tm.Label(text, gold_score(text) > 5))
        judgements.append(tm.Rating(text, gold_score(text)))
        better, worse = sorted((text, other), key=gold_score, reverse=True)
        judgements.append(tm.Comparison(better, worse))
    tm.fit(judgements, backbone="linear", out=folder)
    return folder


@pytest.fixture(scope="module")
def model(taste: Path) -> tm.RewardModel:
    return tm.load(taste)


@pytest.fixture(scope="module")
def server(taste: Path) -> Iterator[Server]:
    """A server of two models, the second one as an earlier version wrote it."""
    old = taste.with_name("old")
    shutil.copytree(taste, old)
    path = old / "tastemaker.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r',\s*"quantiles": \[.*?\]', "", text, flags=re.DOTALL))
    running = start(taste, old, "--port", 0)
    yield running
    assert stop(running) == ""


def shown(score: float) -> str:
    return f"{score:+.3f}".replace("-", "−")


def asked(server: Server, **fields: str) -> tuple[int, str]:
    status, page, headers = server.ask("/", urlencode(fields).encode())
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "style=" not in page
    return status, page


def test_one_text(server: Server, model: tm.RewardModel) -> None:
    _, page = asked(server, text=GOOD, mode="one", other="not read")
    score = model.score(GOOD)
    words = Page(page).text
    assert f"Score {shown(score)} Probability" in words
    assert f"{100 * model.probability(GOOD):.1f} %" in words
    assert f"Rating expected {model.rating(GOOD):.2f}" in words
    explained = tm.explain(model, GOOD, by="sentences")
    effects = {}
    for effect, text in re.findall(r'<mark class="\w+" title="(.+?)">(.+?)<', page):
        effects[unescape(text)] = effect
    for part in explained.parts:
        if part.text.strip() in effects:
            assert effects[part.text.strip()] == shown(part.effect)
    strongest = explained.strongest(1)[0]
    style = "up4" if strongest.effect > 0 else "down4"
    assert f'<mark class="{style}" title="{shown(strongest.effect)}">' in page
    assert "Text B" not in words.partition("Score +")[2]


def test_the_place_among_reference_texts(server: Server, model: tm.RewardModel) -> None:
    anchor = model.contract.anchor
    assert anchor is not None
    quantiles = anchor.quantiles
    assert len(quantiles) == 101
    assert quantiles == sorted(quantiles)
    assert quantiles[0] < 0 < quantiles[-1]
    _, page = asked(server, text=GOOD)
    percent = re.search(r"above (\d+) %", Page(page).text)
    assert percent is not None
    below = sum(value < model.score(GOOD) for value in quantiles)
    assert abs(int(percent[1]) - below) <= 1
    assert f"Scores of {anchor.texts} reference texts" in page
    heights = [float(h) for h in re.findall(r'class="bar".*? height="(.*?)"', page)]
    assert len(heights) > 10


def test_two_answers_to_a_prompt(server: Server, model: tm.RewardModel) -> None:
    fields = {"text": GOOD, "other": BAD, "prompt": PROMPT, "mode": "two"}
    status, page = asked(server, **fields)
    assert status == 200
    good, bad = model.score([tm.Example(GOOD, PROMPT), tm.Example(BAD, PROMPT)])
    words = Page(page).text
    assert f"A scores higher, by {good - bad:.3f} ." in words
    assert re.search(r"A judge prefers A with probability (over )?\d\d\.\d %", words)
    assert words.count("Probability of a positive label") == 2
    assert shown(bad) in words
    assert f">\n{BAD}</textarea>" in page
    # a single sentence is marked by its words
    assert re.search(r'<mark class="\w+\d" title=".\d.\d+">dull<', page)


def test_the_form_without_a_text(server: Server) -> None:
    for fields in ({"text": ""}, {"text": GOOD, "other": " ", "mode": "two"}, {}):
        status, page = asked(server, **fields)
        assert status == 400
        assert "must be a text that is not empty" in Page(page).text
        assert "svg" not in page
    assert asked(server, text=GOOD, model="none")[0] == 404
    assert server.ask("/", b"text=%ff")[0] == 400
    assert server.ask("/", b"\xff\x00")[0] == 400


def test_texts_are_never_markup(server: Server) -> None:
    fields = {"text": f"{HOSTILE}. {MARK}!", "other": MARK, "prompt": MARK}
    for mode in ("one", "two"):
        status, page = asked(server, **fields, mode=mode)
        assert status == 200
        assert Page(page).tags.count("script") == 1
        assert marks(page) >= 3
    fields["model"] = HOSTILE
    assert Page(asked(server, **fields)[1]).tags.count("script") == 1


def test_nothing_comes_from_outside(server: Server) -> None:
    _, page, _ = server.ask("/")
    names = re.findall(r'(?:src|href)="(.*?)"', page)
    assert sorted(names) == ["docs", "page.css", "page.js"]
    names.remove("docs")
    for name in names:
        status, text, _ = server.ask(f"/{name}")
        assert status == 200
        assert not re.findall(r"url\(|https?:|@import", text)


def test_the_page_of_the_paths(server: Server, model: tm.RewardModel) -> None:
    """Every line for a shell is right, and so is every reply."""
    status, page, headers = server.ask("/docs")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "script" not in Page(page).tags
    assert "style=" not in page
    names = re.findall(r'(?:src|href)="([^#]*?)"', page)
    assert sorted(names) == ["./", "openapi.json", "page.css"]
    paths = server.ask("/openapi.json")[1]["paths"]
    lines = re.findall(r"<pre><code>curl (.*?)</code></pre>", page)
    replies = iter(re.findall(r"<pre><code>([^c].*?)</code></pre>", page, re.DOTALL))
    asked = set()
    for line in lines:
        address, *options = shlex.split(unescape(line))
        path = address.removeprefix(server.address)
        asked.add(path)
        if options:
            assert options[0] == "-d"
            got, reply, _ = server.ask(path, options[1].encode())
            shown = json.loads(unescape(next(replies)))
            changes = {"id": None, "created": None}
            if isinstance(reply, dict):
                assert {**reply, **changes} == {**shown, **changes}
            else:
                assert reply == shown
        else:
            got = server.ask(path)[0]
            if path not in ("/health", "/ready"):
                next(replies)
        assert got == 200, line
    assert next(replies, None) is None
    assert asked == set(paths)
    # two peers share a path: both are shown
    assert sum("/rerank " in line for line in lines) == 2 + 2
    answer = f'"scores": [\n    {model.score("A warm and clever film.")}'
    assert answer in unescape(page)
    for method, path in (("POST", "/classify"), ("GET", "/info")):
        assert f"{method} <code>{path}</code>" in page


def test_a_model_of_an_earlier_version(server: Server) -> None:
    """Its contract has no scores of reference texts."""
    _, page = asked(server, text=GOOD, model="old")
    assert "<option selected>old</option>" in page
    assert "without the scores of reference texts" in page
    assert "<svg" not in page


def emulate(chromium: Any, width: int, theme: str) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1}
    mobile = {**size, "mobile": width < 500}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", mobile)
    feature = {"name": "prefers-color-scheme", "value": theme}
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def wait_for(chromium: Any, selector: str, count: int = 1) -> list[Any]:
    from selenium.webdriver.support.ui import WebDriverWait

    def are_there(driver: Any) -> list[Any]:
        elements: list[Any] = driver.find_elements("css selector", selector)
        return elements if len(elements) == count else []

    elements: list[Any] = WebDriverWait(chromium, 20).until(are_there)
    return elements


LAYOUT = """
const box = (e) => e.getBoundingClientRect();
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => {
    v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
  return .2126 * r + .7152 * g + .0722 * b; };
const paper = light(getComputedStyle(document.body).backgroundColor);
const cards = [...document.querySelectorAll(".card")];
const all = [...document.querySelectorAll("main *")].filter((e) => e.checkVisibility()
  && !e.closest(".hidden, svg"));
const contrasts = all.filter((e) => e.closest(".card, figure, label, summary")
  && !e.closest("mark, .modes") && e.textContent.trim()).map((e) => {
  const ink = light(getComputedStyle(e).color);
  return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05); });
return {
  wide: document.documentElement.scrollWidth,
  cut: all.filter((e) => box(e).right > innerWidth + 1).map((e) => e.tagName),
  smallest: Math.min(...all.map((e) => parseFloat(getComputedStyle(e).fontSize))),
  isDark: paper < .2,
  contrast: Math.min(...contrasts),
  sideBySide: cards.length === 2 && box(cards[0]).top === box(cards[1]).top,
};
"""


THEMES = pytest.mark.parametrize(("width", "theme"), [(PHONE, "dark"), (1200, "light")])


def show_two_texts(chromium: Any, server: Server, width: int, theme: str) -> None:
    """Send one text, then two with a prompt, and wait for the answer."""
    emulate(chromium, width, theme)
    chromium.get(server.address)
    chromium.execute_script("window.isFirstPage = true")
    find = chromium.find_element
    assert not find("id", "other").is_displayed()
    find("id", "text").send_keys(GOOD + " " + "Averylongword" * 20)
    find("id", "send").click()
    wait_for(chromium, ".card")
    find("css selector", "label[for=two]").click()
    find("id", "other").send_keys(f"{HOSTILE} {BAD}")
    find("css selector", "summary").click()
    find("id", "prompt").send_keys(PROMPT)
    # Ctrl + Enter
    find("id", "other").send_keys("\ue009\ue007")
    wait_for(chromium, ".card", 2)
    wait_for(chromium, "svg line.marker", 2)


@THEMES
def test_two_texts_in_a_browser(
    chromium: Any, server: Server, width: int, theme: str
) -> None:
    show_two_texts(chromium, server, width, theme)
    assert chromium.execute_script("return window.isFirstPage")
    assert "A scores higher" in chromium.find_element("id", "result").text
    layout = chromium.execute_script(LAYOUT)
    assert layout["wide"] <= width
    assert layout["cut"] == []
    assert layout["smallest"] >= 13
    assert layout["isDark"] == (theme == "dark")
    assert layout["contrast"] >= 4.5
    assert layout["sideBySide"] == (width > 500)
    assert chromium.title == "Tastemaker"
    assert chromium.get_log("browser") == []


@THEMES
def test_two_texts_have_no_barriers(
    chromium: Any, server: Server, width: int, theme: str
) -> None:
    show_two_texts(chromium, server, width, theme)
    assert barriers(chromium) == []


@pytest.mark.parametrize(("width", "theme"), [(PHONE, "dark"), (1200, "light")])
def test_the_page_of_the_paths_in_a_browser(
    chromium: Any, server: Server, width: int, theme: str
) -> None:
    emulate(chromium, width, theme)
    chromium.get(server.address)
    chromium.find_element("link text", "The paths of this server").click()
    wait_for(chromium, "nav")
    for element in chromium.find_elements("css selector", "summary"):
        element.click()
    layout = chromium.execute_script(LAYOUT)
    assert layout["wide"] <= width
    assert layout["cut"] == []
    assert layout["smallest"] >= 13
    assert layout["isDark"] == (theme == "dark")
    assert layout["contrast"] >= 4.5
    assert chromium.get_log("browser") == []
    assert barriers(chromium) == []


def test_the_browser_shows_what_is_wrong(chromium: Any, server: Server) -> None:
    emulate(chromium, 1200, "light")
    chromium.get(server.address)
    chromium.find_element("id", "text").send_keys("   ")
    chromium.find_element("id", "send").click()
    (line,) = wait_for(chromium, ".problem")
    assert "not empty" in line.text
    assert chromium.find_element("id", "send").is_enabled()
    chromium.get_log("browser")  # a status of 400 is noted there


def test_the_page_works_without_its_script(chromium: Any, server: Server) -> None:
    block = {"urls": ["*page.js"]}
    chromium.execute_cdp_cmd("Network.enable", {})
    chromium.execute_cdp_cmd("Network.setBlockedURLs", block)
    chromium.get(server.address)
    chromium.find_element("id", "text").send_keys(f"{GOOD}\n{BAD}")
    chromium.execute_script("window.isFirstPage = true")
    chromium.find_element("id", "send").click()
    wait_for(chromium, ".card")
    assert not chromium.execute_script("return window.isFirstPage")
    text = chromium.find_element("id", "text").get_attribute("value")
    assert text == f"{GOOD}\n{BAD}"
    chromium.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    chromium.get_log("browser")
