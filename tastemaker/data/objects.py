"""Tables that are in memory: data frames, Arrow tables, datasets, lists of objects.

The libraries are not imported here: an object of theirs shows that they are there already.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from tastemaker.data.sources import dataset_rows
from tastemaker.data.tables import Row, Rows, Table
from tastemaker.errors import DataError, UsageError

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
