"""Values of JSON and Parquet files as Python's: not nested too deep, arrays read item by item.

Deep values end Python's recursion in whatever reads them later. An array that is decoded as a whole
takes many times the memory of its text, and a small compressed file can hold a large one.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

from tastemaker.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


MOST_NESTED = 100
"""Levels of lists and objects in one value. More are an error."""

MOST_VALUES = 1_000_000
"""Brackets and commas of one value. Each may be an object of 200 bytes, so more are an error."""

_CHUNK = 2**20  # bytes read at once
_SPACE = re.compile(r"[ \t\n\r]*")
_LINE_ENDS = ("", "\n", "\r\n")
_decode = json.JSONDecoder().raw_decode
# what a value may lack because the text so far ends inside it: a literal, or \uXXXX and its pair
_LONGEST_PIECE = 12


def decoded(text: str) -> Any:
    """Return the value of a JSON text.

    Raises ValueError for no JSON, for too deep nesting and for too many values.
    """
    check_count(text)
    try:
        value = _of_line(text)
    except RecursionError as error:
        raise _too_deep() from error
    check_depth(value, text.count("[") + text.count("{"))
    return value


def _of_line(text: str) -> Any:
    """Return the value of `json.loads`, which takes half as long again for a plain line."""
    if text.startswith("{"):
        value, end = _decode(text)
        if text[end:] in _LINE_ENDS:
            return value
    return json.loads(text)


def check_count(text: str, start: int = 0) -> None:
    """Raise ValueError for the text of a value that holds more than MOST_VALUES."""
    if len(text) - start <= MOST_VALUES:
        return
    if sum(text.count(mark, start) for mark in "[{,") > MOST_VALUES:
        raise ValueError(
            f"it holds more than {MOST_VALUES:,} values. Divide it into several rows"
        )


def check_depth(value: object, brackets: int) -> None:
    """Raise ValueError for a value that is nested too deep. brackets: that its text opens."""
    if brackets <= MOST_NESTED:
        return
    level = [value]
    for _ in range(MOST_NESTED + 1):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inner.extend(each.values())
            elif isinstance(each, list):
                inner.extend(each)
        level = [each for each in inner if isinstance(each, dict | list)]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {MOST_NESTED} deep")


def array_items(file: IO[bytes], name: str, most: int) -> Iterator[Any]:
    """Yield the items of a file that is one JSON array, one at a time.

    name: of the file, for messages. most: bytes of an item, about; a longer one is an error.
    Raises DataError for what is not JSON, with its line, and UnicodeDecodeError with the offset in
    the file for what is not UTF-8.
    """
    text = _Text(file, name, most)
    text.skip("[")
    if text.next_character() == "]":
        text.skip("]")
    else:
        is_over = False
        while not is_over:
            yield text.value()
            is_over = text.next_character() == "]"
            text.skip("]" if is_over else ",")
    if text.next_character():
        raise text.problem("Extra data", text.at)


class _Text:
    """A file's text, of which only the part around `at` is in memory."""

    def __init__(self, file: IO[bytes], name: str, most: int) -> None:
        self.file, self.name, self.most = file, name, most
        self.text = ""
        self.at = 0
        self.line, self.column = 1, 1  # of the first character in memory
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.offset = 0  # bytes decoded
        self.has_more = True

    def more(self, size: int = _CHUNK) -> None:
        """Read on, and forget what is before `at`."""
        self._forget()
        data = self.file.read(max(size, _CHUNK))
        self.has_more = bool(data)
        waiting = len(self.decoder.getstate()[0])
        try:
            text = self.decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            # the offset in the file, not in this piece
            start = self.offset - waiting + error.start
            raise DataError(
                f"{self.name}: not UTF-8 at byte {start}. Convert the file to UTF-8."
            ) from error
        if self.offset == 0:
            text = text.removeprefix("\ufeff")
        self.offset += len(data)
        self.text += text

    def _forget(self) -> None:
        self.line, self.column = self.place(self.at)
        self.text = self.text[self.at :]
        self.at = 0

    def place(self, at: int) -> tuple[int, int]:
        """Return the line and the column of a character in memory, both from 1."""
        lines = self.text.count("\n", 0, at)
        if not lines:
            return self.line, self.column + at
        return self.line + lines, at - self.text.rfind("\n", 0, at)

    def problem(self, what: str, at: int) -> DataError:
        """Return the error of the text at a character in memory."""
        line, column = self.place(at)
        return DataError(
            f"{self.name}: not JSON: {what} at line {line}, character {column}."
        )

    def next_character(self) -> str:
        """Go past white space; return the character there, "" at the end of the file."""
        while True:
            match = _SPACE.match(self.text, self.at)
            assert match is not None  # it matches anything
            self.at = match.end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.has_more:
                return ""
            self.more()

    def skip(self, character: str) -> None:
        """Go past a character. Raises DataError where there is another one."""
        if self.next_character() != character:
            raise self.problem(f"Expecting {character!r} delimiter", self.at)
        self.at += 1

    def value(self) -> Any:
        """Return the value that begins here, and go past it."""
        self.next_character()
        while True:
            start = self.at
            try:
                value, end = _decode(self.text, start)
                # the digits of a number may go on
                is_whole = end < len(self.text) or not self.has_more
                if is_whole and end - start <= self.most:
                    brackets = self.text.count("[", start, end)
                    brackets += self.text.count("{", start, end)
                    check_depth(value, brackets)
                    self.at = end
                    return value
            except json.JSONDecodeError as error:
                if not (self.has_more and self._may_be_cut(error)):
                    raise self.problem(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:
                # a number of thousands of digits; deep brackets
                reason = (
                    _too_deep() if isinstance(error, RecursionError) else error
                )
                raise DataError(
                    f"{self.name}: JSON that cannot be read: {reason}."
                ) from error
            self._check_count(start)
            if len(self.text) - start > self.most:
                line, _ = self.place(start)
                raise DataError(
                    f"{self.name}: an item of more than {self.most >> 20} MiB at line {line}."
                )
            self.more(len(self.text) - start)

    def _check_count(self, start: int) -> None:
        """Raise DataError if the text from here on, all of one value, holds too many of them."""
        try:
            check_count(self.text, start)
        except ValueError as error:
            line, _ = self.place(start)
            raise DataError(
                f"{self.name}: JSON that cannot be read at line {line}: {error}."
            ) from error

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Return whether the value may be whole once more of the file is read."""
        is_at_end = len(self.text) - error.pos <= _LONGEST_PIECE
        return is_at_end or error.msg.startswith("Unterminated string")


# ---- Parquet ----------------------------------------------------------------


def check_nesting(schema: "pa.Schema", name: str) -> None:
    """Raise DataError for columns nested too deep. name: of the file."""
    level = [field.type for field in schema]
    for _ in range(MOST_NESTED):
        inner: list[Any] = []
        for kind in level:
            inner.extend(
                kind.field(number).type for number in range(kind.num_fields)
            )
        level = inner
        if not level:
            return
    raise DataError(
        f"{name}: a column is nested more than {MOST_NESTED} deep."
    )


def cells_of(batch: "pa.RecordBatch") -> list[dict[str, Any]]:
    """Return the rows of a batch. A date out of Python's range is a text that names its number.

    So it is refused only where it is read as a time.
    """
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (OverflowError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        columns = [_cells(column) for column in batch.columns]
        names = batch.schema.names
        return [
            dict(zip(names, cells, strict=True))
            for cells in zip(*columns, strict=True)
        ]
    return rows


def _cells(column: "pa.Array") -> list[Any]:
    cells = []
    for scalar in column:
        try:
            cells.append(scalar.as_py())
        except (OverflowError, ValueError):
            number = getattr(scalar, "value", "")
            cells.append(f"{scalar.type} {number}".rstrip())
    return cells
