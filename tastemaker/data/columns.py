"""Read tables column by column: find the columns of texts and judgements, and read their cells.

`plan` goes through the rows once, to see which columns there are and what the judgement columns
hold. The `ColumnPlan` then goes through the rows again and turns each one into judgements. Two
passes, so that only the plan is kept in memory.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from tastemaker.data.beginnings import header_hint, layout_hint
from tastemaker.data.cells import Cells, listed
from tastemaker.data.chats import example_from, is_messages, with_chat
from tastemaker.data.first_rows import FirstRows
from tastemaker.data.judgement_columns import (
    JUDGEMENTS,
    OPTIONS,
    JudgementColumns,
    Target,
)
from tastemaker.data.judgements import Example, Judgement
from tastemaker.data.metadata import MetadataColumns, metadata_columns
from tastemaker.data.prompts import RECOGNISED as PROMPTS
from tastemaker.data.prompts import (
    PromptColumns,
    prompt_columns,
    repeat_their_prompts,
    without_prompt,
)
from tastemaker.data.read_as import Layout
from tastemaker.data.roles import (
    Columns,
    column_for,
    is_of_words,
    plain_name,
    written_by_score,
)
from tastemaker.data.survey import Survey
from tastemaker.data.tables import Row, Table
from tastemaker.data.values import (
    is_missing,
    word_count,
    word_of,
)
from tastemaker.errors import DataError, UsageError

_TEXT_COLUMNS = (
    "text review sentence content completion response comment body document review_text "
    "review_body answer output reply generation"
)
_LABEL_COLUMNS = "label labels sentiment class polarity is_positive positive"

RECOGNISED: dict[str, tuple[str, ...]] = {
    "text": tuple(_TEXT_COLUMNS.split()),
    "prompt": PROMPTS,
    "label": tuple(_LABEL_COLUMNS.split()),
    "grade": ("grade", "stars", "star_rating"),
    "rating": ("rating", "score"),
}
"""Column names that are recognised, the likeliest first (see `roles.plain_name`).

`tables.RECOGNISED` has those of the judge, the time and the weight.
"""

_WORDS = {
    "text": "text review reviews content body comment sentence tweet post response completion "
    "feedback essay",
    "label": "label sentiment polarity",
    "grade": "stars star grade",
    "rating": "rating ratings overall",
}
"""Names may also be made of these words …"""

_FILLERS = {
    "text": "full clean cleaned raw user customer model assistant bot the my",
    "label": "class true gold target",
    "grade": "review user customer rating overall number of",
    "rating": "review user customer product",
}
"""… and of these beside them: `customer_review`, `review_stars`."""

_MACHINE = {"assistant", "bot"}

_CHATS = ("messages", "conversation", "conversations", "dialogue", "chat")
"""Names of a column of chats."""

_FEW_WORDS = 7
"""A column with no more different words than this holds answers to a question, not texts."""


@dataclass(frozen=True)
class ColumnPlan:
    """How to read a table: its columns, and the cells of each judgement column."""

    table: Table
    text: str
    prompts: PromptColumns
    metadata: MetadataColumns
    cells: tuple[Cells, ...]
    layout: Layout
    has_repeated_prompts: bool = False

    def example(
        self,
        row: Row,
        where: str,
    ) -> Example:
        """Return the text of a row and its prompt. Raises DataError for a bad cell."""
        prompt = self.prompts.read(row, where) if self.prompts.names else None
        example = example_from(row.get(self.text), prompt, where, self.text)
        if self.has_repeated_prompts:
            (text,) = without_prompt(prompt, [example.text])
            example = Example(text, example.prompt)
        return example

    def _without_repeated_prompts(
        self,
        head: Sequence[Row],
    ) -> "ColumnPlan":
        """Return a plan that takes the prompt off the texts, if all of them begin with it.

        A single answer may quote its prompt. If every answer does, the column holds both.
        """
        if not self.prompts.names:
            return self
        try:
            examples = [self.example(row, "") for row in head]
        except DataError:  # reading the rows says where
            return self
        if not repeat_their_prompts(examples):
            return self
        self.layout.details["text"] = "without the prompt it begins with"
        return replace(self, has_repeated_prompts=True)

    def examples(self) -> Iterator[Example]:
        """Yield the text of every row. Raises DataError at the first row that cannot be read."""
        for number, row in self.table.rows():
            yield self.example(row, self.table.place(number))

    def judgements(
        self,
        skipped: list[DataError] | None = None,
    ) -> Iterator[Judgement]:
        """Yield the judgements of every row. Raises DataError at the first row that is bad.

        skipped: a list that takes the errors of such rows instead.
        """
        return self.table.read_rows(
            self._row, skipped, self.layout.rows_left_out
        )

    def _row(
        self,
        number: int,
        row: Row,
    ) -> list[Judgement]:
        example = self.example(row, self.table.place(number))
        metadata = self.metadata.read(
            row, self.table, number, self.layout.left_out
        )
        judgements: list[Judgement] = []
        for cells in self.cells:
            value = row.get(cells.column)
            if is_missing(value) or (
                cells.unlabelled and word_of(value) in cells.unlabelled
            ):
                self.layout.unlabelled[cells.column] += 1
            else:
                judgements.append(cells.judgement(value, example, metadata))
        return judgements


def plan(
    table: Table,
    columns: Columns,
    *,
    target: Target | None = None,
    judged: bool = True,
    past_bad: bool = False,
) -> ColumnPlan:
    """Return how to read a table's judgements, or only its texts (`judged=False`).

    target: "label" for labels alone, "rating" for grades and ratings alone. past_bad: go past rows
    that are not well formed. Raises DataError for a named column that is not there, for a table
    without a text or judgement column, and for labels of which it is not plain which is positive.
    """
    if columns.is_off("text"):
        raise no_text(table)
    names, surveys, head = _survey(table, columns, past_bad)
    columns = columns.with_table_spelling(names)
    check_named(table, columns, names)
    text = (
        columns.text
        or recognised("text", names, columns.named())
        or _chat_column(names, columns.named(), head)
    )
    if text is None:
        raise DataError(
            f"{table.name}: no column with a text among {listed(names)}. "
            "Name it with --text-column; texts that are compared with --answers and --better."
            f"{layout_hint(names)}{header_hint(names)}"
        )
    named = columns.named()
    written = set(written_by_score(names)) - set(named)
    used = [*named, text, *written]
    prompts = prompt_columns(names, used, head, columns)
    if not columns.text:
        rest = [name for name in names if name not in (*used, *prompts.all)]
        _check_beside_chats(table, text, rest, head)
    metadata = metadata_columns(
        tuple(names), frozenset([*used, *prompts.all]), columns
    )
    layout = Layout(names=dict.fromkeys(names), head=head)
    cells: tuple[Cells, ...] = ()
    if judged:
        by_name = {}
        for kind in JUDGEMENTS:
            is_off = columns.is_off(kind)
            by_name[kind] = None if is_off else recognised(kind, surveys, used)
        judging = JudgementColumns(
            table, columns, surveys, layout, by_name, past_bad
        )
        cells = judging.for_target(target)
    if judged and not cells:
        missing = {
            None: "a judgement",
            "label": "labels",
            "rating": "grades or ratings",
        }[target]
        raise DataError(
            f"{table.name}: no column with {missing} among {listed(names)}. "
            f"Name it with {OPTIONS}.{layout_hint(names)}"
        )
    _describe(layout, text, prompts, metadata, cells)
    whole = ColumnPlan(table, text, prompts, metadata, cells, layout)
    return whole._without_repeated_prompts(head)


def _chat_column(
    names: Collection[str],
    used: Collection[str],
    head: Sequence[Row],
) -> str | None:
    """Return the column of chats; their last turns are the texts. None for none, or several."""
    columns = []
    for name in names:
        if plain_name(name) in _CHATS and name not in used:
            cells = [with_chat(row.get(name)) for row in head]
            if any(is_messages(cell) for cell in cells):
                columns.append(name)
    return columns[0] if len(columns) == 1 else None


def _check_beside_chats(
    table: Table,
    text: str,
    names: Collection[str],
    head: Sequence[Row],
) -> None:
    """Raise DataError if a column of single words was recognised as the text beside chats."""
    cells = [row.get(text) for row in head]
    words = {cell for cell in cells if isinstance(cell, str)}
    are_words = all(isinstance(cell, str | None) for cell in cells) and all(
        word_count(word) < 2 for word in words
    )
    repeats = len(cells) > len(words)
    if not are_words or not repeats or len(words) > _FEW_WORDS:
        return
    for name in names:
        if any(is_messages(with_chat(row.get(name))) for row in head):
            raise DataError(
                f"{table.name}: which column holds the text, {name!r} (chats) or {text!r} (words "
                f"such as {listed(sorted(words)[:2])})? Name it with --text-column."
            )


def _describe(
    layout: Layout,
    text: str,
    prompts: PromptColumns,
    metadata: MetadataColumns,
    cells: Sequence[Cells],
) -> None:
    """Put into the layout which column has which role."""
    if prompts.names:
        layout.roles["prompt"] = str(prompts)
    layout.roles.update(prompts.roles)
    layout.roles["text"] = text
    for each in cells:
        layout.roles[each.role] = each.column
        layout.details[each.role] = each.detail
    layout.roles.update(metadata.roles)
    layout.used = frozenset([*layout.roles.values(), *prompts.all])


def no_text(table: Table) -> UsageError:
    """Return the error for a text that is switched off where nothing else holds one."""
    return UsageError(
        f"{table.name}: --text-column none leaves nothing to judge: only a table of answers has no "
        "text. Name the column of the text, or those that are compared with --answers."
    )


def check_named(
    table: Table,
    columns: Columns,
    names: Collection[str],
) -> None:
    """Raise DataError for a named column that the table does not have."""
    for name in columns.named():
        if name not in names:
            raise DataError(
                f"{table.name}: no column {name!r}. The columns are {listed(names)}."
            )


def recognised(
    kind: str,
    names: Collection[str],
    used: Collection[str],
) -> str | None:
    """Return the column whose name says that it has a role; None for none, or for several."""
    column = column_for(RECOGNISED[kind], names, used)
    if column is not None:
        return column
    alike = []
    for name in names:
        if name not in used and _is_made_of(kind, name):
            alike.append(name)
    if len(alike) > 1:
        # what a person wrote comes before what a machine wrote
        alike = [
            name
            for name in alike
            if _MACHINE.isdisjoint(plain_name(name).split("_"))
        ]
    return alike[0] if len(alike) == 1 else None


def _is_made_of(
    kind: str,
    name: str,
) -> bool:
    return is_of_words(name, _WORDS[kind].split(), _FILLERS[kind])


def _may_judge(
    name: str,
) -> bool:
    return any(
        plain_name(name) in RECOGNISED[kind] or _is_made_of(kind, name)
        for kind in JUDGEMENTS
    )


def _survey(
    table: Table,
    columns: Columns,
    past_bad: bool,
) -> tuple[list[str], dict[str, Survey], list[Row]]:
    """Return the names of all columns, a survey of those that may judge, and the first rows."""
    named = {plain_name(name) for name in columns.named()}
    first = FirstRows()
    surveys: dict[str, Survey] = {}
    errors: list[DataError] | None = [] if past_bad else None
    count = 0
    for number, row in table.rows_past(errors):
        first.add(row)
        if len(first.names) > count:
            for name in islice(first.names, count, None):
                if plain_name(name) in named or _may_judge(name):
                    surveys[name] = Survey()
            count = len(first.names)
        for name, survey in surveys.items():
            if name in row:
                survey.add(row[name], table.place, number)
    if not count and errors:
        raise DataError(
            f"{table.name}: not one of {len(errors)} rows can be read; {errors[0]}"
        )
    if not count:
        raise DataError(f"{table.name}: no rows in it.")
    for survey in surveys.values():
        survey.settle(columns)
    return list(first.names), surveys, first.rows
