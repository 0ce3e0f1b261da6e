"""Tables as users export them: read as they mean it, or refused with a message that helps."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tastemaker.data import Comparison, Grade, Message, Ranking, read
from tastemaker.errors import DataError


def votes(
    path: Path, values: list[str], column: str = "pref", first: str = "answer_a"
) -> Path:
    """Write a table of two answers: "one" is in the first, "two" in the second column."""
    second = first[:-1] + {"a": "b", "1": "2"}[first[-1]]
    lines = [f"prompt,{first},{second},{column}"]
    for number, value in enumerate(values):
        lines.append(f"Q{number},one,two,{value}")
    path.write_text("\n".join(lines) + "\n")
    return path


def winners(path: Path, **settings: Any) -> list[str]:
    names = []
    for judgement in read(path, **settings):
        assert isinstance(judgement, Comparison)
        names.append("tie" if judgement.tie else judgement.chosen)
    return names


def test_votes_that_are_relations_are_read_in_their_direction(tmp_path: Path) -> None:
    path = votes(tmp_path / "v.csv", ["A>B", "B>A", "A>>B", "A = B", "A<B", "B < A"])
    assert winners(path) == ["one", "two", "one", "tie", "two", "one"]
    names = votes(tmp_path / "n.csv", ["answer_a>answer_b", "answer_b>answer_a"])
    assert winners(names) == ["one", "two"]


@pytest.mark.parametrize(
    "values",
    [
        ["not_a", "not_b"],
        ["worse a", "worse b"],
        ["a over b", "b over a"],
        ["A>A", "B>B"],
    ],
)
def test_a_vote_with_a_negation_or_two_answers_is_asked_about(
    tmp_path: Path, values: list[str]
) -> None:
    path = votes(tmp_path / "v.csv", values)
    with pytest.raises(DataError, match="--first"):
        read(path, answers="answer_a,answer_b", better="pref")
    first = values[1].casefold()
    assert winners(path, answers="answer_a,answer_b", better="pref", first=first) == [
        "two",
        "one",
    ]


@pytest.mark.parametrize("column", ["worse", "loser", "rejected", "worst_answer"])
def test_a_column_of_the_worse_answer_is_not_read_as_the_better(
    tmp_path: Path, column: str
) -> None:
    path = votes(tmp_path / "v.csv", ["a", "b"], column)
    with pytest.raises(DataError, match="--first"):
        read(path)
    described = {"answers": "answer_a,answer_b", "better": column}
    with pytest.raises(DataError, match="--first"):
        read(path, **described)  # type: ignore[arg-type]
    assert winners(path, **described, first="b") == ["two", "one"]


@pytest.mark.parametrize("column", ["user_id", "annotator", "position", "rank", "turn"])
def test_a_column_of_something_else_is_no_vote_unless_it_is_named(
    tmp_path: Path, column: str
) -> None:
    path = votes(tmp_path / "v.csv", ["1", "2"], column, "answer_1")
    with pytest.raises(DataError, match="Name the column that says which is better"):
        read(path)
    assert winners(path, answers="answer_1,answer_2", better=column) == ["one", "two"]


def test_a_named_tie_needs_no_first(tmp_path: Path) -> None:
    path = votes(tmp_path / "v.csv", ["a", "b", "gleich", "="])
    assert winners(path, answers="answer_a,answer_b", better="pref", tie="gleich") == [
        "one",
        "two",
        "tie",
        "tie",
    ]


def test_columns_of_ranks_have_the_best_lowest(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("a1,a2,a3,rank1,rank2,rank3\nx,y,z,2,1,3\n")
    report: list[Any] = []
    ranking = read(path, answers="a1,a2,a3", better="rank1+rank2+rank3", report=report)
    assert ranking == [Ranking((("y",), ("x",), ("z",)))]
    assert "the lower number" in str(report[0])
    two = tmp_path / "two.csv"
    two.write_text("a1,a2,a1_rank,a2_rank\nx,y,1,2\n")
    comparison = read(two, answers="a1,a2", better="a1_rank+a2_rank")[0]
    assert comparison.texts[0] == "x"


def chats(path: Path, **more: list[Any]) -> Path:
    with path.open("w") as file:
        for number in range(8):
            turns = [
                {"role": "user", "content": f"hi {number}"},
                {"role": "assistant", "content": f"hello {number}"},
            ]
            row = {name: cells[number % len(cells)] for name, cells in more.items()}
            file.write(json.dumps({"messages": turns, **row}) + "\n")
    return path


def test_a_verdict_beside_chats_is_not_their_text(tmp_path: Path) -> None:
    more = {"feedback": ["thumbs_up", "thumbs_down", None], "rating": [1, 5, 3]}
    path = chats(tmp_path / "c.jsonl", **more)
    with pytest.raises(DataError, match="'messages' \\(chats\\) or 'feedback'"):
        read(path)
    grades = read(path, text="messages", grade="rating")
    assert isinstance(grades[0], Grade)
    assert grades[0].text == "hello 0"
    answers = chats(tmp_path / "a.jsonl", response=["yes", "no"], rating=[1, 5, 3])
    assert read(answers, prompt="messages")[0].texts == ("yes",)


def test_turns_with_other_keys_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    turns = [{"speaker": "customer", "utterance": "hi"}]
    path.write_text(json.dumps({"talk": turns, "label": 1}) + "\n")
    with pytest.raises(DataError, match="has 'speaker', 'utterance'; a message has"):
        read(path, text="talk")


def test_a_null_in_a_list_is_called_null(tmp_path: Path) -> None:
    path = tmp_path / "n.json"
    path.write_text('[{"text": "a", "label": 1}, null]')
    with pytest.raises(DataError, match="not null"):
        read(path)


@pytest.mark.parametrize(
    "spelled", ['[["Hi", "Hello."]]', "[['Hi', 'Hello.']]", '\n[["Hi", "Hello."]]']
)
@pytest.mark.parametrize("rows_before", [0, 150])
def test_a_history_in_a_cell_of_text_is_read(
    tmp_path: Path, spelled: str, rows_before: int
) -> None:
    path = tmp_path / "h.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["instruction", "input", "history", "chosen", "rejected"])
        for number in range(rows_before):
            table.writerow([f"Why {number}?", "", "[]", "So.", "No."])
        table.writerow(["And why?", "", spelled, "So.", "No."])
    turns = ("user", "Hi"), ("assistant", "Hello."), ("user", "And why?")
    assert read(path)[-1].prompt == tuple(Message(*turn) for turn in turns)


def test_a_history_that_spells_no_pairs_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("prompt,history,text,label\nQ,[of the town],a,1\nR,[1],b,0\n")
    report: list[Any] = []
    assert [one.prompt for one in read(path, report=report)] == ["Q", "R"]
    assert report[0].unused == ("history",)
