"""The run folder of a loop: one process at a time, digests of inputs, and finished stages.

    DIR/.lock              held while a loop runs in the folder
    DIR/.digests.json      digests of input files, by path, size and times
    DIR/.work/STAGE/       a stage that is not finished; a killed one goes on from here. cost.json
                           holds what its processes cost so far
    DIR/STAGE/             a finished stage, complete or absent
    DIR/STAGE/stage.json   its record: the key of its inputs, its result, how long it took

A stage is finished by one rename. Its key is the digest of everything it depends on, so a stage
whose key is the same need not run again.
"""

import errno
import hashlib
import importlib.metadata
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tastemaker.costs import Cost, cost_of
from tastemaker.errors import DataError, StorageError
from tastemaker.files import locked, writing_file

RECORD = "stage.json"
_WORK, _LOCK, _DIGESTS = ".work", ".lock", ".digests.json"
_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "safetensors",
    "peft",
    "numpy",
    "scipy",
    "scikit-learn",
)
_CHUNK = 1 << 20
_SURE = 2.0
"""Seconds after which a file whose times are the same is the same."""


@dataclass(frozen=True)
class Record:
    """What is on disk about a finished stage.

    parts: what its key was made of, by name. cost: of the stage alone.
    """

    key: str
    cost: Cost
    parts: Mapping[str, Any]
    result: Mapping[str, Any]
    lines: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long the stage took."""
        return self.cost.seconds


class RunFolder:
    """The folder of a loop. Use it inside `locked`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests: dict[str, list[Any]] | None = None
        self._code: dict[str, bytes] = {}

    def stage(self, name: str) -> Path:
        """Return where a finished stage is."""
        return self.folder / name

    def first_policy(self, top: Mapping[str, Any]) -> str:
        """Return the name or folder of the GPT before any steering. top: what the file says."""
        return str(top.get("policy", self.stage("gpt")))

    def work(self, name: str) -> Path:
        """Return where a stage is made."""
        return self.folder / _WORK / name

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder until the block ends. Raises UsageError where another process has it."""
        in_use = (
            f"{self.folder}: another loop is running in this folder; "
            "wait until it ends, or choose another --out"
        )
        with locked(self.folder / _LOCK, in_use):
            yield

    def record(self, name: str) -> Record | None:
        """Return the record of a finished stage; None where there is none, or files are missing."""
        folder = self.stage(name)
        try:
            content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            for path, size in content["files"].items():
                if (folder / path).stat().st_size != size:
                    return None
            return Record(
                content["key"],
                cost_of(content["cost"]),
                content["parts"],
                content["result"],
                tuple(content["lines"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def begin(self, name: str, key: str) -> Path:
        """Return the folder in which a stage is made; what a killed process left of it stays.

        What was begun with another key is removed.
        """
        work = self.work(name)
        with self.storing(work):
            if not self._was_begun(name, key):
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir(parents=True, exist_ok=True)
                (work / "key").write_text(key, encoding="utf-8")
            (work / "out").mkdir(exist_ok=True)
        return work / "out"

    def restart(self, name: str, key: str) -> Path:
        """Remove what was made of a stage, and begin again. What it cost so far stays."""
        shutil.rmtree(self.work(name) / "out", ignore_errors=True)
        return self.begin(name, key)

    def _was_begun(self, name: str, key: str) -> bool:
        mark = self.work(name) / "key"
        if not mark.is_file():
            return False
        return mark.read_text(encoding="utf-8") == key

    def cost_so_far(self, name: str, key: str) -> Cost | None:
        """Return what earlier processes spent on a stage that they did not finish."""
        if not self._was_begun(name, key):
            return None
        return Cost.read(self.work(name))

    def finish(self, name: str, record: Record) -> None:
        """Give a stage its record, and its name. Raises StorageError for a full disk."""
        made, target = self.work(name) / "out", self.stage(name)
        with self.storing(target):
            files = {}
            for path in sorted(made.rglob("*")):
                if path.is_file() and path.name != RECORD:
                    name_inside = path.relative_to(made).as_posix()
                    files[name_inside] = path.stat().st_size
            content = {
                "key": record.key,
                "cost": asdict(record.cost),
                "result": dict(record.result),
                "lines": list(record.lines),
                "parts": dict(record.parts),
                "files": files,
            }
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (made / RECORD).write_text(text, encoding="utf-8")
            # a process killed between the two leaves the stage in `.work`, with its record
            shutil.rmtree(target, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            made.replace(target)
            shutil.rmtree(self.work(name), ignore_errors=True)

    def take_finished(self, name: str, key: str) -> None:
        """Give a stage its name that a killed process had finished except for that.

        What a process left of a stage that has its name is removed.
        """
        work, made = self.work(name), self.work(name) / "out"
        if work.is_dir() and not made.is_dir():
            record = self.record(name)
            if record is not None and record.key == key:
                shutil.rmtree(work, ignore_errors=True)
            return
        try:
            content = json.loads((made / RECORD).read_text(encoding="utf-8"))
            if content["key"] != key:
                return
        except (OSError, ValueError, KeyError, TypeError):
            return
        with self.storing(work):
            shutil.rmtree(self.stage(name), ignore_errors=True)
            self.stage(name).parent.mkdir(parents=True, exist_ok=True)
            made.replace(self.stage(name))
            shutil.rmtree(work, ignore_errors=True)

    @contextmanager
    def storing(self, path: Path) -> Iterator[None]:
        """Raise StorageError, one line, where the disk is full or not writable."""
        try:
            yield
        except OSError as error:
            raise _storage_error(path, error) from error

    def code_version(self, packages: Sequence[str]) -> str:
        """Return the digest of some packages and modules of Tastemaker, and of the libraries."""
        digest = hashlib.blake2b(digest_size=16)
        for package in packages:
            if package not in self._code:
                self._code[package] = _code_of(package)
            digest.update(self._code[package])
        for library in _LIBRARIES:
            digest.update(f"{library} {_version(library)}\n".encode())
        return digest.hexdigest()

    # --- digests of inputs ---------------------------------------------------------------------

    def digest(self, path: Path, place: str) -> str:
        """Return the digest of a file or folder. place: who names it, in messages.

        It is computed again where a size or a time differs, the time of the last change of the
        file's entry included, which no program sets. Raises DataError where the file is not there.
        """
        try:
            stamp, changed = _stamp(path)
        except OSError as error:
            raise DataError(
                f"{place}: {path} is not there ({error.strerror or error}). "
                "Put it back, or name another one; finished stages are kept."
            ) from error
        digests = self._saved_digests()
        before = digests.get(str(path))
        if before is not None and before[0] == stamp:
            return str(before[1])
        try:
            digest = _content_digest(path)
        except OSError as error:
            raise DataError(
                f"{place}: {path} cannot be read ({error.strerror or error})."
            ) from error
        if time.time() - changed < _SURE:
            # another change may fall into the same tick of the file system's clock
            digests.pop(str(path), None)
            return digest
        digests[str(path)] = [stamp, digest]
        with writing_file(self.folder / _DIGESTS) as temporary:
            temporary.write_text(json.dumps(digests), encoding="utf-8")
        return digest

    def _saved_digests(self) -> dict[str, list[Any]]:
        if self._digests is None:
            try:
                text = (self.folder / _DIGESTS).read_text(encoding="utf-8")
                self._digests = dict(json.loads(text))
            except (OSError, ValueError):
                self._digests = {}
        return self._digests


def _storage_error(path: Path, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"{path}: there is no room on the disk. Make room and call the loop again: "
            "finished stages are kept."
        )
    reason = error.strerror or str(error)
    return StorageError(f"{path}: cannot be written ({reason}).")


def _files_of(path: Path) -> list[Path]:
    """Return the files of a folder, or the file itself with what SQLite keeps beside it."""
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    beside = path.with_name(f"{path.name}-wal")
    return [path, beside] if beside.is_file() else [path]


def _stamp(path: Path) -> tuple[str, float]:
    """Return a digest of sizes and times, and the last time. Raises OSError for no such file."""
    path.stat()
    digest = hashlib.blake2b(digest_size=16)
    changed = 0.0
    for file in _files_of(path):
        stat = file.stat()
        times = f"{stat.st_mtime_ns}\0{stat.st_ctime_ns}\0{stat.st_ino}"
        digest.update(f"{file}\0{stat.st_size}\0{times}\n".encode())
        changed = max(changed, stat.st_mtime, stat.st_ctime)
    return digest.hexdigest(), changed


def _content_digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in _files_of(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else ""
        digest.update(f"{name}\0{file.stat().st_size}\n".encode())
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """Return the digest of a JSON-ready value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _code_of(package: str) -> bytes:
    """Return the digest of the code of a package or module of Tastemaker."""
    root = Path(__file__).resolve().parents[1]
    place = root / package
    files = sorted(place.rglob("*.*")) if place.is_dir() else []
    if not files:
        files = [root / f"{package}.py"]
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        if file.suffix in (".py", ".yaml", ".j2", ".json"):
            digest.update(file.read_bytes())
    return digest.digest()


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "none"
