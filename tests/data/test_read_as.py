"""What reading says of a source: roles, what is not used, notes, and other readings."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import tastemaker as tm
from tastemaker.data import Comparison, Grade, Message, ReadAs, read
from tastemaker.errors import DataError, UsageError

REVIEWS = """review_id,product,review_text,stars,date
1,Kettle X,"Great kettle, boils fast",5,2024-01-02
2,Kettle X,Broke after a week,1,2024-01-03
3,Toaster,It is fine I guess,3,2024-02-02
"""


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text(REVIEWS)
    return path


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def reported(source: Any, **settings: Any) -> ReadAs:
    report: list[ReadAs] = []
    read(source, report=report, **settings)
    return report[0]


def test_a_first_csv_is_read_as_it_is(reviews: Path) -> None:
    shown = reported(reviews)
    assert str(shown) == (
        "read as: text=review_text, grade=stars (1–5); not used: review_id, product, date"
    )
    assert shown.as_dict()["kinds"] == {"grade": 3}
    assert read(reviews)[0] == Grade("Great kettle, boils fast", 5, 1, 5)


def test_columns_of_one_source(reviews: Path) -> None:
    described = f"{reviews}:text=Product,grade=stars,judge=review_id,scale=1+10"
    first = read(described)[0]
    assert first == Grade("Kettle X", 5, 1, 10, judge="1")
    shown = reported(described)
    assert shown.roles == {"text": "product", "grade": "stars", "judge": "review_id"}
    assert "--text-column review_text" in shown.notes[0]
    with pytest.raises(UsageError, match="no role 'stars'"):
        read(f"{reviews}:stars=stars")
    with pytest.raises(UsageError, match="did you mean grade"):
        read(reviews, grades="stars")  # type: ignore[call-arg]


def test_roles_that_are_switched_off(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl",
        {"prompt": "Q", "text": "a", "label": 1, "stars": 4, "judge": "ann"},
    )
    assert list(reported(path).roles) == ["prompt", "text", "label", "grade", "judge"]
    off = reported(path, prompt="none", grade="none", judge="none")
    assert off.roles == {"text": "text", "label": "label"}
    assert off.unused == ("prompt", "stars", "judge")
    pair = {"prompt": "Q", "chosen": "a", "rejected": "b", "other": "P"}
    pairs = write(tmp_path / "p.jsonl", pair)
    assert read(pairs, prompt="other") == [Comparison("a", "b", prompt="P")]


PROMPTS: list[tuple[dict[str, Any], Any]] = [
    ({"instruction": "Do", "input": "this"}, "Do\n\nthis"),
    ({"instruction": "Do", "input": ""}, "Do"),
    ({"question": "Why?"}, "Why?"),
    ({"query": "Why?"}, "Why?"),
    ({"input": "Why?"}, "Why?"),
    ({"context": "Why?"}, "Why?"),
    ({"trajectory": [{"from": "user", "value": "Why?"}]}, (Message("user", "Why?"),)),
    (
        {"system": "Be brief.", "question": "Why?"},
        (Message("system", "Be brief."), Message("user", "Why?")),
    ),
    ({"system": "gpt-4", "question": "Why?"}, "Why?"),
    ({"question": "Why?", "context": 7}, "Why?"),
    ({"context": 7}, None),
]


@pytest.mark.parametrize(("columns", "prompt"), PROMPTS)
def test_prompts_under_the_names_of_the_field(
    tmp_path: Path, columns: dict[str, Any], prompt: Any
) -> None:
    for row in (
        {"chosen": "a", "rejected": "b"},
        {"response": "a", "rating": 3},
        {"answer_a": "a", "answer_b": "b", "winner": "a"},
    ):
        (judgement,) = read(write(tmp_path / "r.jsonl", {**columns, **row}))
        assert judgement.prompt == prompt, row


def test_a_prompt_column_can_be_named_for_a_format(tmp_path: Path) -> None:
    row = {
        "context": "no",
        "response1": "a",
        "response2": "b",
        "overall_preference": -1,
        "task": "Do it.",
    }
    path = write(tmp_path / "r.jsonl", row)
    assert read(path)[0].prompt == "no"
    assert read(path, prompt="task")[0].prompt == "Do it."
    with pytest.raises(DataError, match="no column 'tusk'"):
        read(path, prompt="tusk")


def test_a_format_names_only_the_columns_that_it_reads(tmp_path: Path) -> None:
    """Others only tell the format: they are not used, and the line says so."""
    row = {
        "source": "evol_instruct",
        "instruction": "Say hi.",
        "models": ["a", "b"],
        "completions": [
            {"response": "Hi.", "overall_score": 9},
            {"response": "No.", "overall_score": 2},
        ],
    }
    (tmp_path / "raw.jsonl").write_text(json.dumps(row) + "\n")
    report: list[ReadAs] = []
    (ranking,) = tm.read(tmp_path / "raw.jsonl", report=report)
    assert ranking.prompt == "Say hi."
    assert report[0].roles == {"prompt": "instruction", "completions": "completions"}
    assert report[0].unused == ("source", "models")


def test_a_file_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "r.tsv"
    path.write_text("good one\t1\nbad one\t0\n")
    assert [j.value for j in read(path, header="text,label")] == [1, 0]
    assert [j.value for j in read(f"{path}:header=text+label")] == [1, 0]


def test_tables_in_memory() -> None:
    rows = [
        {"reviewText": "good", "stars": 5},
        {"reviewText": "bad", "stars": 1},
        {"reviewText": "new", "stars": None},
    ]
    expected = [Grade("good", 5, 1, 5), Grade("bad", 1, 1, 5)]
    columns = {"reviewText": ["good", "bad", "new"], "stars": [5, 1, None]}
    sources: list[Any] = [rows, columns, pa.Table.from_pylist(rows)]
    sources.append(pytest.importorskip("pandas").DataFrame(rows))
    sources.append(pytest.importorskip("datasets").Dataset.from_list(rows))
    sources += [pl.DataFrame(rows), pl.DataFrame(rows).lazy()]
    sources += pa.Table.from_pylist(rows).to_batches()
    for source in sources:
        assert read(source) == expected
        assert read(source, text="reviewText", grade="stars") == expected
        assert reported(source).notes == (
            "1 rows are not labelled in column 'stars' and were left out.",
        )
    with pytest.raises(UsageError, match="cannot read a int"):
        read(7)
    with pytest.raises(DataError, match="list:1"):
        read([7])


def test_inspect_shows_examples_and_options(reviews: Path) -> None:
    shown = tm.inspect(reviews)
    assert len(shown.examples) == 3
    lines = str(shown).splitlines()
    assert lines[0].startswith("read as: text=review_text")
    assert any("--prompt-column product" in line for line in lines)
    values = shown.as_dict()
    assert values["roles"] == {"text": "review_text", "grade": "stars"}
    assert values["judgements"] == 3


def changed(source: Path, **settings: Any) -> set[str]:
    """Return the options that `inspect` names."""
    options = set()
    for change in tm.inspect(source, **settings).changes:
        options |= {word for word in change.split(":")[0].split() if "--" in word}
    return options


def test_inspect_names_the_options_about_values(reviews: Path, tmp_path: Path) -> None:
    assert {"--scale", "--header", "--rating-column"} <= changed(reviews)
    labels = write(
        tmp_path / "l.jsonl",
        {"text": "a b c", "label": "good", "other": "b c d e f"},
        {"text": "b c d", "label": "bad", "other": "a b c d e"},
    )
    assert {"--positive", "--order", "--answers"} <= changed(labels)
    assert "--header" not in changed(labels)
    assert "--header" not in changed(
        reviews, header=tuple(REVIEWS.splitlines()[0].split(","))
    )
    answers = {"response_1": "a", "response_2": "b", "label": 1}
    options = changed(write(tmp_path / "a.jsonl", answers, {**answers, "label": 2}))
    assert {"--answers", "--better", "--first", "--tie"} <= options


@pytest.mark.parametrize(
    ("column", "cells", "is_noted"),
    [
        ("remark", ("good", "bad"), True),
        ("verdict", ("yes", "no"), True),
        ("is_correct", (True, False), True),
        ("is_deleted", (True, False), False),
        ("colour", ("red", "blue"), False),
    ],
)
def test_a_left_over_judgement_in_words_is_a_note(
    tmp_path: Path, column: str, cells: tuple[Any, Any], is_noted: bool
) -> None:
    rows = [{"text": "a", "stars": 1, column: cells[0]}]
    rows.append({"text": "b", "stars": 5, column: cells[1]})
    notes = reported(write(tmp_path / "r.jsonl", *rows)).notes
    option = f"--label-column {column}"
    assert any(option in note for note in notes) == is_noted


def test_the_shell_says_what_was_read(run: Any, reviews: Path, tmp_path: Path) -> None:
    code, out, err = run("inspect", reviews, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["unused"] == ["review_id", "product", "date"]
    code, out, err = run("doctor", reviews, "--weight-column", "none")
    assert code == 0
    assert "read as: text=review_text" in err
    code, out, _ = run(
        "split", reviews, "--held-out", 0.34, "--out", tmp_path / "d", "--json"
    )
    assert code == 0
    parts = json.loads(out)
    assert parts["train"]["judgements"] + parts["test"]["judgements"] == 3
    whole = sorted(REVIEWS.splitlines())
    header, *train = (tmp_path / "d" / "train.csv").read_text().splitlines()
    _, *test = (tmp_path / "d" / "test.csv").read_text().splitlines()
    assert sorted([header, *train, *test]) == whole
    assert run("split", tmp_path / "d" / "train.csv", "--out", tmp_path / "d")[0] == 2


def test_the_doctor_compares_labels_with_ratings(tmp_path: Path) -> None:
    rows = [
        {"text": f"text {k}", "label": k % 2, "rating": (k // 2) % 7 + 0.5}
        for k in range(40)
    ]
    diagnosis = tm.doctor(read(write(tmp_path / "r.jsonl", *rows)))
    (problem,) = [p for p in diagnosis.problems if p.name == "columns_disagree"]
    assert problem.severity == "warning"
    assert "--rating-column none" in problem.advice
    agreeing = [{**row, "rating": row["label"] * 3 + 0.5} for row in rows]
    diagnosis = tm.doctor(read(write(tmp_path / "r.jsonl", *agreeing)))
    assert "columns_disagree" not in [p.name for p in diagnosis.problems]


def test_what_score_wrote_is_no_judgement(tmp_path: Path) -> None:
    rows = [
        {
            "text": "a",
            "score": 1.5,
            "truncated": False,
            "rating": 2,
            "rating_truncated": True,
        },
        {
            "text": "b",
            "score": 0.5,
            "truncated": False,
            "rating": 1,
            "rating_truncated": True,
        },
    ]
    path = write(tmp_path / "r.jsonl", *rows)
    with pytest.raises(DataError, match="no column with a judgement"):
        read(path)
    judged = [{**row, "stars": 3, "tastemaker_score": 0.1} for row in rows]
    shown = reported(write(tmp_path / "s.jsonl", *judged))
    assert shown.roles == {"text": "text", "grade": "stars"}
    assert shown.notes == ()


def test_columns_of_polars_and_arrow_of_every_type() -> None:
    """Categories, lists of structs, times and missing cells are read as from a list of dicts."""
    when = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    chat = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    rows = [
        {"messages": chat, "label": "pos", "timestamp": when, "judge": "ann"},
        {"messages": chat, "label": "neg", "timestamp": when, "judge": None},
        {"messages": chat, "label": None, "timestamp": None, "judge": "bob"},
    ]
    frame = pl.DataFrame(rows).with_columns(pl.col("label").cast(pl.Categorical))
    expected = read(rows)
    assert [(one.time, one.judge) for one in expected] == [(when, "ann"), (when, None)]
    assert read(frame) == expected
    assert read(frame.to_arrow()) == expected
    assert read(pa.Table.from_pylist(rows)) == expected


def test_a_second_prompt_is_a_note_that_says_how_to_read_both(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    row = {"context": "A lamp stood there.", "question": "Where?", "answer": "There."}
    path.write_text("\n".join(json.dumps({**row, "label": label}) for label in (0, 1)))
    (note,) = tm.inspect(path).read_as.notes
    assert "column 'context' looks like a prompt" in note
    assert "--prompt-column context+question reads both" in note
    judgements = tm.read(path, prompt="context+question")
    assert judgements[0].prompt == "A lamp stood there.\n\nWhere?"


def test_an_assistants_response_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    rows = [
        {"assistant_response": "a b", "label": 0},
        {"assistant_response": "c", "label": 1},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert tm.inspect(path).read_as.roles["text"] == "assistant_response"


def test_what_a_person_wrote_comes_before_what_a_bot_wrote(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    rows = [
        {"bot_response": "Hello!", "user_feedback": f"Fine {n}.", "rating": n}
        for n in (1, 2)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert tm.inspect(path).read_as.roles["text"] == "user_feedback"
