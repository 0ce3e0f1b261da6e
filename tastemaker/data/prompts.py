"""The prompt of a row: which columns hold it, and how they are read as one.

An instruction and its input are one prompt, in two paragraphs. A system prompt makes the prompt a
chat: a turn of the system, and what the user says. So does a history: pairs of a question and its
answer that came before.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tastemaker.data.chats import parsed, prompt_from, with_chat
from tastemaker.data.judgements import Example, Message, Prompt, plain
from tastemaker.data.roles import (
    TOGETHER,
    Columns,
    column_for,
    plain_name,
)
from tastemaker.data.tables import Row
from tastemaker.data.values import answer_of, bad_cell, is_missing, word_count

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

_FIRST_CHINESE = "\u2e80"
"""Characters from here on are of scripts that are written without spaces."""
_SHORTEST_REPEATED = 8
"""Characters. Two answers may begin with the same short word by accident."""

_FEWEST_REPEATED = 3
"""Rows that must repeat their prompt before a column of single texts is said to do so."""

INPUTS = ("input",)
"""Names of a column that goes with an instruction."""

SYSTEMS = ("system", "system_prompt")
"""Names of a column with a system prompt, which is a text of several words."""

HISTORIES = ("history",)
"""Names of a column with earlier turns: [[question, answer], …], a list or a text in JSON."""


def may_prompt(name: str) -> bool:
    """Return whether a column of this name may hold the prompt, or turns before it."""
    return plain_name(name) in {*RECOGNISED, *SYSTEMS, *HISTORIES}


@dataclass(frozen=True)
class PromptColumns:
    """The columns of the prompt, read as paragraphs of one text, and those of turns before it.

    system: the column of the system prompt. history: that of earlier questions and answers.
    """

    names: tuple[str, ...] = ()
    system: str | None = None
    history: str | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """All of these columns."""
        return (*self.names, *self.roles.values())

    @property
    def roles(self) -> dict[str, str]:
        """The columns of turns before the prompt, by their role."""
        roles = {"system": self.system, "history": self.history}
        return {role: name for role, name in roles.items() if name is not None}

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
        if not self.roles or prompt is None:
            return prompt
        turns = (
            (Message("user", prompt),) if isinstance(prompt, str) else prompt
        )
        if self.history is not None:
            cell = row.get(self.history)
            turns = (*earlier_turns(cell, where, self.history), *turns)
        if self.system is None:
            return turns
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


def earlier_turns(
    cell: Any,
    where: str,
    column: str,
) -> list[Message]:
    """Return the turns of a cell of questions and answers. Raises DataError for another cell."""
    turns: list[Message] = []
    if is_missing(cell):
        return turns
    cell = _with_list(cell)
    if not isinstance(cell, list | tuple):
        raise bad_cell(cell, where, column, " where a list belongs.")
    for pair in cell:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise bad_cell(
                pair, where, column, " where [question, answer] belongs."
            )
        turns.append(Message("user", answer_of(pair[0], where, column)))
        turns.append(Message("assistant", answer_of(pair[1], where, column)))
    return turns


def _with_list(cell: Any) -> Any:
    """Return the list that a text spells, as in the cells of a CSV file; anything else as it is."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        spelled = parsed(cell)
        return spelled if isinstance(spelled, list) else cell
    return cell


def _is_history(cell: Any) -> bool:
    """Return whether a cell is a list of pairs of texts; it may be empty."""
    if not isinstance(cell, list | tuple):
        return False
    for pair in cell:
        match pair:
            case [str(), str()]:
                continue
        return False
    return True


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
    if not chosen:
        return PromptColumns()
    system = _system(names, {*used, *chosen}, first_rows, columns)
    return PromptColumns(
        chosen, system, _history(names, {*used, *chosen}, first_rows)
    )


def _history(
    names: Collection[str],
    used: Collection[str],
    first_rows: Sequence[Row],
) -> str | None:
    """Return the column of earlier questions and answers; None where none has any."""
    column = column_for(HISTORIES, names, used)
    if column is None:
        return None
    cells = [row.get(column) for row in first_rows]
    filled = [_with_list(cell) for cell in cells if not is_missing(cell)]
    has_turns = any(cell for cell in filled if _is_history(cell))
    return column if has_turns and all(map(_is_history, filled)) else None


def _recognised(
    names: Collection[str],
    used: Collection[str],
    first_rows: Sequence[Row],
) -> tuple[str, ...]:
    empty: tuple[str, ...] = ()
    for name in RECOGNISED:
        column = column_for((name,), names, used)
        if column is None:
            continue
        if name != "prompt" and not _are_prompts(column, first_rows):
            continue
        columns: tuple[str, ...] = (column,)
        if name == "instruction":
            extra = column_for(INPUTS, names, used)
            if extra is not None and _are_prompts(extra, first_rows):
                columns = (column, extra)
        if _has_filled(columns, first_rows):
            return columns
        empty = empty or columns
    return empty


def _has_filled(
    columns: Sequence[str],
    rows: Sequence[Row],
) -> bool:
    cells = [row.get(name) for row in rows for name in columns]
    return not all(map(is_missing, cells))


def _are_prompts(
    column: str,
    rows: Sequence[Row],
) -> bool:
    """Return whether all cells of a column are texts or lists of turns; they may be empty."""
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


def may_be_dialogue(cell: Any) -> bool:
    """Return whether a list may begin with the prompt; an answer alone is one assistant's turn."""
    match cell:
        case [{"role": "assistant"}] | [{"from": "gpt"}]:
            return False
        case [dict(), *_]:
            return True
    return False


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
            is_prose = is_prose or word_count(cell) > 1
        elif not is_missing(cell):
            return None
    is_named_so = plain_name(column) == "system_prompt"
    return column if is_prose or is_named_so else None


def as_cell(
    prompt: Prompt | None,
) -> Any:
    """Return a prompt as it stands in a row: a text, or a list of objects."""
    if prompt is None or isinstance(prompt, str):
        return prompt
    return [turn._asdict() for turn in prompt]


def without_prompt(
    prompt: Prompt | None,
    texts: Sequence[str],
) -> list[str]:
    """Return the texts without the prompt, or its last turn, if each of them begins with it."""
    head = _last_turn(prompt).strip()
    if len(head) < _SHORTEST_REPEATED:
        return list(texts)
    rests = []
    for text in texts:
        body = text.lstrip()
        rest = body.removeprefix(head)
        is_repeated = body.startswith(head) and rest.strip()
        if not is_repeated or _is_one_word(head[-1] + rest[0]):
            return list(texts)
        rests.append(rest.lstrip())
    return rests


def _is_one_word(characters: str) -> bool:
    """Return whether a word goes on from one character to the next; Chinese has no such marks."""
    return all(one.isalnum() and one < _FIRST_CHINESE for one in characters)


def _last_turn(prompt: Prompt | None) -> str:
    """Return a prompt of one text, or what the user said last; "" for another prompt."""
    if prompt is None or isinstance(prompt, str):
        return prompt or ""
    turn = prompt[-1]
    return turn.content if turn.role == "user" else ""


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
