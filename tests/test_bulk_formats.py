"""Files in, files out: rows, columns, types and texts come through every format as they were."""

import datetime
import decimal
import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scored import ROWS, VALUES, Lengths, names, read_csv, read_jsonl, write_jsonl

from tastemaker.bulk import FileScores, score_file
from tastemaker.data import Example
from tastemaker.errors import DataError
from tastemaker.scores import Scores


@pytest.fixture
def model() -> Lengths:
    return Lengths()


def test_jsonl_keeps_rows_columns_and_order(model: Lengths, tmp_path: Path) -> None:
    source, target = (
        write_jsonl(tmp_path / "in.jsonl", ROWS),
        tmp_path / "new" / "out.jsonl",
    )
    assert score_file(model, source, target) == FileScores(rows=3, truncated=2)
    cuts = (False, True, True)
    expected = [
        {**row, "score": v, "truncated": t}
        for row, v, t in zip(ROWS, VALUES, cuts, strict=True)
    ]
    assert read_jsonl(target) == expected
    assert [list(row) for row in read_jsonl(target)] == [
        ["id", "text", "tags", "score", "truncated"]
    ] * 3
    assert "电影" in target.read_text(encoding="utf-8")
    assert names(tmp_path / "new") == ["out.jsonl"]


@pytest.mark.parametrize(
    "suffix", ["jsonl", "csv", "tsv", "parquet", "jsonl.gz", "csv.gz"]
)
@pytest.mark.parametrize(
    "source_suffix", ["jsonl", "csv", "tsv", "parquet", "jsonl.gz"]
)
def test_every_format_becomes_every_other(
    model: Lengths, tmp_path: Path, source_suffix: str, suffix: str
) -> None:
    """Through any format and back to JSONL, with another score column, the texts and scores are the
    same.
    """
    rows = [{"text": row["text"], "note": row["text"][::-1]} for row in ROWS]
    first = write_jsonl(tmp_path / "first.jsonl", rows)
    source, target, last = (
        tmp_path / n for n in (f"in.{source_suffix}", f"out.{suffix}", "last.jsonl")
    )
    score_file(model, first, source)
    score_file(model, source, target, score_column="again")
    score_file(model, target, last, score_column="last")
    last_rows = read_jsonl(last)
    assert [{"text": row["text"], "note": row["note"]} for row in last_rows] == rows
    for column in ("score", "again", "last"):
        assert [
            float(row[column]) for row in last_rows
        ] == VALUES  # every digit of a float64, through CSV too
        truncated = "truncated" if column == "score" else f"{column}_truncated"
        assert [str(row[truncated]).lower() for row in last_rows] == [
            "false",
            "true",
            "true",
        ]


def test_csv_cells_stay_as_they_were(model: Lengths, tmp_path: Path) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text(
        'id,text,price\n007,good,1.50\n"8 ","so, so",\n', encoding="utf-8"
    )
    score_file(model, source, target)
    expected = (
        "id,text,price,score,truncated\n"
        f"007,good,1.50,{4 / 3!r},false\n"
        '8 ,"so, so",,2.0,false\n'
    )
    assert target.read_text(encoding="utf-8") == expected


def test_parquet_keeps_every_type(model: Lengths, tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["good", "bad", "so so"], pa.large_string()),
        "small": pa.array([1, None, 3], pa.int8()),
        "when": pa.array([1, 2, 3], pa.timestamp("ns", tz="UTC")),
        "price": pa.array(
            [decimal.Decimal("1.10"), None, decimal.Decimal("3.30")],
            pa.decimal128(5, 2),
        ),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "raw": pa.array([b"\xff", b"", None], pa.binary()),
        "nested": pa.array(
            [{"a": [1, 2]}, {"a": []}, None], pa.struct([("a", pa.list_(pa.int16()))])
        ),
        "nan": pa.array([float("nan"), 1.0, None], pa.float32()),
    }
    table = pa.table(columns).replace_schema_metadata({"made by": "a test"})
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, source)
    assert score_file(model, source, target, chunk=2) == FileScores(3, 0)
    scored = pq.read_table(target)
    original = pq.read_table(source)
    assert scored.schema.names == [*columns, "score", "truncated"]
    assert scored.drop_columns(["score", "truncated"]).schema == original.schema
    assert scored.schema.metadata[b"made by"] == b"a test"
    for name in [name for name in columns if name != "nan"]:
        assert scored[name].equals(original[name]), name
    assert np.isnan(scored["nan"][0].as_py())
    assert scored.schema.field("score").type == pa.float64()
    assert scored.schema.field("truncated").type == pa.bool_()
    assert scored["score"].to_pylist() == [4 / 3, 1.0, 5 / 3]


def test_parquet_dates_and_decimals_become_text_in_jsonl_and_csv(
    model: Lengths, tmp_path: Path
) -> None:
    source = tmp_path / "in.parquet"
    columns = {
        "text": ["good"],
        "day": [datetime.date(2026, 1, 31)],
        "price": [decimal.Decimal("1.10")],
        "ok": [True],
    }
    pq.write_table(pa.table(columns), source)
    score_file(model, source, tmp_path / "out.jsonl")
    expected = {
        "text": "good",
        "day": "2026-01-31",
        "price": "1.10",
        "ok": True,
        "score": 4 / 3,
        "truncated": False,
    }
    assert read_jsonl(tmp_path / "out.jsonl") == [expected]
    score_file(model, source, tmp_path / "out.csv")
    assert read_csv(tmp_path / "out.csv")[0]["day"] == "2026-01-31"
    assert read_csv(tmp_path / "out.csv")[0]["ok"] == "true"


def test_jsonl_with_ragged_rows_fills_the_gaps(model: Lengths, tmp_path: Path) -> None:
    rows = [
        {"text": "a"},
        {"text": "b", "n": None},
        {"late": [1], "text": "c", "n": 1},
        {"text": "d", "n": 0.5},
    ]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    score_file(model, source, tmp_path / "out.csv", chunk=1)
    assert list(read_csv(tmp_path / "out.csv")[0]) == [
        "text",
        "n",
        "late",
        "score",
        "truncated",
    ]
    assert [row["n"] for row in read_csv(tmp_path / "out.csv")] == ["", "", "1", "0.5"]
    assert [row["late"] for row in read_csv(tmp_path / "out.csv")] == [
        "",
        "",
        "[1]",
        "",
    ]
    score_file(model, source, tmp_path / "out.parquet", chunk=1)
    scored = pq.read_table(tmp_path / "out.parquet")
    assert scored["n"].to_pylist() == [
        None,
        None,
        1.0,
        0.5,
    ]  # whole and broken numbers: float64
    assert scored["late"].to_pylist() == [None, None, [1], None]
    score_file(model, source, tmp_path / "out.jsonl")
    assert list(read_jsonl(tmp_path / "out.jsonl")[0]) == [
        "text",
        "score",
        "truncated",
    ]  # JSONL keeps its gaps


def test_jsonl_values_without_a_common_type_do_not_fit_parquet(
    model: Lengths, tmp_path: Path
) -> None:
    source = write_jsonl(
        tmp_path / "in.jsonl", [{"text": "a", "x": 1}, {"text": "b", "x": "one"}]
    )
    with pytest.raises(
        DataError,
        match=r"in\.jsonl\b.*\brow 3\b.*\bPARQUET\b",
    ):
        score_file(model, source, tmp_path / "out.parquet")
    assert model.calls == []
    assert names(tmp_path) == ["in.jsonl"]
    assert score_file(model, source, tmp_path / "out.csv").rows == 2


def test_bytes_do_not_fit_jsonl(model: Lengths, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "raw": [b"\xff"]}), tmp_path / "in.parquet")
    for suffix in ("jsonl", "csv"):
        with pytest.raises(
            DataError,
            match=rf"\brows 1 to 1\b.*\b{suffix.upper()}\b.*\bbytes\b",
        ):
            score_file(model, tmp_path / "in.parquet", tmp_path / f"out.{suffix}")
    assert names(tmp_path) == ["in.parquet"]


def test_half_a_surrogate_pair_beside_the_text_survives_jsonl(
    model: Lengths, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "a", "note": "\ud800"}])
    score_file(model, source, tmp_path / "out.jsonl")
    assert read_jsonl(tmp_path / "out.jsonl")[0]["note"] == "\ud800"
    for suffix in ("csv", "parquet"):
        with pytest.raises(DataError, match=rf"\b{suffix.upper()}\b"):
            score_file(model, source, tmp_path / f"out.{suffix}")
    assert names(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_parquet_rows_are_gathered_into_groups(model: Lengths, tmp_path: Path) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": ["x" * 1000] * 20_000}), source)
    score_file(model, source, target, chunk=100)
    groups = pq.ParquetFile(target).metadata
    assert groups.num_rows == 20_000
    assert (
        groups.num_row_groups == 3
    )  # 20 MB of text in groups of a little over 8 MiB, not one for every chunk


@settings(deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip),
        min_size=1,
        max_size=8,
    )
)
@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv", "parquet"])
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source = write_jsonl(folder / "in.jsonl", [{"text": text} for text in texts])
    score_file(Lengths(), source, folder / f"out.{suffix}", chunk=3)
    again = Lengths()
    score_file(
        again, folder / f"out.{suffix}", folder / "last.jsonl", score_column="again"
    )
    assert [example.text for call in again.calls for example in call] == texts


def test_packed_files_are_the_same_bytes_every_time(
    model: Lengths, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS)
    score_file(model, source, tmp_path / "a.jsonl.gz")
    score_file(model, source, tmp_path / "b.jsonl.gz")
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (
        tmp_path / "b.jsonl.gz"
    ).read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).count(b"\n") == 3


def test_a_parquet_file_is_never_in_memory_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nothing is gathered, so all that is in memory is the reader's
    monkeypatch.setattr("tastemaker.data.writers.ROW_GROUP", 0)
    held: list[int] = []

    class Watching(Lengths):
        def score_all(
            self, examples: Sequence[Example], *, precision: str = "float32"
        ) -> Scores:
            held.append(pa.total_allocated_bytes())
            return super().score_all(examples, precision=precision)

    source, dice = tmp_path / "in.parquet", random.Random(0)
    with pq.ParquetWriter(source, pa.schema([("text", pa.string())])) as writer:
        for _ in range(40):
            writer.write_table(
                pa.table({"text": [dice.randbytes(200).hex() for _ in range(500)]})
            )
    before = pa.total_allocated_bytes()
    score_file(Watching(), source, tmp_path / "out.parquet", chunk=100)
    assert max(held) - before < source.stat().st_size / 4  # 8 MB in groups of 200 kB
