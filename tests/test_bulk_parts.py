"""Scoring a file by parts: each part is a file, and together they are the whole."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from scored import Lengths, names, read_jsonl, write_jsonl

import tastemaker as tm
from tastemaker.bulk import Part, score_file
from tests.shell import fails

TEXTS = [{"id": number, "text": "x" * (number + 1)} for number in range(11)]


@pytest.mark.parametrize("of", [1, 3, 4, 13])
@pytest.mark.parametrize("chunk", [2, 100])
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_parts_are_the_whole(
    tmp_path: Path, of: int, chunk: int, suffix: str
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", TEXTS)
    whole = tmp_path / f"whole.{suffix}"
    score_file(Lengths(), source, whole)
    if suffix == "parquet":
        source = whole
    rows: list[Any] = []
    for number in range(1, of + 1):
        part = Part(number, of)
        target = tmp_path / "parts" / part.file(source)
        counts = score_file(
            Lengths(), source, target, part=part, chunk=chunk, score_column="s"
        )
        read = (
            read_jsonl(target)
            if suffix == "jsonl"
            else pq.read_table(target).to_pylist()
        )
        assert counts.rows == len(read)
        rows += read
    assert [row["id"] for row in rows] == list(range(11))
    assert [row["s"] for row in rows] == [(n + 1) / 3 for n in range(11)]
    assert len(names(tmp_path / "parts")) == of


def test_a_part_is_written_once_and_a_file_that_is_there_is_done(
    tmp_path: Path, run: Any
) -> None:
    labels = [tm.Label(f"warm {n}", positive=True) for n in range(12)]
    labels += [tm.Label(f"dull {n}", positive=False) for n in range(12)]
    tm.fit(labels, out=tmp_path / "taste")
    source = write_jsonl(tmp_path / "in.jsonl", TEXTS)
    out = tmp_path / "scored"
    words = ("score", tmp_path / "taste", "--file", source, "--out", out)
    code, printed, _ = run(*words, "--part", "2/3", "--json")
    assert code == 0
    assert json.loads(printed)["rows"] == 4
    assert names(out) == ["in-00002-of-00003.jsonl"]
    (out / "in-00002-of-00003.jsonl").write_text("of an earlier run\n")
    code, printed, _ = run(*words, "--part", "2/3", "--json")
    assert (code, json.loads(printed)["done"]) == (0, True)
    assert (out / "in-00002-of-00003.jsonl").read_text() == "of an earlier run\n"
    for wrong in ("0/3", "4/3", "1", "a/b"):
        fails(run(*words, "--part", wrong), "part", wrong)
    fails(run(*words[:2], "A text.", "--part", "1/2"), "--file")
    fails(run(*words[:5], source, "--part", "1/2"), "is a file")
