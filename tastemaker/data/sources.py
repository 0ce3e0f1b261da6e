"""Two sources of data: the Large Movie Review Dataset, and datasets of the Hugging Face hub.

The Large Movie Review Dataset (Maas et al. 2011) is a folder, or a .tar.gz read as a stream:

    aclImdb/{train,test}/{pos,neg}/<id>_<rating>.txt      rating 1 … 10
    aclImdb/train/unsup/<id>_0.txt                        no judgement

Nothing is unpacked onto the disk. An archive with a member that points outside it (an absolute
path, `..`, a link, a device) is refused as a whole, and so is one that is cut short.

A dataset of the hub, or a local folder of one, is read by `datasets` (extra `hub`).
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from tastemaker.data.judgements import Example, Grade, Judgement, Label
from tastemaker.data.packed import PACKINGS
from tastemaker.data.tables import SUFFIXES, Rows, Table
from tastemaker.errors import DataError, MissingExtra
from tastemaker.progress import progress

LOWEST, HIGHEST = 1, 10
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
LARGEST_MEMBER = 64 * 2**20
"""Bytes, unpacked. The published archive holds nothing over 42 MB."""
LARGEST_ARCHIVE = 2 * 2**30
"""Bytes, unpacked, in all."""

_CLASSES = {
    "train": ("train/neg", "train/pos"),
    "test": ("test/neg", "test/pos"),
    "unsup": ("train/unsup",),
}
SPLITS = tuple(_CLASSES)
_NAME = re.compile(r"(\d+)_(\d+)\.txt", re.ASCII)
_OUTSIDE = re.compile(  # absolute, a drive, or `..` as a step
    r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)"
)
_LAYOUT = "An aclImdb source holds {train,test}/{pos,neg}/<id>_<rating>.txt"


class Review(NamedTuple):
    """One review file. folder: "train/pos" …; number: the id in its name; rating: 0 in `unsup`."""

    folder: str
    number: int
    rating: int
    text: str
    where: str

    def judgements(
        self, source: str = "", path: str = ""
    ) -> tuple[Judgement, ...]:
        """Return two judgements on the text: the label (its folder) and the grade (its name)."""
        origin: dict[str, Any] = {
            "where": self.where,
            "source": source,
            "path": path,
        }
        is_positive = self.folder.endswith("/pos")
        return (
            Label(self.text, is_positive, **origin),
            Grade(self.text, self.rating, LOWEST, HIGHEST, **origin),
        )

    def example(self) -> Example:
        """Return the text alone."""
        return Example(self.text)


def is_aclimdb(path: Path) -> bool:
    """Return whether this is an archive, or a folder laid out like aclImdb."""
    if path.is_dir():
        for folders in _CLASSES.values():
            if any((path / folder).is_dir() for folder in folders):
                return True
        return False
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def reviews(path: Path, split: str) -> list[Review]:
    """Return the reviews of a split ("train", "test", "unsup"), ordered by class and number.

    A folder and its archive give equal judgements. Raises DataError, with the file, for anything
    that differs from the dataset's layout.
    """
    if split not in SPLITS:
        raise DataError(
            f"{path}: no split {split!r}; aclImdb has {', '.join(SPLITS)}."
        )
    folders = _CLASSES[split]
    unordered = (
        _from_folder(path, folders)
        if path.is_dir()
        else _from_archive(path, folders)
    )
    return sorted(unordered, key=lambda review: review[:3])


def _review(folder: str, name: str, data: bytes, where: str) -> Review:
    """Return one review. Raises DataError for a bad name, rating or text."""
    match = _NAME.fullmatch(name)
    if not match:
        raise DataError(
            f"{where}: the name is not <id>_<rating>.txt. Rename or remove the file."
        )
    number, rating = int(match[1]), int(match[2])
    if folder != "train/unsup" and not LOWEST <= rating <= HIGHEST:
        raise DataError(
            f"{where}: the rating in the name is {rating}, outside {LOWEST} to {HIGHEST}."
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: not UTF-8 at byte {error.start}. Convert the file to UTF-8."
        ) from error
    if not text.strip():
        raise DataError(f"{where}: the text is empty. Remove the file.")
    return Review(folder, number, rating, text, where)


def _from_folder(path: Path, folders: tuple[str, ...]) -> list[Review]:
    files = [
        (folder, file) for folder in folders for file in _files(path / folder)
    ]
    reviews = []
    with progress(f"reading {path.name}", len(files)) as advance:
        for folder, file in files:
            if not file.is_file():
                raise DataError(f"{file}: not a file. {_LAYOUT}.")
            if file.stat().st_size > LARGEST_MEMBER:
                raise DataError(
                    f"{file}: larger than {LARGEST_MEMBER >> 20} MiB; that is no review."
                )
            try:
                data = file.read_bytes()
            except OSError as error:
                raise DataError(
                    f"{file}: cannot be read ({error.strerror or error})."
                ) from error
            reviews.append(_review(folder, file.name, data, str(file)))
            advance(1, "")
    return reviews


def _files(folder: Path) -> list[Path]:
    """Return what is in a class folder. Raises DataError when it is missing or empty."""
    if not folder.is_dir():
        raise DataError(f"{folder}: the class folder is missing. {_LAYOUT}.")
    # without .DS_Store and its like
    files = [
        file for file in folder.iterdir() if not file.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{folder}: the class folder is empty. {_LAYOUT}.")
    return files


def _from_archive(path: Path, folders: tuple[str, ...]) -> list[Review]:
    by_place: dict[tuple[str, str], Review] = {}
    for name, data in _members(path, folders):
        folder, file = _folder_and_file(name)
        if (folder, file) in by_place:
            raise DataError(f"{path.name}: {name} appears twice.")
        review = _review(folder, file, data, f"{path.name}: {name}")
        by_place[folder, file] = review._replace(where=name)
    read_folders = {folder for folder, _ in by_place}
    for folder in folders:
        if folder not in read_folders:
            raise DataError(f"{path.name}: no review in {folder}. {_LAYOUT}.")
    return list(by_place.values())


def _folder_and_file(name: str) -> tuple[str, str]:
    """Return ("train/pos", "0_9.txt") of "aclImdb/train/pos/0_9.txt"."""
    parts = name.split("/")
    return "/".join(parts[-3:-1]), parts[-1]


class _Stream:
    """The unpacked bytes of an archive, piece by piece, within limits."""

    def __init__(self, file: gzip.GzipFile, name: str) -> None:
        self._file, self._name = file, name
        self._start = 0  # of the last piece
        self._mark = 0  # the start of the member that is being read
        self._last = b""

    def read(self, size: int) -> bytes:
        """Return the next piece. Raises DataError past a limit.

        A small archive can unpack to any size.
        """
        self._start += len(self._last)
        self._last = self._file.read(size)
        if self._start > LARGEST_ARCHIVE:
            most = LARGEST_ARCHIVE >> 20
            raise DataError(
                f"{self._name}: more than {most} MiB unpacked. "
                "If it should be, unpack it and name the folder."
            )
        # a name can be as long as a file
        if self._start - self._mark > LARGEST_MEMBER + 2**20:
            most = LARGEST_MEMBER >> 20
            raise DataError(
                f"{self._name}: a header of more than {most} MiB. Nothing was unpacked."
            )
        return self._last

    def mark(self) -> None:
        """Begin a member: up to the next mark come its bytes and the next header."""
        self._mark = self._start

    def ends_at(self, offset: int) -> bool:
        """Return whether a block of zeros, the archive's end mark, is at `offset`."""
        at = offset - self._start
        return at >= 0 and self._last[at : at + tarfile.BLOCKSIZE] == bytes(
            tarfile.BLOCKSIZE
        )


def _members(
    path: Path, folders: tuple[str, ...]
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every file in the folders, in the archive's order.

    Raises DataError for a member that points outside or is too large, and for a damaged archive.
    """
    try:
        with (
            path.open("rb") as packed,
            gzip.GzipFile(fileobj=packed) as unpacked,
        ):
            stream = _Stream(unpacked, path.name)
            with progress(
                f"reading {path.name}", path.stat().st_size
            ) as advance:
                done = 0
                for member, archive in _walk(path, stream):
                    advance(packed.tell() - done, "")
                    done = packed.tell()
                    folder, file = _folder_and_file(member.name)
                    if (
                        member.isreg()
                        and folder in folders
                        and not file.startswith(".")
                    ):
                        yield (
                            member.name,
                            cast(
                                IO[bytes], archive.extractfile(member)
                            ).read(),
                        )
            # to the end, so that gzip compares its checksum
            while stream.read(2**20):
                stream.mark()
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        reason = str(error).rstrip(".")
        raise DataError(
            f"{path.name}: cut short or damaged ({reason}). Get the archive again."
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})."
        ) from error


def _walk(
    path: Path, stream: _Stream
) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield every member, checked. Each must be read before the next one."""
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all headers
            stream.mark()
            _check_member(path, member)
            yield member, archive
        # tarfile takes a damaged header, and no header at all, for the end
        if not stream.ends_at(archive.offset):
            raise DataError(
                f"{path.name}: cut short or damaged (no end mark). Get the archive again."
            )


def _check_member(path: Path, member: tarfile.TarInfo) -> None:
    """Raise DataError unless a member is a file or folder inside the archive, not too large."""
    problem = None
    if _OUTSIDE.search(member.name):
        problem = "points outside the archive"
    elif member.issym() or member.islnk():
        problem = "is a link"
    elif not (member.isreg() or member.isdir()):
        problem = "is a device"
    elif member.size > LARGEST_MEMBER:
        problem = f"is larger than {LARGEST_MEMBER >> 20} MiB"
    if problem is not None:
        member_name = f"the member {member.name!r}"
        raise DataError(
            f"{path.name}: {member_name} {problem}. Nothing was unpacked."
        )


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_SAVED = ("dataset_info.json", "dataset_dict.json")


def is_hub_name(source: str) -> bool:
    """Return whether this may be a dataset's name on the hub: `org/name`, no path to a table."""
    is_file_name = source.lower().endswith((*SUFFIXES, *PACKINGS, ".tgz"))
    return bool(_HUB_NAME.fullmatch(source)) and not is_file_name


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
        feature = f"{source}: a dataset of the `datasets` library (or no such file or folder here)"
        raise MissingExtra(feature, "hub") from error
    with _silent(datasets), _plain_errors(source):
        if is_saved(Path(source)):
            dataset = _split_of(source, datasets.load_from_disk(source), split)
        else:
            dataset = datasets.load_dataset(source, split=split or "train")
    return Table(
        f"{source}[{dataset.split}]" if dataset.split else source,
        lambda: dataset_rows(dataset),
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
        # names the row of a table that cannot be read
        if error.__cause__ is not None:
            parts.append(str(error.__cause__))
        reason = " ".join(": ".join(part for part in parts if part).split())
        here = (
            ""
            if Path(source).exists()
            else "no such file or folder here, and not on the hub: "
        )
        raise DataError(
            f"{source}: {here}{reason or type(error).__name__}"
        ) from error


def dataset_rows(dataset: "Dataset") -> Rows:
    """Yield (row number from 1, row).

    A label is given as its name, which says more than its number; one that is −1 is missing.
    """
    import datasets

    names: dict[str, Callable[[int], str]] = {}
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.ClassLabel) and feature.names:
            names[column] = feature.int2str
    for number, row in enumerate(dataset, 1):
        for column, name_of in names.items():
            value = row[column]
            is_labelled = value is not None and value >= 0  # −1: not labelled
            row[column] = name_of(value) if is_labelled else None
        yield number, row
