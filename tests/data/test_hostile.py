"""Files that would end in a traceback or fill the memory: one clear line, in little memory."""

import gzip
import json
import subprocess
import sys
import tracemalloc
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tastemaker as tm
from tastemaker.cli import main
from tastemaker.data import rows
from tastemaker.errors import DataError
from tastemaker.kinds import LINKS
from tests.shell import fails

DEEP = 500


def shell(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command line."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("name", ["r.jsonl", "r.json"])
@pytest.mark.parametrize("deep", [DEEP, 900, 100_000])
def test_deep_json_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    opening: str,
    closing: str,
    name: str,
    deep: int,
) -> None:
    value = opening * deep + "1" + closing * deep
    row = f'{{"text": "a", "label": 1, "x": {value}}}'
    content = f"[{row}]" if name == "r.json" else row + "\n"
    (tmp_path / name).write_text(content)
    result = shell(capsys, "fit", tmp_path / name, "--out", tmp_path / "out")
    fails(result, name, "deep")


def test_values_nested_a_little_are_read(tmp_path: Path) -> None:
    row = {"text": "a", "x": json.loads("[" * 90 + "]" * 90), "y": [[[]]] * 200}
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    assert [each for _, each in rows(tmp_path / "r.jsonl")] == [row]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_is_the_same_however_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, indent: int | None
) -> None:
    monkeypatch.setattr("tastemaker.data.stored_values._CHUNK", chunk)
    records: list[dict[str, Any]] = [
        {"text": '电影\n🎬 "quoted" \\ \u2028', "n": 12345, "x": [1.5e10, -3, None]},
        {},
        {"a": {"b": [True, False]}, "n": 7},
    ]
    for escaped in (True, False):
        content = json.dumps(records, indent=indent, ensure_ascii=escaped)
        (tmp_path / "r.json").write_text("\ufeff \n" + content + "\n", "utf-8")
        assert [row for _, row in rows(tmp_path / "r.json")] == records
    (tmp_path / "r.json").write_text('[{"n": 1}, {"n": 2} {"n": 3}]')
    with pytest.raises(DataError, match="delimiter at line 1, character 21"):
        list(rows(tmp_path / "r.json"))
    (tmp_path / "r.json").write_text("[1234567]")
    with pytest.raises(DataError, match=r"r\.json:1: .*, not 1234567\."):
        list(rows(tmp_path / "r.json"))


PEAK = """
import sys
import tastemaker.cli
def peak():
    # of this process alone: ru_maxrss would count what the process that started it needed
    lines = [line.split() for line in open("/proc/self/status")]
    return next(int(line[1]) for line in lines if line[:1] == ["VmHWM:"])  # KiB
before = peak()
try:
    tastemaker.cli.main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
sys.stdout.write(f"{code} {(peak() - before) // 1024}")
"""


def test_a_small_archive_of_a_large_array_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    with gzip.open(path, "wt") as file:
        file.write("[")
        for _ in range(30):  # 3 MB a round, 28 times as much as Python objects
            file.write("{}," * 33_000)
        file.write("{}]")
    assert path.stat().st_size < 100_000
    ended = subprocess.run(
        [sys.executable, "-c", PEAK, "fit", path, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    code, mebibytes = ended.stdout.split()
    assert code == "2"
    assert "bomb.json.gz" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert int(mebibytes) < 300  # torch among them


@pytest.mark.parametrize("piece", ["{}", "[]", "1"])
@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_a_row_of_a_million_values_is_refused_before_it_is_decoded(
    tmp_path: Path, piece: str, suffix: str
) -> None:
    path = tmp_path / f"many.{suffix}"
    row = '{"text": "a b", "label": 1, "x": [' + ",".join([piece] * 1_100_000) + "]}"
    path.write_text(f"[{row}]" if suffix == "json" else row + "\n")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"more than 1,000,000 values.*several rows\.$"):
        tm.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 * 2**20


def test_bad_rows_that_are_skipped_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastemaker.data.tables.MOST_BAD_ROWS", 10)
    lines = ['{"text": "a", "label": 1}', *['{"text": "", "label": 1}'] * 30]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match="11 rows cannot be read and 1 can; the first"):
        tm.read(tmp_path / "r.jsonl", skip_bad=[])


DAYS = [0, 2**30, -(2**31)]


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_dates_that_python_has_not_are_refused_only_as_times(tmp_path: Path) -> None:
    texts, labels = ["a", "b", "c"], [0, 1, 1]
    dates = pa.array(DAYS, pa.int32()).cast(pa.date32())
    path = parquet(tmp_path / "r.parquet", text=texts, label=labels, day=dates)
    assert [judgement.text for judgement in tm.read(path)] == texts
    read = [row["day"] for _, row in rows(path)]
    assert read == [date(1970, 1, 1), f"date32[day] {2**30}", f"date32[day] {-(2**31)}"]
    moments = pa.array([0, 2**62, 1], pa.timestamp("us"))
    path = parquet(tmp_path / "t.parquet", text=texts, label=labels, time=moments)
    assert [judgement.time for judgement in tm.read(path)] == [None] * 3
    with pytest.raises(DataError, match=r"t\.parquet:2: column 'time' holds"):
        tm.read(path, time="time")


@pytest.mark.parametrize(("count", "tied"), [(10_000, True), (100_000, False)])
def test_a_ranking_of_very_many_answers_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, tied: bool
) -> None:
    texts = [f"text {number}" for number in range(count)]
    ranked = [
        {"completion": text, "rank": 0 if tied else rank}
        for rank, text in enumerate(texts)
    ]
    row = {"context": "c", "completions": ranked}
    (tmp_path / "r.jsonl").write_text(json.dumps(row))
    result = shell(capsys, "fit", tmp_path / "r.jsonl", "--out", tmp_path / "out")
    fails(result, "r.jsonl:1", f"{count:,} answers", "1,000")
    result = shell(capsys, "doctor", tmp_path / "r.jsonl")
    assert result[0] == 0
    assert f"{count:,} answers" in result[1]


def test_rankings_that_would_fill_the_memory_are_refused() -> None:
    link = LINKS[tm.Ranking]
    texts = [f"text {number}" for number in range(1000)]
    long = tm.Ranking(texts, where="r.jsonl:7")
    short = [tm.Ranking(["a", "b"])] * 1000
    with pytest.raises(DataError, match=r"r\.jsonl:7: 1,001 rankings of up to 1,000"):
        link.from_judgements([*short, long])
    tied = tm.Ranking([texts[:800], texts[800:]])
    with pytest.raises(DataError, match="--ranking pairs"):
        link.from_judgements([tied])
    link.from_judgements([long])
