"""Files that are damaged, or of another kind than their name says: one line and exit code 2."""

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tastemaker as tm
from tastemaker.errors import DataError
from tests.shell import fails

ROWS = [{"text": f"text {n} é", "label": n % 2} for n in range(200)]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
CSV = "text,label\n" + "".join(f'"text {n}, é",{n % 2}\n' for n in range(200))


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl", JSONL)
    return file.getvalue()


GOOD: dict[str, bytes] = {
    "csv": CSV.encode(),
    "tsv": CSV.replace('"', "").replace(", ", " ").replace(",", "\t").encode(),
    "jsonl": JSONL,
    "json": json.dumps(ROWS).encode(),
    "parquet": parquet(),
    "jsonl.gz": gzip.compress(JSONL),
    "jsonl.zst": pa.Codec("zstd").compress(JSONL, asbytes=True),
    "jsonl.zip": zipped(),
}


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(1, len(data))]


def without_a_piece(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.randrange(1, 200) :]


def with_noise(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + draw.randbytes(50) + data[start:]


def with_other_bytes(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(20):
        changed[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(changed)


DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [
    cut,
    without_a_piece,
    with_noise,
    with_other_bytes,
    lambda data, draw: draw.randbytes(500),
    lambda data, draw: bytes(1000),
    lambda data, draw: data[len(data) // 2 :] + data[: len(data) // 2],
    lambda data, draw: data + data[:50],
    lambda data, draw: data.replace(b"text", b"te\0t", 3),
    lambda data, draw: b"\xff\xfe" + data,
]


@pytest.mark.parametrize("name", GOOD)
def test_damaged_files_are_one_line_or_read(
    name: str, run: Any, tmp_path: Path
) -> None:
    refused = 0
    for number, damage in enumerate(DAMAGES):
        path = tmp_path / f"{number}.{name}"
        path.write_bytes(damage(GOOD[name], random.Random(number)))
        result = run("inspect", path)
        if result[0] != 0:
            fails(result, path.name)
            refused += 1
    assert refused > 3
    (tmp_path / f"good.{name}").write_bytes(GOOD[name])
    assert len(tm.read(tmp_path / f"good.{name}")) == 200


ODD: dict[str, tuple[bytes, str]] = {
    "zip.csv": (zipped(), "zip archive"),
    "gzip.jsonl": (gzip.compress(JSONL), r"Add \.gz"),
    "parquet.jsonl": (parquet(), r"end in \.parquet"),
    "utf16.csv": (CSV.encode("utf-16"), "UTF-16"),
    "page.csv": (b"<!DOCTYPE html><html>404</html>\n", "a web page"),
    "sheet.csv": (b"sep=,\ntext,label\na,1\nb,0\n", "for a spreadsheet"),
    "commas.jsonl": (b'{"text": "a", "label": 1},\n', "A comma ends the line"),
    "python.jsonl": (b"{'text': 'a', 'label': 1}\n", r"json\.dumps"),
    "two.jsonl": (b'{"text": "a"} {"text": "b"}\n', "one object a line"),
    "columns.json": (b'{"text": ["a", "b"], "label": [1, 0]}', "a column under"),
    "numbers.json": (b'{"0": {"text": "a", "label": 1}}', "a row under each number"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_file_of_another_kind_is_named(name: str, tmp_path: Path) -> None:
    content, words = ODD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        tm.read(tmp_path / name)
