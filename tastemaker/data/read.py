"""One door: any source → judgements, or texts alone.

| source | read by |
|---|---|
| an aclImdb folder, or its .tar.gz | `readers.aclimdb` |
| .jsonl .json .csv .tsv (also .gz), .parquet | `readers.tables` |
| a folder of such files or of `save_to_disk`, or a hub name `org/name` | `readers.hub` |
"""

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from tastemaker.data.fingerprints import lot
from tastemaker.data.judgements import Example, Grade, Judgement, Label, Rating, example_of
from tastemaker.data.readers import aclimdb, hub, tables
from tastemaker.data.readers.columns import Columns, Target, plan
from tastemaker.errors import DataError, UsageError
from tastemaker.progress import progress

_KINDS: dict[Target | None, tuple[type[Judgement], ...]] = {
    None: (Label, Grade, Rating),
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
) -> list[Judgement]:
    """Return the judgements of a source, in its order.

    source: see the table at the top of this file. split: "train" unless told, where the source has splits.
    target: "label" for labels alone, "rating" for grades and ratings alone. limit: at most so many texts, drawn by the
    seed, with everything said of them; a larger limit draws the same ones and more. columns: see `Columns`.
    Raises DataError, one line with file and row, for bad input.
    """
    if target not in _KINDS:
        raise UsageError(f"target {target!r}: choose 'label', 'rating' or nothing for both.")
    _check(limit)
    opened = _open(source, split)
    if isinstance(opened, tables.Table):
        found = plan(opened, columns or Columns(), target=target).judgements()
        return _drawn(_watched(found, opened.name), limit, seed)
    path, name = opened
    if name == "unsup":
        raise DataError(f"{path}: nobody judged the texts of 'unsup'. Choose the split 'train' or 'test'.")
    said = chain.from_iterable(review.judgements() for review in aclimdb.reviews(path, name))
    return _drawn((judgement for judgement in said if isinstance(judgement, _KINDS[target])), limit, seed)


def read_examples(
    source: str | Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    columns: Columns | None = None,
) -> list[Example]:
    """Return the texts of a source, judged or not (the split "unsup" of aclImdb too), in its order.

    The arguments and errors are those of `read`.
    """
    _check(limit)
    opened = _open(source, split)
    if isinstance(opened, tables.Table):
        found = plan(opened, columns or Columns(), judged=False).examples()
        return _drawn(_watched(found, opened.name), limit, seed)
    return _drawn((review.example() for review in aclimdb.reviews(*opened)), limit, seed)


def has_splits(source: str | Path) -> bool:
    """Return whether the source is divided into splits by name ("train", "test" …). Opens nothing."""
    path = Path(source)
    return hub.has_splits(path) if path.is_dir() or not path.exists() else aclimdb.is_aclimdb(path)


def _check(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: it is a number of texts, 1 or more.")


def _open(source: str | Path, split: str | None) -> tables.Table | tuple[Path, str]:
    """Return the source as a table, or the folder or archive of aclImdb and its split."""
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
        raise UsageError(f"{source}: one table has no splits, so there is no {split!r} in it. Leave out the split.")
    return tables.table(path)


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
        example = example_of(item)
        drawn = lot(seed, "limit", f"{example.prompt or ''}\0{example.text}")
        if drawn in kept:
            kept[drawn].append((position, item))
        else:
            kept[drawn] = [(position, item)]
            heapq.heappush(largest, -drawn)
            if len(kept) > limit:
                del kept[-heapq.heappop(largest)]
    in_order = sorted(chain.from_iterable(kept.values()), key=lambda pair: pair[0])
    return [item for _, item in in_order]
