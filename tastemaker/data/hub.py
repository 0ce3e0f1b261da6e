"""A dataset of the Hugging Face hub, or a local folder of one, read by `datasets` (extra `hub`)."""

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
    """Return whether this may be a dataset's name on the hub: `org/name`, no path to a table."""
    is_file_name = source.lower().endswith((*SUFFIXES, ".gz", ".tgz"))
    return bool(_NAME.fullmatch(source)) and not is_file_name


def is_saved(path: Path) -> bool:
    """Return whether the folder was written by `datasets.save_to_disk`."""
    return any((path / name).is_file() for name in _SAVED)


def has_tables(path: Path) -> bool:
    """Return whether the folder, or a folder in it, holds tables."""
    for pattern in ("*.*", "*/*.*"):
        for file in path.glob(pattern):
            if file.suffix.lower() in SUFFIXES and file.is_file():
                return True
    return False


def has_splits(path: Path) -> bool:
    """Return whether the folder or hub name has splits; only a dataset saved alone has none."""
    return not (path / "dataset_info.json").is_file()


def table(source: str, split: str | None) -> Table:
    """Return a split ("train" by default) as a table. source: a hub name or a folder.

    Raises MissingExtra without the `datasets` library, and DataError without the dataset or split.
    """
    try:
        import datasets
    except ImportError as error:
        what = f"{source}: a dataset of the `datasets` library (or no such file or folder here)"
        raise MissingExtra(what, "hub") from error
    with _silent(datasets), _plain_errors(source):
        if is_saved(Path(source)):
            dataset = _split_of(source, datasets.load_from_disk(source), split)
        else:
            dataset = datasets.load_dataset(source, split=split or "train")
    return Table(
        f"{source}[{dataset.split}]" if dataset.split else source,
        lambda: _rows(dataset),
    )


def _split_of(
    source: str, loaded: "Dataset | DatasetDict", split: str | None
) -> "Dataset":
    """Return one split of what was saved. A dataset saved alone has at most the one it is of."""
    if not isinstance(loaded, dict):
        if split not in (None, str(loaded.split)):
            raise DataError(
                f"{source}: one dataset without splits, so there is no {split!r} in it. "
                "Leave out the split."
            )
        return loaded
    name = split or "train"
    if name not in loaded:
        splits = ", ".join(repr(each) for each in loaded)
        raise DataError(
            f"{source}: no split {name!r}; it has {splits}. Name one with --split."
        )
    return loaded[name]


@contextmanager
def _silent(datasets: Any) -> Iterator[None]:
    """Turn off the progress bars and log lines of the library."""
    had_bars = not datasets.are_progress_bars_disabled()
    verbosity = datasets.logging.get_verbosity()
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
    """Turn any error of the library, which documents none, into one line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        parts = [str(error)]
        if error.__cause__ is not None:  # names the row of a table that cannot be read
            parts.append(str(error.__cause__))
        reason = " ".join(": ".join(part for part in parts if part).split())
        here = (
            ""
            if Path(source).exists()
            else "no such file or folder here, and not on the hub: "
        )
        raise DataError(f"{source}: {here}{reason or type(error).__name__}") from error


def _rows(dataset: "Dataset") -> Rows:
    """Yield (row number from 1, row).

    A label of two names is given as its name, which says more than 0 and 1.
    """
    import datasets

    names: dict[str, Callable[[int], str]] = {}
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.ClassLabel) and feature.num_classes == 2:
            names[column] = feature.int2str
    for number, row in enumerate(dataset, 1):
        for column, name_of in names.items():
            value = row[column]
            is_labelled = value is not None and value >= 0  # −1: not labelled
            row[column] = name_of(value) if is_labelled else None
        yield number, row
