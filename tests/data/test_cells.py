from typing import Any

import pytest

from tastemaker.data import (
    Example,
    Grade,
    GradeCells,
    Label,
    LabelCells,
    Metadata,
    Rating,
    RatingCells,
)
from tastemaker.errors import DataError

FILM = Example("a film")
METADATA: Metadata = {
    "judge": None,
    "time": None,
    "weight": 1.0,
    "where": "reviews.csv:17",
    "source": "reviews.csv",
}


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_value_is_said_to_be_missing(value: Any) -> None:
    for cells in (LabelCells("y", {"1": True}), GradeCells("y", 1, 10), RatingCells("y")):
        with pytest.raises(DataError, match=r"reviews\.csv:17: no value in column 'y'"):
            cells.judgement(value, FILM, METADATA)


def test_a_label_cell() -> None:
    cells = LabelCells("y", {"neg": False, "pos": True})
    assert cells.judgement("POS", Example("a", "p"), {**METADATA, "judge": "ann"}) == Label(
        "a", True, prompt="p", judge="ann"
    )
    assert cells.judgement("neg", FILM, METADATA).where == "reviews.csv:17"
    with pytest.raises(DataError, match=r"'y' holds 'meh'; the labels are neg and pos"):
        cells.judgement("meh", FILM, METADATA)


def test_a_grade_cell() -> None:
    cells = GradeCells("y", 1, 5)
    assert cells.judgement("4.0", FILM, METADATA) == Grade("a film", 4, 1, 5)
    with pytest.raises(DataError, match=r"'y' holds 3.5, which is not a whole grade"):
        cells.judgement(3.5, FILM, METADATA)
    for beyond in (0, 6):
        with pytest.raises(DataError, match=rf"'y' holds {beyond}, outside the scale of 1 to 5"):
            cells.judgement(beyond, FILM, METADATA)


def test_a_rating_cell() -> None:
    assert RatingCells("y").judgement("-7.35", FILM, {**METADATA, "judge": "ann"}) == Rating(
        "a film", -7.35, judge="ann"
    )
    bounded = RatingCells("y", (0, 100))
    assert bounded.judgement(100, FILM, METADATA).rating == 100
    with pytest.raises(DataError, match=r"'y' holds 100.5, outside the scale of 0 to 100"):
        bounded.judgement(100.5, FILM, METADATA)
