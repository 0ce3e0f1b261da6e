"""Prompts from a file: a text file with one prompt a line, or a table with a column of prompts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tastemaker.data.columns import RECOGNISED
from tastemaker.data.judgements import Message, Prompt
from tastemaker.data.plain_text import documents, is_plain
from tastemaker.data.tables import Row, column_for, rows
from tastemaker.data.values import prompt_of
from tastemaker.errors import DataError


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A file of prompts, checked. column: the column of the prompts. columns: all columns."""

    path: Path
    column: str
    columns: tuple[str, ...]
    count: int

    def rows(self, *, chat: bool = False) -> Iterator[tuple[Row, Prompt]]:
        """Yield every row with its prompt; an empty cell is the prompt "".

        chat: each prompt is a message of a user, to be answered instead of continued.
        """
        for number, row in _numbered_rows(self.path):
            text = (
                prompt_of(
                    row.get(self.column), f"{self.path.name}:{number}", self.column
                )
                or ""
            )
            yield row, as_chat(text) if chat else text


def open_prompts(path: Path, prompt_column: str | None = None) -> PromptFile:
    """Read a file of prompts once, so that errors come before the work, and return it.

    prompt_column: the column's name in a table; None: recognised by name ("prompt", "text" …).
    Raises DataError for a file without prompts, a missing column, and a prompt that is not a text.
    """
    column = "prompt" if is_plain(path) else prompt_column
    names: dict[str, None] = {}
    count = 0
    for number, row in _numbered_rows(path):
        names.update(dict.fromkeys(row))
        column = column or _prompt_column(path, row)
        prompt_of(row.get(column), f"{path.name}:{number}", column)
        count += 1
    if not count or column is None:
        raise DataError(f"{path}: no prompts in it.")
    if column not in names:
        listed = ", ".join(names)
        raise DataError(
            f"{path.name}: no column {column!r} among {listed}. See --prompt-column."
        )
    return PromptFile(path, column, tuple(names), count)


def read_prompts(
    path: Path, *, prompt_column: str | None = None, chat: bool = False
) -> Iterator[Prompt]:
    """Yield the prompts of a file. The arguments and errors are those of `open_prompts`."""
    for _, prompt in open_prompts(path, prompt_column).rows(chat=chat):
        yield prompt


def as_chat(text: str) -> Prompt:
    """Return a text as a chat of one message, by the user."""
    return (Message("user", text),)


def _numbered_rows(path: Path) -> Iterator[tuple[int, Row]]:
    if not is_plain(path):
        yield from rows(path)
        return
    for number, line in enumerate(documents(path, "line"), 1):
        yield number, {"prompt": line}


def _prompt_column(path: Path, row: Row) -> str:
    for kind in ("prompt", "text"):
        column = column_for(RECOGNISED[kind], list(row), ())
        if column is not None:
            return column
    listed = ", ".join(row)
    raise DataError(
        f"{path.name}: no column of prompts among {listed}. Name it: --prompt-column."
    )
