"""Plain text as documents: files, paragraphs, lines; long ones are cut, none is held whole."""

import gzip
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path

import pytest
from documented import files_of, refused, texts
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import EACH, LONGEST, Each, Example
from tastemaker.errors import DataError
from tastemaker.gpt import documents

# --- plain text files

TEXT = "One line.\r\nAnother.\n\n \nA paragraph,\nof two lines.\n\n\n最后。"


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ("file", [TEXT]),
        (
            "paragraph",
            ["One line.\r\nAnother.", "A paragraph,\nof two lines.", "最后。"],
        ),
        ("line", ["One line.", "Another.", "A paragraph,", "of two lines.", "最后。"]),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.text", "a.MD", "a.txt.gz"])
def test_text_files(tmp_path: Path, each: str, expected: list[str], name: str) -> None:
    for mark in (b"", b"\xef\xbb\xbf"):
        data = mark + TEXT.encode()
        (tmp_path / name).write_bytes(
            gzip.compress(data) if name.endswith(".gz") else data
        )
        assert list(documents(tmp_path / name, each=each)) == [
            Example(text) for text in expected
        ]  # type: ignore[arg-type]


def test_a_folder_of_texts_in_the_order_of_names(tmp_path: Path) -> None:
    named = {
        "b.txt": "2",
        "a/z.md": "1",
        "c/d/e.text": "3",
        ".hidden/x.txt": "no",
        "c/.x.txt": "no",
        "d.txt": "\n",
        "e.py": "no",
    }
    folder = files_of(tmp_path / "texts", named)
    (folder / "loop").symlink_to(folder)
    assert texts(folder) == ["1", "2", "3"]
    assert texts(str(folder), each="line") == ["1", "2", "3"]


def test_texts_beside_tables_are_refused(tmp_path: Path) -> None:
    folder = files_of(tmp_path / "mixed", {"a/b.txt": "One.", "c.csv": "text\nTwo.\n"})
    assert (
        "both texts and tables in it (the text a/b.txt and the table c.csv)"
        in refused(folder)
    )


@pytest.mark.parametrize("each", list(EACH))
def test_long_documents_are_cut_at_line_ends(tmp_path: Path, each: str) -> None:
    line = "x" * 299_999 + "\n"
    long = "y" * (2 * LONGEST + 10) + "\n"
    path = files_of(tmp_path, {"long.txt": line * 4 + long + "end\n"}) / "long.txt"
    lengths = [len(text) for text in texts(path, each=each)]
    assert max(lengths) <= LONGEST
    expected = {
        "file": [
            900_000,
            300_000,
            LONGEST,
            LONGEST,
            15,
        ],  # 3 of the short lines, then the fourth alone
        "paragraph": [899_999, 299_999, LONGEST, LONGEST, 14],
        "line": [299_999] * 4 + [LONGEST, LONGEST, 10, 3],
    }
    assert lengths == expected[each]


def by_hand(text: str, each: str) -> list[str]:
    """The same documents, of a text that is held as a whole and too short to be cut."""
    lines = [line + "\n" for line in text.split("\n")]
    groups: list[str] = [""]
    for line in lines:
        groups += [""] if not line.strip() else []
        groups[-1] += line if line.strip() else ""
    trimmed = [
        [part.removesuffix("\n").removesuffix("\r") for part in parts]
        for parts in (groups, lines)
    ]
    return [
        part
        for part in {"file": [text], "paragraph": trimmed[0], "line": trimmed[1]}[each]
        if part.strip()
    ]


pieces = st.lists(
    st.text(st.sampled_from("ab 电\r\n\n"), min_size=1, max_size=12), max_size=12
)


@given(pieces, st.sampled_from(sorted(EACH)))
def test_documents_do_not_depend_on_how_a_file_is_read(
    parts: list[str], each: Each
) -> None:
    assert [text for text in EACH[each](iter(parts)) if text.strip()] == by_hand(
        "".join(parts), each
    )


@given(pieces, st.sampled_from(sorted(EACH)), st.integers(1, 9))
def test_cut_documents_hold_all_that_is_in_the_file(
    parts: list[str], each: Each, longest: int
) -> None:
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tastemaker.data.texts.LONGEST", longest)
        pieces_read = list(EACH[each](iter(parts)))
    assert all(len(part) <= longest for part in pieces_read)
    assert "".join("".join(pieces_read).split()) == "".join(text.split())
    if each == "file":
        assert "".join(pieces_read) == text
        for part, following in pairwise(pieces_read):
            line = part.rpartition("\n")[2] + following.partition("\n")[0]
            assert (
                part.endswith("\n") or len(line) >= longest
            )  # cut in a line: one that is too long by itself


# --- streaming


def first(examples: Iterator[Example]) -> str:
    return next(examples).text


def test_a_file_is_read_as_far_as_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "broken.txt"
    path.write_bytes(b"Line.\n" * 30_000 + b"\xff")
    examples = documents(path, each="line")
    assert [example.text for example in islice(examples, 3)] == ["Line."] * 3
    with pytest.raises(DataError, match=r"broken\.txt:30001: .*UTF-8"):
        list(examples)
    packed = tmp_path / "cut.txt.gz"
    lines = "".join(f"{number * 2**40 // 7919}\n" for number in range(20_000))
    packed.write_bytes(gzip.compress(lines.encode())[:-1000])
    examples = documents(packed, each="line")
    assert first(examples) == "0"
    with pytest.raises(DataError, match=r"cut\.txt\.gz: "):
        list(examples)


def test_a_later_file_is_not_opened_before_its_turn(tmp_path: Path) -> None:
    folder = files_of(tmp_path / "texts", {"a.txt": "One."})
    (folder / "b.txt").write_bytes(b"\xff")
    examples = documents(folder)
    assert first(examples) == "One."
    with pytest.raises(DataError, match=r"b\.txt:1: .*UTF-8"):
        next(examples)


def _lines(path: Path, mib: int) -> Path:
    path.write_text("A line of a long file.\n" * (mib * 2**20 // 23))
    return path


def _paragraphs(path: Path, mib: int) -> Path:
    path.write_text("A paragraph\nof a long file.\n\n" * (mib * 2**20 // 29))
    return path


def _one_line(path: Path, mib: int) -> Path:
    path.write_text("A line without an end " * (mib * 2**20 // 22))
    return path


def _table(path: Path, mib: int) -> Path:
    with path.open("w") as file:
        file.writelines(
            '{"text": "' + "A long review. " * 60 + '"}\n'
            for _ in range(mib * 2**20 // 914)
        )
    return path


@pytest.mark.parametrize(
    ("make", "name", "each"),
    [
        (_lines, "a.txt", "file"),
        (_lines, "a.txt", "line"),
        (_paragraphs, "a.txt", "paragraph"),
        (_one_line, "a.txt", "paragraph"),
        (_table, "a.jsonl", "file"),
    ],
)
def test_memory_does_not_grow_with_the_source(
    tmp_path: Path, make: Callable[[Path, int], Path], name: str, each: Each
) -> None:
    path = make(tmp_path / name, 8)  # MiB
    tracemalloc.start()
    try:
        length = sum(len(example.text) for example in documents(path, each=each))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length > 6 * 2**20
    assert peak < 4 * 2**20
