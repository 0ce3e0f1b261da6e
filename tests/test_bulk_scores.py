"""Files and lines → scores: formats, and errors that name the row and leave no file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scored import ROWS, VALUES, Lengths, names, read_csv, read_jsonl, write_jsonl

from tastemaker.bulk import Written, complete_file, score_file
from tastemaker.bulk_lines import LineScore, score_lines
from tastemaker.data import Example, Message
from tastemaker.errors import DataError, StorageError, UsageError
from tastemaker.scores import Scores


@pytest.fixture
def model() -> Lengths:
    return Lengths()


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 100])
def test_the_chunk_changes_nothing(
    model: Lengths, tmp_path: Path, suffix: str, chunk: int
) -> None:
    first = write_jsonl(tmp_path / "in.jsonl", ROWS[:1] * 3 + ROWS[1:])
    score_file(
        model,
        first,
        tmp_path / f"in.{suffix}" if suffix != "jsonl" else tmp_path / "copy.jsonl",
    )
    source = first if suffix == "jsonl" else tmp_path / f"in.{suffix}"
    model.calls.clear()
    score_file(model, source, tmp_path / "out.jsonl", chunk=chunk, score_column="s")
    assert [len(call) for call in model.calls] == [
        min(chunk, 5 - done) for done in range(0, 5, chunk)
    ]
    assert [row["s"] for row in read_jsonl(tmp_path / "out.jsonl")] == VALUES[
        :1
    ] * 3 + VALUES[1:]


def test_columns_can_be_named(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(
        tmp_path / "in.jsonl",
        [{"q": "ab", "a": "abcde", "text": "not this"}, {"a": "abc", "text": ""}],
    )
    score_file(
        model,
        source,
        tmp_path / "out.jsonl",
        text_column="a",
        prompt_column="q",
        precision="fast",
    )
    assert model.calls == [[Example("abcde", "ab"), Example("abc")]]
    assert model.precisions == ["fast"]
    assert [row["score"] for row in read_jsonl(tmp_path / "out.jsonl")] == [1.0, 1.0]


def test_a_source_may_name_its_columns(model: Lengths, tmp_path: Path) -> None:
    rows = [{"q": "ab", "s": "be brief", "a": "abcde", "text": "not this"}]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    described = Path(f"{source}:text=a,prompt=q,system=s")
    score_file(model, described, tmp_path / "out.jsonl")
    chat = (Message("system", "be brief"), Message("user", "ab"))
    assert model.calls == [[Example("abcde", chat)]]
    with pytest.raises(UsageError, match="grade is about judgements"):
        score_file(model, Path(f"{source}:grade=a"), tmp_path / "out.jsonl")


def test_a_file_of_prompts_may_name_its_column(tmp_path: Path) -> None:
    rows = [{"prompt": "not this", "ask": "How was it?"}]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    asked: list[Any] = []

    def complete(prompts: Sequence[Any], first: int) -> list[list[Written]]:
        asked.extend(prompts)
        return [[] for _ in prompts]

    complete_file(complete, Path(f"{source}:prompt=ask"), tmp_path / "out.jsonl")
    assert asked == ["How was it?"]


def test_prompts_are_recognised_as_in_fitting(model: Lengths, tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"Prompt": ["a film", None], "review": ["good", "bad"]}),
        tmp_path / "in.parquet",
    )
    score_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert model.calls == [[Example("good", "a film"), Example("bad")]]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_score_column_is_not_overwritten(
    model: Lengths, tmp_path: Path, suffix: str
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a", "id": 1}])
    scored = tmp_path / f"scored.{suffix}"
    score_file(model, source, scored)
    model.calls.clear()
    with pytest.raises(
        UsageError,
        match=rf"scored\.{suffix}: .*'score'.*--score-column",
    ):
        score_file(model, scored, tmp_path / "out.csv")
    with pytest.raises(UsageError, match="'id'"):
        score_file(model, scored, tmp_path / "out.csv", score_column="id")
    assert model.calls == []
    score_file(model, scored, tmp_path / "out.csv", score_column="second")
    assert list(read_csv(tmp_path / "out.csv")[0])[-4:] == [
        "score",
        "truncated",
        "second",
        "second_truncated",
    ]


BAD_TEXTS = [
    ("", "is empty"),
    (" \n", "is empty"),
    (None, "no text.*'text'"),
    (7, r"holds 7 \(int\)"),
]


@pytest.mark.parametrize(("text", "message"), BAD_TEXTS)
def test_a_bad_text_is_named_before_anything_is_scored(
    model: Lengths, tmp_path: Path, text: Any, message: str
) -> None:
    source = write_jsonl(
        tmp_path / "in.jsonl", [{"text": "a"}] * 5000 + [{"text": text}]
    )
    (tmp_path / "out.jsonl").write_text("older")
    with pytest.raises(DataError, match=rf"in\.jsonl:5001: .*{message}"):
        score_file(model, source, tmp_path / "out.jsonl", chunk=10)
    assert model.calls == []
    assert (tmp_path / "out.jsonl").read_text() == "older"
    assert names(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_a_missing_text_is_named(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}, {"id": 1}])
    with pytest.raises(DataError, match=r"in\.jsonl:2: .*'text'"):
        score_file(model, source, tmp_path / "out.jsonl")
    (tmp_path / "in.csv").write_text('text,id\n"two\nlines",1\n,2\n')
    with pytest.raises(DataError, match=r"in\.csv:4: .*'text'"):
        score_file(model, tmp_path / "in.csv", tmp_path / "out.jsonl")
    pq.write_table(
        pa.table({"id": range(3000), "text": ["a"] * 2999 + [None]}),
        tmp_path / "in.parquet",
    )
    with pytest.raises(DataError, match=r"in\.parquet:3000: .*'text'"):
        score_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert model.calls == []


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_an_unknown_column_is_named(
    model: Lengths, tmp_path: Path, suffix: str
) -> None:
    source = tmp_path / f"in.{suffix}"
    score_file(
        model,
        write_jsonl(tmp_path / "first.jsonl", [{"text": "a"}]),
        source,
        score_column="s",
    )
    for column in ({"text_column": "txt"}, {"prompt_column": "txt"}):
        with pytest.raises(
            DataError,
            match=rf"in\.{suffix}: .*'txt'.*'text', 's'",
        ):
            score_file(model, source, tmp_path / "out.jsonl", **column)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.jsonl", b"", r"in\.jsonl: .*empty"),
        ("in.jsonl", b"\n\n", "no rows"),
        ("in.csv", b"text,id\n", "no rows"),
        ("in.csv", b"text\ngood\n\xff\n", r"UTF-8.*\bbyte 10\b"),
        ("in.jsonl", b'{"text": "a"}\n{"text"\n', r"in\.jsonl:2: .*JSON"),
        ("in.parquet", b"PAR1 and nothing more", r"in\.parquet: .*Parquet"),
        ("in.txt", b"good\n", r"in\.txt: "),
    ],
)
def test_an_unreadable_source(
    model: Lengths, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        score_file(model, tmp_path / name, tmp_path / "out.jsonl")
    assert names(tmp_path) == [name]


def test_a_cut_parquet_file(model: Lengths, tmp_path: Path) -> None:
    """The footer is whole but a page in the middle is not."""
    path = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"text": [f"text {i}" for i in range(10_000)]}),
        path,
        compression="zstd",
    )
    damaged = bytearray(path.read_bytes())
    damaged[1000:20_000] = bytes(19_000)
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"in\.parquet: .*Parquet.*\brow \d+"):
        score_file(model, path, tmp_path / "out.parquet")
    assert names(tmp_path) == ["in.parquet"]


def test_a_missing_source_and_an_unknown_target(model: Lengths, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in\.csv: no such"):
        score_file(model, tmp_path / "in.csv", tmp_path / "out.csv")
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
    with pytest.raises(DataError, match=r"out\.xlsx: "):
        score_file(model, source, tmp_path / "out.xlsx")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(StorageError, match=r"folder\.csv: "):
        score_file(model, source, tmp_path / "folder.csv")
    assert names(tmp_path) == ["folder.csv", "in.jsonl"]


def test_a_model_that_fails_midway_leaves_the_old_file(tmp_path: Path) -> None:
    class Failing(Lengths):
        def score_all(
            self, examples: Sequence[Example], *, precision: str = "float32"
        ) -> Scores:
            if len(self.calls) == 2:
                raise RuntimeError("out of memory")
            return super().score_all(examples, precision=precision)

    source, target = (
        write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}] * 10),
        tmp_path / "out.parquet",
    )
    target.write_text("older")
    with pytest.raises(RuntimeError, match="out of memory"):
        score_file(Failing(), source, target, chunk=2)
    assert target.read_text() == "older"
    assert names(tmp_path) == ["in.jsonl", "out.parquet"]


def test_a_file_may_be_scored_into_itself(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS)
    score_file(model, source, source)
    assert [row["score"] for row in read_jsonl(source)] == VALUES


def test_lines_are_scored_in_order(model: Lengths) -> None:
    lines = ["good\n", "a longer line than the others\r\n", " bad"]
    expected = [
        LineScore("good", 4 / 3, False),
        LineScore("a longer line than the others", 29 / 3, True),
    ]
    assert list(score_lines(model, lines, precision="fast")) == [
        *expected,
        LineScore(" bad", 4 / 3, False),
    ]
    assert model.precisions == ["fast"]
    assert list(score_lines(model, [])) == []


def test_lines_are_scored_as_they_come(model: Lengths) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "again\n"

    scores = score_lines(model, endless(), chunk=5)
    assert [next(scores).score for _ in range(7)] == [5 / 3] * 7
    assert read == 10


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("\n", "standard input:4: .*empty"),
        ("\udcff\n", "standard input:4: .*UTF-8"),
    ],
)
def test_the_lines_before_a_bad_one_are_scored(
    model: Lengths, bad: str, message: str
) -> None:
    scores = score_lines(model, ["a\n", "b\n", "c\n", bad, "d\n"], chunk=2)
    assert [next(scores).text for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(DataError, match=message):
        next(scores)


def test_standard_input_that_is_not_utf8(model: Lengths, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes(b"good\nbad \xff\n")
    with (
        (tmp_path / "lines.txt").open(encoding="utf-8") as file,
        pytest.raises(DataError, match=r"standard input: .*UTF-8"),
    ):
        list(score_lines(model, file))


def test_a_chat_is_a_prompt_and_an_answer(model: Lengths, tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Q"}]
    rows = [
        {"prompt": asked, "response": "good"},
        {"prompt": asked, "response": [{"role": "assistant", "content": "bad"}]},
        {"prompt": str(asked), "response": "so so"},
    ]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    score_file(model, source, tmp_path / "out.jsonl")
    prompt = (Message("user", "Q"),)
    texts = ["good", "bad", "so so"]
    assert model.calls == [[Example(text, prompt) for text in texts]]
