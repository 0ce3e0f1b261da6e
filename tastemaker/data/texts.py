"""Texts without judgements: files of documents and of prompts, and features of the writing.

A plain text file is read as documents, in memory that does not grow with the file. Files are UTF-8,
with or without a byte order mark, and may be gzipped. A line ends at \\n alone. A document is a
file, a paragraph (blank lines divide) or a line. One of more than `LONGEST` characters is cut after
its last line end before that, or within a line that is longer itself. White space alone is no
document.

Prompts come from a text file with one prompt a line, or from a table with a column of prompts.

A feature is one line of `FEATURES`: a name, and a function of a text. It is what a judge may like
about a text whatever it says. A fit can control for features by name (`--control length,lists`):
the score then does not carry them.
"""

import codecs
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tastemaker.data.columns import RECOGNISED
from tastemaker.data.first_rows import telling_rows
from tastemaker.data.judgements import Message, Prompt
from tastemaker.data.packed import opened, unpacked_name
from tastemaker.data.prompts import (
    PromptColumns,
    may_prompt,
    prompt_columns,
)
from tastemaker.data.read_as import ReadAs
from tastemaker.data.roles import (
    TOGETHER,
    Columns,
    column_for,
    described_file,
)
from tastemaker.data.tables import (
    Row,
    damage_as_data_error,
    rows,
)
from tastemaker.errors import DataError, UsageError

Each = Literal["file", "paragraph", "line"]
"""What is one document."""

SUFFIXES = (".txt", ".text", ".md")
"""What the names of text files end in; all also with `.gz` behind."""

LONGEST = 2**20
"""Characters. A longer document is cut, so that no file can fill the memory."""

_READ = 2**16  # bytes at a time
_BLANK_LINES = re.compile(r"(?:\A|\n)(?:[^\S\n]*\n)+")


def is_plain(path: Path) -> bool:
    """Return whether the file's name is that of a plain text."""
    return Path(unpacked_name(path)).suffix in SUFFIXES


def files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and the folders in it, in the order of their names.

    Hidden files are left out, and links to folders are not followed. Raises DataError for a folder
    that cannot be read.
    """
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror or error})."
        ) from error
    for path in paths:
        if path.name.startswith("."):
            continue
        if path.is_file():
            yield path
        elif path.is_dir() and not path.is_symlink():
            yield from files(path)


def documents(path: Path, each: Each = "file") -> Iterator[str]:
    """Yield the documents of a text file, in order.

    A whole file is given as it is, paragraphs and lines without their last line end. Raises
    DataError, with the file, for one that is missing or cut short, and with the line for one that
    is not UTF-8.
    """
    for text in EACH[each](_decoded(path)):
        if text and not text.isspace():
            yield text


def _decoded(path: Path) -> Iterator[str]:
    """Yield the text of a file piece by piece."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line = 1  # where the next piece begins
    try:
        with damage_as_data_error(path, str(path)), opened(path) as file:
            while data := file.read(_READ):
                text = decoder.decode(data)
                yield text
                line += text.count("\n")
            # a character that the file's end cuts
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        raise DataError(
            f"{path}:{line}: not UTF-8. Convert the file to UTF-8."
        ) from error


def _divided(
    pieces: Iterator[str], divide: Callable[[str], list[str]]
) -> Iterator[str]:
    """Yield the parts of a text, cut where they are too long.

    divide: a text → its parts, of which the last may go on in the next piece.
    """
    rest = ""
    for piece in pieces:
        *whole, rest = divide(rest + piece)
        for text in whole:
            yield from _cut(text)
        *parts, rest = _cut(rest)
        yield from parts
    yield rest


def _cut(text: str) -> list[str]:
    """Return a text in parts that are not too long, cut after line ends if that is possible."""
    parts = []
    while len(text) > LONGEST:
        at = text.rfind("\n", 0, LONGEST) + 1 or LONGEST
        parts.append(text[:at])
        text = text[at:]
    return [*parts, text]


def _files(pieces: Iterator[str]) -> Iterator[str]:
    return _divided(pieces, lambda text: [text])


def _paragraphs(pieces: Iterator[str]) -> Iterator[str]:
    # a last line of white space is a blank line too
    ended = chain(pieces, ["\n"])
    return map(_without_end, _divided(ended, _BLANK_LINES.split))


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    return map(_without_end, _divided(pieces, lambda text: text.split("\n")))


def _without_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


EACH: dict[Each, Callable[[Iterator[str]], Iterator[str]]] = {
    "file": _files,
    "paragraph": _paragraphs,
    "line": _lines,
}
"""How the pieces of a text become documents, by what is one document."""


# --- prompts ---


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A file of prompts, checked. prompts: the columns of a prompt. columns: all columns."""

    path: Path
    prompts: PromptColumns
    columns: tuple[str, ...]
    count: int

    @property
    def reward_columns(self) -> tuple[str, ...]:
        """The columns that a reward function is given: all but the prompt's first one."""
        first = self.prompts.names[0]
        return tuple(name for name in self.columns if name != first)

    def read_as(self, purpose: str = "") -> ReadAs:
        """Return what the file was read as.

        purpose: what the columns that are no part of the prompt are for; "": they are not used.
        """
        roles = {"prompt": str(self.prompts)} | self.prompts.roles
        details = {}
        is_lines = is_plain(self.path)
        if is_lines:
            roles["prompt"] = "line"
        beside_prompt = tuple(
            name for name in self.columns if name not in self.prompts.all
        )
        unused = () if purpose else beside_prompt
        if beside_prompt and purpose:
            roles["columns"] = "+".join(beside_prompt)
            details["columns"] = purpose
        return ReadAs(
            self.path.name,
            "text" if is_lines else "table",
            roles,
            details,
            unused=unused,
            judgements=0,
            kinds={"prompt": self.count},
        )

    def rows(self, *, chat: bool = False) -> Iterator[tuple[Row, Prompt]]:
        """Yield every row with its prompt; an empty cell is the prompt "".

        chat: each prompt is a message of a user, to be answered instead of continued. A prompt
        that is a list of messages is answered too.
        """
        for number, row in _numbered_rows(self.path):
            where = f"{self.path.name}:{number}"
            prompt = self.prompts.read(row, where)
            if chat and not isinstance(prompt, tuple):
                prompt = as_chat(prompt or "")
            yield row, prompt or ""


def open_prompts(path: Path, prompt_column: str | None = None) -> PromptFile:
    """Read a file of prompts once, so that errors come before the work, and return it.

    path: also described, as `questions.csv:prompt=question`.
    prompt_column: the column's name in a table, or several with + between them: they alone are the
    prompt. None: columns are recognised by name ("prompt", "instruction" with "input", "text" …),
    and "system" and "history" make a chat of it.
    Raises DataError for a file without prompts, a missing column, and a prompt that is not a text.
    """
    path, columns = described_file(path, Columns(prompt=prompt_column))
    prompt_column = columns.prompt
    named = prompt_column.split(TOGETHER) if prompt_column else []
    telling = telling_rows(_numbered_rows(path), may_prompt, named)
    head = [row for _, row in telling]
    prompts = _prompts(path, head, prompt_column)
    names: dict[str, None] = {}
    count = 0
    for number, row in _numbered_rows(path):
        names.update(dict.fromkeys(row))
        prompts.read(row, f"{path.name}:{number}")
        count += 1
    for column in prompts.all:
        if column not in names:
            listed = ", ".join(names)
            raise DataError(
                f"{path.name}: no column {column!r} among {listed}. See --prompt-column."
            )
    return PromptFile(path, prompts, tuple(names), count)


def as_chat(text: str) -> Prompt:
    """Return a text as a chat of one message, by the user."""
    return (Message("user", text),)


def _numbered_rows(path: Path) -> Iterator[tuple[int, Row]]:
    if not is_plain(path):
        yield from rows(path)
        return
    for number, line in enumerate(documents(path, "line"), 1):
        yield number, {"prompt": line}


def _prompts(
    path: Path, head: Sequence[Row], prompt_column: str | None
) -> PromptColumns:
    """Return the columns of the prompts; in a table without a prompt, the text is one."""
    if not head:
        raise DataError(f"{path}: no prompts in it.")
    names = list(dict.fromkeys(name for row in head for name in row))
    if is_plain(path):
        return PromptColumns(("prompt",))
    columns = Columns(prompt=prompt_column).with_table_spelling(names)
    prompts = prompt_columns(names, (), head, columns)
    if prompt_column is not None:
        return PromptColumns(prompts.names)
    if prompts.names:
        return prompts
    text = column_for(RECOGNISED["text"], names, ())
    if text is not None:
        return PromptColumns((text,))
    listed = ", ".join(names)
    raise DataError(
        f"{path.name}: no column of prompts among {listed}. Name it: --prompt-column."
    )


# --- features of how a text is written ---


def _count(pattern: str) -> Callable[[str], float]:
    """Return the feature ln(1 + how often a pattern occurs); lines are its units for ^ and $."""
    compiled = re.compile(pattern, re.MULTILINE)
    return lambda text: math.log1p(sum(1 for _ in compiled.finditer(text)))


FEATURES: dict[str, Callable[[str], float]] = {
    "length": lambda text: math.log1p(len(text)),
    "lists": _count(r"^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+\S"),
    "headings": _count(r"^[ \t]*#{1,6}[ \t]+\S"),
    "bold": _count(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
    "code": _count(r"^[ \t]*```|`[^`\n]+`"),
    "links": _count(r"https?://"),
    "paragraphs": _count(r"\n[ \t]*\n"),
    "exclamations": _count(r"[!！]"),
    "questions": _count(r"[?？]"),
    "digits": _count(r"\d"),
    "capitals": _count(r"\b[A-Z]{2,}\b"),
    "emoji": _count("[\U0001f300-\U0001faff\u2600-\u27bf]"),
}
"""Features of how a text is written, by name. Counts are taken as ln(1 + count)."""


def names_of(control: str) -> tuple[str, ...]:
    """Return the names in a list with commas. Raises UsageError for an unknown or repeated one."""
    names = tuple(name.strip() for name in control.split(",") if name.strip())
    for name in names:
        if name not in FEATURES:
            raise UsageError(
                f"control {name!r}: no such feature. Choose among {', '.join(FEATURES)}."
            )
        if names.count(name) > 1:
            raise UsageError(
                f"control: {name} stands there twice. Name it once."
            )
    return names


def features_of(
    texts: Sequence[str], names: Sequence[str]
) -> NDArray[np.float64]:
    """Return the features of n texts [n, features]."""
    values = np.zeros((len(texts), len(names)))
    for column, name in enumerate(names):
        feature = FEATURES[name]
        values[:, column] = [feature(text) for text in texts]
    return values
