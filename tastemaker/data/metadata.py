"""Metadata of a row: who judged, when, how much the judgement counts, and where the row stands."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypedDict

from tastemaker.data.tables import Row, Table
from tastemaker.data.values import bad_cell, is_missing, number_of, parse_number

RECOGNISED = {
    "judge": ("judge", "annotator"),
    "time": ("time", "timestamp", "created_at"),
    "weight": ("weight",),
}
"""Column names that are recognised in every table, the likeliest first (see `plain_name`)."""

_LARGEST_SECONDS = 1e11  # the year 5138: a larger number counts milliseconds
_DATE_LENGTH = len("20260131")  # digits alone: a date, not a number of seconds


class Metadata(TypedDict):
    """The fields that every judgement of a row has; passed to it as `**metadata`."""

    judge: str | None
    time: datetime | None
    weight: float
    where: str
    source: str


@dataclass(frozen=True)
class MetadataColumns:
    """The columns of the judge, the time and the weight, where there are such columns."""

    judge: str | None = None
    time: str | None = None
    weight: str | None = None

    def read(self, row: Row, table: Table, number: int) -> Metadata:
        """Return the metadata of a row. Raises DataError for a bad time or weight."""
        where = table.place(number)
        judge = time = None
        weight = 1.0
        if self.judge:
            judge = judge_of(row.get(self.judge), is_cell=table.is_text)
        if self.time:
            time = time_of(row.get(self.time), where, self.time)
        if self.weight:
            weight = weight_of(row.get(self.weight), where, self.weight)
        return Metadata(
            judge=judge, time=time, weight=weight, where=where, source=table.name
        )


@lru_cache(maxsize=256)
def metadata_columns(
    names: tuple[str, ...], taken: frozenset[str] = frozenset()
) -> MetadataColumns:
    """Return which of the columns hold metadata. taken: columns that hold something else."""
    columns = {
        kind: column_for(known, names, taken) for kind, known in RECOGNISED.items()
    }
    return MetadataColumns(**columns)


def column_for(
    known: Collection[str], names: Collection[str], taken: Collection[str]
) -> str | None:
    """Return the column that is called as the first of the known names can be; None without one.

    names: the columns of the table; taken: those of them that hold something else.
    """
    by_plain_name: dict[str, str] = {}
    for name in names:
        if name not in taken:
            by_plain_name.setdefault(plain_name(name), name)
    for name in known:
        if name in by_plain_name:
            return by_plain_name[name]
    return None


def plain_name(name: str) -> str:
    """Return a column's name without case, spaces and hyphens: "Created-At" is "created_at"."""
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def judge_of(value: object, *, is_cell: bool = False) -> str | None:
    """Return the judge's name; None for no judge. A number is a name too.

    is_cell: the value is a cell of a CSV file, where an empty cell means no judge. In other files
    it is an empty name, which judgements refuse.
    """
    if value is None or (is_cell and value == ""):
        return None
    if not isinstance(value, str) and is_missing(value):  # the NaN of data frames
        return None
    return str(value)


def time_of(value: object, where: str, column: str) -> datetime | None:
    """Return the cell as a time; None for an empty cell. Raises DataError for anything else.

    A time is ISO 8601, or seconds or milliseconds since 1970 in UTC.
    """
    if isinstance(value, datetime):
        return value
    if is_missing(value):
        return None
    number = parse_number(value)
    is_date = isinstance(value, str) and len(value.strip()) == _DATE_LENGTH
    try:
        if number is not None and not is_date:
            seconds = number / 1000 if abs(number) > _LARGEST_SECONDS else number
            return datetime.fromtimestamp(seconds, UTC)
        if isinstance(value, str):
            return datetime.fromisoformat(value.strip())
    except (ValueError, OverflowError, OSError):
        pass
    problem = (
        ", which is not a time. Write it as 2026-01-31T12:00:00, or rename the column."
    )
    raise bad_cell(value, where, column, problem)


def weight_of(value: object, where: str, column: str) -> float:
    """Return the cell as a weight, 1 for an empty cell. Raises DataError for what is no number."""
    return 1.0 if is_missing(value) else number_of(value, where, column)
