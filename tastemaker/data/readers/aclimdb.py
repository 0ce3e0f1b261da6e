"""The Large Movie Review Dataset (Maas et al. 2011): its folder, or its .tar.gz read straight as a stream.

    aclImdb/{train,test}/{pos,neg}/<id>_<rating>.txt      rating 1 … 10
    aclImdb/train/unsup/<id>_0.txt                        no judgement

Nothing is ever unpacked onto the disk. An archive with a member that points outside it (an absolute path, `..`, a link, a
device) is refused as a whole, and so is one that ends before its end.
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from tastemaker.data.judgements import Example, Grade, Judgement, Label
from tastemaker.errors import DataError
from tastemaker.progress import progress

LOWEST, HIGHEST = 1, 10
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")
LARGEST_MEMBER = 64 * 2**20
"""Bytes, unpacked. The archive as published holds nothing over 42 MB (the bags of words of `unsup`)."""
LARGEST_ARCHIVE = 2 * 2**30
"""Bytes, unpacked, in all."""

_CLASSES = {"train": ("train/neg", "train/pos"), "test": ("test/neg", "test/pos"), "unsup": ("train/unsup",)}
SPLITS = tuple(_CLASSES)
_NAME = re.compile(r"(\d+)_(\d+)\.txt", re.ASCII)
_LAYOUT = "An aclImdb source holds {train,test}/{pos,neg}/<id>_<rating>.txt"


class Review(NamedTuple):
    """One review file. folder: "train/pos" …; number: the id in its name; rating: 0 in `unsup`; where: its place."""

    folder: str
    number: int
    rating: int
    text: str
    where: str

    def judgements(self) -> tuple[Judgement, ...]:
        """Return the label (which folder) and the grade (the file name): two judgements on one text."""
        label = Label(self.text, self.folder.endswith("/pos"), where=self.where)
        return label, Grade(self.text, self.rating, LOWEST, HIGHEST, where=self.where)

    def example(self) -> Example:
        """Return the text alone."""
        return Example(self.text)


def is_aclimdb(path: Path) -> bool:
    """Return whether this is an archive, or a folder laid out like aclImdb."""
    if path.is_dir():
        return any((path / folder).is_dir() for folders in _CLASSES.values() for folder in folders)
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def reviews(path: Path, split: str) -> list[Review]:
    """Return the reviews of a split ("train", "test", "unsup"), ordered by class and number.

    A folder and its archive give equal judgements. Raises DataError, with the file, for anything that is not as the
    dataset's layout says.
    """
    if split not in SPLITS:
        raise DataError(f"{path}: no split {split!r}; aclImdb has {', '.join(SPLITS)}.")
    folders = _CLASSES[split]
    found = _from_folder(path, folders) if path.is_dir() else _from_archive(path, folders)
    return sorted(found, key=lambda review: review[:3])


def _review(folder: str, name: str, data: bytes, where: str) -> Review:
    """Return what one file says. Raises DataError for a name, rating or text that is not as it should be."""
    match = _NAME.fullmatch(name)
    if not match:
        raise DataError(f"{where}: the name is not <id>_<rating>.txt. Rename or remove the file.")
    number, rating = map(int, match.groups())
    if folder != "train/unsup" and not LOWEST <= rating <= HIGHEST:
        raise DataError(f"{where}: the rating in the name is {rating}, outside {LOWEST} to {HIGHEST}.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 at byte {error.start}. Convert the file to UTF-8.") from error
    if not text.strip():
        raise DataError(f"{where}: the text is empty. Remove the file.")
    return Review(folder, number, rating, text, where)


def _from_folder(path: Path, folders: tuple[str, ...]) -> list[Review]:
    files = [(folder, file) for folder in folders for file in _files(path / folder)]
    found = []
    with progress(f"reading {path.name}", len(files)) as advance:
        for folder, file in files:
            if not file.is_file():
                raise DataError(f"{file}: not a file. {_LAYOUT}.")
            if file.stat().st_size > LARGEST_MEMBER:
                raise DataError(f"{file}: larger than {LARGEST_MEMBER >> 20} MiB; that is no review.")
            try:
                data = file.read_bytes()
            except OSError as error:
                raise DataError(f"{file}: cannot be read ({error.strerror or error}).") from error
            found.append(_review(folder, file.name, data, str(file)))
            advance(1, "")
    return found


def _files(folder: Path) -> list[Path]:
    """Return what is in a class folder. Raises DataError when it is missing or empty."""
    if not folder.is_dir():
        raise DataError(f"{folder}: the class folder is missing. {_LAYOUT}.")
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]  # .DS_Store and its like
    if not files:
        raise DataError(f"{folder}: the class folder is empty. {_LAYOUT}.")
    return files


def _from_archive(path: Path, folders: tuple[str, ...]) -> list[Review]:
    found: dict[tuple[str, str], Review] = {}
    for name, read in _members(path):
        inside = PurePosixPath(name)
        folder, file = "/".join(inside.parts[-3:-1]), inside.name
        if folder not in folders or file.startswith("."):
            continue
        if (folder, file) in found:
            raise DataError(f"{path.name}: {name} appears twice.")
        review = _review(folder, file, read(), f"{path.name}: {name}")
        found[folder, file] = review._replace(where=name)
    for folder in folders:
        if not any(seen == folder for seen, _ in found):
            raise DataError(f"{path.name}: no review in {folder}. {_LAYOUT}.")
    return list(found.values())


class _Watched:
    """The unpacked stream of an archive: counts it, limits it, and keeps the last piece handed out."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file, self._name = file, name
        self.start, self.last = 0, b""

    def read(self, size: int) -> bytes:
        self.start, self.last = self.start + len(self.last), self._file.read(size)
        if self.start > LARGEST_ARCHIVE:
            raise DataError(
                f"{self._name}: more than {LARGEST_ARCHIVE >> 20} MiB unpacked. Unpack it and name the folder."
            )
        return self.last

    def ends_at(self, offset: int) -> bool:
        """Return whether the archive's end mark, a block of zeros, stands at `offset`."""
        at = offset - self.start
        return at >= 0 and self.last[at : at + tarfile.BLOCKSIZE] == bytes(tarfile.BLOCKSIZE)


def _members(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (name, a function that reads it) of every file in the archive, in the archive's order.

    Raises DataError for a member that points outside or is too large, and for an archive that is cut short: `tarfile`
    alone takes a missing end, and a damaged header, for the end.
    """
    try:
        with (
            path.open("rb") as packed,
            gzip.open(packed) as unpacked,
            progress(f"reading {path.name}", path.stat().st_size) as advance,
        ):
            stream = _Watched(unpacked, path.name)
            done = 0
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=tarfile.TarInfo) as archive:
                while (member := archive.next()) is not None:
                    archive.members = []  # it would keep every header ever read
                    _check_member(path, member)
                    if member.isfile():
                        yield member.name, lambda m=member: archive.extractfile(m).read()
                    advance(packed.tell() - done, "")
                    done = packed.tell()
                if not stream.ends_at(archive.offset):
                    raise DataError(f"{path.name}: cut short or damaged: no end mark. Get the archive again.")
            while stream.read(2**20):  # to the end, so that gzip compares its checksum
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        reason = str(error).rstrip(".")
        raise DataError(f"{path.name}: cut short or damaged ({reason}). Get the archive again.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _check_member(path: Path, member: tarfile.TarInfo) -> None:
    """Raise DataError for a member that is no plain file or folder inside the archive, or is too large."""
    parts = re.split(r"[/\\]", member.name)
    if member.name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", member.name):
        raise DataError(f"{path.name}: the member {member.name!r} points outside the archive. Nothing was unpacked.")
    if not (member.isfile() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "a device"
        raise DataError(f"{path.name}: the member {member.name!r} is {kind}. Nothing was unpacked.")
    if member.size > LARGEST_MEMBER:
        raise DataError(
            f"{path.name}: the member {member.name!r} is larger than {LARGEST_MEMBER >> 20} MiB. Nothing was unpacked."
        )
