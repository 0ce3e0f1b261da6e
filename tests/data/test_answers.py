"""Tables of answers that are compared: recognised, described, and asked about."""

import json
from pathlib import Path
from typing import Any

import pytest

from tastemaker.data import Comparison, Message, Ranking, ReadAs, read
from tastemaker.errors import DataError, UsageError


def pairs(path: Path, first: str, second: str, column: str, *values: Any) -> Path:
    rows = []
    for number, value in enumerate(values):
        rows.append(
            {"prompt": f"Q{number}", first: "one", second: "two", column: value}
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def won(path: Path, **settings: Any) -> list[str]:
    """Which answer was better, row by row."""
    names = []
    for judgement in read(path, **settings):
        assert isinstance(judgement, Comparison)
        names.append("tie" if judgement.tie else judgement.chosen)
    return names


PLAIN = [
    ("response_1", "response_2", "label", (1, 2, 1), "one two one"),
    ("response_1", "response_2", "label", (1, 2, 0), "one two tie"),
    ("response_0", "response_1", "better_answer", (0, 1), "one two"),
    ("answer_a", "answer_b", "winner", ("A", "B", "tie"), "one two tie"),
    ("response_a", "response_b", "winner", ("model_a", "model_b"), "one two"),
    ("output1", "output2", "choice", ("output2", "output1"), "two one"),
    ("completionA", "completionB", "preferred", ("Left", "Right"), "one two"),
    ("summary_a", "summary_b", "anything", (1, 2), "one two"),
]


@pytest.mark.parametrize(("first", "second", "column", "values", "expected"), PLAIN)
def test_pairs_are_recognised_and_printed(
    tmp_path: Path, first: str, second: str, column: str, values: Any, expected: str
) -> None:
    path = pairs(tmp_path / "p.jsonl", first, second, column, *values)
    report: list[ReadAs] = []
    assert won(path, report=report) == expected.split()
    assert report[0].roles["prompt"] == "prompt"
    assert report[0].roles["answers"] == f"{first}+{second}"
    assert f"better={column} (" in str(report[0])


UNCLEAR = [
    ("response_1", "response_2", "label", (0, 1), ("1", "0")),
    ("response_a", "response_b", "preference", (-3, 2, 1), ("2", "-3")),
    ("answer_a", "answer_b", "is_better", (True, False), ("true", "false")),
]


@pytest.mark.parametrize(("first", "second", "column", "values", "firsts"), UNCLEAR)
def test_a_direction_that_cannot_be_known_is_asked_for(
    tmp_path: Path, first: str, second: str, column: str, values: Any, firsts: Any
) -> None:
    path = pairs(tmp_path / "p.jsonl", first, second, column, *values)
    with pytest.raises(DataError) as caught:
        read(path)
    for word in (first, second, column, "--first"):
        assert word in str(caught.value)
    one, other = (won(path, first=value) for value in firsts)
    turned = {"one": "two", "two": "one"}
    assert one == [turned[name] for name in other]


def test_a_layout_can_be_described(tmp_path: Path) -> None:
    path = pairs(tmp_path / "p.jsonl", "left", "right", "vote", -2, 1, 0)
    assert won(path, answers=("left", "right"), better="vote") == ["one", "two", "tie"]
    described = f"{path}:answers=left+right,better=vote,first=1"
    assert won(described) == ["two", "one", "tie"]  # type: ignore[arg-type]
    assert [j.margin for j in read(described)] == [2, 1, 0]  # type: ignore[attr-defined]
    assert won(path, answers="left,right") == ["one"] * 3
    with pytest.raises(DataError, match="no column 'middle'"):
        read(path, answers="left,middle")
    with pytest.raises(UsageError, match="two columns or more"):
        read(path, answers="left")
    with pytest.raises(UsageError, match="--answers"):
        read(path, better="vote")


def test_several_answers(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    row = {
        "q": "Q",
        "a1": "x",
        "a2": "y",
        "a3": "z",
        "best": 2,
        "s1": 1,
        "s2": 3,
        "s3": 3,
    }
    path.write_text(json.dumps(row) + "\n")
    names = "a1,a2,a3"
    shown = ("x", "y", "z")
    assert read(path, answers=names, prompt="q") == [
        Ranking((("x",), ("y",), ("z",)), prompt="Q")
    ]
    assert read(path, answers=names, better="best") == [
        Ranking((("y",),), ("x", "z"), shown=shown)
    ]
    assert read(path, answers=names, better="s1+s2+s3") == [
        Ranking((("y", "z"), ("x",)))
    ]
    with pytest.raises(DataError, match="3 answers, but 2 columns"):
        read(path, answers=names, better="s1+s2")


def counted(path: Path, names: tuple[str, str], *counts: Any) -> Path:
    """Write two answers a row, with a number for each."""
    rows = []
    for first, second in counts:
        numbers = dict(zip(names, (first, second), strict=True))
        rows.append({"response_1": "one", "response_2": "two"} | numbers)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


NUMBERS = [
    (("votes_1", "votes_2"), "one two tie"),
    (("upvotes1", "upvotes2"), "one two tie"),
    (("response_1_likes", "response_2_likes"), "one two tie"),
    (("num_votes_1", "num_votes_2"), "one two tie"),
    (("Score 1", "Score 2"), "one two tie"),
    (("rank_1", "rank_2"), "two one tie"),
]


@pytest.mark.parametrize(("names", "expected"), NUMBERS)
def test_a_number_for_each_answer_is_recognised(
    tmp_path: Path, names: tuple[str, str], expected: str
) -> None:
    path = counted(tmp_path / "n.jsonl", names, (9, 2), ("3", "40"), (5, 5))
    report: list[ReadAs] = []
    assert won(path, report=report) == expected.split()
    side = "lower" if "rank" in names[0] else "higher"
    assert f"better={names[0]}+{names[1]} (the {side} number)" in str(report[0])


def test_a_number_for_each_answer_is_described(tmp_path: Path) -> None:
    path = counted(tmp_path / "n.jsonl", ("left", "right"), (9, 2), (None, 4), (1, ""))
    report: list[ReadAs] = []
    settings: dict[str, Any] = {"answers": "response_1,response_2"}
    judgements = read(path, better="left,right", report=report, **settings)
    assert judgements == [Comparison("one", "two", margin=7, chosen_first=True)]
    assert report[0].unlabelled == {"left": 1, "right": 1}
    described = f"{path}:answers=response_1+response_2,better=left+right"
    assert read(described) == judgements
    with pytest.raises(DataError, match=r"n\.jsonl:1: .*'left'.*many"):
        read(
            counted(tmp_path / "n.jsonl", ("left", "right"), ("many", 2)),
            better="left,right",
            **settings,
        )


def test_counts_of_votes_give_no_margin(tmp_path: Path) -> None:
    """900 votes to 2 do not say that an answer is 898 steps better."""
    path = counted(tmp_path / "n.jsonl", ("votes_1", "votes_2"), (900, 2))
    assert read(path) == [Comparison("one", "two", chosen_first=True)]


def test_a_column_of_winners_comes_before_numbers(tmp_path: Path) -> None:
    path = counted(tmp_path / "n.jsonl", ("score_1", "score_2"), (9, 2), (8, 3))
    lines = path.read_text().splitlines()
    rows = []
    for line, winner in zip(lines, ("response_2", "response_1"), strict=True):
        rows.append(json.dumps(json.loads(line) | {"winner": winner}))
    path.write_text("\n".join(rows))
    assert won(path) == ["two", "one"]


def test_numbers_of_which_one_answer_has_none_are_asked_about(tmp_path: Path) -> None:
    path = counted(tmp_path / "n.jsonl", ("votes_1", "downvotes_2"), (900, 2))
    with pytest.raises(DataError, match="--better COLUMN"):
        read(path)


def test_a_ranking_without_one_of_its_answers_keeps_the_numbers(
    tmp_path: Path,
) -> None:
    row = {"a1": "x", "a2": None, "a3": "z", "s1": 1, "s2": None, "s3": 3}
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(row))
    judgements = read(path, answers="a1,a2,a3", better="s1,s2,s3")
    assert judgements == [Ranking((("z",), ("x",)))]


def test_answers_that_are_chats_share_their_prompt(tmp_path: Path) -> None:
    def chat(answer: str) -> list[dict[str, str]]:
        return [
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": answer},
        ]

    path = tmp_path / "r.jsonl"
    row = {"answer_a": chat("x"), "answer_b": chat("y"), "winner": "b"}
    path.write_text(json.dumps(row) + "\n")
    user = (Message("user", "Q"),)
    assert read(path) == [Comparison("y", "x", prompt=user, chosen_first=False)]


def test_what_is_no_pair_stays_none(tmp_path: Path) -> None:
    path = tmp_path / "nli.jsonl"
    path.write_text('{"sentence1": "a b", "sentence2": "c", "label": 1}\n')
    with pytest.raises(DataError, match="no column with a text among 'sentence1'"):
        read(path)
    numbers = tmp_path / "n.jsonl"
    numbers.write_text(
        '{"item": "a b", "result_1": "0.5", "result_2": "0.7", "label": 1}\n'
        '{"item": "c d", "result_1": "0.9", "result_2": "0.1", "label": 2}\n'
    )
    with pytest.raises(DataError, match="no column with a text among 'item'"):
        read(numbers)
    table = tmp_path / "t.jsonl"
    table.write_text('{"text": "a", "output1": "b", "output2": "c", "stars": 4}\n')
    assert read(table)[0].texts == ("a",)


def test_a_column_of_winners_comes_before_numbers_by_its_values(
    tmp_path: Path,
) -> None:
    rows = []
    for winner in ("response_2", "response_1"):
        texts = {"response_1": "one", "response_2": "two"}
        rows.append(texts | {"score_1": 9, "score_2": 2, "human_pick": winner})
    path = tmp_path / "n.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert won(path) == ["two", "one"]


def test_a_column_of_1_and_2_does_not_come_before_numbers(tmp_path: Path) -> None:
    rows = []
    for difficulty in (1, 2):
        texts = {"response_1": "one", "response_2": "two", "difficulty": difficulty}
        rows.append(texts | {"score_1": difficulty, "score_2": 3 - difficulty})
    path = tmp_path / "n.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert won(path) == ["two", "one"]


def test_numbers_of_two_sorts_are_asked_about(tmp_path: Path) -> None:
    path = counted(tmp_path / "n.jsonl", ("rating_1", "rank_2"), (9, 1))
    with pytest.raises(DataError, match="--answers response_1,response_2 --better"):
        read(path)


def test_the_name_of_the_better_column_may_hold_commas(tmp_path: Path) -> None:
    question = "Which is better, A or B?"
    path = pairs(tmp_path / "q.jsonl", "first", "other", question, "a", "b")
    settings: dict[str, Any] = {"answers": "first,other", "first": "a"}
    assert won(path, better=question, **settings) == ["one", "two"]
    assert won(path, better="which is better, a or b?", **settings) == ["one", "two"]


def test_answers_beside_a_column_that_is_named_in_another_spelling(
    tmp_path: Path,
) -> None:
    path = tmp_path / "q.csv"
    path.write_text("Text,response_a,response_b,winner\nWhy so?,one,two,b\n")
    assert read(path, prompt="text") == [
        Comparison("two", "one", prompt="Why so?", chosen_first=False)
    ]


MARKS: list[tuple[str, list[tuple[Any, Any]]]] = [
    ("thumbs", [(1, 0), ("0", "1"), (1, 1)]),
    ("thumbs", [(True, False), ("false", "true"), (False, False)]),
    ("thumbs_up", [(1, -1), (-1, 1), (-1, -1)]),
    ("is_liked", [("yes", "no"), ("no", "yes"), ("yes", "yes")]),
]


@pytest.mark.parametrize(("mark", "cells"), MARKS)
@pytest.mark.parametrize("answer", ["model_{}_answer", "{}_response", "answer_{}_text"])
def test_yes_or_no_for_each_answer_is_recognised(
    tmp_path: Path, answer: str, mark: str, cells: list[tuple[Any, Any]]
) -> None:
    sides = answer.format("a"), answer.format("b")
    rows = []
    for first, second in cells:
        texts = {sides[0]: "one", sides[1]: "two", "model_a": "m", "model_b": "n"}
        rows.append(texts | {f"{mark}_a": first, f"{mark}_b": second})
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report: list[ReadAs] = []
    assert read(path, report=report) == [
        Comparison("one", "two", chosen_first=True),
        Comparison("two", "one", chosen_first=False),
        Comparison("one", "two", tie=True, chosen_first=True),
    ]
    assert report[0].roles["answers"] == "+".join(sides)
    assert f"better={mark}_a+{mark}_b (the higher number)" in str(report[0])
    described = f"{path}:answers={'+'.join(sides)},better={mark}_a+{mark}_b"
    assert read(described) == read(path)


def test_marks_that_say_the_opposite_or_nothing_are_asked_about(tmp_path: Path) -> None:
    for names in (("thumbs_down_1", "thumbs_down_2"), ("length_1", "length_2")):
        path = counted(tmp_path / "m.jsonl", names, (1, 0))
        with pytest.raises(DataError, match=rf"{names[0]}.*--better COLUMN"):
            read(path)
