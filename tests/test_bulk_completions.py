"""Files of prompts → files of completions: columns kept, never half-written, any chunk size."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tastemaker.bulk import Written, complete_file
from tastemaker.data import Message, Prompt
from tastemaker.errors import DataError, InputError, TrainingError, UsageError

PROMPTS = ["The film", "这部电影", 'a "b", c']


def numbered(prompts: Sequence[Prompt], first: int) -> list[list[Written]]:
    """Two completions of each prompt that tell its number."""
    return [
        [Written(f"{prompt}/{number}/{sample}", "end", -1.5) for sample in range(2)]
        for number, prompt in enumerate(prompts, first)
    ]


def failing(_prompts: Sequence[Prompt], first: int) -> list[list[Written]]:
    if first >= 1:
        raise TrainingError("the second chunk fails.")
    return numbered(_prompts, first)


def json_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": number, "prompt": prompt} for number, prompt in enumerate(PROMPTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def expected_rows() -> list[dict[str, Any]]:
    return [
        {
            "id": n,
            "prompt": p,
            "completion": f"{p}/{n}/{s}",
            "ended": "end",
            "log_prob": -1.5,
        }
        for n, p in enumerate(PROMPTS)
        for s in range(2)
    ]


def test_every_completion_is_a_row_with_its_prompts_columns(source, tmp_path):
    done = complete_file(numbered, source, tmp_path / "out.jsonl")
    assert json_rows(tmp_path / "out.jsonl") == expected_rows()
    assert done == [Written("", "end", -1.5)] * 6


@pytest.mark.parametrize("chunk", [1, 2, 3, 64])
def test_prompts_keep_their_numbers_whatever_the_chunks(source, tmp_path, chunk):
    complete_file(numbered, source, tmp_path / "out.jsonl", chunk=chunk)
    assert json_rows(tmp_path / "out.jsonl") == expected_rows()


@pytest.mark.parametrize(
    ("name", "delimiter"), [("out.csv", ","), ("out.tsv", "\t"), ("out.csv.gz", ",")]
)
def test_tables_hold_the_same(source, tmp_path, name, delimiter):
    complete_file(numbered, source, tmp_path / name)
    opener = gzip.open if name.endswith(".gz") else Path.open
    with opener(tmp_path / name, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=delimiter))
    assert list(rows[0])[:5] == ["id", "prompt", "completion", "ended", "log_prob"]
    assert [{k: row[k] for k in ("prompt", "completion", "ended")} for row in rows] == [
        {k: row[k] for k in ("prompt", "completion", "ended")}
        for row in expected_rows()
    ]


def test_prompts_come_from_text_csv_and_parquet_files_alike(tmp_path):
    (tmp_path / "a.txt").write_text(
        "".join(prompt + "\n" for prompt in PROMPTS) + "\n", encoding="utf-8"
    )
    with (tmp_path / "b.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["prompt"], *([prompt] for prompt in PROMPTS)])
    pq.write_table(pa.table({"prompt": PROMPTS}), tmp_path / "c.parquet")
    expected = [{k: v for k, v in row.items() if k != "id"} for row in expected_rows()]
    for name in ("a.txt", "b.csv", "c.parquet"):
        complete_file(numbered, tmp_path / name, tmp_path / "out.jsonl", chunk=2)
        assert json_rows(tmp_path / "out.jsonl") == expected


@pytest.mark.parametrize("name", ["p.txt", "p.jsonl"])
def test_prompts_of_text_can_be_what_a_user_says(tmp_path, name):
    text = "Good?\n" if name == "p.txt" else '{"prompt": "Good?"}\n'
    (tmp_path / name).write_text(text)
    asked: list[Prompt] = []

    def ask(prompts: Sequence[Prompt], _first: int) -> list[list[Written]]:
        asked.extend(prompts)
        return [[Written("x", "end", 0.0)] for _ in prompts]

    complete_file(ask, tmp_path / name, tmp_path / "out.jsonl", chat=True)
    complete_file(ask, tmp_path / name, tmp_path / "out.jsonl")
    assert asked == [(Message("user", "Good?"),), "Good?"]
    assert json_rows(tmp_path / "out.jsonl")[0]["prompt"] == "Good?"


def test_scores_are_written_where_there_are_any(source, tmp_path):
    def scored(prompts: Sequence[Prompt], _first: int) -> list[list[Written]]:
        return [
            [Written("x", "end", 0.0, 1.25), Written("", "end", 0.0, float("-inf"))]
            for _ in prompts
        ]

    complete_file(scored, source, tmp_path / "out.jsonl", is_scored=True)
    rows = json_rows(tmp_path / "out.jsonl")
    assert rows[0]["score"] == 1.25
    assert "Infinity" not in (tmp_path / "out.jsonl").read_text()  # which is no JSON
    assert "score" not in rows[1]


def test_a_column_can_be_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "no", "question": "yes"}\n')
    complete_file(
        numbered, tmp_path / "a.jsonl", tmp_path / "out.jsonl", prompt_column="question"
    )
    assert json_rows(tmp_path / "out.jsonl")[0]["completion"] == "yes/0/0"


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        (
            '{"colour": "red"}',
            None,
            "no column of prompts among colour. Name it: --prompt-column.",
        ),
        ('{"prompt": "a"}', "question", "no column 'question'"),
        (
            '{"prompt": "a", "completion": "b"}',
            None,
            "there is a column 'completion' already",
        ),
        (
            '{"prompt": "a"}\n{"prompt": "a", "ended": "b"}',
            None,
            "there is a column 'ended' already",
        ),
        ('{"prompt": 3}', None, "a.jsonl:1"),
        ('{"prompt": "a"}\n{"prompt": ', None, "a.jsonl:2"),
        ("", None, "a.jsonl: the file is empty"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_nothing_is_written(
    tmp_path, content, column, message
):
    (tmp_path / "a.jsonl").write_text(content + "\n" if content else "")
    (tmp_path / "out.jsonl").write_text("older\n")
    with pytest.raises(InputError) as caught:
        complete_file(
            numbered, tmp_path / "a.jsonl", tmp_path / "out.jsonl", prompt_column=column
        )
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "out.jsonl").read_text() == "older\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_text_file_writes_nothing(tmp_path):
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(DataError, match=r"a\.txt: no prompts"):
        complete_file(numbered, tmp_path / "a.txt", tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("name", ["out.parquet", "out.txt"])
def test_a_target_of_another_kind_is_refused(source, tmp_path, name):
    with pytest.raises(InputError, match=r"out\."):
        complete_file(numbered, source, tmp_path / name)
    assert not (tmp_path / name).exists()
    if name == "out.parquet":
        with pytest.raises(UsageError, match="JSONL, CSV or TSV"):
            complete_file(numbered, source, tmp_path / name)


def test_a_failure_in_the_middle_leaves_the_target_as_it_was(source, tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("older\n")
    with pytest.raises(TrainingError):
        complete_file(failing, source, target, chunk=1)
    assert target.read_text() == "older\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out.jsonl",
        "prompts.jsonl",
    ]


def test_a_row_without_a_prompt_begins_a_text(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a"}\n{"prompt": null}\n')
    complete_file(numbered, tmp_path / "a.jsonl", tmp_path / "out.jsonl")
    assert [row["completion"] for row in json_rows(tmp_path / "out.jsonl")] == [
        "a/0/0",
        "a/0/1",
        "/1/0",
        "/1/1",
    ]


def test_a_prompt_may_be_a_chat(tmp_path: Path) -> None:
    asked: list[Prompt] = []

    def keep(prompts: Sequence[Prompt], first: int) -> list[list[Written]]:
        asked.extend(prompts)
        return numbered(prompts, first)

    turns = [{"role": "user", "content": "The acting"}]
    path = tmp_path / "chats.jsonl"
    rows = [{"prompt": turns}, {"prompt": json.dumps(turns)}, {"prompt": "Plain"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    complete_file(keep, path, tmp_path / "out.jsonl")
    assert asked == [(Message("user", "The acting"),)] * 2 + ["Plain"]


MADE_OF_COLUMNS: list[tuple[dict[str, Any], Any, dict[str, str]]] = [
    (
        {"instruction": "Sum up.", "input": "A film."},
        "Sum up.\n\nA film.",
        {"prompt": "instruction+input"},
    ),
    (
        {"question": "Why?", "system": "Be brief.", "id": 7},
        (Message("system", "Be brief."), Message("user", "Why?")),
        {"prompt": "question", "system": "system"},
    ),
    (
        {"query": "And now?", "history": [["Hi", "Hello."]]},
        (
            Message("user", "Hi"),
            Message("assistant", "Hello."),
            Message("user", "And now?"),
        ),
        {"prompt": "query", "history": "history"},
    ),
    ({"text": "A warm"}, "A warm", {"prompt": "text"}),
]


@pytest.mark.parametrize("name", ["question", "Question"])
def test_a_named_column_is_all_of_the_prompt(tmp_path: Path, name: str) -> None:
    """A policy without a chat template needs a prompt without `system` and `history`."""
    row = {"question": "Why?", "system": "Be brief.", "history": [["Hi", "Hello."]]}
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")
    asked: list[Any] = []

    def keep(prompts: Sequence[Prompt], first: int) -> list[list[Written]]:
        asked.extend(prompts)
        return numbered(["p"], first)

    out = tmp_path / "out.jsonl"
    complete_file(keep, tmp_path / "p.jsonl", out, prompt_column=name)
    assert asked == ["Why?"]


@pytest.mark.parametrize(("row", "prompt", "roles"), MADE_OF_COLUMNS)
def test_a_prompt_is_made_of_columns_as_in_a_fit(
    tmp_path: Path, row: dict[str, Any], prompt: Any, roles: dict[str, str]
) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")
    asked: list[Any] = []
    read_as: list[Any] = []

    def keep(prompts: Sequence[Prompt], first: int) -> list[list[Written]]:
        asked.extend(prompts)
        return numbered(["p"], first)

    complete_file(
        keep,
        tmp_path / "p.jsonl",
        tmp_path / "out.jsonl",
        say_read_as=read_as.append,
    )
    assert asked == [prompt]
    assert read_as[0].roles == roles
    assert (
        json_rows(tmp_path / "out.jsonl")[0] | row
        == json_rows(tmp_path / "out.jsonl")[0]
    )


def test_prompts_take_a_history_that_only_late_rows_have(tmp_path: Path) -> None:
    asked: list[Any] = []

    def keep(prompts: Sequence[Prompt], first: int) -> list[list[Written]]:
        asked.extend(prompts)
        return numbered(prompts, first)

    early = {"query": "Who?", "history": []}
    late = {"query": "And now?", "history": [["Hi", "Hello."]]}
    path = tmp_path / "p.jsonl"
    rows = [early] * 120 + [late]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    complete_file(keep, path, tmp_path / "out.jsonl")
    assert asked[-1][:2] == (Message("user", "Hi"), Message("assistant", "Hello."))
