"""Classes whose names hold a number, such as "4 stars": the number is the grade."""

from typing import Any

import pytest

import tastemaker as tm
from tastemaker.data import Grade, Label, Rating, ReadAs
from tastemaker.errors import DataError


def rows(column: str, *values: Any) -> list[dict[str, Any]]:
    return [
        {"text": f"text {number}", column: value} for number, value in enumerate(values)
    ]


def grades(source: list[dict[str, Any]], **roles: Any) -> list[tuple[int, int, int]]:
    judgements = tm.read(source, **roles)
    triples = []
    for each in judgements:
        assert isinstance(each, Grade)
        triples.append((each.value, each.lowest, each.highest))
    return triples


@pytest.mark.parametrize(
    "values",
    [
        ("5 stars", "1 star", "2 stars"),
        ("5_stars", "1_star", "2_stars"),
        ("rating: 5", "rating: 1", "rating: 2"),
        ("Score=5", "Score=1", "Score=2"),
        ("5-star", "1-star", "2-star"),
        ("stars5", "stars1", "stars2"),
        ("5星", "1星", "2星"),
        ("5 - excellent", "1 - awful", "2 - poor"),
        ("5.0 out of 5 stars", "1.0 out of 5 stars", "2.0 out of 5 stars"),
        ("5/5", "1/5", "2/5"),
    ],
)
@pytest.mark.parametrize("column", ["label", "stars", "rating"])
def test_the_grade_is_the_number_also_where_classes_are_absent(
    column: str, values: tuple[str, ...]
) -> None:
    assert grades(rows(column, *values)) == [(5, 1, 5), (1, 1, 5), (2, 1, 5)]


def test_the_scale_may_be_given_or_said_by_the_classes() -> None:
    few = rows("label", "4 stars", "2 stars", "3 stars")
    assert grades(few) == [(4, 2, 4), (2, 2, 4), (3, 2, 4)]
    assert grades(few, scale="1,5")[0] == (4, 1, 5)
    assert grades(rows("label", "4/5", "2/5", "3/5"))[0] == (4, 1, 5)


def test_two_classes_of_stars_are_grades_and_others_are_labels() -> None:
    assert grades(rows("label", "5 stars", "1 star")) == [(5, 1, 5), (1, 1, 5)]
    with pytest.raises(DataError, match="--positive"):
        tm.read(rows("label", "0 - neg", "1 - pos"))
    two = rows("label", "5 stars", "1 star")
    assert tm.read(two, positive="5 stars")[0] == Label("text 0", True)


def test_parts_of_a_star_and_long_scales_are_ratings() -> None:
    halves = rows("label", "4.5 stars", "3 stars", "1.5 stars")
    assert tm.read(halves)[0] == Rating("text 0", 4.5)
    hundreds = rows("score", *(f"{number}/100" for number in range(0, 100, 3)))
    assert tm.read(hundreds)[1] == Rating("text 1", 3)
    named = rows("verdict", "-2 points", "3 points")
    assert tm.read(named, rating="verdict")[0] == Rating("text 0", -2)


@pytest.mark.parametrize(
    "values",
    [
        ("1st", "2nd", "3rd"),
        ("class 1", "class 2", "class 3"),
        ("LABEL_0", "LABEL_1", "LABEL_2"),
        ("#1", "#2", "#3"),
        ("1 - excellent", "2 - fair", "3 - poor"),
        ("1 (strongly agree)", "2 (neutral)", "3 (strongly disagree)"),
        ("1 good", "1 bad", "2 fair"),
        ("3-5 stars", "1-2 stars", "2-3 stars"),
    ],
)
def test_numbers_that_may_be_no_grades_are_asked_about(values: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="--order"):
        tm.read(rows("label", *values))


def test_the_report_says_what_the_number_means() -> None:
    report: list[ReadAs] = []
    table = rows("label", "5 stars", "1 star", "2 stars", None)
    tm.read(table, target="rating", report=report)
    assert report[0].roles["grade"] == "label"
    assert report[0].details["grade"] == "1–5"
    assert "the number in each class" in report[0].notes[0]


def test_a_class_without_a_number_stops() -> None:
    values = ["5 stars", "1 star"] * 20 + ["bad"]
    with pytest.raises(DataError, match="list:41: column 'stars' holds 'bad'"):
        tm.read(rows("stars", *values))
