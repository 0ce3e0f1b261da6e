"""Rows and cells that nobody judged: left out, counted, and no reason to stop a file."""

from pathlib import Path
from typing import Any

import pytest
from published_rows import (
    ARENA,
    HELPSTEER,
    HELPSTEER3,
    KTO,
    PANDALM,
    SHP,
    WEBGPT,
    turns,
    write,
)

from tastemaker.data import Comparison, Grade, Label, Rating, ReadAs, read
from tastemaker.errors import DataError

BEAVERTAILS = {"prompt": "Q", "response": "a", "is_safe": True}
CHATS = {"messages": turns("Q", "a"), "label": True}
PAIR = {"prompt": "Q", "chosen": "a", "rejected": "b"}


@pytest.mark.parametrize(
    ("row", "column", "cell"),
    [
        (KTO, "label", None),
        (KTO, "label", ""),
        (KTO, "label", -1),
        (BEAVERTAILS, "is_safe", None),
        (BEAVERTAILS, "is_safe", -1),
        (HELPSTEER, "helpfulness", None),
        (HELPSTEER, "helpfulness", -1),
        (HELPSTEER3, "overall_preference", None),
        (CHATS, "label", -1),
        (CHATS, "label", None),
        (WEBGPT, "score_0", None),
        (SHP, "labels", None),
        (ARENA, "winner_tie", None),
        ({**PANDALM, "annotator2": 1}, "annotator2", None),
    ],
)
def test_an_unlabelled_row_of_a_format_is_left_out(
    tmp_path: Path, row: dict[str, Any], column: str, cell: Any
) -> None:
    alone = read(write(tmp_path / "r.jsonl", row))
    path = write(tmp_path / "r.jsonl", row, {**row, column: cell})
    both = read(path)
    if row.get("annotator1") is None:
        assert both == alone
    else:
        assert len(both) == len(alone) + 1, "another annotator judged the row"


def test_a_preference_of_minus_one_is_a_judgement(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {**HELPSTEER3, "overall_preference": -1})
    assert len(read(path)) == 1


def test_rows_that_lack_a_judgement_column(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl", {"text": "a", "label": 1}, {"text": "b", "stars": 4}
    )
    assert read(path) == [Label("a", positive=True), Grade("b", 4, 4, 4)]


def reported(path: Path) -> tuple[list[Any], ReadAs]:
    report: list[ReadAs] = []
    return read(path, report=report), report[0]


@pytest.mark.parametrize(
    ("column", "cells"),
    [("rating", [3.5, "far"]), ("stars", [4.5, 3]), ("stars", [4, "far"])],
)
def test_a_second_column_that_does_not_parse_is_left_out(
    tmp_path: Path, column: str, cells: list[Any]
) -> None:
    rows = [
        {"text": "a", "label": 1, column: cells[0]},
        {"text": "b", "label": 0, column: cells[1]},
    ]
    judgements, shown = reported(write(tmp_path / "r.jsonl", *rows))
    assert judgements == [Label("a", positive=True), Label("b", positive=False)]
    (note,) = shown.notes
    assert f"column {column!r} is not used" in note
    option = "grade" if column == "stars" else "rating"
    with pytest.raises(DataError):
        read(tmp_path / "r.jsonl", **{option: column})  # type: ignore[arg-type]


def test_stars_that_do_not_parse_beside_a_rating(tmp_path: Path) -> None:
    rows = [{"text": "a", "stars": "far", "rating": 2.5}]
    judgements, _ = reported(write(tmp_path / "r.jsonl", *rows))
    assert judgements == [Rating("a", 2.5)]


def test_the_only_judgement_column_must_parse(tmp_path: Path) -> None:
    rows = [{"text": "a", "rating": 2.5}, {"text": "b", "rating": "far"}]
    with pytest.raises(DataError, match=r"r\.jsonl:2: .*'far'"):
        read(write(tmp_path / "r.jsonl", *rows))


@pytest.mark.parametrize("cell", ["far", -1, "inf"])
def test_a_margin_that_is_none_is_left_out(tmp_path: Path, cell: Any) -> None:
    rows = [{**PAIR, "margin": 2}, {**PAIR, "prompt": "R", "margin": cell}]
    judgements, shown = reported(write(tmp_path / "r.jsonl", *rows))
    assert judgements == [
        Comparison("a", "b", prompt="Q"),
        Comparison("a", "b", prompt="R"),
    ]
    assert "margin" not in shown.roles
    assert any("r.jsonl:2 holds" in note for note in shown.notes)


UNJUDGED = [
    ("stars", (1, -1, 5), [1, 5]),
    ("rating", ("4.5", "-1", "3"), [4.5, 3.0]),
    ("rating", ("4.5", "N/A", "3"), [4.5, 3.0]),
    ("stars", ("4 stars", "null", "2 stars"), [4, 2]),
    ("label", ("1", "null", "0"), [True, False]),
    ("label", ("0", "None", "1"), [False, True]),
    ("label", ("neg", "NaN", "pos"), [False, True]),
]


def values_of(judgements: list[Any]) -> list[Any]:
    values = []
    for judgement in judgements:
        kind = "positive" if isinstance(judgement, Label) else judgement.kind
        values.append(getattr(judgement, kind))
    return values


@pytest.mark.parametrize(("column", "cells", "expected"), UNJUDGED)
def test_words_of_an_empty_cell_and_minus_one_are_counted_and_left_out(
    tmp_path: Path, column: str, cells: tuple[Any, ...], expected: list[Any]
) -> None:
    rows = [{"text": f"t{cell}", column: cell} for cell in cells]
    judgements, shown = reported(write(tmp_path / "r.jsonl", *rows))
    assert values_of(judgements) == expected
    assert shown.unlabelled == {column: 1}
    assert f"1 rows are not labelled in column {column!r}" in " ".join(shown.notes)


def test_minus_one_of_a_scale_is_a_value(tmp_path: Path) -> None:
    rows = [{"text": f"t{number}", "stars": number} for number in (-1, 0, 1)]
    assert values_of(read(write(tmp_path / "r.jsonl", *rows))) == [-1, 0, 1]
    rows[2]["stars"] = 5
    path = write(tmp_path / "r.jsonl", *rows)
    judgements, shown = reported(path)
    assert values_of(judgements) == [0, 5]
    assert "--scale -1,5 reads it as a number" in shown.notes[0]
    assert values_of(read(path, scale=(-1, 5))) == [-1, 0, 5]


@pytest.mark.parametrize(
    "cells", [(-1, -1), (-1, 0.3, 0.9), (-1, 0, 0), (-1, -0.5), (-1.0, 0.5, 1.0)]
)
def test_minus_one_that_is_no_code_is_a_value(
    tmp_path: Path, cells: tuple[float, ...]
) -> None:
    rows = [{"text": f"t{number}", "rating": cell} for number, cell in enumerate(cells)]
    assert values_of(read(write(tmp_path / "r.jsonl", *rows))) == list(cells)


@pytest.mark.parametrize("words", [("yes", "none"), ("spam", "null"), ("spam", "n/a")])
def test_an_empty_word_is_the_other_class_of_a_positive_label(
    tmp_path: Path, words: tuple[str, str]
) -> None:
    rows = [{"text": f"a {word}", "label": word} for word in (*words, "")]
    path = write(tmp_path / "r.jsonl", *rows)
    assert values_of(read(path, positive=words[0])) == [True, False]


def test_none_may_be_the_name_of_a_class(tmp_path: Path) -> None:
    rows = [{"text": f"a {word}", "label": word} for word in ("none", "toxic")]
    path = write(tmp_path / "r.jsonl", *rows)
    with pytest.raises(DataError, match=r"which label .*'toxic' or 'none'"):
        read(path)
    assert values_of(read(path, positive="none")) == [True, False]


CLASSES = [(1, 2, 3), (0, 1, 3, 4), (2, 3, 4), ("1", "2", "5")]


@pytest.mark.parametrize("numbers", CLASSES)
def test_numbers_of_a_label_column_are_no_grades_unless_somebody_says_so(
    tmp_path: Path, numbers: tuple[Any, ...]
) -> None:
    rows = [{"text": f"text {number}", "label": number} for number in numbers]
    path = write(tmp_path / "r.jsonl", *rows)
    with pytest.raises(DataError, match=r"--grade-column label; .* --order "):
        read(path)
    grades = list(map(int, numbers))
    assert values_of(read(path, grade="label")) == grades
    assert values_of(read(path, scale=(0, 5))) == grades


def _cells(path: Path, column: str, *cells: Any) -> Path:
    """Write a labelled text for each cell of another column."""
    rows = []
    for number, cell in enumerate(cells):
        rows.append({"text": f"t{number}", "label": number % 2, column: cell})
    return write(path, *rows)


@pytest.mark.parametrize(
    ("column", "cells", "kind"),
    [
        ("rating", [1, 5, "far", 3, 4], Grade),
        ("rating", [1.5, 5, "inf", 3, 4], Rating),
        ("stars", [1, 5, 4.5, 3, 4], Grade),
        ("stars", ["1", "5", "?", "3", "4"], Grade),
    ],
)
def test_one_bad_cell_of_a_second_column_leaves_out_its_row(
    tmp_path: Path, column: str, cells: list[Any], kind: type
) -> None:
    path = _cells(tmp_path / "r.jsonl", column, *cells)
    errors: list[DataError] = []
    judgements = read(path, skip_bad=errors)
    of_kind = [one for one in judgements if isinstance(one, kind)]
    assert [one.texts[0] for one in of_kind] == ["t0", "t1", "t3", "t4"]
    assert len(judgements) == 8
    (error,) = errors
    assert f"r.jsonl:3: column {column!r} holds" in str(error)
    assert len(read(path)) == 5, "without it, labels alone"


def test_a_second_column_of_mostly_bad_cells_is_left_out(tmp_path: Path) -> None:
    path = _cells(tmp_path / "r.jsonl", "rating", 1, "far", "near", "?")
    errors: list[DataError] = []
    assert len(read(path, skip_bad=errors)) == 4
    assert not errors
    assert read(path, skip_bad=errors, target="rating") == [Grade("t0", 1, 1, 1)]
    assert len(errors) == 3
    outlier = _cells(tmp_path / "r.jsonl", "stars", 1, 5, 99, 3, 4)
    assert len(read(outlier, skip_bad=[])) == 5


def test_the_only_rating_with_a_bad_cell_stays_a_grade(tmp_path: Path) -> None:
    rows = [{"text": f"t{n}", "rating": n} for n in (1, 2, 5)]
    path = write(tmp_path / "r.jsonl", *rows, {"text": "t9", "rating": "far"})
    assert read(path, skip_bad=[]) == [Grade(f"t{n}", n, 1, 5) for n in (1, 2, 5)]
