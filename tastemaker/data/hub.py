"""A dataset by hub name, or a local folder of it, through the `datasets` library (extra `hub`)."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tastemaker.data.tables import SUFFIXES, Rows, Table
from tastemaker.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_SAVED = ("dataset_info.json", "dataset_dict.json")


def is_hub_name(source: str) -> bool:
    """Return whether this may be a dataset's name on the hub: `org/name`, and not a path to a table."""
    return bool(_NAME.fullmatch(source)) and not source.lower().endswith((*SUFFIXES, ".gz", ".tgz"))


def is_saved(path: Path) -> bool:
    """Return whether the folder was written by `datasets.save_to_disk`."""
    return any((path / name).is_file() for name in _SAVED)


def has_tables(path: Path) -> bool:
    """Return whether the folder holds data files, in it or one folder down, as a dataset's repository does."""
    return any(
        file.suffix.lower() in SUFFIXES
        for pattern in ("*.*", "*/*.*")
        for file in _found(path, pattern)
    )


def _found(path: Path, pattern: str) -> Iterator[Path]:
    return (file for file in path.glob(pattern) if file.is_file())


def has_splits(path: Path) -> bool:
    """Return whether the folder or hub name has splits by name; only one dataset saved alone has none."""
    return not (path / "dataset_info.json").is_file()


def table(source: str, split: str | None) -> Table:
    """Return a split ("train" when None) as a table. source: a hub name or a folder.

    Raises MissingExtra without the `datasets` library, and DataError when there is no such dataset or split.
    """
    try:
        import datasets
    except ImportError as error:
        what = f"{source}: a dataset of the `datasets` library (or no such file or folder here)"
        raise MissingExtra(what, "hub") from error
    with _silent(datasets), _plain_errors(source):
        if is_saved(Path(source)):
            dataset = _one(source, datasets.load_from_disk(source), split)
        else:
            dataset = datasets.load_dataset(source, split=split or "train")
    return Table(f"{source}[{dataset.split}]" if dataset.split else source, lambda: _rows(dataset))


def _one(source: str, loaded: "Dataset | DatasetDict", split: str | None) -> "Dataset":
    """Return one split of what was saved; a dataset saved alone has at most the one it was taken from."""
    if not isinstance(loaded, dict):
        if split not in {None, str(loaded.split)}:
            raise DataError(
                f"{source}: one dataset without splits, so there is no {split!r} in it. Leave out the split."
            )
        return loaded
    name = split or "train"
    if name not in loaded:
        raise DataError(
            f"{source}: no split {name!r}; it has {', '.join(map(repr, loaded))}. Name one with --split."
        )
    return loaded[name]


@contextmanager
def _silent(datasets: Any) -> Iterator[None]:
    """Keep the library's bars and log lines off: they go to files and pipes too, and its errors are raised besides."""
    had_bars, verbosity = (
        not datasets.are_progress_bars_disabled(),
        datasets.logging.get_verbosity(),
    )
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if had_bars:
            datasets.enable_progress_bars()


@contextmanager
def _plain_errors(source: str) -> Iterator[None]:
    """Turn whatever the library raises, of which there is no list, into one line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        here = (
            ""
            if Path(source).exists()
            else "no such file or folder here, and not to be had from the hub either: "
        )
        said = [
            str(error),
            str(error.__cause__ or ""),
        ]  # the cause of a table that cannot be read names the row
        reason = " ".join(": ".join(filter(None, said)).split()) or type(error).__name__
        raise DataError(f"{source}: {here}{reason}") from error


def _rows(dataset: "Dataset") -> Rows:
    """Yield (row number from 1, row); a label of two names as its name, which says more than 0 and 1."""
    import datasets

    named: dict[str, Callable[[int], str]] = {
        column: feature.int2str
        for column, feature in dataset.features.items()
        if isinstance(feature, datasets.ClassLabel) and feature.num_classes == 2
    }
    for number, row in enumerate(dataset, 1):
        for column, name_of in named.items():
            value = row[column]
            row[column] = None if value is None or value < 0 else name_of(value)  # −1: not labelled
        yield number, row
