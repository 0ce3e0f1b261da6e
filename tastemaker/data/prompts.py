"""The prompt of a row: which columns hold it, and how they are read as one.

An instruction and its input are one prompt, in two paragraphs. A system prompt makes the prompt a
chat: a turn of the system, and what the user says.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tastemaker.data.chats import prompt_from, with_chat
from tastemaker.data.judgements import Example, Message, Prompt, plain
from tastemaker.data.roles import (
    TOGETHER,
    Columns,
    column_for,
    plain_name,
)
from tastemaker.data.tables import Row
from tastemaker.data.values import is_missing

RECOGNISED = (
    "prompt",
    "instruction",
    "question",
    "query",
    "input",
    "context",
    "trajectory",
    "user_prompt",
    "prompt_text",
    "question_text",
    "user_input",
    "user_query",
)
"""Names of a column with the prompt, the likeliest first."""

_SHORTEST_REPEATED = 8
"""Characters. Two answers may begin with the same short word by accident."""

_FEWEST_REPEATED = 3
"""Rows that must repeat their prompt before a column of single texts is said to do so."""

INPUTS = ("input",)
"""Names of a column that goes with an instruction."""

SYSTEMS = ("system", "system_prompt")
"""Names of a column with a system prompt, which is a text of several words."""


@dataclass(frozen=True)
class PromptColumns:
    """The columns of the prompt, read as paragraphs of one text, and that of the system prompt."""

    names: tuple[str, ...] = ()
    system: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """All of these columns."""
        return (
            self.names if self.system is None else (*self.names, self.system)
        )

    def __str__(self) -> str:
        """Return the names as they are given: `instruction+input`."""
        return TOGETHER.join(self.names)

    def read(
        self,
        row: Row,
        where: str,
    ) -> Prompt | None:
        """Return the prompt of a row, None without one. Raises DataError for a bad cell."""
        prompt = self._prompt(row, where)
        if self.system is None or prompt is None:
            return prompt
        turns = (
            (Message("user", prompt),) if isinstance(prompt, str) else prompt
        )
        system = prompt_from(row.get(self.system), where, self.system)
        if system is None:
            return turns
        return (Message("system", plain(system)), *turns)

    def _prompt(
        self,
        row: Row,
        where: str,
    ) -> Prompt | None:
        if len(self.names) == 1:
            name = self.names[0]
            return prompt_from(row.get(name), where, name)
        parts = []
        for name in self.names:
            part = prompt_from(row.get(name), where, name)
            if part is not None:
                parts.append(part)
        if len(parts) == 1:
            return parts[0]
        return "\n\n".join(map(plain, parts)) or None


def prompt_columns(
    names: Collection[str],
    used: Collection[str],
    first_rows: Sequence[Row],
    columns: Columns,
) -> PromptColumns:
    """Return the columns of the prompt: those that are named, else those that are recognised.

    names: the columns of the table. used: those of them that hold something else. first_rows: a
    recognised column whose cells are neither texts nor messages is no prompt.
    """
    if columns.is_off("prompt"):
        return PromptColumns()
    prompt = columns.prompt
    if prompt is not None:
        in_table = prompt in names
        chosen = (prompt,) if in_table else tuple(prompt.split(TOGETHER))
    else:
        chosen = _recognised(names, used, first_rows)
    return PromptColumns(
        chosen,
        _system(names, {*used, *chosen}, first_rows, columns)
        if chosen
        else None,
    )


def _recognised(
    names: Collection[str],
    used: Collection[str],
    first_rows: Sequence[Row],
) -> tuple[str, ...]:
    for name in RECOGNISED:
        column = column_for((name,), names, used)
        if column is None:
            continue
        if name != "prompt" and not _may_prompt(column, first_rows):
            continue
        if name == "instruction":
            extra = column_for(INPUTS, names, used)
            if extra is not None and _may_prompt(extra, first_rows):
                return (column, extra)
        return (column,)
    return ()


def _may_prompt(
    column: str,
    rows: Sequence[Row],
) -> bool:
    """Return whether all cells of a column are texts or lists of turns, and not all are empty."""
    cells = [row.get(column) for row in rows]
    filled = [cell for cell in cells if not is_missing(cell)]
    are_texts = all(isinstance(cell, str) for cell in filled)
    are_turns = all(_is_turns(with_chat(cell)) for cell in filled)
    return are_texts or are_turns


def _is_turns(
    cell: Any,
) -> bool:
    return isinstance(cell, list | tuple) and all(
        isinstance(turn, dict) for turn in cell
    )


def _system(
    names: Collection[str],
    used: Collection[str],
    first_rows: Sequence[Row],
    columns: Columns,
) -> str | None:
    if columns.is_off("system"):
        return None
    if columns.system is not None:
        return columns.system
    column = column_for(SYSTEMS, names, used)
    if column is None:
        return None
    # One word names a system that wrote the text, not what it was asked to be.
    is_prose = False
    for row in first_rows:
        cell = row.get(column)
        if isinstance(cell, str):
            is_prose = is_prose or len(cell.split()) > 1
        elif not is_missing(cell):
            return None
    is_named_so = plain_name(column) == "system_prompt"
    return column if is_prose or is_named_so else None


def without_prompt(
    prompt: Prompt | None,
    texts: Sequence[str],
) -> list[str]:
    """Return the texts without the prompt, if each of them begins with it."""
    if not isinstance(prompt, str) or len(prompt.strip()) < _SHORTEST_REPEATED:
        return list(texts)
    rests = []
    for text in texts:
        rest = text.removeprefix(prompt).lstrip()
        if not text.startswith(prompt) or not rest:
            return list(texts)
        rests.append(rest)
    return rests


def repeat_their_prompts(
    examples: Iterable[Example],
) -> bool:
    """Return whether all of these texts, three or more, begin with their prompt."""
    count = 0
    for example in examples:
        if without_prompt(example.prompt, [example.text]) == [example.text]:
            return False
        count += 1
    return count >= _FEWEST_REPEATED
