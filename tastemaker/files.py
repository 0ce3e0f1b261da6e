"""Writes files and folders completely or not at all: a temporary name first, then a rename."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tastemaker.errors import StorageError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT}


def _storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno in _FULL:
        return StorageError(
            f"{path}: the disk is full; nothing was written. "
            "Free some room or choose another folder."
        )
    return StorageError(
        f"{path}: cannot write ({error.strerror or error}); nothing was written."
    )


def _remove(path: Path) -> None:
    """Remove a file or folder if it is there.

    An error is ignored: whoever failed to write there has reported it.
    """
    if not path.parent.is_dir():
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def writing_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block ends.

    After an error in the block the temporary file is removed, and `path` stays as it was.
    Raises StorageError for a full disk or a folder that cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        _remove(temporary)


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, and rename it to `path` when the block ends.

    An older folder at `path` is replaced as a whole: a reader sees the old or the new one, never a
    mixture. After an error in the block `path` stays as it was.
    Raises StorageError for a full disk or a folder that cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    previous = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        _remove(temporary)
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.replace(previous)
        temporary.replace(path)
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        # also when interrupted between the two renames
        if previous.exists() and not path.exists():
            previous.replace(path)
        _remove(temporary)
        _remove(previous)


@contextmanager
def filling_folder(path: Path, *, last: str) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, and move its files into `path` when the block ends.

    The file `last` shows that the folder is complete: the old one is removed first, and the new one
    arrives last. So a process killed at any moment leaves a complete folder or one without `last`.
    Other files of `path` stay.
    Raises StorageError for a full disk or a folder that cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _remove(temporary)
        temporary.mkdir(parents=True)
        yield temporary
        path.mkdir(exist_ok=True)
        (path / last).unlink(missing_ok=True)
        for entry in sorted(
            temporary.iterdir(), key=lambda entry: entry.name == last
        ):
            _remove(path / entry.name)
            entry.replace(path / entry.name)
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        _remove(temporary)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, and remove it when the block ends.

    Raises StorageError for a full disk or a folder that cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _remove(temporary)
        temporary.mkdir(parents=True)
        yield temporary
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        _remove(temporary)


def check_not_itself(source: Path, target: Path) -> None:
    """Raise UsageError where a file would be written over the one it is made from."""
    if source.exists() and source.resolve() == target.resolve():
        raise UsageError(
            f"{target}: --out is the file that is read. Choose another name."
        )
