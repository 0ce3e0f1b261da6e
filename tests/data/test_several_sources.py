"""`Documents`: several sources, read as often as wanted."""

import json
from pathlib import Path

import pytest

from tastemaker.data import Columns, Example
from tastemaker.errors import DataError, UsageError
from tastemaker.gpt import Documents


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """A text file of two lines, and a table with a row that cannot be read."""
    (tmp_path / "a.txt").write_text("One.\nTwo.\n")
    rows = [{"text": "Three."}, {"text": ""}, {"text": "Four."}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [tmp_path / "a.txt", tmp_path / "b.jsonl"]


def test_sources_follow_each_other_as_often_as_they_are_read(
    sources: list[Path],
) -> None:
    documents = Documents(sources, each="line", leave_out_bad=True)
    for _ in range(3):
        assert list(documents) == [
            Example(text) for text in ("One.", "Two.", "Three.", "Four.")
        ]
        assert [str(error).split(": ")[0] for error in documents.bad] == ["b.jsonl:2"]
    with pytest.raises(DataError, match=r"b\.jsonl:2"):
        list(Documents(sources, each="line"))


def test_a_limit_is_of_all_sources_together(sources: list[Path]) -> None:
    for limit, expected in (
        (1, ["One."]),
        (3, ["One.", "Two.", "Three."]),
        (9, ["One.", "Two.", "Three.", "Four."]),
    ):
        documents = Documents(sources, each="line", leave_out_bad=True, limit=limit)
        assert [example.text for example in documents] == expected
    with pytest.raises(UsageError, match="limit 0"):
        Documents(sources, limit=0)
    with pytest.raises(UsageError, match="no source"):
        Documents([])


def test_another_file_or_setting_is_described_otherwise(
    sources: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "c.txt").write_text("Five.")
    described = Documents([*sources, folder, "playground"]).describe()
    assert json.loads(json.dumps(described)) == described
    assert (
        Documents([*sources, folder, "playground"], bad=[DataError("seen")]).describe()
        == described
    )
    for other in (
        Documents([*sources, folder, "playground"], each="line"),
        Documents([*sources, folder, "playground"], limit=5),
        Documents([*sources, folder, "playground"], columns=Columns(text="text")),
        Documents([*sources, folder]),
        Documents([*sources[::-1], folder, "playground"]),
    ):
        assert other.describe() != described
    for path in (sources[0], folder / "c.txt"):
        before = path.read_bytes()
        path.write_bytes(before + b"!")
        assert Documents([*sources, folder, "playground"]).describe() != described
        path.write_bytes(before)
    assert Documents([*sources, folder, "playground"]).describe() == described
