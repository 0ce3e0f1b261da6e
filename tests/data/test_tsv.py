"""Tables with tabs: a quote is a character, unless the file is quoted."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tastemaker as tm
from tastemaker.data import rows, writing_rows
from tastemaker.errors import DataError

HEADER = "sentence\tlabel\n"


def texts(path: Path, content: str) -> list[str]:
    path.write_text(content, newline="")
    return [judgement.texts[0] for judgement in tm.read(path)]


def test_a_quotation_over_several_rows_joins_none(tmp_path: Path) -> None:
    lines = [
        '"It began .\t0',
        "He said so twice .\t0",
        'It ended ."\t1',
        'So "good" .\t1',
    ]
    content = HEADER + "\n".join(lines) + "\n"
    assert texts(tmp_path / "a.tsv", content) == [line.split("\t")[0] for line in lines]


def test_a_row_that_begins_with_a_quoted_word(tmp_path: Path) -> None:
    content = HEADER + 'A fine evening .\t1\n"Harbour" is a gem .\t1\n"Dull"\t0\n'
    assert texts(tmp_path / "a.tsv", content) == [
        "A fine evening .",
        '"Harbour" is a gem .',
        '"Dull"',
    ]


@pytest.mark.parametrize("escaped", ['\\"little\\"', '""little""'])
def test_a_column_that_is_quoted_throughout(escaped: str, tmp_path: Path) -> None:
    content = f'label\treview\n1\t"A {escaped} film."\n0\t"Not good."\n'
    assert texts(tmp_path / "a.tsv", content) == ['A "little" film.', "Not good."]


def test_only_a_column_that_is_quoted_throughout_is_unquoted(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('one\ttwo\na\t"x"\n"b"\t"y"\n')
    read = [tuple(row.values()) for _, row in rows(path)]
    assert read == [("a", "x"), ('"b"', "y")]


def test_quoted_line_ends_and_tabs_are_kept(tmp_path: Path) -> None:
    content = HEADER + '"one\ntwo"\t1\n"a\tb"\t0\nplain\t1\n'
    assert texts(tmp_path / "a.tsv", content) == ["one\ntwo", "a\tb", "plain"]


@pytest.mark.parametrize(("broken", "fields"), [("broken", 1), ('"a\tb"\t1', 3)])
def test_one_broken_line_does_not_make_quotes_of_the_others(
    tmp_path: Path, broken: str, fields: int
) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(HEADER + f'"It began .\t0\nIt ended ."\t1\n{broken}\nfine\t1\n')
    problem = rf"a\.tsv:4: {fields} fields, but the header has 2"
    with pytest.raises(DataError, match=problem):
        tm.read(path)
    errors: list[DataError] = []
    assert len(tm.read(path, skip_bad=errors)) == 3
    assert len(errors) == 1


# A tab before a line end looks like the end of a field, and the rest like a row.
WORDS = st.text(alphabet='ab "\t\r\\', min_size=1, max_size=8)
WORDS |= st.text(alphabet='ab "\n\r\\', min_size=1, max_size=8)


@given(cells=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_what_we_write_is_read_again(
    cells: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("tsv") / "a.tsv"
    written = [{"one": one, "two": two} for one, two in cells]
    with writing_rows(path, "tsv", ["one", "two"]) as write:
        write(written)
    assert [row for _, row in rows(path)] == written


def test_a_file_quoted_by_a_csv_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writerows([["sentence", "label"], ['"A"', "1"], ["b\nc", "0"]])
    assert [judgement.texts[0] for judgement in tm.read(path)] == ['"A"', "b\nc"]
