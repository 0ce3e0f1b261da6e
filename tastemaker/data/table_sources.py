"""Tables that are no single file: a folder of packed tables, and tables in memory.

The files of a folder are read one after the other as one table. In memory are data frames, Arrow
tables, datasets and lists of objects. Their libraries are not imported here: an object of theirs
shows that they are there already.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tastemaker.data.packed import PACKINGS
from tastemaker.data.sources import dataset_rows
from tastemaker.data.tables import Row, Rows, Table, format_of, table
from tastemaker.errors import DataError, UsageError

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


# ---- tables in memory -------------------------------------------------------


_KINDS = (
    "a path, a hub name, a DataFrame of pandas or polars, an Arrow table, a datasets.Dataset, "
    "or a list of dicts"
)


def table_in_memory(
    source: Any,
    split: str | None,
) -> Table:
    """Return an object's rows as a table that is called after its type.

    Raises UsageError for an object of another type, and DataError for a list of something else.
    """
    if isinstance(source, Mapping) and hasattr(source, "num_rows"):
        # a DatasetDict: its splits by name
        name = split or "train"
        if name not in source:
            raise DataError(
                f"no split {name!r}; there are {', '.join(map(repr, source))}."
            )
        source, split = source[name], None
    if split is not None:
        raise UsageError(
            f"one table has no splits, so there is no {split!r} in it. Leave out the split."
        )
    name = type(source).__name__
    read = _reader_of(source)
    if read is None:
        raise UsageError(f"cannot read a {name}; give {_KINDS}.")

    def rows() -> Rows:
        for number, row in enumerate(read(), 1):
            if not isinstance(row, Mapping):
                kind = type(row).__name__
                raise DataError(
                    f"{name}:{number}: a {kind} where a dict of columns belongs."
                )
            yield number, dict(row)

    return Table(name, rows)


def _reader_of(
    source: Any,
) -> Callable[[], Iterable[Any]] | None:
    """Return a function that yields the rows of an object; None for an unknown type."""
    for attribute, read in _READERS.items():
        if hasattr(source, attribute):
            return partial(read, source)
    if isinstance(source, Mapping):
        return partial(_column_rows, source)
    return partial(iter, source) if isinstance(source, list | tuple) else None


def _frame_rows(
    frame: Any,
) -> Iterator[Row]:
    """Yield the rows of a pandas frame, with None in the place of what is missing."""
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise DataError(
            "DataFrame: two columns have the same name. Rename one."
        )
    cells = frame.astype(object).where(frame.notna(), None)
    for values in cells.itertuples(index=False, name=None):
        yield dict(zip(names, values, strict=True))


def _batch_rows(
    batches: Iterable[Any],
) -> Iterator[Row]:
    for batch in batches:
        yield from batch.to_pylist()


def _column_rows(
    columns: Mapping[Any, Any],
) -> Iterator[Row]:
    names = [str(name) for name in columns]
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise DataError("dict: its columns are not equally long.")
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(names, values, strict=True))


def _dataset_rows(
    dataset: Any,
) -> Iterator[Row]:
    for _, row in dataset_rows(dataset):
        yield row


_READERS: dict[str, Callable[[Any], Iterable[Any]]] = {
    "iter_rows": lambda frame: frame.iter_rows(named=True),
    "collect_schema": lambda lazy: lazy.collect().iter_rows(named=True),
    "itertuples": _frame_rows,
    "features": _dataset_rows,
    "to_batches": lambda table: _batch_rows(table.to_batches()),
    "to_pylist": lambda batch: batch.to_pylist(),
}
"""How rows are read, by an attribute of the object: polars, pandas, datasets, Arrow."""
