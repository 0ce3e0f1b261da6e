"""What the values of a column mean that says which of two answers is better."""

from typing import Any

import pytest

import tastemaker as tm
from tastemaker.data import Comparison, Ranking, ReadAs
from tastemaker.errors import DataError

ANSWERS = ("answer_1", "answer_2")


def rows(names: tuple[str, ...], column: str, *values: Any) -> list[dict[str, Any]]:
    """Return a table of the answers "one" and "two", with a value a row."""
    table = []
    for value in values:
        texts = dict(zip(names, ("one", "two", "three"), strict=False))
        table.append(texts | {column: value})
    return table


def won(source: Any, report: list[ReadAs] | None = None, **settings: Any) -> str:
    """Return which answer was better, row by row, with the margin where there is one."""
    words = []
    for judgement in tm.read(source, report=report, **settings):
        assert isinstance(judgement, Comparison)
        margin = f"{judgement.margin:g}" if judgement.margin else ""
        words.append("tie" if judgement.tie else judgement.chosen + margin)
    return " ".join(words)


def asked(source: Any, **settings: Any) -> str:
    """Return the question about a table that can be read either way round."""
    with pytest.raises(DataError) as caught:
        tm.read(source, **settings)
    return str(caught.value)


DESCRIBED: dict[str, Any] = {"answers": "answer_1,answer_2", "better": "preference"}


def test_signed_votes_are_asked_about_and_never_read_without_their_sign() -> None:
    table = rows(ANSWERS, "preference", -2, -1, 0, 1, 2)
    assert "--first -1 (below 0) or --first 1 (above 0)" in asked(table)
    assert won(table, first="-1") == "one2 one1 tie two1 two2"
    assert won(table, first="1") == "two2 two1 tie one1 one2"
    report: list[ReadAs] = []
    ones = rows(ANSWERS, "preference", -1, 1)
    assert won(ones, report, **DESCRIBED) == "one1 two1"
    assert "preference (below 0: answer_1)" in str(report[0])
    assert "--first" in asked(ones)


NOT_JUDGED = [
    (("response_1", "response_2"), (1, -1, 2), "-1: not judged"),
    (("response_1", "response_2"), (1, -1, 2, 0), "0: a tie, -1: not judged"),
    (("response_0", "response_1"), (0, -1, 1), "-1: not judged"),
    (("answer_a", "answer_b"), ("A", "-1", "b"), "-1: not judged"),
    (("answer_a", "answer_b"), ("A", "NaN", "b"), "nan: not judged"),
    (("answer_a", "answer_b"), ("A", "null", "b"), "null: not judged"),
]


@pytest.mark.parametrize(("names", "values", "detail"), NOT_JUDGED)
def test_a_value_that_means_that_nobody_judged_is_no_win(
    names: tuple[str, str], values: Any, detail: str
) -> None:
    report: list[ReadAs] = []
    expected = "one two tie" if 0 in values[2:] else "one two"
    assert won(rows(names, "label", *values), report) == expected
    assert report[0].unlabelled == {"label": 1}
    assert detail in str(report[0])


def test_0_and_1_of_described_answers_are_the_first_and_the_second() -> None:
    table = rows(ANSWERS, "preference", 0, 1)
    report: list[ReadAs] = []
    assert won(table, report, **DESCRIBED) == "one two"
    assert "preference (0: answer_1, 1: answer_2)" in str(report[0])
    assert "--first 0 or --first 1" in asked(table)
    only_ones = rows(ANSWERS, "preference", 1, 1)
    assert "--first 1 (--second 1 if the other is)" in asked(only_ones, **DESCRIBED)
    assert won(only_ones, second="1", **DESCRIBED) == "two two"
    with_tie = rows(ANSWERS, "preference", 0, 1, 2)
    assert won(with_tie, **DESCRIBED) == "tie one two"
    letters = rows(("answer_a", "answer_b"), "preference", 0, 1, 2)
    settings = {"answers": "answer_a,answer_b", "better": "preference"}
    assert "--first" in asked(letters, **settings)
    assert won(letters, first="0", tie="2", **settings) == "one two tie"


def test_0_of_three_answers_is_asked_about() -> None:
    table = rows(("a1", "a2", "a3"), "best", 0, 1, 2)
    settings: dict[str, Any] = {"answers": "a1,a2,a3", "better": "best"}
    assert "--first 0 or --tie 0" in asked(table, **settings)
    best = []
    for judgement in tm.read(table, first="0", **settings):
        assert isinstance(judgement, Ranking)
        best.append(judgement.tiers[0])
    assert best == [("one",), ("two",), ("three",)]
    tied = tm.read(table, tie="0", **settings)[0]
    assert isinstance(tied, Ranking)
    assert tied.tiers == (("one", "two", "three"),)


NAMED = [
    (("responseA", "responseB"), ("responseA", "responseB"), "one two"),
    (("responseA", "responseB"), ("Response A", "response_b", "tie"), "one two tie"),
    (ANSWERS, ("answer_1", "answer_1"), "one one"),
    (ANSWERS, ("Answer 2",), "two"),
    (("output1", "output2"), ("2.0", "1.0"), "two one"),
]


@pytest.mark.parametrize(("names", "values", "expected"), NAMED)
def test_values_may_be_the_names_of_the_columns(
    names: tuple[str, str], values: Any, expected: str
) -> None:
    assert won(rows(names, "winner", *values)) == expected


def test_names_of_described_columns_are_matched_loosely() -> None:
    names = ("gpt4Answer", "claudeAnswer")
    settings: dict[str, Any] = {"answers": names, "better": "winner"}
    table = rows(names, "winner", "gpt4Answer", "claudeAnswer", "tie")
    assert won(table, **settings) == "one two tie"
    assert won(rows(names, "winner", "claude", "GPT4"), **settings) == "two one"
    assert "--first" in asked(rows(names, "winner", "1.4"), **settings)


def test_yes_and_no_of_a_column_that_names_an_answer() -> None:
    names = ("answer_a", "answer_b")
    table = rows(names, "answer_b_is_better", True, False)
    assert won(table, answers=names, better="answer_b_is_better") == "two one"
    unnamed = rows(names, "is_better", True, False)
    assert "--first" in asked(unnamed, answers=names, better="is_better")


def test_a_scale_of_numbers_with_its_middle_named() -> None:
    table = rows(ANSWERS, "preference", 1, 3, 4, 5, 7)
    assert "--tie 4 --first 1" in asked(table, **DESCRIBED)
    assert "--tie 4 --first 1" in asked(table, first="1", **DESCRIBED)
    report: list[ReadAs] = []
    assert won(table, report, first="1", tie="4", **DESCRIBED) == (
        "one3 one1 tie two1 two3"
    )
    assert "preference (below 4: answer_1)" in str(report[0])
    assert won(table, first="7", tie="3..5", **DESCRIBED) == "two2 tie tie tie one2"
    even = rows(ANSWERS, "preference", 1, 3, 4, 6)
    assert won(even, first="1..3", **DESCRIBED) == "one2.5 one0.5 two0.5 two2.5"


def test_many_real_numbers_by_their_sign_or_side() -> None:
    values = [number / 100 for number in range(-40, 41)]
    table = rows(ANSWERS, "preference", *values)
    assert "--first -1" in asked(table, **DESCRIBED)
    below = won(table, first="-1", **DESCRIBED).split()
    assert below[0] == "one0.4"
    assert below[40] == "tie"
    assert below[-1] == "two0.4"
    likely = rows(ANSWERS, "preference", *[number + 0.5 for number in values])
    assert "--tie" in asked(likely, first="1", **DESCRIBED)
    assert won(likely, first="1", tie="0.5", **DESCRIBED).startswith("two0.4 ")
    words = rows(ANSWERS, "preference", *[f"word {n}" for n in range(60)])
    assert "more than 50 different values" in asked(words, **DESCRIBED)


def test_several_words_for_an_answer() -> None:
    values = ("much A", "slightly A", "the same", "slightly B", "much B", "skip")
    table = rows(("left", "right"), "vote", *values[:5])
    settings: dict[str, Any] = {"answers": "left,right", "better": "vote"}
    settings |= {"first": "much A,slightly A", "tie": "the same"}
    assert "--second" in asked(table, **settings)
    assert won(table, second="much b,slightly b", **settings) == "one one tie two two"
    skipped = rows(("left", "right"), "vote", *values)
    both = {"second": "much b,slightly b"} | settings
    assert won(skipped, **both | {"tie": "the same,skip"}).endswith("two two tie")


def test_several_words_in_the_shell(run: Any, tmp_path: Any) -> None:
    path = tmp_path / "p.csv"
    path.write_text("left,right,vote\none,two,1\nthree,four,4\nfive,six,7\n")
    options = ("--answers", "left,right", "--better", "vote", "--tie", "4")
    code, output, _ = run("inspect", path, *options, "--first", "1..3")
    assert code == 0
    assert "better=vote (1: left, 7: right, 4: a tie)" in output


TWO = [
    ("A,B", "winner", ("A", "B", "tie"), "1 2 tie"),
    ("left,right", "vote", ("right", "Left"), "2 1"),
    ("first_response,second_response", "preferred", ("second", "first"), "2 1"),
    ("first_response,second_response", "choice", ("second_response",), "2"),
    ("generated_text_1,generated_text_2", "better", (2, 1), "2 1"),
    ("model_a_output,model_b_output", "winner", ("model_b", "model_a"), "2 1"),
    ("essay_1,essay_2", "vote", (1, 2), "1 2"),
    ("left_text,right_text", "picked", ("left", "right"), "1 2"),
    ("Essay 1,Essay 2", "best", ("essay_2",), "2"),
    ("response_left,response_right", "winner", ("left", "right"), "1 2"),
    ("gpt4_response,claude_response", "winner", ("claude", "gpt4"), "2 1"),
    (
        "gpt4_response,claude_response",
        "picked",
        ("claude_response", "gpt4_response"),
        "2 1",
    ),
    ("gpt4_response,claude_response", "winner", ("B", "A"), "2 1"),
    ("human,machine", "preferred", (2, 1), "2 1"),
    ("response,reference", "winner", ("reference", "response"), "2 1"),
    ("左,右", "winner", ("右", "平", "左"), "2 tie 1"),
]


@pytest.mark.parametrize(("names", "column", "values", "expected"), TWO)
def test_two_texts_of_any_name_that_a_column_of_votes_compares(
    names: str, column: str, values: Any, expected: str
) -> None:
    first, second = names.split(",")
    table = []
    for value in values:
        table.append({"prompt": "Why?", first: "1 is", second: "2 is", column: value})
    report: list[ReadAs] = []
    assert won(table, report).replace(" is", "") == expected
    assert report[0].roles["answers"] == f"{first}+{second}"
    assert report[0].roles["prompt"] == "prompt"
    assert f"better={column} (" in str(report[0])


def test_two_texts_of_any_name_with_numbers() -> None:
    row = {"essay_left": "one", "essay_right": "two", "score_left": 2, "score_right": 5}
    assert won([row]) == "two3"


def test_a_direction_of_two_texts_of_any_name_is_asked_for() -> None:
    table = rows(("human", "machine"), "winner", 0, 1)
    table = [row | {"human": "by hand", "machine": "by rote"} for row in table]
    message = asked(table)
    assert (
        "--answers human,machine --better winner and --first 0 or --first 1" in message
    )
    assert won(table, answers="human,machine", better="winner", first="1").startswith(
        "by r"
    )


NO_ANSWERS = [
    ("sentence1,sentence2", "label", (0, 1)),
    ("sentence1,sentence2", "label", (0, 1, 2)),
    ("sentence1,sentence2", "label", ("entailment", "neutral")),
    ("sentence1,sentence2", "group", (1, 2)),
    ("sentence1,sentence2", "group", ("A", "B")),
    ("question1,question2", "difficulty", (1, 2)),
    ("source,target", "label", ("source", "target")),
    ("essay_1,essay_2", "label", (1, 2)),
    ("question1,question2", "is_duplicate", (0, 1)),
    ("choice1,choice2", "label", (0, 1)),
    ("article,headline", "leaning", ("left", "right")),
]


@pytest.mark.parametrize(("names", "column", "values"), NO_ANSWERS)
def test_two_texts_that_nobody_compares_are_no_answers(
    names: str, column: str, values: Any
) -> None:
    first, second = names.split(",")
    table = []
    for value in values:
        table.append({first: "one of them", second: "the other", column: value})
    assert "no column with a text" in asked(table)


def test_one_text_beside_another_stays_a_text() -> None:
    table = []
    for value in ("left", "right"):
        table.append({"text": "one of them", "note": "the other", "choice": value})
    assert "no column with a judgement" in asked(table)
    assert tm.read([table[0] | {"stars": 4}])[0].texts == ("one of them",)
