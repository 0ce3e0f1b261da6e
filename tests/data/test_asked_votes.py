"""Votes whose direction options say, or that are asked for: none is guessed."""

from typing import Any

import pytest
from test_votes import DESCRIBED, asked, rows, won

from tastemaker.data import ReadAs

ANSWERS = ("answer_1", "answer_2")
LETTERS = ("response_a", "response_b")


@pytest.mark.parametrize(
    "column", ["better_than_b", "preferred_over_b", "preferred_to_b", "wins_against_b"]
)
def test_yes_in_a_column_that_compares_with_an_answer_is_asked_about(
    column: str,
) -> None:
    table = rows(LETTERS, column, "yes", "no")
    assert "--first yes or --first no" in asked(table)
    assert won(table, first="yes") == "one two"


@pytest.mark.parametrize("word", ["better than {}", "wins over {}", "preferred to {}"])
def test_a_value_that_compares_with_an_answer_is_asked_about(word: str) -> None:
    values = (word.format("b"), word.format("a"))
    table = rows(LETTERS, "winner", *values)
    assert f"--first '{values[0]}' or " in asked(table)
    assert won(table, first=values[0], second=values[1]) == "one two"


SIGNS = (-1, 0, 1)
SIGNED = [
    (SIGNS, {"second": "-1"}, "two1 tie one1"),
    (SIGNS, {"second": "1"}, "one1 tie two1"),
    (SIGNS, {"first": "1"}, "two1 tie one1"),
    (SIGNS, {"first": "-1", "second": "1"}, "one1 tie two1"),
    (SIGNS, {"first": "positive"}, "two1 tie one1"),
    (SIGNS, {"first": "negative"}, "one1 tie two1"),
    (SIGNS, {"second": "neg"}, "two1 tie one1"),
    ((-0.5, 0.25), {"first": "neg"}, "one0.5 two0.25"),
    ((-0.5, 0.25), {"first": "positive"}, "two0.5 one0.25"),
    ((-0.5, 0.25), {"second": "-1"}, "two0.5 one0.25"),
    (SIGNS, {"first": "0"}, "one two"),
    (SIGNS, {"second": "0"}, "two one"),
    (SIGNS, {"first": "1", "second": "0"}, "two one"),
    (SIGNS, {"tie": "0"}, "one1 tie two1"),
    ((1, 4, 7), {"second": "7", "tie": "3..5"}, "one tie two"),
    ((1, 2, 3, 5), {"second": "4..5", "tie": "3"}, "one2 one1 tie two2"),
    ((1, 2, 5, 6), {"second": "5..6"}, "one2.5 one1.5 two1.5 two2.5"),
]


@pytest.mark.parametrize(("values", "options", "expected"), SIGNED)
def test_either_option_gives_the_direction_of_numbers(
    values: Any, options: dict[str, Any], expected: str
) -> None:
    table = rows(ANSWERS, "preference", *values)
    assert won(table, **options, **DESCRIBED) == expected


def test_ends_of_a_scale_that_contradict_each_other_are_refused() -> None:
    table = rows(ANSWERS, "preference", -2, -1, 0, 1, 2)
    assert "(--second)" in asked(table, first="1", second="2", **DESCRIBED)
    assert "(--second)" in asked(table, second="0", **DESCRIBED)
    assert "(--first)" in asked(table, first="0", **DESCRIBED)


@pytest.mark.parametrize("described", [{}, DESCRIBED])
def test_minus_one_0_and_1_may_be_signs_or_codes_and_are_asked_about(
    described: dict[str, Any],
) -> None:
    message = asked(rows(ANSWERS, "preference", *SIGNS), **described)
    assert "--first -1 (below 0) or --first 1 (above 0), or --first 0 or" in message


GRADES = (1, 2, 3, 4, 5, -1)
NO_VOTE = [
    ((1, 0, -1), {"first": "1", "second": "0"}, "one two"),
    (GRADES, {"first": "1,2", "tie": "3", "second": "4,5"}, "one one tie two two"),
    (GRADES, {"first": "1..2", "tie": "3"}, "one2 one1 tie two1 two2"),
    (GRADES, {"second": "1..2", "tie": "3"}, "two2 two1 tie one1 one2"),
    ((0.25, 0.75, -1), {"first": "1", "tie": "0.5"}, "two0.25 one0.25"),
]


@pytest.mark.parametrize(("values", "options", "expected"), NO_VOTE)
def test_minus_one_besides_values_that_options_explain_is_no_vote(
    values: Any, options: dict[str, Any], expected: str
) -> None:
    report: list[ReadAs] = []
    table = rows(ANSWERS, "preference", *values)
    assert won(table, report, **options, **DESCRIBED) == expected
    assert report[0].unlabelled == {"preference": 1}
    assert "-1: not judged" in str(report[0])


def test_minus_one_that_an_option_names_is_a_vote() -> None:
    table = rows(LETTERS, "preference", "A", "-1")
    assert won(table, first="A", second="-1") == "one two"


LETTERED = {"response_a": "one", "response_b": "two"}
BESIDE = [
    (
        LETTERED,
        "winner",
        ("model_a", "model_b"),
        {"response_a_model": "GPT 4", "response_b_model": "Llama 3"},
    ),
    (
        {"response_1": "one", "response_2": "two"},
        "preferred",
        (1, 2),
        {"response_1_summary": "it is 1", "response_2_summary": "it is 2"},
    ),
    (
        {"model_a_output": "one is", "model_b_output": "two is"},
        "winner",
        ("model_a", "model_b"),
        {"output_a_model": "gpt", "output_b_model": "llama"},
    ),
]


@pytest.mark.parametrize(("answers", "column", "values", "beside"), BESIDE)
def test_answers_beside_other_numbered_texts(
    answers: dict[str, Any], column: str, values: Any, beside: dict[str, Any]
) -> None:
    table = [{**answers, column: value, **beside} for value in values]
    report: list[ReadAs] = []
    assert won(table, report).replace(" is", "") == "one two"
    assert report[0].roles["answers"] == "+".join(answers)


def test_numbers_come_before_marks_of_answers() -> None:
    marks = {"correct_a": True, "correct_b": False}
    table = []
    for score in (3, 7, 5):
        table.append({**LETTERED, "score_a": score, "score_b": 5, **marks})
    report: list[ReadAs] = []
    assert won(table, report) == "two2 one2 tie"
    assert report[0].roles["better"] == "score_a+score_b"
    assert won([{**LETTERED, **marks}]) == "one"


@pytest.mark.parametrize(("word", "expected"), [("tie", ["tie"]), ("null", [])])
def test_a_tie_or_null_beside_many_numbers(word: str, expected: list[str]) -> None:
    values = [number / 4 for number in range(1, 71)]
    table = rows(ANSWERS, "preference", *values, word, -3)
    result = won(table, first="-1", **DESCRIBED).split()
    assert result[70:] == [*expected, "one3"]
    assert result[0] == "two0.25"
