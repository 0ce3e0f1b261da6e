"""Write the two parts of a split: as rows of the source's own file, or as rows of judgements."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tastemaker.data import tables
from tastemaker.data.exports import gathers_rows
from tastemaker.data.formats.single import to_row
from tastemaker.data.judgements import Judgement
from tastemaker.data.packed import unpacked_name
from tastemaker.data.roles import described_source
from tastemaker.data.tables import SUFFIXES, Row
from tastemaker.data.writers import Say, silent, widened, writing_table
from tastemaker.errors import UsageError

NAMES = ("train", "test")
_ROWS = 1024  # written at a time


def write_split(
    source: Any,
    folder: Path,
    parts: tuple[Sequence[Judgement], Sequence[Judgement]],
    *,
    header: tuple[str, ...] = (),
    say: Say = silent,
) -> tuple[Path, Path]:
    """Write train.* and test.* into a folder and return their paths.

    A single file gives files of its own format and columns, with the rows that were read. Any other
    source gives JSONL of judgements, also an export whose judgements are made of several rows.
    header: the names of the columns of a file that has none; the parts have them. say: takes a
    warning of texts that a spreadsheet would compute. Raises DataError for a value that cannot be
    written, and UsageError where a part would replace the source.
    """
    path, columns, _ = described_source(source)
    path = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or _suffix(path) not in SUFFIXES:
        return _write_judgements(folder, parts)
    table = tables.table(path, columns.header or header)
    if gathers_rows(table):
        return _write_judgements(folder, parts)
    sides: dict[str, int] = {}
    for side, part in enumerate(parts):
        sides.update(dict.fromkeys((each.where for each in part), side))
    rows: tuple[list[Row], list[Row]] = ([], [])
    for number, row in table.rows_past([]):
        side_of_row = sides.get(table.place(number))
        if side_of_row is not None:
            rows[side_of_row].append(row)
    # an array of a .json file becomes lines, which such a file may hold too
    paths = [folder / f"{name}{_ending(path)}" for name in NAMES]
    if path.resolve() in {target.resolve() for target in paths}:
        raise UsageError(
            f"{path}: a part would replace it. Choose another folder for --out."
        )
    for target, of_side in zip(paths, rows, strict=True):
        _write(target, of_side, say)
    return paths[0], paths[1]


def _write_judgements(
    folder: Path,
    parts: tuple[Sequence[Judgement], Sequence[Judgement]],
) -> tuple[Path, Path]:
    paths = []
    for name, part in zip(NAMES, parts, strict=True):
        paths.append(folder / f"{name}.jsonl")
        _write(paths[-1], [to_row(judgement) for judgement in part], silent)
    return paths[0], paths[1]


def _suffix(
    path: Path,
) -> str:
    return Path(unpacked_name(path)).suffix


def _ending(
    path: Path,
) -> str:
    packed = ".gz" if path.name.lower().endswith(".gz") else ""
    return _suffix(path) + packed


def _write(
    path: Path,
    rows: Sequence[Row],
    say: Say,
) -> None:
    import pyarrow as pa

    columns = list(dict.fromkeys(_names(rows)))
    schema = None
    if tables.format_of(path) == "parquet":
        schema = widened(pa.schema([]), list(rows), columns)
    with writing_table(path, columns, schema, say=say) as write:
        for start in range(0, len(rows), _ROWS):
            write(list(rows[start : start + _ROWS]))


def _names(
    rows: Iterable[Row],
) -> Iterable[str]:
    for row in rows:
        yield from row
