"""Published formats of judgements: one file a family, each of which registers its formats.

`tastemaker.data.recognising` finds the format of a table by its columns and reads its rows.

To add a format, write a file here that ends in `register_format(Format(…))`. Nothing names the
file: all files of this folder are imported. A program can register a format in the same way.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from tastemaker.data.judgements import Comparison, Judgement, Ranking
from tastemaker.data.roles import Columns
from tastemaker.data.tables import Metadata, Row
from tastemaker.data.values import answer_of, bad_cell, show, text_of
from tastemaker.errors import DataError, UsageError

PROMPT = "prompt"

_PROMPTS = (
    "instruction",
    "input",
    "question",
    "query",
    "context",
    "history",
    "source",
    "user_input",
    "title",
    "selftext",
    "info",
)
"""Names of a prompt in formats that have no column of that name."""

_JUDGES = ("worker",)
"""Names of a judge in formats that read it themselves."""

_TEXTS = ("completion", "response")
"""Names of the text in formats of one text a row."""

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
    judging: the columns that hold the judgement. A row in which one is empty says nothing, and so
    does −1 where the judgements are labels or grades.
    numbers: optional columns of numbers from 0. A cell that holds anything else leaves the column
    out, because nobody named it.
    own_prompt: whether a column `prompt` holds the prompt and nothing else.
    of_some_rows: columns that only some rows are read from, perhaps none of the first ones.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[Row, Metadata], list[Judgement]]
    kinds: tuple[type[Judgement], ...]
    optional: tuple[str, ...] = ()
    matches: Callable[[Row], bool] = lambda row: True
    excludes_others: bool = False
    judging: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    own_prompt: bool = True
    of_some_rows: tuple[str, ...] = ()

    def role_of(
        self,
        column: str,
    ) -> str:
        """Return what a column is for: the prompt, the text, or what its own name says."""
        plain = column.removeprefix("orig_")
        if self.holds_prompt(column) and not self.has_prompt:
            return PROMPT
        if plain in _JUDGES and column in self.optional:
            return "judge"
        is_single = not any(
            kind in {Comparison, Ranking, Judgement} for kind in self.kinds
        )
        return "text" if is_single and plain in _TEXTS else column

    @property
    def has_prompt(self) -> bool:
        """Whether rows may have the prompt in a column of that name."""
        is_column = PROMPT in self.columns or PROMPT in self.optional
        return is_column and self.own_prompt

    def holds_prompt(self, column: str) -> bool:
        """Return whether a column of the format is for the prompt, by its name."""
        is_own = column in self.columns or column in self.optional
        plain = column.removeprefix("orig_").partition(".")[0]
        return is_own and plain in {PROMPT, *_PROMPTS}

    def has_columns(self, row: Row) -> bool:
        """Return whether a row has all columns of the format, filled or not."""
        return all(name in row for name in self.columns)

    def fits(
        self,
        row: Row,
    ) -> bool:
        """Return whether a row is recognised as one of this format."""
        has_columns = all(row.get(name) is not None for name in self.columns)
        return has_columns and self.matches(row)


FORMATS: dict[str, Format] = {}
"""Every registered format by its name."""


def register_format(
    format: Format,
) -> None:
    """Make `tm.read` and the shell recognise a format. Raises UsageError for a name in use."""
    if format.name in FORMATS or format.name == TABLE:
        raise UsageError(
            f"format {format.name!r}: there is one of this name. Choose another name."
        )
    FORMATS[format.name] = format


def table_format(
    columns: Columns | None,
    format: str | None,
) -> str | None:
    """Return the format to read a table in: with named columns it is read column by column.

    Raises UsageError where both a format and columns are named.
    """
    if columns is None or not columns.describes_a_table:
        return format
    if format not in (None, TABLE):
        raise UsageError(
            f"format {format!r} has its own columns. "
            "Leave out the format, or the columns that are named."
        )
    return TABLE


def instruction_of(
    row: Row,
    where: str,
) -> str:
    """Return `instruction` with `input` under it, as one text. One of them may be empty."""
    parts = [
        answer_of(row.get(name) or "", where, name)
        for name in ("instruction", "input")
    ]
    return text_of(
        "\n\n".join(part for part in parts if part.strip()),
        where,
        "instruction",
    )


def list_of(
    value: Any,
    where: str,
    column: str,
) -> list[Any]:
    """Return the cell as a list. Raises DataError for any other value."""
    if not isinstance(value, list):
        raise bad_cell(value, where, column, " where a list belongs.")
    return value


def records_of(
    value: Any,
    where: str,
    column: str,
) -> list[dict[str, Any]]:
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
    ranks: Iterable[float],
    texts: Iterable[str],
) -> tuple[tuple[str, ...], ...]:
    """Return texts as the tiers of a ranking. A lower rank is better; gaps do not matter."""
    tiers: dict[float, list[str]] = {}
    for rank, text in zip(ranks, texts, strict=True):
        tiers.setdefault(rank, []).append(text)
    return tuple(tuple(tiers[rank]) for rank in sorted(tiers))


# At the end, because these files import what is above; each registers its formats.
for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
