"""One door: any source → judgements, or texts alone.

| source | read by |
|---|---|
| an aclImdb folder, or its .tar.gz | `readers.aclimdb` |
| .jsonl .json .csv .tsv (also .gz), .parquet | `readers.tables` |
| a folder of such files or of `save_to_disk`, or a hub name `org/name` | `readers.hub` |

The rows of a table are in a published shape (`readers.recognition` lists them), or have a text column and columns of
labels, grades or ratings (`readers.columns`).
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from tastemaker.data import aclimdb, hub, tables
from tastemaker.data.columns import RECOGNISED, Columns, Target, plan
from tastemaker.data.formats import rewardbench
from tastemaker.data.judgements import (
    Example,
    Grade,
    Judgement,
    Label,
    Rating,
    examples_of,
    lot,
    plain,
)
from tastemaker.data.metadata import column_for
from tastemaker.data.recognition import TABLE, Reading, recognise
from tastemaker.errors import DataError, UsageError
from tastemaker.progress import progress

_KINDS: dict[Target | None, tuple[type[Judgement], ...]] = {
    None: (Judgement,),
    "label": (Label,),
    "rating": (Grade, Rating),
}
_Item = TypeVar("_Item", Judgement, Example)


def read(
    source: str | Path,
    *,
    split: str | None = None,
    target: Target | None = None,
    limit: int | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    format: str | None = None,
    skip_bad: list[DataError] | None = None,
) -> list[Judgement]:
    """Return the judgements of a source, in its order.

    source: see the table at the top of this file. split: "train" unless told, where the source has splits.
    target: "label" for labels alone, "rating" for grades and ratings alone. limit: at most so many texts (or sets
    of texts that were judged together), drawn by the seed, with everything said of them; a larger limit draws the same
    ones and more. columns: see `Columns`; a table of which a column is named is read column by column. format: the name
    of a published shape (`recognition.CHOICES`), where it is not to be recognised. skip_bad: a list that takes the
    error of every row that cannot be read, where such rows are to be left out; without one the first is raised.
    Raises DataError, one line with file and row, for bad input and for a source of which no row can be read, and
    UsageError for a target, limit or format that cannot be.
    """
    if target not in _KINDS:
        raise UsageError(f"target {target!r}: choose 'label', 'rating' or nothing for both.")
    _check(limit)
    named = table_format(columns, format)
    opened = open_source(source, split)
    if isinstance(opened, tables.Table):
        found = _of_table(opened, columns or Columns(), target, named, skip_bad)
        return _drawn(_watched(found, opened.name), limit, seed)
    path, name = opened
    check_no_format(path, format)
    if name == "unsup":
        raise DataError(
            f"{path}: nobody judged the texts of 'unsup'. Choose the split 'train' or 'test'."
        )
    said = chain.from_iterable(review.judgements() for review in aclimdb.reviews(path, name))
    return _drawn(
        (judgement for judgement in said if isinstance(judgement, _KINDS[target])), limit, seed
    )


def read_examples(
    source: str | Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    format: str | None = None,
) -> list[Example]:
    """Return the texts of a source, judged or not (the split "unsup" of aclImdb too), in its order.

    A row of several texts, such as a comparison, gives each of them. The arguments and errors are those of `read`.
    """
    _check(limit)
    named = table_format(columns, format)
    opened = open_source(source, split)
    if isinstance(opened, tables.Table):
        return _drawn(
            _watched(_texts_of(opened, columns or Columns(), named), opened.name), limit, seed
        )
    check_no_format(opened[0], format)
    return _drawn((review.example() for review in aclimdb.reviews(*opened)), limit, seed)


def rewardbench_items(
    source: str | Path, *, split: str | None = None, format: str | None = None
) -> list[rewardbench.Item] | None:
    """Return the rows of RewardBench 2 that a source holds; None where it is anything else."""
    opened = open_source(source, split) if format in (None, "rewardbench") else None
    if not isinstance(opened, tables.Table):
        return None
    reading = recognise(opened, format, past_bad=True)
    return (
        list(rewardbench.items(opened))
        if reading is not None and reading.format.name == "rewardbench"
        else None
    )


def has_splits(source: str | Path) -> bool:
    """Return whether the source is divided into splits by name ("train", "test" …). Opens nothing."""
    path = Path(source)
    return hub.has_splits(path) if path.is_dir() or not path.exists() else aclimdb.is_aclimdb(path)


def open_source(source: str | Path, split: str | None) -> tables.Table | tuple[Path, str]:
    """Return the source as a table, or the folder or archive of aclImdb and its split ("train" unless told).

    Raises DataError for a source that is none, and UsageError for a split of one table.
    """
    path = Path(source)
    if path.is_dir():
        return _open_folder(path, split)
    if not path.exists():
        if hub.is_hub_name(str(source)):
            return hub.table(str(source), split)
        raise DataError(f"{source}: no such file or folder.")
    if aclimdb.is_aclimdb(path):
        return path, split or "train"
    if split is not None:
        raise UsageError(
            f"{source}: one table has no splits, so there is no {split!r} in it. Leave out the split."
        )
    return tables.table(path)


def table_format(columns: Columns | None, format: str | None) -> str | None:
    """Return the format that is asked for: naming columns asks for a table read column by column.

    Raises UsageError where both are named.
    """
    if columns in (None, Columns()):
        return format
    if format not in (None, TABLE):
        raise UsageError(
            f"format {format!r} has its own columns. Leave out the format, or the columns that are named."
        )
    return TABLE


def check_no_format(path: Path, format: str | None) -> None:
    """Raise UsageError where a format is named for aclImdb."""
    if format is not None:
        raise UsageError(
            f"{path}: the layout of aclImdb is no table of the format {format!r}. Leave out the format."
        )


def _check(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: it is a number of texts, 1 or more.")


def _of_table(
    table: tables.Table,
    columns: Columns,
    target: Target | None,
    format: str | None,
    skip_bad: list[DataError] | None,
) -> Iterator[Judgement]:
    """Yield the judgements of a table that the target wants. Raises DataError where there is none."""
    past_bad = skip_bad is not None
    reading = recognise(table, format, past_bad=past_bad)
    if reading is not None:
        _check_target(reading, target)
    said = reading or plan(table, columns, target=target, past_bad=past_bad)
    before = len(skip_bad or ())
    has_any = had_rows = False
    for judgement in said.judgements(skip_bad):
        had_rows = True
        if isinstance(judgement, _KINDS[target]):
            has_any = True
            yield judgement
    if has_any:
        return
    if had_rows:
        raise UsageError(f"{table.name}: target {target!r} leaves out all of its judgements.")
    if skip_bad is not None and len(skip_bad) > before:
        raise DataError(
            f"{table.name}: not one of {len(skip_bad) - before} rows can be read; {skip_bad[before]}"
        )
    raise DataError(f"{table.name}: no rows in it.")


def _check_target(reading: Reading, target: Target | None) -> None:
    if not any(issubclass(kind, _KINDS[target]) for kind in reading.format.kinds):
        kinds = " and ".join(f"{kind.__name__.lower()}s" for kind in reading.format.kinds)
        raise UsageError(
            f"{reading.table.name}: target {target!r} leaves nothing of a file of {kinds} "
            f"(the format {reading.format.name!r}). Leave out the target."
        )


def _texts_of(table: tables.Table, columns: Columns, format: str | None) -> Iterator[Example]:
    """Yield every text of a table, once a row. A table with one text a row need not say anything of it."""
    reading = recognise(table, format)
    if reading is None or (format is None and column_for(RECOGNISED["text"], reading.columns, ())):
        yield from plan(table, columns, judged=False).examples()
        return
    where, seen = "", set[Example]()
    for judgement in reading.judgements():
        if judgement.where != where:
            where, seen = judgement.where, set()
        for example in examples_of(judgement):
            if example not in seen:
                seen.add(example)
                yield example


def _open_folder(path: Path, split: str | None) -> tables.Table | tuple[Path, str]:
    for folder in (path, path / "aclImdb"):
        if aclimdb.is_aclimdb(folder):
            return folder, split or "train"
    if hub.is_saved(path) or hub.has_tables(path):
        return hub.table(str(path), split)
    if not any(path.iterdir()):
        raise DataError(f"{path}: the folder is empty.")
    raise DataError(
        f"{path}: no reviews here that can be read. A folder holds {{train,test}}/{{pos,neg}}/<id>_<rating>.txt, or "
        f"tables ({', '.join(tables.SUFFIXES)}), or what datasets.save_to_disk wrote."
    )


def _watched(found: Iterable[_Item], name: str) -> Iterator[_Item]:
    """Pass the items on, and show that they are being read."""
    with progress(f"reading {name}", None) as advance:
        for item in found:
            yield item
            advance(1, "")


def _drawn(found: Iterable[_Item], limit: int | None, seed: int) -> list[_Item]:
    """Return what is about the `limit` texts with the smallest lots, in order; keeps no more than that in memory."""
    if limit is None:
        return list(found)
    largest: list[int] = []  # a heap of the kept lots, negated: the largest lot first
    kept: dict[int, list[tuple[int, _Item]]] = {}
    for position, item in enumerate(found):
        drawn = lot(seed, "limit", _unit(item))
        if drawn in kept:
            kept[drawn].append((position, item))
        else:
            kept[drawn] = [(position, item)]
            heapq.heappush(largest, -drawn)
            if len(kept) > limit:
                del kept[-heapq.heappop(largest)]
    in_order = sorted(chain.from_iterable(kept.values()), key=lambda pair: pair[0])
    return [item for _, item in in_order]


def _unit(item: _Item) -> str:
    """Name what a limit counts: a text with its prompt, or the texts that were judged together."""
    judged: tuple[Example, ...] = examples_of(item)
    return "\0".join([plain(judged[0].prompt or ""), *sorted(example.text for example in judged)])
