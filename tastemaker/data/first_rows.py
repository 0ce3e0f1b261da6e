"""The first rows of a table, which show what its columns are for."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from tastemaker.data.chats import with_chat
from tastemaker.data.prompts import may_prompt
from tastemaker.data.roles import Columns, plain_name
from tastemaker.data.tables import Row, Rows, Table
from tastemaker.data.values import is_missing

HEAD = 100
"""Rows that show what the columns of a table are."""

_MOST_TELLING = 2 * HEAD

_MOST_SEARCHED = 20 * HEAD
"""Rows that are searched for a filled cell of a column that nobody named.

Some tables have columns that are empty everywhere: a search of all rows doubles the time."""


class FirstRows:
    """The first rows of a table, and later rows that fill a column for the first time.

    A column that is empty in the first rows shows only later what it is for.
    rows: those rows. names: all columns so far. empty: the columns without a filled cell so far.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.names: dict[str, None] = {}
        self.empty: set[str] = set()

    def add(self, row: Row, *, is_wanted: bool = False) -> bool:
        """Add the next row of the table; return whether it is among the rows that are kept.

        is_wanted: it is kept however many there are.
        """
        if not row.keys() <= self.names.keys():
            new = [name for name in row if name not in self.names]
            self.names.update(dict.fromkeys(new))
            self.empty.update(new)
        filled = []
        # the shorter one: rows may have ever new keys, or many columns
        fewer = min(self.empty, row, key=len)
        for name in fewer:
            is_open = name in self.empty and name in row
            if is_open and not _is_void(row[name]):
                filled.append(name)
        self.empty.difference_update(filled)
        most = _MOST_TELLING if filled else HEAD
        is_kept = is_wanted or len(self.rows) < most
        if is_kept:
            self.rows.append(row)
        return is_kept


def _is_void(cell: Any) -> bool:
    """Return whether a cell is empty, or a list or object without anything in it."""
    if isinstance(cell, str):
        return is_missing(cell) or cell == "[]"
    return is_missing(cell) or (isinstance(cell, list | dict) and not cell)


def telling_rows(
    numbered: Rows,
    is_wanted: Callable[[str], bool],
    named: Iterable[str] = (),
) -> Rows:
    """Yield the first rows of a table, and later ones that first fill a wanted column.

    is_wanted: whether a column may have a role, by its name. named: columns that somebody named;
    reading goes on until each was there, and for the others as far as _MOST_SEARCHED.
    """
    first = FirstRows()
    missing = {plain_name(name) for name in named}
    for count, (number, row) in enumerate(numbered, 1):
        new = missing & set(map(plain_name, row)) if missing else ()
        missing.difference_update(new)
        if first.add(row, is_wanted=bool(new)):
            yield number, row
        if missing or count < HEAD:
            continue
        if count >= _MOST_SEARCHED or not any(map(is_wanted, first.empty)):
            return


def first_plain_rows(
    table: Table, past_bad: bool, columns: Columns | None = None
) -> list[Row]:
    """Return the first rows; with columns, also later ones that show which have the prompt.

    past_bad: go past rows that are not well formed. columns: those that somebody named.
    """
    numbered = table.rows_past([] if past_bad else None)
    if columns is None:
        numbered = islice(numbered, HEAD)
    else:
        numbered = telling_rows(numbered, may_prompt, columns.named())
    return [plain_row(row) for _, row in numbered]


def plain_row(
    row: Row,
) -> Row:
    """Return the row with lists in the place of arrays, tuples and texts that spell chats."""
    return {name: _with_lists(with_chat(cell)) for name, cell in row.items()}


def _with_lists(
    value: Any,
) -> Any:
    """Return the value with lists in the place of arrays and tuples, however deep."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {name: _with_lists(cell) for name, cell in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_with_lists(cell) for cell in value]
    return value
