from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tastemaker.data import (
    Label,
    MetadataColumns,
    Table,
    judge_of,
    metadata_columns,
    time_of,
    weight_of,
)
from tastemaker.errors import DataError

WHERE = "r.csv:17"
NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


def test_a_judge_may_be_a_number() -> None:
    assert [judge_of(value) for value in ("ann", 7, None, float("nan"))] == [
        "ann",
        "7",
        None,
        None,
    ]


def test_an_empty_cell_of_csv_is_no_judge_and_an_empty_name_elsewhere_is_an_error() -> (
    None
):
    assert judge_of("", is_cell=True) is None
    for name, is_cell in (("", False), ("  ", False), ("  ", True)):
        given = judge_of(name, is_cell=is_cell)
        assert given == name
        with pytest.raises(DataError, match=r"r\.csv:17: the judge"):
            Label("a", True, judge=given, where=WHERE)


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        "2024-01-31T12:00:00+00:00",
        "2024-01-31 12:00:00Z",
        " 2024-01-31T14:00:00+02:00 ",
        1706702400,
        "1706702400",
        1706702400.0,
        1706702400000,
        "1706702400000",
    ],
)
def test_spellings_of_a_time(value: Any) -> None:
    assert time_of(value, WHERE, "time") == NOON


def test_a_time_without_a_zone_stays_without_one() -> None:
    assert time_of("2024-01-31T12:00:00", WHERE, "time") == datetime(2024, 1, 31, 12)
    assert time_of("20240131", WHERE, "time") == datetime(2024, 1, 31)
    assert time_of(NOON.astimezone(timezone(timedelta(hours=9))), WHERE, "time") == NOON
    assert [time_of(value, WHERE, "time") for value in (None, "", " ")] == [None] * 3


@pytest.mark.parametrize(
    "value", ["noon", "2024-13-01", True, [1], float("inf"), 1e300, {"a": 1}]
)
def test_what_is_no_time(value: Any) -> None:
    with pytest.raises(DataError, match=r"r\.csv:17: .*'time'") as caught:
        time_of(value, WHERE, "time")
    assert "\n" not in str(caught.value)


def test_a_weight() -> None:
    assert [weight_of(value, WHERE, "weight") for value in (None, "", 2, "0.5", 0)] == [
        1,
        1,
        2,
        0.5,
        0,
    ]
    with pytest.raises(DataError, match=r"r\.csv:17: .*'weight'.*'much'"):
        weight_of("much", WHERE, "weight")


def test_columns_are_found_by_name_unless_they_are_taken() -> None:
    assert metadata_columns(
        ("text", "Annotator", "Created At", "weight")
    ) == MetadataColumns("Annotator", "Created At", "weight")
    assert metadata_columns(("annotator", "judge", "timestamp")) == MetadataColumns(
        "judge", "timestamp"
    )
    assert metadata_columns(
        ("judge", "weight"), frozenset({"weight"})
    ) == MetadataColumns("judge")


def test_what_a_row_says() -> None:
    table = Table("r.csv", lambda: iter(()), is_text=True)
    row = {"judge": "", "time": "2024-01-31T12:00Z", "weight": "2"}
    metadata = metadata_columns(tuple(row)).read(row, table, 17)
    assert metadata == {
        "judge": None,
        "time": NOON,
        "weight": 2,
        "where": WHERE,
        "source": "r.csv",
    }
