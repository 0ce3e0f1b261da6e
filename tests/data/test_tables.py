import csv
import gc
import gzip
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tastemaker.data import format_of, rows, table
from tastemaker.errors import DataError

HOSTILE = [
    'He said "no", twice.',
    '"',
    '""',
    "two\nlines",
    "carriage\r\nreturn",
    "a lone \r in it",
    "tab\tand, comma; semicolon",
    "电影很好 🎬🏳️‍🌈",
    " outer white space ",
    "\\n \\ \\\" 'quoted'",
    "\u2028 line separator \x85 next line \x0b\x0c\x1c",
    "#not a comment",
    "=1+1",
    "\ufeffmark",
    "null",
    "NaN",
    "[1]",
    "",
]
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.text(st.sampled_from('"\n\r\t,\\ aß字🎬')),
)
ROWS = st.lists(
    st.fixed_dictionaries({"text": TEXTS, "label, or so": TEXTS}),
    min_size=1,
    max_size=8,
)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as other programs do: the csv module, one JSON object a line, pyarrow."""
    plain = path.name.removesuffix(".gz")
    if plain.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
        return path
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        if plain.endswith((".csv", ".tsv")):
            writer = csv.DictWriter(
                file, list(rows[0]), delimiter="\t" if plain.endswith(".tsv") else ","
            )
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return path


NAMES = [
    "r.jsonl",
    "r.json",
    "r.ndjson",
    "r.csv",
    "r.tsv",
    "r.parquet",
    "r.CSV",
    "r.jsonl.gz",
    "r.csv.gz",
    "r.tsv.gz",
]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_texts_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    records = [
        {"text": text, "number": str(number)} for number, text in enumerate(HOSTILE)
    ]
    path = write(tmp_path / name.replace("CSV", "csv"), records).rename(tmp_path / name)
    assert [row for _, row in rows(path)] == records


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv", "r.tsv", "r.parquet"])
@settings(max_examples=60, deadline=None)
@given(records=ROWS)
def test_any_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, name: str, records: Any
) -> None:
    if name.endswith(".tsv"):
        # a tab before a line end looks like the end of a field, and the rest like a row
        for row in records:
            assume(not any("\t" in text and "\n" in text for text in row.values()))
    path = write(tmp_path_factory.getbasetemp() / name, records)
    assert [row for _, row in rows(path)] == records


def test_the_format_is_in_the_name() -> None:
    named = {
        "a.jsonl": "jsonl",
        "a.b.CSV": "csv",
        "a.tsv.gz": "tsv",
        "a.json": "jsonl",
        "a.parquet": "parquet",
    }
    assert {name: format_of(Path(name)) for name in named} == named
    for name in ("a.txt", "a", "a.gz", "a.parquet.gz", "a.csv.bz2", "csv"):
        with pytest.raises(DataError, match=re.escape(name)):
            format_of(Path(name))


def test_a_row_is_named_by_the_line_it_begins_on(tmp_path: Path) -> None:
    # line 1 header · 2–3 a text of two lines · 4 empty · 5 the next row
    (tmp_path / "r.csv").write_text('text,label\n"one\ntwo",pos\n\nthree,neg\n')
    assert [number for number, _ in rows(tmp_path / "r.csv")] == [2, 5]
    (tmp_path / "r.jsonl").write_text('\n{"text": "a"}\n  \n{"text": "b"}\n')
    assert [number for number, _ in rows(tmp_path / "r.jsonl")] == [2, 4]
    write(tmp_path / "r.parquet", [{"text": str(number)} for number in range(2500)])
    assert [number for number, _ in rows(tmp_path / "r.parquet")] == list(
        range(1, 2501)
    )


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    for name, content in (("r.csv", "text\na\n"), ("r.jsonl", '{"text": "a"}')):
        (tmp_path / name).write_text(content, encoding="utf-8-sig")
        assert [row for _, row in rows(tmp_path / name)] == [{"text": "a"}]


def test_a_long_text_is_read(tmp_path: Path) -> None:
    text = "long, " * 200_000
    assert next(rows(write(tmp_path / "r.csv", [{"text": text}])))[1] == {"text": text}


def test_a_table_can_be_read_twice(tmp_path: Path) -> None:
    rows = table(write(tmp_path / "r.csv", [{"text": "a"}, {"text": "b"}]))
    assert (
        list(rows.rows())
        == list(rows.rows())
        == [(2, {"text": "a"}), (3, {"text": "b"})]
    )
    assert rows.place(3) == "r.csv:3"


CHOPPED = gzip.compress(b'{"text": "a"}\n' * 5000)[:-20]
BAD = {
    "empty": ("r.csv", b"", "the file is empty"),
    "half a quote": (
        "r.csv",
        b'text,label\na,1\n"b,0\nc,1\n',
        "r.csv:3: not well-formed: unexpected end of data",
    ),
    "text behind a quote": (
        "r.csv",
        b'text,label\n"a"b,1\n',
        "r.csv:2: not well-formed",
    ),
    "too many": (
        "r.csv",
        b"text,label\na,1\nb,c,0\n",
        "r.csv:3: 3 fields, but the header has 2",
    ),
    "too few": (
        "r.tsv",
        b"text\tlabel\na\t1\nb\n",
        "r.tsv:3: 1 fields, but the header has 2",
    ),
    "one name twice": ("r.csv", b"text,text\na,b\n", "same name: 'text'"),
    "not UTF-8": ("r.csv", b"text\nabc\nd\xe9f\n", "r.csv: not UTF-8 at byte 10"),
    "not UTF-8 behind a mark": (
        "r.csv",
        b"\xef\xbb\xbfte\xffxt\n",
        "r.csv: not UTF-8 at byte 5",
    ),
    "UTF-16": (
        "r.jsonl",
        '{"text": "a"}'.encode("utf-16"),
        "r.jsonl: not UTF-8 at byte 0",
    ),
    "not JSON": (
        "r.jsonl",
        b'{"text": "a"}\n{"text": \n',
        "r.jsonl:2: not JSON: Expecting value",
    ),
    "not an object": (
        "r.jsonl",
        b'{"text": "a"}\n["b", 1]\n',
        "r.jsonl:2: a row must be a JSON object {…}, not ['b', 1]",
    ),
    "an array": (
        "r.jsonl",
        b'[\n{"text": "a"}\n]\n',
        "r.jsonl:1: not JSON: Expecting value at character 1. A file that is",
    ),
    "an array cut short": (
        "r.json",
        b'[\n{"text": "a"},\n',
        "r.json: not JSON: Expecting value at line 3, character 1",
    ),
    "an array that goes on": (
        "r.json",
        b'[{"text": "a"}]\n{}',
        "r.json: not JSON: Extra data at line 2, character 1",
    ),
    "an array of texts": (
        "r.json",
        b'[{"text": "a"}, "b"]',
        "r.json:2: a row must be a JSON object {…}, not 'b'",
    ),
    "an array not UTF-8": ("r.json", b'[\n"\xff"]', "r.json: not UTF-8 at byte 3"),
    "a deep array": ("r.json", b"[" * 100_000, "r.json: JSON that cannot be read"),
    "deep": ("r.jsonl", b"[" * 100_000, "r.jsonl:1: JSON that cannot be read"),
    "a number without end": (
        "r.jsonl",
        b'{"a": ' + b"9" * 5000 + b"}",
        "r.jsonl:1: JSON that cannot be read",
    ),
    "cut short": ("r.jsonl.gz", CHOPPED, "r.jsonl.gz: cut short or damaged"),
    "not gzip": ("r.csv.gz", b"text\na\n", "r.csv.gz: cut short or damaged"),
    "not Parquet": ("r.parquet", b"text\na\n", "r.parquet: cannot be read as Parquet"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    name, content, problem = BAD[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(rows(tmp_path / name))
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["r.json", "r.json.gz"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("before", ["", "\ufeff", "\n \n"])
def test_a_json_array_counts_its_rows(
    tmp_path: Path, name: str, indent: int | None, before: str
) -> None:
    records = [{"text": text} for text in HOSTILE]
    content = (before + json.dumps(records, indent=indent)).encode()
    (tmp_path / name).write_bytes(
        gzip.compress(content) if name.endswith(".gz") else content
    )
    assert list(rows(tmp_path / name)) == list(enumerate(records, 1))


def test_a_long_array_in_one_line_is_no_long_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastemaker.data.tables.LONGEST_LINE", 100)
    records = [{"text": "x" * 60}] * 5
    (tmp_path / "r.json").write_text(json.dumps(records))
    assert [row for _, row in rows(tmp_path / "r.json")] == records
    (tmp_path / "r.json").write_text(json.dumps([{"text": "x" * 600}], indent=1))
    with pytest.raises(
        DataError, match=r"r\.json: an item of more than 0 MiB at line 2"
    ):
        list(rows(tmp_path / "r.json"))


def test_an_array_as_the_second_line_is_a_bad_row(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"text": "a"}\n[{"text": "b"}]\n')
    with pytest.raises(DataError, match=r"r\.json:2: .*object"):
        list(rows(tmp_path / "r.json"))


SKIPPED = {
    "r.jsonl": (
        '{"text": "a"}\n{"text": \n7\n{"text": "b"}\n',
        [1, 4],
        ["r.jsonl:2: not JSON", "r.jsonl:3: a row must be"],
    ),
    "r.json": (
        '[{"text": "a"}, 7, {"text": "b"}]',
        [1, 3],
        ["r.json:2: a row must be"],
    ),
    "r.csv": ("text\na\nx,y\nb\n", [2, 4], ["r.csv:3: 2 fields, but the header has 1"]),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_rows_that_are_not_well_formed_can_be_skipped(
    tmp_path: Path, name: str
) -> None:
    content, numbers, problem = SKIPPED[name]
    (tmp_path / name).write_text(content)
    skipped: list[DataError] = []
    rows = list(table(tmp_path / name).rows_past(skipped))
    assert rows == list(zip(numbers, [{"text": "a"}, {"text": "b"}], strict=True))
    assert len(skipped) == len(problem)
    assert all(
        str(error).startswith(start)
        for error, start in zip(skipped, problem, strict=True)
    )
    with pytest.raises(DataError, match=problem[0][:9]):
        list(table(tmp_path / name).rows_past(None))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.csv: no"):
        rows(tmp_path / "no.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv: .*folder"):
        rows(tmp_path / "folder.csv")


def test_a_cut_parquet_file(tmp_path: Path) -> None:
    path = write(tmp_path / "r.parquet", [{"text": "a" * 99}] * 9)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"r\.parquet: .*Parquet"):
        list(rows(path))


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays(
        [pa.array(["a"]), pa.array(["b"])], names=["text", "text"]
    )
    pq.write_table(twice, tmp_path / "r.parquet")
    with pytest.raises(DataError, match=r"r\.parquet: .*'text'"):
        list(rows(tmp_path / "r.parquet"))


def test_a_line_that_would_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastemaker.data.tables.LONGEST_LINE", 2**20)
    with gzip.open(tmp_path / "r.jsonl.gz", "wb") as file:
        file.write(b'{"text": "ok"}\n' + b" " * (2**20 + 1))
    with pytest.raises(DataError, match=r"r\.jsonl\.gz: .*\b1 MiB.*\bbyte 15\b"):
        list(rows(tmp_path / "r.jsonl.gz"))


@pytest.mark.parametrize("name", ["r.jsonl", "r.csv", "r.jsonl.gz", "r.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    def peak(count: int) -> int:
        path = write(
            tmp_path / name,
            [{"text": f"{number} " + "x" * 200} for number in range(count)],
        )
        gc.collect()
        tracemalloc.start()
        assert sum(1 for _ in rows(path)) == count
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    list(rows(write(tmp_path / name, [{"text": "a"}])))  # imports
    # 16,000 rows more hold 3.2 MB of text
    assert any(peak(20_000) < peak(4_000) + 200_000 for _ in range(3))
