"""Published formats of judgements: one file a family, each of which registers its formats.

To add a format, write a file here that ends in `register_format(Format(…))`, and name the file in
the last line of this one. A program can register a format of its own in the same way.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Judgement
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import answer_of, bad_cell, show, text_of
from tastemaker.errors import DataError, UsageError

TABLE = "table"
"""The name of no format: a table with a text column and columns of judgements."""


@dataclass(frozen=True)
class Format:
    """A format of rows: the columns it is recognised by, and how a row becomes judgements.

    name: what `tm.read(…, format=name)` calls it.
    columns: the columns that every row has.
    read: (row, metadata) → the judgements of the row. Raises DataError for a bad row.
    kinds: the kinds of judgement that `read` returns.
    optional: further columns that `read` uses.
    matches: whether a row that has the columns holds the right sort of values in them. A row that
    matches but is not valid is an error of this format.
    excludes_others: a row that matches has no other format.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[Row, Metadata], list[Judgement]]
    kinds: tuple[type[Judgement], ...]
    optional: tuple[str, ...] = ()
    matches: Callable[[Row], bool] = lambda row: True
    excludes_others: bool = False

    def fits(self, row: Row) -> bool:
        """Return whether a row is recognised as one of this format."""
        has_columns = all(row.get(name) is not None for name in self.columns)
        return has_columns and self.matches(row)


FORMATS: dict[str, Format] = {}
"""Every registered format by its name."""


def register_format(format: Format) -> None:
    """Make `tm.read` and the shell recognise a format. Raises UsageError for a name in use."""
    if format.name in FORMATS or format.name == TABLE:
        raise UsageError(
            f"format {format.name!r}: there is one of this name. Choose another name."
        )
    FORMATS[format.name] = format


def instruction_of(row: Row, where: str) -> str:
    """Return `instruction` with `input` under it, as one text. One of them may be empty."""
    parts = [
        answer_of(row.get(name) or "", where, name) for name in ("instruction", "input")
    ]
    return text_of(
        "\n\n".join(part for part in parts if part.strip()), where, "instruction"
    )


def list_of(value: Any, where: str, column: str) -> list[Any]:
    """Return the cell as a list. Raises DataError for any other value."""
    if not isinstance(value, list):
        raise bad_cell(value, where, column, " where a list belongs.")
    return value


def records_of(value: Any, where: str, column: str) -> list[dict[str, Any]]:
    """Return the cell as a list of objects. Raises DataError for any other value.

    The library `datasets` gives one object of equally long lists instead; it is transposed.
    """
    if isinstance(value, dict) and value:
        columns = list(value.values())
        if all(isinstance(cells, list) for cells in columns):
            value = [
                dict(zip(value, cells, strict=False))
                for cells in zip(*columns, strict=False)
            ]
    records = list_of(value, where, column)
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            item = f"item {number} of column {column!r} is {show(record)}"
            raise DataError(f"{where}: {item} where an object belongs.")
    return records


def tiers_of(
    ranks: Iterable[float], texts: Iterable[str]
) -> tuple[tuple[str, ...], ...]:
    """Return texts as the tiers of a ranking. A lower rank is better; gaps do not matter."""
    tiers: dict[float, list[str]] = {}
    for rank, text in zip(ranks, texts, strict=True):
        tiers.setdefault(rank, []).append(text)
    return tuple(tuple(tiers[rank]) for rank in sorted(tiers))


# At the end, because these files import what is above; each registers its formats.
from tastemaker.data.formats import pairs, ranked, single  # noqa: E402, F401
