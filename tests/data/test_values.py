import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data.judgements import Example, Grade, Label, Rating
from tastemaker.data.readers.values import (
    GradeCells,
    LabelCells,
    RatingCells,
    judge_of,
    number_of,
    parse_number,
    prompt_of,
    show,
    text_of,
    word_of,
)
from tastemaker.errors import DataError

WHERE, COLUMN = "reviews.csv:17", "review"
FILM = Example("a film")


@given(st.text(st.characters(codec="utf-8")).filter(lambda text: bool(text.strip())))
def test_a_text_is_returned_as_it_is(text: str) -> None:
    assert text_of(text, WHERE, COLUMN) == text


@pytest.mark.parametrize(
    ("value", "said"),
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
def test_what_is_no_text_is_refused_in_one_line(value: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        text_of(value, WHERE, COLUMN)
    message = str(caught.value)
    assert message.startswith("reviews.csv:17: ")
    assert "'review'" in message
    assert said in message
    assert "\n" not in message
    message.encode()  # can be printed


def test_an_empty_prompt_is_none_and_a_bool_is_refused() -> None:
    assert prompt_of("", WHERE, "prompt") is None
    assert prompt_of(None, WHERE, "prompt") is None
    assert prompt_of("Say.", WHERE, "prompt") == "Say."
    with pytest.raises(DataError, match=r"'prompt' holds False \(bool\)"):
        prompt_of(False, WHERE, "prompt")


def test_a_judge_may_be_a_number() -> None:
    assert [judge_of(value) for value in ("ann", 7, "", None)] == ["ann", "7", None, None]


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3), (2.5, 2.5), ("2.5", 2.5), (" 8 ", 8), ("-1e3", -1000), (Decimal("7.35"), 7.35), ("+4", 4)],
)
def test_numbers_and_their_spellings(value: Any, number: float) -> None:
    assert number_of(value, WHERE, COLUMN) == number


@pytest.mark.parametrize("value", [True, "1_000", "eight", "8/10", [8], {"a": 1}, b"8", "1,5"])
def test_what_is_not_a_number(value: Any) -> None:
    assert parse_number(value) is None
    with pytest.raises(DataError, match="is not a number"):
        number_of(value, WHERE, COLUMN)


@pytest.mark.parametrize("value", [math.nan, math.inf, "nan", "inf", "-Infinity", "1e999", 10**400])
def test_what_is_not_finite(value: Any) -> None:
    with pytest.raises(DataError, match=r"reviews\.csv:17: column 'review' holds .* not a finite number"):
        number_of(value, WHERE, COLUMN)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_value_is_said_to_be_missing(value: Any) -> None:
    for cells in (LabelCells("y", {"1": True}), GradeCells("y", 1, 10), RatingCells("y")):
        with pytest.raises(DataError, match=r"reviews\.csv:17: no value in column 'y'"):
            cells.judgement(value, FILM, None, WHERE)


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


def test_a_label_cell() -> None:
    cells = LabelCells("y", {"neg": False, "pos": True})
    assert cells.judgement("POS", Example("a", "p"), "ann", WHERE) == Label("a", True, "p", "ann")
    assert cells.judgement("neg", FILM, None, WHERE).where == WHERE
    with pytest.raises(DataError, match=r"'y' holds 'meh'; the labels are neg and pos"):
        cells.judgement("meh", FILM, None, WHERE)


def test_a_grade_cell() -> None:
    cells = GradeCells("y", 1, 5)
    assert cells.judgement("4.0", FILM, None, WHERE) == Grade("a film", 4, 1, 5)
    with pytest.raises(DataError, match=r"'y' holds 3.5, which is not a whole grade"):
        cells.judgement(3.5, FILM, None, WHERE)
    for beyond in (0, 6):
        with pytest.raises(DataError, match=rf"'y' holds {beyond}, outside the scale of 1 to 5"):
            cells.judgement(beyond, FILM, None, WHERE)


def test_a_rating_cell() -> None:
    assert RatingCells("y").judgement("-7.35", FILM, "ann", WHERE) == Rating("a film", -7.35, None, "ann")
    bounded = RatingCells("y", (0, 100))
    assert bounded.judgement(100, FILM, None, WHERE).rating == 100
    with pytest.raises(DataError, match=r"'y' holds 100.5, outside the scale of 0 to 100"):
        bounded.judgement(100.5, FILM, None, WHERE)


def test_a_long_value_is_shown_short_and_on_one_line() -> None:
    shown = show("line one\n" + "x" * 1000)
    assert len(shown) <= 40
    assert "\n" not in shown
