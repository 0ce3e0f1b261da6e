import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tastemaker.data import (
    Columns,
    Label,
    MetadataColumns,
    ReadAs,
    Table,
    judge_of,
    metadata_columns,
    read,
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
    names = ("text", "Annotator", "Created At", "weight", "Sample Weight")
    assert metadata_columns(names) == MetadataColumns(
        "Annotator", "Created At", "Sample Weight"
    )
    assert metadata_columns(("annotator", "judge", "timestamp")) == MetadataColumns(
        "judge", "timestamp"
    )
    assert metadata_columns(
        ("judge", "sample_weight"), frozenset({"sample_weight"})
    ) == MetadataColumns("judge")


def test_named_columns_and_columns_that_are_switched_off() -> None:
    columns = Columns(weight="weight", judge="none", time="when")
    assert metadata_columns(
        ("judge", "weight", "when", "time"), frozenset(), columns
    ) == MetadataColumns(None, "when", "weight", frozenset({"weight", "time"}))


@pytest.mark.parametrize(
    ("name", "fitting", "value"),
    [
        ("time", "2024-01-31", "3:45"),
        ("time", 1706702400, 225),
        ("created_at", None, "Wed Oct 10 20:19:24 +0000 2018"),
        ("sample_weight", 2, "2.3 lb"),
        ("sample_weight", "0.5", -1),
        ("annotator", "ann", ["a", "b"]),
    ],
)
def test_what_nobody_named_and_does_not_fit_is_left_out(
    tmp_path: Path, name: str, fitting: Any, value: Any
) -> None:
    """Also of the rows before, in which it fits."""
    path = tmp_path / "r.jsonl"
    rows = [
        {"text": "a", "label": 1, name: fitting},
        {"text": "b", "label": 0, name: value},
    ]
    pairs = [
        {"chosen": "c", "rejected": "d", name: fitting},
        {"chosen": "a", "rejected": "b", name: value},
    ]
    for case in (rows, pairs):
        path.write_text("".join(json.dumps(row) + "\n" for row in case))
        report: list[ReadAs] = []
        for judgement in read(path, report=report):
            assert (judgement.judge, judgement.time, judgement.weight) == (
                None,
                None,
                1,
            )
        assert name in report[0].unused
        assert any(name in note for note in report[0].notes)
        role = "judge" if name == "annotator" else name.rpartition("_")[2]
        if name in {"time", "sample_weight"} and value != 225:
            with pytest.raises(DataError, match=r"weight|time"):
                read(path, **{role: name})


def test_nanoseconds_are_a_time(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"text": "a", "label": 1, "timestamp": 1706702400000000000}\n')
    assert read(path)[0].time == NOON


def test_what_a_row_says() -> None:
    table = Table("r.csv", lambda: iter(()), is_text=True)
    row = {"judge": "", "time": "2024-01-31T12:00Z", "sample weight": "2"}
    metadata = metadata_columns(tuple(row)).read(row, table, 17)
    assert metadata == {
        "judge": None,
        "time": NOON,
        "weight": 2,
        "where": WHERE,
        "source": "r.csv",
        "path": "",
    }
