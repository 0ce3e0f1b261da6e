"""Full disks, failures and interruptions leave what was there before: nothing half-written."""

import errno
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tastemaker.errors import StorageError
from tastemaker.files import (
    filling_folder,
    remove_leftovers,
    temporary_name,
    writing_file,
    writing_folder,
)

LAST = "contract.json"
FULL_DISK = "the disk is full"


class BrokenError(Exception):
    """What goes wrong inside a block."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 64 KiB; skips where it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small disk can be mounted by root on Linux alone")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def holds(folder: Path) -> dict[str, str]:
    """Every file under a folder, hidden ones too, and its text."""
    return {
        str(p.relative_to(folder)): p.read_text()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def folder_of(path: Path, **files: str) -> Path:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return path


def put(folder: Path, error: type[BaseException] | None = None, **files: int) -> None:
    """Write files of so many bytes, then raise the error if there is one."""
    for name, size in files.items():
        (folder / name).write_bytes(b"x" * size)
    if error is not None:
        raise error


def fail_at(monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException) -> None:
    """Let the rename number `count` from now on fail, once."""
    real, calls = Path.replace, iter(range(1, 1000))

    def replace(path: Path, target: Any) -> Path:
        if next(calls) == count:
            raise error
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.txt"
    with writing_file(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert (
            temporary.parent == target.parent
        )  # the same disk, or the rename would copy
    assert holds(tmp_path) == {"new/out.txt": "whole"}


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt, SystemExit])
def test_a_file_is_as_before_after_any_failure(
    tmp_path: Path, error: type[BaseException]
) -> None:
    (tmp_path / "out.txt").write_text("older")
    with pytest.raises(error), writing_file(tmp_path / "out.txt") as temporary:
        put(temporary.parent, error, **{temporary.name: 4})
    assert holds(tmp_path) == {"out.txt": "older"}


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("older")
    with (
        pytest.raises(StorageError, match=r"out\.txt: "),
        writing_file(tmp_path / "out.txt"),
    ):
        pass
    assert holds(tmp_path) == {"out.txt": "older"}


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    (small_disk / "out.txt").write_text("older")
    with (
        pytest.raises(StorageError, match=rf"out\.txt: {FULL_DISK}"),
        writing_file(small_disk / "out.txt") as temporary,
    ):
        temporary.write_bytes(bytes(100_000))
    assert holds(small_disk) == {"out.txt": "older"}
    with writing_file(small_disk / "out.txt") as temporary:  # there is room again
        temporary.write_bytes(bytes(40_000))


def test_a_full_disk_leaves_the_old_folder(small_disk: Path) -> None:
    target = folder_of(small_disk / "model", weights="older")
    with (
        pytest.raises(StorageError, match=rf"model: {FULL_DISK}"),
        writing_folder(target) as temporary,
    ):
        put(temporary, config=5, weights=100_000)
    assert holds(small_disk) == {"model/weights": "older"}


def test_a_full_disk_leaves_a_filled_folder_whole(small_disk: Path) -> None:
    target = folder_of(small_disk / "model", weights="older", **{LAST: "older"})
    with (
        pytest.raises(StorageError, match=FULL_DISK),
        filling_folder(target, last=LAST) as temporary,
    ):
        put(temporary, **{LAST: 5, "weights": 100_000})
    assert holds(small_disk) == {f"model/{LAST}": "older", "model/weights": "older"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_apart(tmp_path: Path, code: int) -> None:
    for writing in (writing_file, writing_folder):
        with pytest.raises(StorageError, match=FULL_DISK), writing(tmp_path / "out"):
            raise OSError(code, os.strerror(code))
    assert holds(tmp_path) == {}


def test_other_failures_name_the_path_and_the_reason(tmp_path: Path) -> None:
    message = r"out: .*\bInput/output error\b"
    with pytest.raises(StorageError, match=message), writing_folder(tmp_path / "out"):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("depth", [1, 2])
def test_a_folder_that_is_a_file(tmp_path: Path, depth: int) -> None:
    (tmp_path / "file").write_text("mine")
    inside = tmp_path.joinpath("file", *["deeper"] * (depth - 1), "out")
    for writing in (writing_file, writing_folder):
        with pytest.raises(StorageError, match="cannot write"), writing(inside):
            pytest.fail("there is nothing to write into")
    with (
        pytest.raises(StorageError, match="cannot write"),
        filling_folder(inside, last=LAST),
    ):
        pytest.fail("there is nothing to write into")
    assert holds(tmp_path) == {"file": "mine"}


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with (
        pytest.raises(StorageError, match="cannot write"),
        writing_file(tmp_path / "out"),
    ):
        pytest.fail("it may not be written")


def test_a_folder_appears_whole_and_replaces_the_old_one_as_a_whole(
    tmp_path: Path,
) -> None:
    target = folder_of(tmp_path / "model", weights="older", only_old="older")
    with writing_folder(target) as temporary:
        (temporary / "weights").write_text("newer")
        assert holds(target) == {"only_old": "older", "weights": "older"}
    assert holds(tmp_path) == {"model/weights": "newer"}


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
def test_a_folder_is_as_before_after_any_failure_inside(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = folder_of(tmp_path / "model", weights="older")
    for writing in (writing_folder(target), filling_folder(target, last=LAST)):
        with pytest.raises(error), writing as temporary:
            put(temporary, error, weights=4)
        assert holds(tmp_path) == {"model/weights": "older"}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()]
)
def test_a_rename_that_fails_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException
) -> None:
    """Also when it is interrupted between the old folder's going and the new one's coming."""
    target = folder_of(tmp_path / "model", weights="older")
    fail_at(monkeypatch, count, error)
    with (
        pytest.raises((StorageError, KeyboardInterrupt)),
        writing_folder(target) as temporary,
    ):
        (temporary / "weights").write_text("newer")
    assert holds(tmp_path) == {"model/weights": "older"}


def test_filling_keeps_other_files_and_puts_the_last_one_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder_of(tmp_path / "run", log="kept", weights="older", **{LAST: "older"})
    moved: list[str] = []
    real = Path.replace

    def replace(path: Path, to: Any) -> Path:
        assert not (target / LAST).exists()
        moved.append(path.name)
        return real(path, to)

    monkeypatch.setattr(Path, "replace", replace)
    with filling_folder(target, last=LAST) as temporary:
        for name in ("weights", LAST, "a", "z"):
            (temporary / name).write_text("newer")
        assert holds(target) == {LAST: "older", "log": "kept", "weights": "older"}
    assert moved[-1] == LAST
    assert holds(tmp_path / "run") == {
        LAST: "newer",
        "a": "newer",
        "log": "kept",
        "weights": "newer",
        "z": "newer",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_filling_replaces_subfolders_as_a_whole(tmp_path: Path) -> None:
    target = folder_of(tmp_path / "run", **{LAST: "older"})
    folder_of(target / "baseline", weights="older", only_old="older")
    with filling_folder(target, last=LAST) as temporary:
        folder_of(temporary / "baseline", weights="newer")
        (temporary / LAST).write_text("newer")
    assert holds(target) == {"baseline/weights": "newer", LAST: "newer"}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_filling_that_fails_midway_lacks_its_last_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    target = folder_of(tmp_path / "run", a="older", b="older", **{LAST: "older"})
    fail_at(monkeypatch, count, OSError(errno.EIO, "Input/output error"))
    with (
        pytest.raises(StorageError, match="cannot write"),
        filling_folder(target, last=LAST) as temporary,
    ):
        put(temporary, **{"a": 5, "b": 5, LAST: 5})
    assert LAST not in holds(target)


KILLED = """
import os, sys
from pathlib import Path
from tastemaker.files import {name}
with {name}(Path(sys.argv[1]){more}) as temporary:
    path = temporary / "weights" if temporary.is_dir() else temporary
    path.write_text("half")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("writing_file", ""),
        ("writing_folder", ""),
        ("filling_folder", f", last='{LAST}'"),
    ],
)
def test_a_killed_process_leaves_the_old_one_and_nothing_in_the_way(
    tmp_path: Path, name: str, more: str
) -> None:
    target = tmp_path / "out"
    if name == "writing_file":
        target.write_text("older")
    else:
        folder_of(target, weights="older")
    before = holds(tmp_path)
    code = KILLED.format(name=name, more=more)
    assert (
        subprocess.run([sys.executable, "-c", code, target], check=False).returncode
        == -9
    )
    assert {k: v for k, v in holds(tmp_path).items() if not k.startswith(".")} == before
    if name == "writing_file":
        with writing_file(target) as temporary:
            temporary.write_text("newer")
        assert target.read_text() == "newer"


# --- what killed processes leave

KILLED_MIDWAY = """
import os, signal, sys
from pathlib import Path
from tastemaker.files import writing_file, writing_folder
target = Path(sys.argv[1])
if sys.argv[2] == "between renames":
    real = Path.replace
    def replace(path, other):
        if Path(other) == target:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, other)
    Path.replace = replace
with (writing_file if sys.argv[2] == "file" else writing_folder)(target) as path:
    (path / "new" if path.is_dir() else path).write_text("new")
    if sys.argv[2] != "between renames":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_midway(target: Path, moment: str) -> None:
    """Let a process begin to write, and kill it."""
    words = [sys.executable, "-c", KILLED_MIDWAY, str(target), moment]
    assert subprocess.run(words, check=False).returncode == -9


@pytest.mark.parametrize("moment", ["file", "folder"])
def test_the_next_writer_removes_what_a_killed_one_left(
    tmp_path: Path, moment: str
) -> None:
    kill_midway(tmp_path / "torn", moment)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".torn.")
    with writing_file(tmp_path / "other") as temporary:
        temporary.write_text("whole")
    assert holds(tmp_path) == {"other": "whole"}


def test_a_folder_that_was_moved_aside_comes_back(tmp_path: Path) -> None:
    folder_of(tmp_path / "torn", older="1")
    kill_midway(tmp_path / "torn", "between renames")
    assert not (tmp_path / "torn").exists()
    remove_leftovers(tmp_path)
    assert holds(tmp_path) == {"torn/older": "1"}


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    with writing_file(tmp_path / "mine") as temporary:
        temporary.write_text("mine")
        foreign = temporary_name(tmp_path / "theirs")
        # a process number of another machine means nothing here
        foreign = foreign.with_name(
            re.sub(r"\d+-[0-9a-f]{8}", "999999999-00000000", foreign.name)
        )
        foreign.write_text("theirs")
        remove_leftovers(tmp_path)
        assert temporary.exists()
        assert foreign.exists()
        os.utime(foreign, (0, 0))
        remove_leftovers(tmp_path)
        assert temporary.exists()
        assert not foreign.exists()
    (tmp_path / ".theirs.tmp").write_text("no name of ours")
    remove_leftovers(tmp_path)
    assert (tmp_path / ".theirs.tmp").exists()


def named_for_next_processes(folder: Path) -> None:
    """Write a temporary file for each of the next two thousand process numbers."""
    mine = temporary_name(folder / "torn")
    with subprocess.Popen([sys.executable, "-c", ""]) as newest:
        first = newest.pid + 1
    for process in range(first, first + 2000):
        name = mine.name.replace(f".{os.getpid()}-", f".{process}-")
        mine.with_name(name).write_text("torn")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_later_process_of_the_same_number_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process left a file, and its number was given to another one."""
    monkeypatch.setattr("tastemaker.files._CLOCKS_DIFFER", 0.2)
    words = [sys.executable, "-c", "print('lives', flush=True); input()"]
    for _ in range(20):
        named_for_next_processes(tmp_path)
        time.sleep(0.5)
        with subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            place = temporary_name(tmp_path / "torn")
            left = place.name.replace(f".{os.getpid()}-", f".{process.pid}-")
            is_named = (tmp_path / left).exists()
            own = tmp_path / left.replace("torn", "own")
            own.write_text("of the living process")
            remove_leftovers(tmp_path)
            process.stdin.write(b"\n")
        if is_named:
            break
    assert is_named
    # other processes of this machine may have got the other numbers
    assert not (tmp_path / left).exists()
    assert own.read_text() == "of the living process"
