"""How a table in a published format is read: which format it has, and what a row becomes.

`recognise` finds the format by the columns of the first rows. Other tables: `data.columns`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tastemaker.data.chats import check_spelling
from tastemaker.data.columns import RECOGNISED, check_named, no_text
from tastemaker.data.first_rows import first_plain_rows, plain_row
from tastemaker.data.formats import FORMATS, PROMPT, TABLE, Format
from tastemaker.data.judgement_columns import JUDGEMENTS
from tastemaker.data.judgements import Grade, Judgement, Label, Prompt
from tastemaker.data.metadata import RECOGNISED as METADATA
from tastemaker.data.metadata import (
    MetadataColumns,
    is_weight,
    metadata_columns,
)
from tastemaker.data.prompts import (
    PromptColumns,
    as_cell,
    may_be_dialogue,
    may_prompt,
    prompt_columns,
)
from tastemaker.data.read_as import Layout, columns_looked_at
from tastemaker.data.roles import ROLES, Columns, column_for, plain_name
from tastemaker.data.survey import UNLABELLED
from tastemaker.data.tables import (
    NO_METADATA,
    Metadata,
    Row,
    Table,
    renamed_row,
)
from tastemaker.data.values import UNJUDGED_WORDS, is_missing, show, word_of
from tastemaker.errors import DataError, SaysNothing, UsageError


@dataclass(frozen=True)
class Reading:
    """How to read a table that has a format.

    also: the formats that the first rows fit. A row that fits another one is an error.
    columns: those of the first rows. A row that lacks an optional one has an empty cell there.
    named: the columns that somebody named. prompts: those that hold the prompt, where it is not in
    the format's own column. emptied: columns of roles that are switched off. layout: what `ReadAs`
    reports.
    """

    table: Table
    format: Format
    also: frozenset[str]
    columns: tuple[str, ...]
    named: Columns = field(default_factory=Columns)
    prompts: PromptColumns = field(default_factory=PromptColumns)
    emptied: tuple[str, ...] = ()
    layout: Layout = field(default_factory=Layout)

    def judgements(
        self,
        skipped: list[DataError] | None = None,
    ) -> Iterator[Judgement]:
        """Yield the judgements of every row. Raises DataError at the first row that is bad.

        skipped: a list that takes the errors of such rows instead.
        """
        # the first judgement that has a prompt
        with_prompt: list[Judgement] = []
        hint = f"the format {self.format.name!r}"
        if skipped is None:
            hint += "; --skip-bad leaves such rows out"

        def read(number: int, row: Row) -> list[Judgement]:
            try:
                return self._row(number, row, with_prompt)
            except SaysNothing:
                raise
            except DataError as error:
                message = self.table.in_own_names(f"{error}")
                raise DataError(f"{message} ({hint})") from error

        return self.table.read_rows(read, skipped, self.layout.rows_left_out)

    def _row(
        self,
        number: int,
        row: Row,
        with_prompt: list[Judgement],
    ) -> list[Judgement]:
        row = plain_row(row)
        where = self.table.place(number)
        row_names = tuple(row)
        if row_names not in self.layout.by_names:
            self.layout.by_names[row_names] = (
                metadata_columns(row_names, self._own_columns(), self.named),
                [each for each in FORMATS.values() if each.has_columns(row)],
            )
            self._add_late(row, where)
        columns, candidates = self.layout.by_names[row_names]
        self._check_format(row, where, candidates)
        for name in self.format.optional:
            if name in self.columns:
                row.setdefault(name, None)
        for name in self.emptied:
            row[name] = None
        for name in self.format.numbers:
            self._check_number(row, name, where)
        for name in self.format.judging:
            if self._is_unjudged(row.get(name)):
                raise SaysNothing(f"{where}: nothing in column {name!r}.")
        metadata = columns.read(row, self.table, number, self.layout.left_out)
        judgements = self._judged(self._read(row, metadata, where), metadata)
        for judgement in judgements:
            if judgement.prompt is not None:
                if not with_prompt:
                    with_prompt.append(judgement)
                _check_prompts(with_prompt[0], judgement)
        return judgements

    def _add_late(self, row: Row, where: str) -> None:
        """Put into the layout the columns that only later rows have, and which are not used."""
        layout = self.layout
        late = [name for name in row if name not in layout.names]
        layout.names.update(dict.fromkeys(late))
        columns, _ = layout.by_names[tuple(row)]
        own = {*self.format.optional, *columns.roles.values()}
        for name in late:
            others = self.prompts.names and name not in self.prompts.names
            is_prompt = bool(others) and self.format.holds_prompt(name)
            if name in own and not is_prompt:
                layout.roles.setdefault(self._late_role(name, columns), name)
                layout.used |= {name}
            elif is_prompt or may_prompt(name):
                layout.notes.append(
                    f"column {name!r} is not used: {where} is the first row that has it. Name it "
                    "with --prompt-column, or give every row the column."
                )

    def _late_role(self, name: str, columns: MetadataColumns) -> str:
        for role, column in columns.roles.items():
            if column == name:
                return role
        return self.format.role_of(name)

    def _is_unjudged(self, cell: Any) -> bool:
        if is_missing(cell):
            return True
        word = word_of(cell)
        if self._has_values and word in (UNLABELLED, "none"):
            return True
        return word in UNJUDGED_WORDS

    @cached_property
    def _has_values(self) -> bool:
        """Whether the judgements are labels or grades, so that −1 is none of them."""
        return all(kind in (Label, Grade) for kind in self.format.kinds)

    @cached_property
    def _settled(self) -> tuple[str, ...]:
        """The judge, time and weight, where somebody named their column or switched it off."""
        return tuple(
            role for role in METADATA if getattr(self.named, role) is not None
        )

    @cached_property
    def _drops_prompt(self) -> bool:
        """Whether the prompt is switched off, in a column that every row has."""
        has_prompt = map(self.format.holds_prompt, self.format.columns)
        return self.named.is_off(PROMPT) and any(has_prompt)

    @cached_property
    def _off(self) -> tuple[str, ...]:
        """The kinds of judgement that are switched off."""
        return tuple(role for role in JUDGEMENTS if self.named.is_off(role))

    def _check_number(self, row: Row, name: str, where: str) -> None:
        """Empty a cell of a column that is left out, and leave the column out for a bad cell."""
        left_out = self.layout.left_out
        if name not in row:
            return
        if name not in left_out and not is_weight(row[name]):
            left_out[name] = (
                f"column {name!r} is not used: {where} holds {show(row[name])}, "
                f"which is no {name}."
            )
        if name in left_out:
            row[name] = None

    def _judged(
        self,
        judgements: list[Judgement],
        metadata: Metadata,
    ) -> list[Judgement]:
        """Return judgements without those, and without those fields, that are switched off.

        A judge, time or weight that somebody named counts also where the format reads its own.
        """
        changes: dict[str, Any] = {}
        for role in self._settled:
            changes[role] = metadata[role]  # type: ignore[literal-required]
        if self._drops_prompt:
            changes[PROMPT] = None
        if changes:
            judgements = [replace(each, **changes) for each in judgements]
        if not self._off:
            return judgements
        left = [each for each in judgements if each.kind not in self._off]
        if not left:
            where = metadata["where"]
            raise SaysNothing(f"{where}: its {self._off[0]} is switched off.")
        return left

    def _own_columns(self) -> frozenset[str]:
        columns = (*self.format.columns, *self.format.optional)
        return frozenset((*columns, *self.prompts.all))

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
            row[PROMPT] = as_cell(prompt)
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
        fitting = {format.name for format in _fitting(row, candidates)}
        others = fitting - {self.format.name} - self.also
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
    first_rows = first_plain_rows(table, past_bad)
    row = next(filter(_fitting, first_rows), None)
    if row is None:
        table = _with_spellings(table, first_rows, format)
        first_rows = first_plain_rows(table, past_bad)
        row = next(filter(_fitting, first_rows), None)
    fitting = [] if row is None else _fitting(row)
    if format is None:
        if row is None:
            return None
        _check_only_one(table, fitting, row)
    chosen = fitting[0] if format is None else FORMATS[format]
    columns = columns or Columns()
    first_rows = first_plain_rows(table, past_bad, columns)
    names = tuple(dict.fromkeys(name for row in first_rows for name in row))
    columns = columns.with_table_spelling(names)
    check_named(table, columns, names)
    _check_not_all_off(table, chosen, columns)
    prompts = _prompts(chosen, names, first_rows, columns)
    also = frozenset(each.name for each in fitting)
    emptied = _emptied(chosen, names, columns)
    layout = _layout(chosen, names, first_rows, columns, prompts)
    layout.original_names = table.original_names
    return Reading(
        table, chosen, also, names, columns, prompts, emptied, layout
    )


def _with_spellings(
    table: Table,
    first_rows: list[Row],
    format: str | None,
) -> Table:
    """Return the table with columns named as a format names them, where only the spelling differs.

    `Prompt,Chosen,Rejected` is `prompt,chosen,rejected`. format: None for any.
    """
    names = dict.fromkeys(name for row in first_rows for name in row)
    formats = FORMATS.values() if format is None else [FORMATS[format]]
    for each in formats:
        spellings: dict[str, str] = {}
        for spelling in (*each.columns, *each.optional):
            column = column_for((plain_name(spelling),), names, ())
            if column is not None and spelling not in names:
                spellings[column] = spelling
        renamed = [renamed_row(row, spellings) for row in first_rows]
        if spellings and any(map(each.fits, renamed)):
            return table.renamed(spellings)
    return table


def _check_not_all_off(
    table: Table,
    format: Format,
    columns: Columns,
) -> None:
    """Raise UsageError where the text, or all kinds of judgement of a format, are switched off."""
    roles = map(format.role_of, format.columns)
    if columns.is_off("text") and "text" in roles:
        raise no_text(table)
    kinds = [kind.__name__.lower() for kind in format.kinds]
    off = [
        kind for kind in kinds if kind in JUDGEMENTS and columns.is_off(kind)
    ]
    if off == kinds:
        raise UsageError(
            f"{table.name}: the format {format.name!r} holds {off[0]}s and nothing else, so "
            f"--{off[0]}-column none leaves nothing. Leave out the option."
        )


def _emptied(
    format: Format,
    names: tuple[str, ...],
    columns: Columns,
) -> tuple[str, ...]:
    """Return the columns that rows are read without, because their role is switched off.

    A column that every row of the format has is read, and its field is emptied afterwards.
    """
    emptied = []
    for role in (PROMPT, "system", *METADATA):
        if not columns.is_off(role):
            continue
        for name in names:
            is_prompt = role == PROMPT and format.holds_prompt(name)
            if name not in format.columns and (name == role or is_prompt):
                emptied.append(name)
    return tuple(emptied)


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
            if name != PROMPT and may_be_dialogue(row.get(name)):
                return PromptColumns()
    return chosen


def _layout(
    format: Format,
    names: tuple[str, ...],
    first_rows: list[Row],
    columns: Columns,
    prompts: PromptColumns,
) -> Layout:
    """Return what is known of a table in a format before it is read."""
    of_format = {*format.columns, *format.optional}
    metadata = metadata_columns(
        names, frozenset((*of_format, *prompts.all)), columns
    ).roles
    roles: dict[str, str] = {}
    if prompts.names:
        roles[PROMPT] = str(prompts)
        of_format.discard(PROMPT)
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
    looked_at |= {*format.of_some_rows}
    for name in names:
        is_own = (
            name in of_format or _stem(name) in stems or format.excludes_others
        )
        role = PROMPT if format.holds_prompt(name) else format.role_of(name)
        is_off = role in ROLES and columns.is_off(role)
        if is_own and name in looked_at and not is_off:
            role = format.role_of(name)
            has_role = role in roles and not prompts.names
            roles[role] = f"{roles[role]}+{name}" if has_role else name
            used.add(name)
    if prompts.names:
        roles[PROMPT] = str(prompts)
    roles.update(metadata)
    in_order = dict.fromkeys(names)
    return Layout(
        format.name, roles, {}, in_order, frozenset(used), first_rows
    )


def _stem(name: str) -> str:
    return name.rstrip("0123456789")


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
