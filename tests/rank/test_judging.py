"""Judges at work in a real browser: by keyboard alone, by drag, by tap on a phone."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from rank_pages import answered, at_size, drag, element_of, press, tap, texts_shown

import tastemaker as tm

ROWS = [
    {
        "prompt": f"Question {n}?",
        "answers": [f"Answer {n}{letter}" for letter in "abcde"],
    }
    for n in range(5)
]
Orders = list[list[list[str]]]


@pytest.fixture(scope="module")
def page(started: Callable[..., Any]) -> Any:
    """A page with three judges, each for every item."""
    names = ("keys", "mouse", "finger")
    invited = [word for name in names for word in ("--judge", name)]
    return started(ROWS, *invited, "--judges-per-item", 3)


def orders_of(page: Any, judge: str) -> Orders:
    """Return the tiers that a judge's rankings have in the store."""
    orders = []
    for judgement in tm.read(page.store):
        if judgement.judge == judge:
            assert isinstance(judgement, tm.Ranking)
            orders.append([list(tier) for tier in judgement.tiers])
    return orders


def shown_to(page: Any, judge: str) -> list[list[str]]:
    """Return the texts of each answered view, in the order that the store holds."""
    with closing(sqlite3.connect(page.store)) as connection:
        rows = connection.execute(
            "SELECT shown, texts FROM views JOIN items ON items.id = item_id "
            "JOIN judges ON judges.id = judge_id "
            "WHERE NOT is_open AND judges.name = ? ORDER BY views.id",
            (judge,),
        ).fetchall()
    views = []
    for shown, texts in rows:
        names = json.loads(texts)
        views.append([names[number] for number in json.loads(shown)])
    return views


def test_the_ranking_is_a_listbox_that_can_be_rearranged(
    chromium: Any, page: Any
) -> None:
    at_size(chromium, 1200, 900)
    chromium.get(page.links["keys"])
    shown = texts_shown(chromium)
    box = element_of(chromium, "ranking")
    assert box.get_attribute("role") == "listbox"
    chromium.execute_script("arguments[0].focus()", box)

    def options() -> list[Any]:
        """Return the options, in their order, as (text, whether it is the active one)."""
        listed = []
        active = box.get_attribute("aria-activedescendant")
        for option in box.find_elements("css selector", "[role=group] > [role=option]"):
            is_active = option.get_attribute("id") == active
            selected = option.get_attribute("aria-selected")
            assert selected == str(is_active).lower()
            listed.append((option.text.split("\n")[1], is_active))
        return listed

    press(chromium, "2", "4", "1")
    assert options() == [(shown[1], False), (shown[3], False), (shown[0], True)]
    shifted(chromium, "SHIFT", "ARROW_UP")  # chooses the one above
    assert options() == [(shown[1], False), (shown[3], True), (shown[0], False)]
    press(chromium, "HOME")
    shifted(chromium, "ALT", "ARROW_DOWN")  # moves it, as ↓ does
    assert options() == [(shown[3], False), (shown[1], True), (shown[0], False)]
    press(chromium, "END", "ARROW_UP", "ARROW_UP")
    assert options() == [(shown[0], True), (shown[3], False), (shown[1], False)]
    assert chromium.switch_to.active_element == box
    assert element_of(chromium, "live").text == "Answer 1 moved to number 1 of 3."
    press(chromium, "u", "u", "u", "u", "u", "u")
    assert options() == []


def shifted(browser: Any, held: str, key: str) -> None:
    """Press a key while another one is held."""
    from selenium.webdriver import ActionChains, Keys

    holder = getattr(Keys, held)
    chain = ActionChains(browser, duration=0).key_down(holder)
    chain.send_keys(getattr(Keys, key)).key_up(holder).perform()


def test_a_judge_ranks_by_keyboard_alone(chromium: Any, page: Any) -> None:
    at_size(chromium, 1200, 900)
    chromium.get(page.links["keys"])
    views: list[list[str]] = []
    orders: Orders = []
    for number in range(5):
        shown = texts_shown(chromium)
        views.append(shown)
        # 3 best, then 1 and 4 tied, then 5; the second stays unranked in odd items
        press(chromium, "3", "1", "4", "t", "5", "2", "u")
        tiers = [[shown[2]], [shown[0], shown[3]], [shown[4]]]
        if number % 2:
            press(chromium, "ENTER")  # asks whether one may stay unranked
        else:
            press(chromium, "2", "ARROW_UP", "ARROW_UP")
            tiers.insert(1, [shown[1]])
        orders.append(tiers)
        answered(chromium, lambda: press(chromium, "ENTER"))
    assert element_of(chromium, "done").text.startswith("All judged")
    assert orders_of(page, "keys") == orders
    assert shown_to(page, "keys") == views
    for judgement in tm.read(page.store):
        assert isinstance(judgement, tm.Ranking)
        (view,) = [v for v in views if set(judgement.shown) <= set(v)]
        assert list(judgement.shown) == [t for t in view if t in judgement.texts]
    assert len({"".join(text[-1] for text in view) for view in views}) > 1


def test_a_judge_ranks_by_drag(chromium: Any, page: Any) -> None:
    at_size(chromium, 1200, 900)
    chromium.get(page.links["mouse"])
    shown = texts_shown(chromium)
    below = element_of(chromium, "live")
    places = [element_of(chromium, f"place-{n}") for n in range(1, 6)]

    def first() -> Any:
        return chromium.find_element("css selector", "[data-at='0']")

    drag(chromium, places[1], below, 0.5)  # the first in the ranking
    drag(chromium, places[4], first(), 0.1)  # above it
    drag(chromium, places[0], first(), 0.5)  # tied with the new first one
    drag(chromium, places[2], below, 0.5)
    drag(chromium, element_of(chromium, "chip-2"), first(), 0.1)
    drag(chromium, places[3], element_of(chromium, "prompt"), 0.5)  # no place to drop
    press(chromium, "ENTER")
    answered(chromium, lambda: press(chromium, "ENTER"))
    assert orders_of(page, "mouse") == [
        [[shown[1]], [shown[4], shown[0]], [shown[2]]],
    ]
    assert shown_to(page, "mouse") == [shown]


def test_a_judge_ranks_by_tap_on_a_phone(chromium: Any, page: Any) -> None:
    at_size(chromium, 390, 844)
    chromium.get(page.links["finger"])
    width = chromium.execute_script("return document.documentElement.scrollWidth")
    assert width == 390
    shown = texts_shown(chromium)
    tap(chromium, "place-4", "place-2", "place-1", "place-5", "place-3")
    tap(chromium, "chip-1", "up-1", "chip-4", "down-4", "chip-3", "tie-3")
    answered(chromium, lambda: tap(chromium, "submit"))
    assert orders_of(page, "finger") == [
        [[shown[0]], [shown[3]], [shown[1]], [shown[4], shown[2]]],
    ]
    assert shown_to(page, "finger") == [shown]
