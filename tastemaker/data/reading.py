"""Read judgements, or texts alone, from any source.

| source | read by |
|---|---|
| an aclImdb folder, or its .tar.gz | `data.sources` |
| .jsonl .json .csv .tsv (also .gz), .parquet | `data.tables` |
| a folder of such files or of `save_to_disk`, or a hub name `org/name` | `data.sources` |

The rows of a table have a published format (`data.formats`), or a text column and columns of
labels, grades or ratings (`data.columns`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, Unpack

from tastemaker.data import sources as aclimdb
from tastemaker.data import sources as hub
from tastemaker.data import tables
from tastemaker.data.answers import Answers, answers_plan
from tastemaker.data.columns import RECOGNISED, ColumnPlan, plan
from tastemaker.data.exports import flat
from tastemaker.data.formats import table_format
from tastemaker.data.judgement_columns import Target
from tastemaker.data.judgements import (
    Comparison,
    Example,
    Grade,
    Judgement,
    Label,
    Rating,
    examples_of,
)
from tastemaker.data.limits import limited
from tastemaker.data.read_as import Layout, ReadAs, read_as
from tastemaker.data.recognising import Reading, recognise
from tastemaker.data.roles import (
    Columns,
    Roles,
    column_for,
    described_source,
    with_roles,
)
from tastemaker.data.source_names import (
    absolute_path,
    distinct_names,
    is_several,
)
from tastemaker.data.store.addresses import is_store
from tastemaker.data.table_sources import (
    folder_table,
    packed_tables,
    table_in_memory,
)
from tastemaker.errors import DataError, UsageError
from tastemaker.progress import progress

_KINDS: dict[Target | None, tuple[type[Judgement], ...]] = {
    None: (Judgement,),
    "label": (Label,),
    "rating": (Grade, Rating),
}
_Item = TypeVar("_Item", Judgement, Example)


def read(
    source: Any,
    *,
    split: str | None = None,
    target: Target | None = None,
    limit: int | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    format: str | None = None,
    skip_bad: list[DataError] | None = None,
    report: list[ReadAs] | None = None,
    name: str | None = None,
    **roles: Unpack[Roles],
) -> list[Judgement]:
    """Return the judgements of a file, a folder or a dataset of the Hugging Face hub.

        tm.read("reviews.csv")                    # columns: text, label
        tm.read("reviews.csv", text="words", grade="stars")
        tm.read("pairs.jsonl", limit=1000)        # prompt, chosen, rejected
        tm.read("aclImdb.tar.gz", split="test")   # the Large Movie Review Dataset
        tm.read("org/name")                       # the hub; needs the extra `hub`
        tm.read(["a/train.csv", "b/train.csv"])   # one after the other

    The format and the columns are recognised by the names of the columns. Judgements come in the
    order of the source.

    source: a .jsonl, .json, .csv, .tsv or .parquet file (text files also .gz), a folder of them, a
        store of `tastemaker rank` (or its PostgreSQL address), a folder that `datasets` saved, a
        hub name, or aclImdb; a DataFrame (pandas, polars), an Arrow table, a datasets.Dataset, a
        list of dicts. Columns may follow a path: `reviews.csv:text=words,grade=stars`. Several
        paths or names: two files of one name are called by as much of them as tells them apart.
    split: "train" by default, where the source has splits.
    target: "label" keeps only labels; "rating" keeps only grades and ratings.
    limit: how many texts (or sets of texts that were judged together) to read, chosen at random,
        with all their judgements. A larger limit gives the same ones and more.
    seed: decides which ones `limit` keeps.
    columns: the names of the columns, where they are not recognised: `Columns(text="body")`.
    format: the name of a published format, where it is not recognised (docs/guide.md lists them).
    skip_bad: leave out rows that cannot be read and append their errors to this list.
    report: a list that takes a `ReadAs`: which column was read as what.
    name: what the source is called in messages and for `experts`; the file's name by default.
    roles: the names of columns by role, as the fields of `Columns`: `text="body", grade="stars"`.

    Raises DataError, one line with the file and the row, for bad input and for a source without
    judgements. Raises UsageError for an unknown target, limit, split or format.
    """
    if target not in _KINDS:
        raise UsageError(
            f"target {target!r}: choose 'label', 'rating' or nothing for both."
        )
    _check_limit(limit)
    columns = with_roles(columns, roles)
    names = distinct_names(source) if is_several(source) else {}
    sources = source if is_several(source) else [source]
    judgements: list[Judgement] = []
    for one in sources:
        judgements += _read_one(
            one,
            split=split,
            target=target,
            limit=limit,
            seed=seed,
            columns=columns,
            format=format,
            skip_bad=skip_bad,
            report=report,
            name=name or (names.get(one) if names else None),
            is_named=bool(name),
        )
    return judgements


def _read_one(
    source: Any,
    *,
    split: str | None,
    target: Target | None,
    limit: int | None,
    seed: int,
    columns: Columns,
    format: str | None,
    skip_bad: list[DataError] | None,
    report: list[ReadAs] | None,
    name: str | None,
    is_named: bool,
) -> list[Judgement]:
    """Return the judgements of one source; see `read`. is_named: somebody gave it the name."""
    source, columns, settings = described_source(source, columns)
    format = settings.get("format", format)
    in_format = table_format(columns, format)
    opened = open_source(source, settings.get("split", split), columns.header)
    # a name that somebody gave may stand for several files
    path = "" if is_named else absolute_path(source)
    if isinstance(opened, tables.Table):
        opened = replace(opened, name=name or opened.name, path=path)
        past_bad = skip_bad is not None
        planned = _planned(opened, columns, target, in_format, past_bad)
        layout = planned.layout
        numbered = _of_table(planned, target, skip_bad)
        judgements = limited(
            _with_progress(numbered, opened.name), limit, seed
        )
        judgements = _without(judgements, layout.left_out)
        name = opened.name
    else:
        folder, part = opened
        check_no_format(folder, format)
        if part == "unsup":
            raise DataError(
                f"{folder}: nobody judged the texts of 'unsup'. "
                "Choose the split 'train' or 'test'."
            )
        layout = _ACLIMDB
        name = name or folder.name
        reviews = _of_aclimdb(folder, part, target, name, path)
        judgements = limited(reviews, limit, seed)
    if report is not None:
        report.append(read_as(name, layout, judgements))
    return judgements


_ACLIMDB = Layout(
    format="aclimdb",
    roles={"text": "the file", "label": "its folder", "grade": "its name"},
    details={"label": "positive: pos", "grade": "1–10"},
)


def _without(
    judgements: list[Judgement],
    left_out: dict[str, str],
) -> list[Judgement]:
    """Return the judgements without the judge, time, weight or margin that is left out."""
    if not left_out:
        return judgements
    empty: dict[str, Any] = {"judge": None, "time": None, "weight": 1.0}
    changes = {role: empty[role] for role in left_out if role in empty}
    cleared = [replace(judgement, **changes) for judgement in judgements]
    if "margin" not in left_out:
        return cleared
    return [
        replace(each, margin=0.0) if isinstance(each, Comparison) else each
        for each in cleared
    ]


def read_examples(
    source: Any,
    *,
    split: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    format: str | None = None,
    report: list[ReadAs] | None = None,
) -> list[Example]:
    """Return the texts of a source, judged or not, in its order.

    A row of several texts, such as a comparison, gives each of them. The arguments and errors are
    those of `read`; aclImdb also has the split "unsup".
    """
    _check_limit(limit)
    source, columns, settings = described_source(source, columns)
    format = settings.get("format", format)
    in_format = table_format(columns, format)
    opened = open_source(source, settings.get("split", split), columns.header)
    if isinstance(opened, tables.Table):
        layout, texts = _texts_of(opened, columns, in_format)
        examples = limited(_with_progress(texts, opened.name), limit, seed)
        if report is not None:
            report.append(read_as(opened.name, layout, ()))
        return examples
    path, name = opened
    check_no_format(path, format)
    return limited(
        (review.example() for review in aclimdb.reviews(path, name)),
        limit,
        seed,
    )


def has_splits(
    source: Any,
) -> bool:
    """Return whether the source has named splits ("train", "test" …). Opens nothing."""
    if not isinstance(source, str | Path):
        return False
    if is_store(source):
        return False
    path = Path(described_source(source)[0])
    if path.is_dir() or not path.exists():
        return hub.has_splits(path)
    return aclimdb.is_aclimdb(path)


def open_source(
    source: Any, split: str | None, header: Sequence[str] = ()
) -> tables.Table | tuple[Path, str]:
    """Return the source as a table, or the path of aclImdb and its split ("train" by default).

    Raises DataError for a source that cannot be read, and UsageError for a split of one table.
    """
    if not isinstance(source, str | Path):
        return table_in_memory(source, split)
    if is_store(source):
        return _open_store(source, split)
    path = Path(source)
    if path.is_dir():
        return _open_folder(path, split)
    if not path.exists():
        if hub.is_hub_name(str(source)):
            return flat(hub.table(str(source), split))
        raise DataError(f"{source}: no such file or folder.")
    if aclimdb.is_aclimdb(path):
        return path, split or "train"
    if split is not None:
        raise UsageError(
            f"{source}: one table has no splits, so there is no {split!r} in it. "
            "Leave out the split."
        )
    return flat(tables.table(path, header))


def _open_store(source: str | Path, split: str | None) -> tables.Table:
    from tastemaker.data.store.records import store_table

    if split is not None:
        raise UsageError(
            f"{source}: a store of judgements has no splits, so there is no {split!r} in it. "
            "Leave out the split."
        )
    return store_table(source)


def check_no_format(
    path: Path,
    format: str | None,
) -> None:
    """Raise UsageError where a format is named for aclImdb."""
    if format is not None:
        raise UsageError(
            f"{path}: the layout of aclImdb is no table of the format {format!r}. "
            "Leave out the format."
        )


def _check_limit(
    limit: int | None,
) -> None:
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: it is a number of texts, 1 or more.")


def _of_aclimdb(
    path: Path,
    split: str,
    target: Target | None,
    name: str,
    known_path: str,
) -> Iterator[Judgement]:
    for review in aclimdb.reviews(path, split):
        for judgement in review.judgements(name, known_path):
            if isinstance(judgement, _KINDS[target]):
                yield judgement


def _planned(
    table: tables.Table,
    columns: Columns,
    target: Target | None,
    format: str | None,
    past_bad: bool,
) -> Reading | ColumnPlan | Answers:
    """Return how to read a table."""
    reading = recognise(table, format, columns, past_bad=past_bad)
    if reading is not None:
        _check_target(reading, target)
        return reading
    answers = answers_plan(table, columns, past_bad=past_bad)
    if answers is not None:
        return answers
    return plan(table, columns, target=target, past_bad=past_bad)


def _of_table(
    source: Reading | ColumnPlan | Answers,
    target: Target | None,
    skip_bad: list[DataError] | None,
) -> Iterator[Judgement]:
    """Yield the judgements of a table that the target keeps. Raises DataError without any."""
    name = source.table.name
    already_skipped = len(skip_bad or ())
    count = matching = 0
    for judgement in source.judgements(skip_bad):
        count += 1
        if isinstance(judgement, _KINDS[target]):
            matching += 1
            yield judgement
    if matching:
        return
    if count:
        raise UsageError(
            f"{name}: target {target!r} leaves out all of its judgements."
        )
    errors = (skip_bad or [])[already_skipped:]
    if errors:
        raise DataError(
            f"{name}: not one of {len(errors)} rows can be read; {errors[0]}"
        )
    for column, number in source.layout.unlabelled.items():
        raise DataError(
            f"{name}: nobody judged these texts: all {number:,} rows are unlabelled in "
            f"column {column!r}."
        )
    raise DataError(f"{name}: no rows in it.")


def _check_target(
    reading: Reading,
    target: Target | None,
) -> None:
    """Raise UsageError for a format that never has the kinds of judgement of the target."""
    kinds = reading.format.kinds
    if Judgement in kinds or any(
        issubclass(kind, _KINDS[target]) for kind in kinds
    ):
        return
    names = " and ".join(f"{kind.__name__.lower()}s" for kind in kinds)
    raise UsageError(
        f"{reading.table.name}: target {target!r} leaves nothing of a file of {names} "
        f"(the format {reading.format.name!r}). Leave out the target."
    )


def _texts_of(
    table: tables.Table,
    columns: Columns,
    format: str | None,
) -> tuple[Layout, Iterator[Example]]:
    """Return how a table is read, and the texts of every row, each once a row.

    A table with one text a row needs no judgements.
    """
    reading = recognise(table, format, columns)
    if reading is None:
        answers = answers_plan(table, columns)
        if answers is not None:
            return answers.layout, answers.examples()
    if reading is None or (
        format is None and column_for(RECOGNISED["text"], reading.columns, ())
    ):
        planned = plan(table, columns, judged=False)
        return planned.layout, planned.examples()
    return reading.layout, _of_rows(reading.judgements())


def _of_rows(judgements: Iterable[Judgement]) -> Iterator[Example]:
    """Yield the texts of judgements, each once a row."""
    where = ""
    of_row: set[Example] = set()
    for judgement in judgements:
        if judgement.where != where:
            where = judgement.where
            of_row = set()
        for example in examples_of(judgement):
            if example not in of_row:
                of_row.add(example)
                yield example


def _open_folder(
    path: Path,
    split: str | None,
) -> tables.Table | tuple[Path, str]:
    for folder in (path, path / "aclImdb"):
        if aclimdb.is_aclimdb(folder):
            return folder, split or "train"
    if hub.is_saved(path) or hub.has_tables(path):
        return flat(hub.table(str(path), split))
    if files := packed_tables(path):
        return flat(folder_table(path, files, split))
    if not any(path.iterdir()):
        raise DataError(f"{path}: the folder is empty.")
    raise DataError(
        f"{path}: no reviews here that can be read. A folder holds "
        "{train,test}/{pos,neg}/<id>_<rating>.txt, or "
        f"tables ({', '.join(tables.SUFFIXES)}), or what datasets.save_to_disk wrote."
    )


def _with_progress(
    items: Iterable[_Item],
    name: str,
) -> Iterator[_Item]:
    """Pass the items on, and show how many there are."""
    with progress(f"reading {name}", None) as advance:
        for item in items:
            yield item
            advance(1, "")
