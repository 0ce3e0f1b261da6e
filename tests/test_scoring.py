"""Files in, files out: order, columns, types and formats are kept; what is unfit is named and leaves nothing behind."""

import csv
import datetime
import decimal
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data import writers
from tastemaker.data.judgements import Example
from tastemaker.errors import DataError, StorageError, UsageError
from tastemaker.models.scores import Scores
from tastemaker.scoring import FileScores, LineScore, score_file, score_lines


class Lengths:
    """Scores a text by a third of its length, the prompt's subtracted; cut above 20 characters. Remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[list[Example]] = []
        self.precisions: list[str] = []

    def score_all(self, examples: Sequence[Example], *, precision: str = "float32") -> Scores:
        self.calls.append(list(examples))
        self.precisions.append(precision)
        values = [(len(e.text) - len(e.prompt or "")) / 3 for e in examples]
        return Scores(np.array(values), np.array([len(e.text) > 20 for e in examples]))


@pytest.fixture
def model() -> Lengths:
    return Lengths()


ROWS: list[dict[str, Any]] = [
    {"id": 1, "text": "good", "tags": ["a", "b"]},
    {"id": 2, "text": "a longer text than the others", "tags": []},
    {"id": 3, "text": 'very "bad",\r\n\ttruly\r电影', "tags": ["c"]},
]
VALUES = [len(row["text"]) / 3 for row in ROWS]


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_jsonl_keeps_rows_columns_and_order(model: Lengths, tmp_path: Path) -> None:
    source, target = write_jsonl(tmp_path / "in.jsonl", ROWS), tmp_path / "new" / "out.jsonl"
    assert score_file(model, source, target) == FileScores(rows=3, truncated=2)
    cuts = (False, True, True)
    expected = [{**row, "score": v, "truncated": t} for row, v, t in zip(ROWS, VALUES, cuts, strict=True)]
    assert read_jsonl(target) == expected
    assert [list(row) for row in read_jsonl(target)] == [["id", "text", "tags", "score", "truncated"]] * 3
    assert "电影" in target.read_text(encoding="utf-8")
    assert names(tmp_path / "new") == ["out.jsonl"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet", "jsonl.gz", "csv.gz"])
@pytest.mark.parametrize("source_suffix", ["jsonl", "csv", "tsv", "parquet", "jsonl.gz"])
def test_every_format_becomes_every_other(model: Lengths, tmp_path: Path, source_suffix: str, suffix: str) -> None:
    """Through any format and back to JSONL, with another score column, the texts and scores are the same."""
    rows = [{"text": row["text"], "note": row["text"][::-1]} for row in ROWS]
    first = write_jsonl(tmp_path / "first.jsonl", rows)
    source, target, last = (tmp_path / n for n in (f"in.{source_suffix}", f"out.{suffix}", "last.jsonl"))
    score_file(model, first, source)
    score_file(model, source, target, score_column="again")
    score_file(model, target, last, score_column="last")
    found = read_jsonl(last)
    assert [{"text": row["text"], "note": row["note"]} for row in found] == rows
    for column in ("score", "again", "last"):
        assert [float(row[column]) for row in found] == VALUES  # every digit of a float64, through CSV too
        truncated = "truncated" if column == "score" else f"{column}_truncated"
        assert [str(row[truncated]).lower() for row in found] == ["false", "true", "true"]


def test_csv_cells_stay_as_they_were(model: Lengths, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text('id,text,price\n007,good,1.50\n"8 ","so, so",\n', encoding="utf-8")
    score_file(model, source, target)
    expected = f'id,text,price,score,truncated\n007,good,1.50,{4 / 3!r},false\n8 ,"so, so",,2.0,false\n'
    assert target.read_text(encoding="utf-8") == expected


def test_parquet_keeps_every_type(model: Lengths, tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["good", "bad", "so so"], pa.large_string()),
        "small": pa.array([1, None, 3], pa.int8()),
        "when": pa.array([1, 2, 3], pa.timestamp("ns", tz="UTC")),
        "price": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("3.30")], pa.decimal128(5, 2)),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "raw": pa.array([b"\xff", b"", None], pa.binary()),
        "nested": pa.array([{"a": [1, 2]}, {"a": []}, None], pa.struct([("a", pa.list_(pa.int16()))])),
        "nan": pa.array([float("nan"), 1.0, None], pa.float32()),
    }
    table = pa.table(columns).replace_schema_metadata({"made by": "a test"})
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    assert score_file(model, source, target, chunk=2) == FileScores(3, 0)
    found = pq.read_table(target)
    original = pq.read_table(source)
    assert found.schema.names == [*columns, "score", "truncated"]
    assert found.drop_columns(["score", "truncated"]).schema == original.schema
    assert found.schema.metadata[b"made by"] == b"a test"
    for name in [name for name in columns if name != "nan"]:
        assert found[name].equals(original[name]), name
    assert np.isnan(found["nan"][0].as_py())
    assert found.schema.field("score").type == pa.float64()
    assert found.schema.field("truncated").type == pa.bool_()
    assert found["score"].to_pylist() == [4 / 3, 1.0, 5 / 3]


def test_parquet_dates_and_decimals_become_text_in_jsonl_and_csv(model: Lengths, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    columns = {"text": ["good"], "day": [datetime.date(2026, 1, 31)], "price": [decimal.Decimal("1.10")], "ok": [True]}
    pq.write_table(pa.table(columns), source)
    score_file(model, source, tmp_path / "out.jsonl")
    expected = {"text": "good", "day": "2026-01-31", "price": "1.10", "ok": True, "score": 4 / 3, "truncated": False}
    assert read_jsonl(tmp_path / "out.jsonl") == [expected]
    score_file(model, source, tmp_path / "out.csv")
    assert read_csv(tmp_path / "out.csv")[0]["day"] == "2026-01-31"
    assert read_csv(tmp_path / "out.csv")[0]["ok"] == "true"


def test_jsonl_with_ragged_rows_fills_the_gaps(model: Lengths, tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": "b", "n": None}, {"late": [1], "text": "c", "n": 1}, {"text": "d", "n": 0.5}]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    score_file(model, source, tmp_path / "out.csv", chunk=1)
    assert list(read_csv(tmp_path / "out.csv")[0]) == ["text", "n", "late", "score", "truncated"]
    assert [row["n"] for row in read_csv(tmp_path / "out.csv")] == ["", "", "1", "0.5"]
    assert [row["late"] for row in read_csv(tmp_path / "out.csv")] == ["", "", "[1]", ""]
    score_file(model, source, tmp_path / "out.parquet", chunk=1)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["n"].to_pylist() == [None, None, 1.0, 0.5]  # whole and broken numbers: float64
    assert found["late"].to_pylist() == [None, None, [1], None]
    score_file(model, source, tmp_path / "out.jsonl")
    assert list(read_jsonl(tmp_path / "out.jsonl")[0]) == ["text", "score", "truncated"]  # JSONL keeps its gaps


def test_jsonl_values_without_a_common_type_do_not_fit_parquet(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a", "x": 1}, {"text": "b", "x": "one"}])
    with pytest.raises(
        DataError, match=r"in\.jsonl, before row 3: cannot be written as PARQUET .*Choose another format"
    ):
        score_file(model, source, tmp_path / "out.parquet")
    assert model.calls == []
    assert names(tmp_path) == ["in.jsonl"]
    assert score_file(model, source, tmp_path / "out.csv").rows == 2


def test_bytes_do_not_fit_jsonl(model: Lengths, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "raw": [b"\xff"]}), tmp_path / "in.parquet")
    for suffix in ("jsonl", "csv"):
        with pytest.raises(
            DataError, match=rf"rows 1 to 1: cannot be written as {suffix.upper()} \(a column holds bytes\)"
        ):
            score_file(model, tmp_path / "in.parquet", tmp_path / f"out.{suffix}")
    assert names(tmp_path) == ["in.parquet"]


def test_half_a_surrogate_pair_beside_the_text_survives_jsonl(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a", "note": "\ud800"}])
    score_file(model, source, tmp_path / "out.jsonl")
    assert read_jsonl(tmp_path / "out.jsonl")[0]["note"] == "\ud800"
    for suffix in ("csv", "parquet"):
        with pytest.raises(DataError, match="cannot be written as"):
            score_file(model, source, tmp_path / f"out.{suffix}")
    assert names(tmp_path) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 100])
def test_the_chunk_changes_nothing(model: Lengths, tmp_path: Path, suffix: str, chunk: int) -> None:
    first = write_jsonl(tmp_path / "in.jsonl", ROWS[:1] * 3 + ROWS[1:])
    score_file(model, first, tmp_path / f"in.{suffix}" if suffix != "jsonl" else tmp_path / "copy.jsonl")
    source = first if suffix == "jsonl" else tmp_path / f"in.{suffix}"
    model.calls.clear()
    score_file(model, source, tmp_path / "out.jsonl", chunk=chunk, score_column="s")
    assert [len(call) for call in model.calls] == [min(chunk, 5 - done) for done in range(0, 5, chunk)]
    assert [row["s"] for row in read_jsonl(tmp_path / "out.jsonl")] == VALUES[:1] * 3 + VALUES[1:]


def test_parquet_rows_are_gathered_into_groups(model: Lengths, tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": ["x" * 1000] * 20_000}), source)
    score_file(model, source, target, chunk=100)
    groups = pq.ParquetFile(target).metadata
    assert groups.num_rows == 20_000
    assert groups.num_row_groups == 3  # 20 MB of text in groups of a little over 8 MiB, not one for every chunk


@settings(deadline=None)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=1, max_size=8))
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, suffix: str, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    source = write_jsonl(folder / "in.jsonl", [{"text": text} for text in texts])
    score_file(Lengths(), source, folder / f"out.{suffix}", chunk=3)
    again = Lengths()
    score_file(again, folder / f"out.{suffix}", folder / "last.jsonl", score_column="again")
    assert [example.text for call in again.calls for example in call] == texts


def test_columns_can_be_named(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(
        tmp_path / "in.jsonl", [{"q": "ab", "a": "abcde", "text": "not this"}, {"a": "abc", "text": ""}]
    )
    score_file(model, source, tmp_path / "out.jsonl", text_column="a", prompt_column="q", precision="fast")
    assert model.calls == [[Example("abcde", "ab"), Example("abc")]]
    assert model.precisions == ["fast"]
    assert [row["score"] for row in read_jsonl(tmp_path / "out.jsonl")] == [1.0, 1.0]


def test_prompts_are_recognised_as_in_fitting(model: Lengths, tmp_path: Path) -> None:
    pq.write_table(pa.table({"Prompt": ["a film", None], "review": ["good", "bad"]}), tmp_path / "in.parquet")
    score_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert model.calls == [[Example("good", "a film"), Example("bad")]]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_score_column_is_not_overwritten(model: Lengths, tmp_path: Path, suffix: str) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a", "id": 1}])
    scored = tmp_path / f"scored.{suffix}"
    score_file(model, source, scored)
    model.calls.clear()
    with pytest.raises(UsageError, match=rf"scored\.{suffix}: there is a column 'score' already.*--score-column"):
        score_file(model, scored, tmp_path / "out.csv")
    with pytest.raises(UsageError, match=r"there is a column 'id' already"):
        score_file(model, scored, tmp_path / "out.csv", score_column="id")
    assert model.calls == []
    score_file(model, scored, tmp_path / "out.csv", score_column="second")
    assert list(read_csv(tmp_path / "out.csv")[0])[-4:] == ["score", "truncated", "second", "second_truncated"]


BAD_TEXTS = [("", "is empty"), (" \n", "is empty"), (None, "no text in column 'text'"), (7, r"holds 7 \(int\)")]


@pytest.mark.parametrize(("text", "said"), BAD_TEXTS)
def test_a_bad_text_is_named_before_anything_is_scored(model: Lengths, tmp_path: Path, text: Any, said: str) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}] * 5000 + [{"text": text}])
    (tmp_path / "out.jsonl").write_text("older")
    with pytest.raises(DataError, match=rf"in\.jsonl:5001: .*{said}"):
        score_file(model, source, tmp_path / "out.jsonl", chunk=10)
    assert model.calls == []
    assert (tmp_path / "out.jsonl").read_text() == "older"
    assert names(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_a_missing_text_is_named(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}, {"id": 1}])
    with pytest.raises(DataError, match=r"in\.jsonl:2: no text in column 'text'"):
        score_file(model, source, tmp_path / "out.jsonl")
    (tmp_path / "in.csv").write_text('text,id\n"two\nlines",1\n,2\n')
    with pytest.raises(DataError, match=r"in\.csv:4: the text in column 'text' is empty"):
        score_file(model, tmp_path / "in.csv", tmp_path / "out.jsonl")
    pq.write_table(pa.table({"id": range(3000), "text": ["a"] * 2999 + [None]}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match=r"in\.parquet:3000: no text in column 'text'"):
        score_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    assert model.calls == []


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_an_unknown_column_is_named(model: Lengths, tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"in.{suffix}"
    score_file(model, write_jsonl(tmp_path / "first.jsonl", [{"text": "a"}]), source, score_column="s")
    for column in ({"text_column": "txt"}, {"prompt_column": "txt"}):
        with pytest.raises(DataError, match=rf"in\.{suffix}: no column 'txt'\. The columns are 'text', 's'"):
            score_file(model, source, tmp_path / "out.jsonl", **column)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.jsonl", b"", "the file is empty"),
        ("in.jsonl", b"\n\n", "no rows"),
        ("in.csv", b"text,id\n", "no rows"),
        ("in.csv", b"text\ngood\n\xff\n", "not UTF-8 at byte 10"),
        ("in.jsonl", b'{"text": "a"}\n{"text"\n', r"in\.jsonl:2: not JSON"),
        ("in.parquet", b"PAR1 and nothing more", "cannot be read as Parquet"),
        ("in.txt", b"good\n", "what kind of file is this"),
    ],
)
def test_an_unreadable_source(model: Lengths, tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said):
        score_file(model, tmp_path / name, tmp_path / "out.jsonl")
    assert names(tmp_path) == [name]


def test_a_cut_parquet_file(model: Lengths, tmp_path: Path) -> None:
    """The footer is whole but a page in the middle is not."""
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" for i in range(10_000)]}), path, compression="zstd")
    damaged = bytearray(path.read_bytes())
    damaged[1000:20_000] = bytes(19_000)
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"in\.parquet: cannot be read as Parquet after row \d+"):
        score_file(model, path, tmp_path / "out.parquet")
    assert names(tmp_path) == ["in.parquet"]


def test_a_missing_source_and_an_unknown_target(model: Lengths, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        score_file(model, tmp_path / "in.csv", tmp_path / "out.csv")
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}])
    with pytest.raises(DataError, match=r"out\.xlsx: what kind of file is this"):
        score_file(model, source, tmp_path / "out.xlsx")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(StorageError, match=r"folder\.csv: cannot write"):
        score_file(model, source, tmp_path / "folder.csv")
    assert names(tmp_path) == ["folder.csv", "in.jsonl"]


def test_a_model_that_fails_midway_leaves_the_old_file(tmp_path: Path) -> None:
    class Failing(Lengths):
        def score_all(self, examples: Sequence[Example], *, precision: str = "float32") -> Scores:
            if len(self.calls) == 2:
                raise RuntimeError("out of memory")
            return super().score_all(examples, precision=precision)

    source, target = write_jsonl(tmp_path / "in.jsonl", [{"text": "a"}] * 10), tmp_path / "out.parquet"
    target.write_text("older")
    with pytest.raises(RuntimeError, match="out of memory"):
        score_file(Failing(), source, target, chunk=2)
    assert target.read_text() == "older"
    assert names(tmp_path) == ["in.jsonl", "out.parquet"]


def test_a_file_may_be_scored_into_itself(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS)
    score_file(model, source, source)
    assert [row["score"] for row in read_jsonl(source)] == VALUES


def test_packed_files_are_the_same_bytes_every_time(model: Lengths, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS)
    score_file(model, source, tmp_path / "a.jsonl.gz")
    score_file(model, source, tmp_path / "b.jsonl.gz")
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).count(b"\n") == 3


def test_lines_are_scored_in_order(model: Lengths) -> None:
    lines = ["good\n", "a longer line than the others\r\n", " bad"]
    expected = [LineScore("good", 4 / 3, False), LineScore("a longer line than the others", 29 / 3, True)]
    assert list(score_lines(model, lines, precision="fast")) == [*expected, LineScore(" bad", 4 / 3, False)]
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
    ("bad", "said"), [("\n", "standard input:4: the line is empty"), ("\udcff\n", "standard input:4: not UTF-8")]
)
def test_the_lines_before_a_bad_one_are_scored(model: Lengths, bad: str, said: str) -> None:
    scores = score_lines(model, ["a\n", "b\n", "c\n", bad, "d\n"], chunk=2)
    assert [next(scores).text for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(DataError, match=said):
        next(scores)


def test_standard_input_that_is_not_utf8(model: Lengths, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes(b"good\nbad \xff\n")
    with (
        (tmp_path / "lines.txt").open(encoding="utf-8") as file,
        pytest.raises(DataError, match="not UTF-8 after line"),
    ):
        list(score_lines(model, file))


def test_a_parquet_file_is_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "_ROW_GROUP", 0)  # nothing is gathered, so what is held is the reader's
    held: list[int] = []

    class Watching(Lengths):
        def score_all(self, examples: Sequence[Example], *, precision: str = "float32") -> Scores:
            held.append(pa.total_allocated_bytes())
            return super().score_all(examples, precision=precision)

    source, dice = tmp_path / "in.parquet", random.Random(0)
    with pq.ParquetWriter(source, pa.schema([("text", pa.string())])) as writer:
        for _ in range(40):
            writer.write_table(pa.table({"text": [dice.randbytes(200).hex() for _ in range(500)]}))
    before = pa.total_allocated_bytes()
    score_file(Watching(), source, tmp_path / "out.parquet", chunk=100)
    assert max(held) - before < source.stat().st_size / 4  # 8 MB in groups of 200 kB
