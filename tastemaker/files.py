"""Writes files and folders completely or not at all: a temporary name first, then a rename.

A temporary name tells the process that writes it. What a killed process left is removed by the next
one that writes into the same folder.
"""

import errno
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TextIO

from tastemaker.errors import StorageError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_LEFT = re.compile(
    r"\.(?P<name>.+)\.(?P<process>\d+)-(?P<place>[0-9a-f]{8})\.(?P<kind>tmp|old)"
)
_OLD_ENOUGH = 24 * 3600.0
"""Seconds without a change, after which what another machine began is taken for left behind."""

_CLOCKS_DIFFER = 5.0
"""Seconds by which a process must have begun after a change of a file that is not its own."""


def _place() -> str:
    """Return a name of where process numbers mean the same: this machine, or this container."""
    namespace = Path("/proc/self/ns/pid")
    parts = socket.gethostname()
    if namespace.exists():
        parts += str(namespace.stat().st_ino)
    return blake2b(parts.encode(), digest_size=4).hexdigest()


def temporary_name(path: Path, kind: str = "tmp") -> Path:
    """Return the hidden name beside `path` under which this process writes."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_place()}.{kind}")


def remove_leftovers(folder: Path, *, below: bool = False) -> None:
    """Remove what killed processes left in a folder, and `below` it; a living one's stays.

    A folder that was moved aside, and never replaced, gets its name back.
    """
    if not folder.is_dir():
        return
    entries = folder.rglob(".*") if below else folder.glob(".*")
    for entry in sorted(entries):
        match = _LEFT.fullmatch(entry.name)
        if match is None or _is_in_use(entry, match):
            continue
        target = entry.with_name(match["name"])
        if match["kind"] == "old" and not target.exists():
            entry.replace(target)
        else:
            _remove(entry)


def _is_in_use(entry: Path, match: re.Match[str]) -> bool:
    """Return whether a living process may still write what has a temporary name."""
    if match["place"] != _place():
        try:
            return time.time() - entry.stat().st_mtime < _OLD_ENOUGH
        except OSError:
            return False
    try:
        os.kill(int(match["process"]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # a process of another user
        pass
    began = _began(match["process"])
    if began is None:
        return True
    try:
        status = entry.stat()
    except OSError:
        return False
    # a folder that was moved aside keeps its time of change; the move counts
    written = max(status.st_mtime, status.st_ctime)
    return began <= written + _CLOCKS_DIFFER


def _began(process: str) -> float | None:
    """Return when a process began, as files have it; None where the system does not tell it."""
    try:
        content = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        # the name before ")" may hold anything; the start is field 22 of all, in ticks
        ticks = int(content.rpartition(")")[2].split()[19])
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        age = uptime - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
    return time.time() - age if age >= 0 else None


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
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
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
    temporary = temporary_name(path)
    previous = temporary_name(path, "old")
    try:
        remove_leftovers(path.parent)
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
    temporary = temporary_name(path)
    try:
        remove_leftovers(path.parent)
        _remove(temporary)
        temporary.mkdir(parents=True)
        yield temporary
        path.mkdir(exist_ok=True)
        (path / last).unlink(missing_ok=True)
        for entry in sorted(
            temporary.iterdir(), key=lambda entry: entry.name == last
        ):
            if entry.is_dir() or (path / entry.name).is_dir():
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
    temporary = temporary_name(path)
    try:
        remove_leftovers(path.parent)
        _remove(temporary)
        temporary.mkdir(parents=True)
        yield temporary
    except OSError as error:
        raise _storage_error(path, error) from error
    finally:
        _remove(temporary)


@contextmanager
def locked(path: Path, in_use: str) -> Iterator[None]:
    """Hold a lock file until the block ends, then remove it, and the folders made for it.

    in_use: what UsageError says where another process holds it; what the file tells of that process
    follows. The system releases the lock of a process that died. On a file system without locks
    there is none. Raises StorageError for a folder that cannot be written.
    """
    made = _folders_to_make(path.parent)
    with _locked_file(path, in_use) as file:
        file.truncate(0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(
            f"process {os.getpid()} of {socket.gethostname()}, since {since}"
        )
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            for folder in made:
                with suppress(OSError):  # it is in use
                    folder.rmdir()


def _locked_file(path: Path, in_use: str) -> TextIO:
    """Return the opened lock file, which this process holds."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise _storage_error(path.parent, error) from error
        if not _is_taken(file):
            with file:
                file.seek(0)
                holder = file.read().strip()
            raise UsageError(f"{in_use}{f' ({holder})' if holder else ''}.")
        # the process that held it may have removed it since it was opened
        with suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        file.close()


def _folders_to_make(folder: Path) -> list[Path]:
    """Return the folders that are missing on the way to a folder, the innermost first."""
    missing = []
    for place in (folder, *folder.parents):
        if place.exists():
            break
        missing.append(place)
    return missing


def _is_taken(file: TextIO) -> bool:
    """Take the lock of an open file; return whether no other process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def check_not_itself(source: Path, target: Path) -> None:
    """Raise UsageError where a file would be written over the one it is made from."""
    if source.exists() and source.resolve() == target.resolve():
        raise UsageError(
            f"{target}: --out is the file that is read. Choose another name."
        )
