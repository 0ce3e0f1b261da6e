"""Published formats of judgements: one file a family, each of which registers its formats.

`recognise` finds the format of a table by its columns. A table that has no format is read column by
column (`tastemaker.data.columns`).

To add a format, write a file here that ends in `register_format(Format(…))`, and name the file in
the last line of this one. A program can register a format of its own in the same way.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from tastemaker.data.chats import check_spelling, with_chat
from tastemaker.data.columns import RECOGNISED, check_named
from tastemaker.data.judgements import (
    Comparison,
    Judgement,
    Prompt,
    Ranking,
)
from tastemaker.data.metadata import metadata_columns
from tastemaker.data.prompts import PromptColumns, prompt_columns
from tastemaker.data.read_as import Layout, columns_looked_at
from tastemaker.data.roles import Columns, column_for
from tastemaker.data.tables import NO_METADATA, Metadata, Row, Table
from tastemaker.data.values import answer_of, bad_cell, show, text_of
from tastemaker.errors import DataError, UsageError

PROMPT = "prompt"

_PROMPTS = ("instruction", "question", "query", "context", "history", "source")
"""Names of a prompt in formats that have no column of that name."""

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
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[Row, Metadata], list[Judgement]]
    kinds: tuple[type[Judgement], ...]
    optional: tuple[str, ...] = ()
    matches: Callable[[Row], bool] = lambda row: True
    excludes_others: bool = False

    def role_of(
        self,
        column: str,
    ) -> str:
        """Return what a column is for: the prompt, the text, or what its own name says."""
        plain = column.removeprefix("orig_")
        if plain in _PROMPTS and not self.has_prompt:
            return PROMPT
        is_single = not any(
            kind in {Comparison, Ranking, Judgement} for kind in self.kinds
        )
        return "text" if is_single and plain in _TEXTS else column

    @property
    def has_prompt(self) -> bool:
        """Whether rows may have the prompt in a column of that name."""
        return PROMPT in self.columns or PROMPT in self.optional

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


_FIRST_ROWS = 100


@dataclass(frozen=True)
class Reading:
    """How to read a table that has a format.

    also: the formats that the first rows fit. A row that fits another one is an error.
    columns: those of the first rows. A row that lacks an optional one has an empty cell there.
    named: the columns that somebody named. prompts: those that hold the prompt, where it is not in
    the format's own column. layout: what `ReadAs` reports.
    """

    table: Table
    format: Format
    also: frozenset[str]
    columns: tuple[str, ...]
    named: Columns = field(default_factory=Columns)
    prompts: PromptColumns = field(default_factory=PromptColumns)
    layout: Layout = field(default_factory=Layout)

    def judgements(
        self,
        skipped: list[DataError] | None = None,
    ) -> Iterator[Judgement]:
        """Yield the judgements of every row. Raises DataError at the first row that is bad.

        skipped: a list that takes the errors of such rows instead.
        """
        with_prompt: list[
            Judgement
        ] = []  # the first judgement that has a prompt
        return self.table.read_rows(
            lambda number, row: self._row(number, row, with_prompt),
            skipped,
            self.layout.rows_left_out,
        )

    def _row(
        self,
        number: int,
        row: Row,
        with_prompt: list[Judgement],
    ) -> list[Judgement]:
        row = _plain_row(row)
        where = self.table.place(number)
        row_names = tuple(row)
        if row_names not in self.layout.by_names:
            self.layout.by_names[row_names] = (
                metadata_columns(row_names, self._own_columns(), self.named),
                [each for each in FORMATS.values() if each.has_columns(row)],
            )
        columns, candidates = self.layout.by_names[row_names]
        self._check_format(row, where, candidates)
        for name in self.format.optional:
            if name in self.columns:
                row.setdefault(name, None)
        metadata = columns.read(row, self.table, number, self.layout.left_out)
        judgements = self._read(row, metadata, where)
        for judgement in judgements:
            if judgement.prompt is not None:
                if not with_prompt:
                    with_prompt.append(judgement)
                _check_prompts(with_prompt[0], judgement)
        return judgements

    def _own_columns(self) -> frozenset[str]:
        return frozenset(
            (
                *self.format.columns,
                *self.format.optional,
                *self.prompts.all,
            )
        )

    def _read(
        self,
        row: Row,
        metadata: Metadata,
        where: str,
    ) -> list[Judgement]:
        """Return the judgements of a row, with the prompt from other columns where it is there."""
        if not self.prompts.names:
            return self.format.read(row, metadata)
        prompt = self.prompts.read(row, where)
        if self.format.has_prompt:
            row[PROMPT] = _as_cell(prompt)
            return self.format.read(row, metadata)
        judgements = self.format.read(row, metadata)
        return [replace(each, prompt=prompt) for each in judgements]

    def _check_format(
        self,
        row: Row,
        where: str,
        candidates: list[Format],
    ) -> None:
        """Raise DataError for a row of another format, a missing column and a broken chat."""
        name = repr(self.format.name)
        others = (
            {format.name for format in _fitting(row, candidates)}
            - {self.format.name}
            - self.also
        )
        if others:
            raise DataError(
                f"{where}: a row of the format {min(others)!r} in a file of the format {name}. "
                "Keep one format a file."
            )
        for column in self.format.columns:
            if column not in row:
                raise DataError(
                    f"{where}: no column {column!r}, which every row of the format {name} has. "
                    "Keep one format a file."
                )
        for column in (*self.format.columns, *self.format.optional):
            check_spelling(row.get(column), where, column)


def recognise(
    table: Table,
    format: str | None = None,
    columns: Columns | None = None,
    *,
    past_bad: bool = False,
) -> Reading | None:
    """Return how to read a table that has a format; None for one to be read column by column.

    format: the format's name, or "table"; None: recognised by the columns of the first rows.
    columns: those that somebody named. past_bad: go past rows that are not well formed. Raises
    UsageError for an unknown name, and DataError where the columns are those of several formats.
    """
    if format is not None and format not in (*FORMATS, TABLE):
        raise UsageError(
            f"format {format!r}: choose {', '.join([*FORMATS, TABLE])}."
        )
    if format == TABLE:
        return None
    numbered = table.rows_past([] if past_bad else None)
    first_rows = [_plain_row(row) for _, row in islice(numbered, _FIRST_ROWS)]
    names = tuple(dict.fromkeys(name for row in first_rows for name in row))
    row = next((row for row in first_rows if _fitting(row)), None)
    fitting = [] if row is None else _fitting(row)
    if format is None:
        if row is None:
            return None
        _check_only_one(table, fitting, row)
    chosen = fitting[0] if format is None else FORMATS[format]
    columns = (columns or Columns()).with_table_spelling(names)
    check_named(table, columns, names)
    prompts = _prompts(chosen, names, first_rows, columns)
    also = frozenset(each.name for each in fitting)
    layout = _layout(chosen, names, first_rows, columns, prompts)
    return Reading(table, chosen, also, names, columns, prompts, layout)


def _prompts(
    format: Format,
    names: tuple[str, ...],
    first_rows: list[Row],
    columns: Columns,
) -> PromptColumns:
    """Return the columns of a prompt that the format does not read by itself.

    A named column is one for every format. Others are recognised where a row may have a prompt but
    is no whole dialogue, which holds its prompt already.
    """
    used = {*format.columns} - {PROMPT, "instruction"}
    chosen = prompt_columns(names, used, first_rows, columns)
    if columns.name_of("prompt") is not None:
        return chosen
    if "instruction" in format.columns:
        turns = chosen.roles.values()
        reads_turns = any(name in format.optional for name in turns)
        return chosen if turns and not reads_turns else PromptColumns()
    if not format.has_prompt or chosen.all in {(), (PROMPT,)}:
        return PromptColumns()
    for row in first_rows:
        for name in format.columns:
            if name != PROMPT and _may_be_dialogue(row.get(name)):
                return PromptColumns()
    return chosen


def _may_be_dialogue(cell: Any) -> bool:
    """Return whether a list may begin with the prompt; an answer alone is one assistant's turn."""
    match cell:
        case [{"role": "assistant"}] | [{"from": "gpt"}]:
            return False
    return isinstance(cell, list)


def _layout(
    format: Format,
    names: tuple[str, ...],
    first_rows: list[Row],
    columns: Columns,
    prompts: PromptColumns,
) -> Layout:
    """Return what is known of a table in a format before it is read."""
    own = {*format.columns, *format.optional}
    metadata = metadata_columns(
        names, frozenset((*own, *prompts.all)), columns
    ).roles
    roles: dict[str, str] = {}
    if prompts.names:
        roles[PROMPT] = str(prompts)
        own.discard(PROMPT)
    roles.update(prompts.roles)
    # `annotator2` is read where the format has `annotator1`
    stems = {_stem(name) for name in format.columns if _stem(name) != name}
    used = {*prompts.all, *metadata.values()}
    # a format may be recognised by columns that its rows are not read from
    empty = dict.fromkeys((*format.columns, *format.optional))
    looked_at = columns_looked_at(
        lambda row: format.read(row, NO_METADATA),
        [empty | row for row in first_rows],
    )
    for name in names:
        is_own = name in own or _stem(name) in stems or format.excludes_others
        if is_own and name in looked_at:
            role = format.role_of(name)
            has_role = role in roles and not prompts.names
            roles[role] = f"{roles[role]}+{name}" if has_role else name
            used.add(name)
    if prompts.names:
        roles[PROMPT] = str(prompts)
    roles.update(metadata)
    return Layout(format.name, roles, {}, names, frozenset(used), first_rows)


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


def _as_cell(
    prompt: Prompt | None,
) -> Any:
    """Return a prompt as it stands in a row: a text, or a list of objects."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    return [turn._asdict() for turn in prompt]


def _fitting(
    row: Row,
    candidates: Iterable[Format] | None = None,
) -> list[Format]:
    """Return the formats that a row fits, of some or of all."""
    formats = FORMATS.values() if candidates is None else candidates
    fitting = [format for format in formats if format.fits(row)]
    exclusive = [format for format in fitting if format.excludes_others]
    return exclusive or fitting


def _check_only_one(
    table: Table,
    fitting: list[Format],
    row: Row,
) -> None:
    """Raise DataError where a row fits several formats, or also a table read column by column."""
    format, names = fitting[0], [each.name for each in fitting]
    used = (*format.columns, *format.optional)
    has = {}
    for kind, recognised in RECOGNISED.items():
        has[kind] = column_for(recognised, list(row), used)
    is_judged = has["label"] or has["grade"] or has["rating"]
    if has["text"] and is_judged and not format.excludes_others:
        names.append(TABLE)
    if len(names) > 1:
        listed = " and ".join(repr(name) for name in names)
        raise DataError(
            f"{table.name}: the columns are those of the formats {listed}. Name one (--format)."
        )


def _check_prompts(
    first: Judgement,
    judgement: Judgement,
) -> None:
    """Raise DataError where one prompt is a chat and the other a plain text."""
    this, that = _kind_of(judgement.prompt), _kind_of(first.prompt)
    if this != that:
        raise judgement.wrong(
            f"the prompt is {this}, but that of {first.where} is {that}. Keep one kind a file."
        )


def _kind_of(
    prompt: Prompt | None,
) -> str:
    return "a chat" if isinstance(prompt, tuple) else "a plain text"


def _plain_row(
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


# At the end, because these files import what is above; each registers its formats.
from tastemaker.data.formats import (  # noqa: E402, F401
    arenas,
    frameworks,
    oasst,
    pairs,
    ranked,
    scored_answers,
    single,
    summaries,
    two_answers,
)
