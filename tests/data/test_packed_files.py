"""Packed files, folders of them, two files of one name, and files that are no tables."""

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from published_rows import write

import tastemaker as tm
from tastemaker.errors import DataError

ROWS = [{"prompt": "Q", "chosen": f"a{n}", "rejected": f"b{n}"} for n in range(3)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CHOSEN = ["a0", "a1", "a2"]


def pack(path: Path) -> Path:
    """Write the rows, packed as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(LINES.encode()))
    elif path.suffix == ".zst":
        path.write_bytes(pa.compress(LINES.encode(), codec="zstd", asbytes=True))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("rows.jsonl", LINES)
            archive.writestr("__MACOSX/._rows.jsonl", "")
    return path


PACKED = ["a.jsonl.gz", "a.jsonl.zst", "a.jsonl.zip", "a.zip"]


def chosen(source: Path) -> list[str]:
    return [judgement.texts[0] for judgement in tm.read(source)]


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_file(name: str, tmp_path: Path) -> None:
    assert chosen(pack(tmp_path / name)) == CHOSEN


@pytest.mark.parametrize("name", PACKED)
def test_a_damaged_file_is_one_line(name: str, tmp_path: Path) -> None:
    path = pack(tmp_path / name)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"damaged|cannot be read") as caught:
        tm.read(path)
    assert "\n" not in str(caught.value)


def test_a_changed_byte_in_a_zip_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.jsonl", LINES)
    path.write_bytes(path.read_bytes().replace(b"a1", b"a7", 1))
    with pytest.raises(DataError, match=r"a\.zip: cut short or damaged") as caught:
        tm.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PACKED)
def test_a_folder_of_packed_files(name: str, tmp_path: Path) -> None:
    for folder in ("harmless", "helpful"):
        pack(tmp_path / folder / name)
    judgements = tm.read(tmp_path)
    assert [judgement.texts[0] for judgement in judgements] == CHOSEN + CHOSEN
    assert judgements[4].where == f"helpful/{name}:2"


def test_a_folder_is_read_by_split(tmp_path: Path) -> None:
    for split in ("train", "test"):
        pack(tmp_path / "helpful" / f"{split}.jsonl.gz")
    assert len(tm.read(tmp_path)) == 3
    (first, *_) = tm.read(tmp_path, split="test")
    assert first.where == "helpful/test.jsonl.gz:1"
    with pytest.raises(DataError, match="no file of a split 'dev'"):
        tm.read(tmp_path, split="dev")


def test_a_zip_of_two_files_is_refused(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more.jsonl", LINES)
    with pytest.raises(DataError, match="2 files in it"):
        tm.read(path)


def test_two_files_of_one_name_are_told_apart(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    rows = [
        {**row, "prompt": f"Question {n}"}
        for n, row in enumerate([*ROWS, {**ROWS[0], "chosen": 7}])
    ]
    sources = [tmp_path / name / "train.jsonl" for name in ("one", "two")]
    for source in sources:
        source.parent.mkdir()
        write(source, *rows)
    _, out, _ = run("doctor", *sources, "--json")
    assert "one/train.jsonl:4" in out
    assert "two/train.jsonl:4" in out


NO_TABLES = {
    "a.jsonl": ('[{"text": "a", "label": 1}]\n', "ends in .json"),
    "wrapped.json": ('{\n "data": [\n {\n "text": "a"\n }\n ]\n}\n', "holds the rows"),
    "wrapped_line.json": ('{"data": [{"text": "a", "label": 1}]}', "'data'"),
    "columns.json": (
        '{"text": {"0": "a", "1": "b"}, "label": {"0": 1, "1": 0}}',
        "orient='records'",
    ),
    "a.csv": ("text;label\nA day;1\nA bad day;0\n", "semicolons divide"),
    "decimals.csv": ("text;rating\nA day, really;4,5\n", "semicolons divide"),
    "tabs.csv": ("text\tlabel\nA day\t1\n", ".tsv"),
    "mac.csv": ("text,label\rLovely,1\rAwful,0\r", "old Macs"),
    "pointer.tsv": ("version https://git-lfs.github.com/spec/v1\noid 0\n", "git lfs"),
    "raw.tsv": ("ab12\t1\t\tThe cat sat down.\nab13\t0\t*\tCat the.\n", "--header"),
    "partly.jsonl": ('{"qid": 1, "question": "Q", "response_j": "a"}\n', "response_k"),
}


@pytest.mark.parametrize("name", NO_TABLES)
@pytest.mark.parametrize("verb", ["fit", "doctor"])
def test_a_file_that_is_no_table_says_what_it_is(
    name: str, verb: str, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    content, word = NO_TABLES[name]
    path = tmp_path / name
    path.write_bytes(content.encode())
    more = ("--out", tmp_path / "m") if verb == "fit" else ()
    code, out, err = run(verb, path, *more)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert word in err
