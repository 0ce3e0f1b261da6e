"""Values of Parquet files as Python's: also dates that Python has no date for."""

from typing import TYPE_CHECKING, Any

from tastemaker.data.json_values import MOST_NESTED
from tastemaker.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


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
