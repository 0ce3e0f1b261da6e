"""What a row says besides what was judged: who judged, when, how much it counts, and where the row stands.

The cells of a judgement column → labels, grades or ratings, or one clear line that says what is wrong with one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypedDict

from tastemaker.data.judgements import Example, Grade, Label, Rating
from tastemaker.data.tables import Row, Table
from tastemaker.data.values import is_missing, number_of, parse_number, show, word_of
from tastemaker.errors import DataError

RECOGNISED = {
    "judge": ("judge", "annotator"),
    "time": ("time", "timestamp", "created_at"),
    "weight": ("weight",),
}
"""The columns that are understood in every table, the likeliest first; case, spaces and hyphens do not matter."""

_MILLISECONDS = 1e11  # seconds of the year 5138: a larger number counts milliseconds


class Metadata(TypedDict):
    """The fields that every judgement of a row has; given to it as `**metadata`."""

    judge: str | None
    time: datetime | None
    weight: float
    where: str
    source: str


@dataclass(frozen=True)
class MetadataColumns:
    """Which columns name the judge, the time and the weight, where there are such columns."""

    judge: str | None = None
    time: str | None = None
    weight: str | None = None

    def read(self, row: Row, table: Table, number: int) -> Metadata:
        """Return what a row of a table says. Raises DataError for a time or a weight that is none."""
        where = table.place(number)
        return {
            "judge": judge_of(row.get(self.judge), is_cell=table.is_text) if self.judge else None,
            "time": time_of(row.get(self.time), where, self.time) if self.time else None,
            "weight": weight_of(row.get(self.weight), where, self.weight) if self.weight else 1.0,
            "where": where,
            "source": table.name,
        }


@lru_cache(maxsize=256)
def metadata_columns(
    names: tuple[str, ...], taken: frozenset[str] = frozenset()
) -> MetadataColumns:
    """Return those of the columns that say who, when and how much; `taken` ones mean something else."""
    return MetadataColumns(*(column_for(known, names, taken) for known in RECOGNISED.values()))


def column_for(
    known: Collection[str], names: Collection[str], taken: Collection[str]
) -> str | None:
    """Return the likeliest of the columns by the names that are known for it, None without one."""
    by_plain = {plain_name(name): name for name in reversed(list(names)) if name not in taken}
    return next((by_plain[name] for name in known if name in by_plain), None)


def plain_name(name: str) -> str:
    """Return a column's name as it is compared: "Created-At" is "created_at"."""
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def judge_of(value: object, *, is_cell: bool = False) -> str | None:
    """Return the judge's name as it is given; a number is a name too.

    is_cell: from a CSV file, where nothing means no judge. Elsewhere it is an empty name, and no judgement takes one.
    """
    if (
        value is None
        or (is_cell and value == "")
        or (not isinstance(value, str) and is_missing(value))
    ):
        return None
    return str(value)


def time_of(value: object, where: str, column: str) -> datetime | None:
    """Return the cell as a time (ISO 8601, or seconds or milliseconds since 1970 in UTC); None for an empty cell.

    Raises DataError for anything else.
    """
    if isinstance(value, datetime):
        return value
    if is_missing(value):
        return None
    number = parse_number(value)
    try:
        if number is not None and not (
            isinstance(value, str) and len(value.strip()) == len("20260131")
        ):
            return datetime.fromtimestamp(
                number / (1000 if abs(number) > _MILLISECONDS else 1), UTC
            )
        if isinstance(value, str):
            return datetime.fromisoformat(value.strip())
    except (ValueError, OverflowError, OSError):
        pass
    raise DataError(
        f"{where}: column {column!r} holds {show(value)}, which is not a time. Write it as 2026-01-31T12:00:00, or "
        f"rename the column."
    )


def weight_of(value: object, where: str, column: str) -> float:
    """Return the cell as a weight, 1 for an empty cell. Raises DataError unless it is a finite number."""
    return 1.0 if is_missing(value) else number_of(value, where, column)


def _check_range(number: float, lowest: float, highest: float, where: str, column: str) -> None:
    if not lowest <= number <= highest:
        raise DataError(
            f"{where}: column {column!r} holds {number:g}, outside the scale of {lowest:g} to {highest:g}."
        )


@dataclass(frozen=True)
class LabelCells:
    """Reads the cells of a column of labels. meanings: a label's plain form (`word_of`) → is it positive?"""

    column: str
    meanings: Mapping[str, bool]

    def judgement(self, value: Any, example: Example, metadata: Metadata) -> Label:
        """Return the cell's label. Raises DataError for an empty cell and for an unknown value."""
        word, where = word_of(value), metadata["where"]
        if word is None:
            raise DataError(
                f"{where}: no value in column {self.column!r}. Fill it in or remove the row."
            )
        if word not in self.meanings:
            known = " and ".join(self.meanings)
            raise DataError(
                f"{where}: column {self.column!r} holds {show(value)}; the labels are {known}."
            )
        return Label(example.text, self.meanings[word], prompt=example.prompt, **metadata)


@dataclass(frozen=True)
class GradeCells:
    """Reads the cells of a column of grades, whole numbers from `lowest` to `highest`."""

    column: str
    lowest: int
    highest: int

    def judgement(self, value: Any, example: Example, metadata: Metadata) -> Grade:
        """Return the cell's grade. Raises DataError unless it is a whole number on the scale."""
        where = metadata["where"]
        number = number_of(value, where, self.column)
        if not number.is_integer():
            raise DataError(
                f"{where}: column {self.column!r} holds {show(value)}, which is not a whole grade. "
                f"Name the column as ratings instead (--rating-column)."
            )
        _check_range(number, self.lowest, self.highest, where, self.column)
        return Grade(
            example.text, int(number), self.lowest, self.highest, prompt=example.prompt, **metadata
        )


@dataclass(frozen=True)
class RatingCells:
    """Reads the cells of a column of ratings, finite numbers, within `scale` where it is given."""

    column: str
    scale: tuple[int, int] | None = None

    def judgement(self, value: Any, example: Example, metadata: Metadata) -> Rating:
        """Return the cell's rating. Raises DataError unless it is a finite number on the scale."""
        number = number_of(value, metadata["where"], self.column)
        if self.scale:
            _check_range(number, *self.scale, metadata["where"], self.column)
        return Rating(example.text, number, prompt=example.prompt, **metadata)


Cells = LabelCells | GradeCells | RatingCells
