"""A folder of packed tables, read one after the other as one table."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tastemaker.data.packed import PACKINGS
from tastemaker.data.tables import Row, Rows, Table, format_of, table
from tastemaker.errors import DataError

_WORDS = re.compile(r"[^a-z0-9]+")


def packed_tables(path: Path) -> list[Path]:
    """Return the packed tables of a folder and of the folders in it, by name."""
    files = []
    for pattern in ("*.*", "*/*.*"):
        for file in path.glob(pattern):
            if file.name.lower().endswith(PACKINGS) and _is_table(file):
                files.append(file)
    return sorted(files)


def _is_table(file: Path) -> bool:
    try:
        format_of(file)
    except DataError:
        return False
    return file.is_file()


def folder_table(path: Path, files: list[Path], split: str | None) -> Table:
    """Return the files of a split as one table.

    A file is of the split that its name, or that of its folder, has as a word. split: None is
    "train", or all files where none is named so. Raises DataError for a split without a file.
    """
    chosen = []
    for file in files:
        if (split or "train") in _words(file.relative_to(path)):
            chosen.append(file)
    if not chosen and split is not None:
        listed = ", ".join(str(file.relative_to(path)) for file in files)
        raise DataError(
            f"{path}: no file of a split {split!r} among {listed}. Name one of them."
        )
    parts = []
    for file in chosen or files:
        name = file.relative_to(path).as_posix()
        parts.append((name, table(file)))
    return _Folder.of(path.resolve().name, parts)


def _words(path: Path) -> set[str]:
    return set(_WORDS.split(str(path).lower()))


@dataclass(frozen=True)
class _Folder(Table):
    """Tables end to end. starts: the number before the first row of each, as far as it was read."""

    names: tuple[str, ...] = ()
    starts: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, name: str, parts: list[tuple[str, Table]]) -> "_Folder":
        starts: list[int] = []
        names = tuple(name for name, _ in parts)
        tables = [table for _, table in parts]

        def read(
            rows_of: Callable[[Table], Rows],
        ) -> Iterator[tuple[int, Row]]:
            start = 0
            starts.clear()
            for each in tables:
                starts.append(start)
                last = 0
                for number, row in rows_of(each):
                    last = number
                    yield start + number, row
                start += last

        return cls(
            name,
            lambda: read(lambda each: each.rows()),
            lambda skipped: read(lambda each: each.rows_past(skipped)),
            all(each.is_text for each in tables),
            names=names,
            starts=starts,
        )

    def place(self, number: int) -> str:
        """Return the file and the line of a row."""
        part = bisect_right(self.starts, number - 1) - 1
        return f"{self.names[part]}:{number - self.starts[part]}"
