"""The pages in Chinese: every mode, every message, what is refused and why."""

import html
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rank.test_page import ask
from rank_pages import answered, element_of, press

import tastemaker.rank

WORDS = Path(tastemaker.rank.__file__).with_name("words.yaml")
FORM = (
    "grade_each: true\nlabel_each: true\nstrength: true\ncomment: true\nflags: [标记]\n"
)
GIVEN = {"Tastemaker", "English", "ann", "lead"}  # names
GIVEN |= {"ask", "random"}  # an option of the command
GIVEN |= {"jsonl", "csv", "trl", "kto", "nemo", "rewardbench", "full"}
KEYS = {"Enter", "Esc", "JavaScript"}


@pytest.fixture(scope="module")
def pages(
    started: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> list[Any]:
    """Pages of all modes; their texts are Chinese."""
    form = tmp_path_factory.mktemp("form") / "form.yaml"
    form.write_text(FORM, encoding="utf-8")
    rows = [
        {"prompt": "哪个更好？", "answers": ["一", "二", "三"]},
        {"prompt": "第二题？", "answers": ["一", "二"]},
    ]
    judge = ("--judge", "ann", "--judge", "bo", "--judges-per-item", 2, "--repeats", 0)
    texts = [{"text": "好电影。"}, {"text": "坏电影。"}]
    return [
        started(rows, *judge, "--form", form),
        started(texts, *judge),
        started(texts, *judge, "--question", "label"),
        started(texts, *judge, "--question", "rate"),
    ]


def in_english(text: str) -> set[str]:
    """Return the English words that a reader of a page meets, in texts, labels and messages."""
    labels = re.findall(
        r'\s(?:aria-label|title|data-word|data-offline|data-refused)="([^"]*)"', text
    )
    for messages in re.findall(r'\sdata-messages="([^"]*)"', text):
        labels += json.loads(html.unescape(messages)).values()
    shown = html.unescape(" ".join([re.sub(r"<[^>]*>", " ", text), *labels]))
    shown = re.sub(r"\{\w+\}", " ", shown)
    assert re.search("[\u4e00-\u9fff]{3}", shown)
    return set(re.findall("[A-Za-z]{3,}", shown)) - GIVEN - KEYS


def views(link: str, page: Any) -> Iterator[tuple[str, str]]:
    """Yield (mode, page) of each item in Chinese, which is then skipped."""
    while True:
        _, text, _ = ask(page, link, Accept_Language="zh-CN,zh;q=0.9")
        mode = re.search(r'data-mode="(\w+)"', text)
        assert mode is not None
        yield mode[1], text
        view = re.search(r'data-view="(\d+)"', text)
        if view is None:
            return
        body = {"view": int(view[1]), "key": f"skip {view[1]} {time.time()}"}
        assert (
            ask(page, link + "answer", {**body, "answer": {"skip": "无法判断"}})[0]
            == 200
        )


def test_no_english_on_a_chinese_page(pages: list[Any]) -> None:
    modes = set()
    for page in pages:
        for mode, text in views(page.links["ann"], page):
            modes.add(mode)
            assert in_english(text) == set(), (mode, in_english(text))
        link = page.links["lead"]
        _, text, _ = ask(page, link, Accept_Language="zh-CN")
        assert in_english(text) == set(), in_english(text)
        host = link.rpartition("/lead/")[0]
        for path in (f"{host}/j/nobody/", f"{host}/", f"{link}export/trl"):
            _, text, _ = ask(page, path, Accept_Language="zh-CN")
            assert in_english(text) == set(), (path, in_english(text))
    assert modes == {"rank", "pair", "grade", "label", "rate", "done"}


def test_refusals_are_in_the_language_of_the_page(
    chromium: Any, pages: list[Any]
) -> None:
    page = pages[0]
    link = page.links["bo"]
    for lang, phrase in (("zh", "这一项不属于"), ("en", "no such view")):
        body = {"view": 10**6, "key": "0123456789", "answer": {"skip": "no"}}
        status, text, _ = ask(page, f"{link}answer?lang={lang}", body)
        assert status == 422
        assert phrase in json.loads(text)["error"]
    for path, body in (
        (page.links["bo"] + "answer?lang=zh", {"view": "x"}),
        (page.links["lead"] + "invite?lang=zh", {"name": "n" * 90}),
        (page.links["lead"] + "decide?lang=zh", {"items": [10**6]}),
        (page.links["lead"] + "nothing?lang=zh", {}),
    ):
        error = json.loads(ask(page, path, body)[1])["error"]
        assert not re.search("[A-Za-z]{3,}", error), error
    chromium.get(page.links["lead"] + "?lang=zh")
    box = element_of(chromium, "invite-name")
    chromium.execute_script("arguments[0].removeAttribute('maxlength')", box)
    box.send_keys("n" * 90)
    element_of(chromium, "invite").click()
    until_said(chromium, "未完成：名字须为")
    chromium.get(link + "?lang=zh")
    is_ranking = element_of(chromium, "item").get_attribute("data-mode") == "rank"
    if is_ranking:
        press(chromium, *"123")
    # the same view is answered elsewhere
    view = int(element_of(chromium, "item").get_attribute("data-view"))
    body = {"view": view, "key": "another page", "answer": {"skip": "no"}}
    assert ask(page, link + "answer", body)[0] == 200
    # further keys would choose answers of a ranking, and replace the message
    press(chromium, *(["ENTER"] if is_ranking else "12"))
    until_said(chromium, "未保存：这一项已经提交过；如需更改，请先撤销。")
    if is_ranking:
        # its three placements are undone before the answer is
        press(chromium, *"uuu")
    answered(chromium, lambda: press(chromium, "u"))


def until_said(browser: Any, phrase: str) -> None:
    """Wait until the live region says something."""
    end = time.monotonic() + 20
    while phrase not in element_of(browser, "live").text:
        assert time.monotonic() < end, element_of(browser, "live").text
        time.sleep(0.05)


def keys_and_values(words: Any, path: str = "") -> dict[str, set[str]]:
    """Return the places of values in each text, by the path of its keys."""
    if isinstance(words, dict):
        parts = [
            keys_and_values(value, f"{path}.{key}") for key, value in words.items()
        ]
        return {key: value for part in parts for key, value in part.items()}
    if isinstance(words, list):
        return keys_and_values(dict(enumerate(words)), path)
    return {path: set(re.findall(r"\{\w+\}", str(words)))}


def test_both_languages_have_the_same_words() -> None:
    words = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    words["zh"].pop("errors")
    assert keys_and_values(words["zh"]) == keys_and_values(words["en"])
