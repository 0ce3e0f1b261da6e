import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import (
    answer_of,
    number_of,
    parse_number,
    prompt_from,
    show,
    text_of,
    whole_of,
    word_of,
)
from tastemaker.errors import DataError

WHERE, COLUMN = "reviews.csv:17", "review"


@given(st.text(st.characters(codec="utf-8")).filter(lambda text: bool(text.strip())))
def test_a_text_is_returned_as_it_is(text: str) -> None:
    assert text_of(text, WHERE, COLUMN) == text


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "no text"),
        ("", "is empty"),
        (" \n\t\u3000", "is empty"),
        (True, "True (bool)"),
        (3, "3 (int)"),
        (["a"], "['a'] (list)"),
        (b"bytes", "b'bytes' (bytes)"),
        ("half \ud83d of a pair", "half a surrogate pair, '\\ud83d', at character 5"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(value: Any, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        text_of(value, WHERE, COLUMN)
    message = str(caught.value)
    assert message.startswith("reviews.csv:17: ")
    assert "'review'" in message
    assert problem in message
    assert "\n" not in message
    message.encode()  # can be printed


def test_an_empty_prompt_is_none_and_a_bool_is_refused() -> None:
    assert prompt_from("", WHERE, "prompt") is None
    assert prompt_from(None, WHERE, "prompt") is None
    assert prompt_from("Say.", WHERE, "prompt") == "Say."
    with pytest.raises(DataError, match=r"'prompt' holds False \(bool\)"):
        prompt_from(False, WHERE, "prompt")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (2.5, 2.5),
        ("2.5", 2.5),
        (" 8 ", 8),
        ("-1e3", -1000),
        (Decimal("7.35"), 7.35),
        ("+4", 4),
    ],
)
def test_numbers_and_their_spellings(value: Any, number: float) -> None:
    assert number_of(value, WHERE, COLUMN) == number


@pytest.mark.parametrize(
    "value", [True, "1_000", "eight", "8/10", [8], {"a": 1}, b"8", "1,5"]
)
def test_what_is_not_a_number(value: Any) -> None:
    assert parse_number(value) is None
    with pytest.raises(DataError, match=r"^reviews\.csv:17: .*'review'.*not a number"):
        number_of(value, WHERE, COLUMN)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, "nan", "inf", "-Infinity", "1e999", 10**400]
)
def test_what_is_not_finite(value: Any) -> None:
    with pytest.raises(
        DataError,
        match=r"^reviews\.csv:17: .*'review'.*\bfinite\b",
    ):
        number_of(value, WHERE, COLUMN)


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (True, "true"),
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        (" Pos ", "pos"),
        ("-1", "-1"),
        (0.5, "0.5"),
        (math.nan, None),
    ],
)
def test_the_plain_form_of_a_label(value: Any, word: str | None) -> None:
    assert word_of(value) == word


def test_an_answer_may_be_empty() -> None:
    assert [answer_of(value, WHERE, COLUMN) for value in ("", " ", "a")] == [
        "",
        " ",
        "a",
    ]
    for value in (None, False, 3, "\ud83d"):
        with pytest.raises(DataError, match=r"reviews\.csv:17: .*'review'"):
            answer_of(value, WHERE, COLUMN)


def test_whole_numbers() -> None:
    assert [whole_of(value, WHERE, COLUMN) for value in (2, "2.0", -1.0)] == [2, 2, -1]
    with pytest.raises(DataError, match=r"'review'.*\b2\.5\b.*\bwhole\b"):
        whole_of(2.5, WHERE, COLUMN)


def test_a_long_value_is_shown_short_and_on_one_line() -> None:
    shown = show("line one\n" + "x" * 1000)
    assert len(shown) <= 40
    assert "\n" not in shown
