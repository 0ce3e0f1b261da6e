"""The columns that any table may have beside its judgements: the judge, the time, the weight.

They count only under names that cannot mean anything else, or when they are named.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from tastemaker.data.roles import Columns, column_for
from tastemaker.data.tables import Metadata, Row, Table
from tastemaker.data.values import (
    bad_cell,
    is_missing,
    number_of,
    parse_number,
    show,
    word_count,
)
from tastemaker.errors import DataError

RECOGNISED = {
    "judge": ("judge", "annotator", "judge_id", "annotator_id"),
    "time": ("time", "timestamp", "created_at", "judged_at", "annotated_at"),
    "weight": (
        "judgement_weight",
        "judgment_weight",
        "sample_weight",
        "example_weight",
        "instance_weight",
    ),
}
"""Column names that are recognised in every table, the likeliest first (see `plain_name`).

A plain `weight` may be that of a parcel, so it counts only when it is named.
"""

_LARGEST_SECONDS = 1e11  # the year 5138: a larger number counts smaller units
_LONG_NAME = 20
_MOST_WORDS = 6
"""Words of a judge's name, where it is long."""
_DATE_LENGTH = len("20260131")  # digits alone: a date, not a number of seconds


@dataclass(frozen=True)
class MetadataColumns:
    """The columns of the judge, the time and the weight, where there are such columns.

    named: those of the three roles that somebody named. What another column holds may be something
    else, so a cell that does not fit leaves the column out instead of stopping the file.
    """

    judge: str | None = None
    time: str | None = None
    weight: str | None = None
    named: frozenset[str] = frozenset()

    @property
    def roles(self) -> dict[str, str]:
        """The columns by role."""
        columns = {
            "judge": self.judge,
            "time": self.time,
            "weight": self.weight,
        }
        return {role: name for role, name in columns.items() if name}

    def read(
        self,
        row: Row,
        table: Table,
        number: int,
        left_out: dict[str, str] | None = None,
    ) -> Metadata:
        """Return the metadata of a row. Raises DataError for a bad cell of a named column.

        left_out: role → why its column is left out. A bad cell of another column adds to it.
        """
        where = table.place(number)
        metadata = Metadata(
            judge=None,
            time=None,
            weight=1.0,
            where=where,
            source=table.name,
            path=table.path,
        )
        if self.judge is None and self.time is None and self.weight is None:
            return metadata
        out = {} if left_out is None else left_out
        if self.judge and "judge" not in out:
            cell = row.get(self.judge)
            if "judge" in self.named:
                metadata["judge"] = judge_of(cell, is_cell=table.is_text)
            elif not is_missing(cell) and not _may_be_judge(cell):
                out["judge"] = _unfit("judge", self.judge, where, cell)
            elif not is_missing(cell):
                metadata["judge"] = judge_of(cell)
        if self.time and "time" not in out:
            metadata["time"] = self._time(row.get(self.time), where, out)
        if self.weight and "weight" not in out:
            cell = row.get(self.weight)
            if "weight" in self.named or is_weight(cell):
                metadata["weight"] = weight_of(cell, where, self.weight)
            else:
                out["weight"] = _unfit("weight", self.weight, where, cell)
        return metadata

    def _time(
        self,
        cell: object,
        where: str,
        out: dict[str, str],
    ) -> datetime | None:
        column = self.time or ""
        if "time" in self.named:
            return time_of(cell, where, column)
        try:
            time = time_of(cell, where, column)
        except DataError:
            out["time"] = _unfit("time", column, where, cell)
            return None
        if time is not None and time.year not in _YEARS:
            out["time"] = _unfit("time", column, where, cell)
            return None
        return time


_YEARS = range(1990, 2101)
"""Years in which somebody may have judged a text; a number of another year is no time."""


def is_weight(
    cell: object,
) -> bool:
    """Return whether a cell is empty or a finite number from 0."""
    if is_missing(cell):
        return True
    number = parse_number(cell)
    return number is not None and math.isfinite(number) and number >= 0


def _may_be_judge(cell: object) -> bool:
    """Return whether a cell may name a judge: no part of a number, no sentence, no list."""
    if isinstance(cell, str) and len(cell) > _LONG_NAME:
        return word_count(cell) <= _MOST_WORDS
    number = parse_number(cell)
    is_part = number is not None and not number.is_integer()
    return not is_part and not isinstance(cell, dict | list | bool)


def _unfit(
    role: str,
    column: str,
    where: str,
    cell: object,
) -> str:
    return (
        f"column {column!r} is not used: {where} holds {show(cell)}, which is no {role}. "
        f"If it should be read as the {role}, name it with --{role}-column."
    )


@lru_cache(maxsize=256)
def metadata_columns(
    names: tuple[str, ...],
    used: frozenset[str] = frozenset(),
    columns: Columns | None = None,
) -> MetadataColumns:
    """Return which of the columns hold metadata. used: columns that hold something else.

    columns: those that somebody named.
    """
    by_role: dict[str, str | None] = {}
    named = set()
    for role, recognised in RECOGNISED.items():
        name = columns.name_of(role) if columns else None
        if name is not None:
            named.add(role)
        elif not (columns and columns.is_off(role)):
            name = column_for(recognised, names, used)
        by_role[role] = name
    return MetadataColumns(**by_role, named=frozenset(named))


def judge_of(
    value: object,
    *,
    is_cell: bool = False,
) -> str | None:
    """Return the judge's name; None for no judge. A number is a name too.

    is_cell: the value is a cell of a CSV file, where an empty cell means no judge. In other files
    it is an empty name, which judgements refuse.
    """
    if value is None or (is_cell and value == ""):
        return None
    # the NaN of data frames
    if not isinstance(value, str) and is_missing(value):
        return None
    return str(value)


def time_of(
    value: object,
    where: str,
    column: str,
) -> datetime | None:
    """Return the cell as a time; None for an empty cell. Raises DataError for anything else.

    A time is ISO 8601, or seconds since 1970 in UTC, or milli-, micro- or nanoseconds.
    """
    if isinstance(value, datetime):
        return value
    if is_missing(value):
        return None
    number = parse_number(value)
    is_date = isinstance(value, str) and len(value.strip()) == _DATE_LENGTH
    try:
        if number is not None and not is_date:
            return datetime.fromtimestamp(_seconds(number), UTC)
        if isinstance(value, str):
            return datetime.fromisoformat(value.strip())
    except (ValueError, OverflowError, OSError):
        pass
    problem = ", which is not a time. Write it as 2026-01-31T12:00:00, or rename the column."
    raise bad_cell(value, where, column, problem)


def _seconds(
    number: float,
) -> float:
    """Return a number of seconds, milliseconds, micro- or nanoseconds, by its size, as seconds."""
    for _ in range(3):
        if abs(number) > _LARGEST_SECONDS:
            number /= 1000
    return number


def weight_of(
    value: object,
    where: str,
    column: str,
) -> float:
    """Return the cell as a weight, 1 for an empty cell. Raises DataError for what is no number."""
    return 1.0 if is_missing(value) else number_of(value, where, column)
