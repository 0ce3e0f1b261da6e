"""A progress line with the time left. None by `--quiet`.

Without a terminal it is a plain line a minute; in a notebook, every ten seconds.
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from tastemaker import processes
from tastemaker.readable import visible

Advance = Callable[[float, str], None]
"""A function of (the amount of work done since the last call, a short note or "")."""

BEAT = 60.0
"""Seconds between two lines where there is no terminal."""
NOTEBOOK_BEAT = 10.0
"""The same in a notebook, where a person waits beside the cell."""

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Switch every progress line of this process off or on (`--quiet`)."""
    global _quiet  # noqa: PLW0603  one switch a process, set by the shell
    _quiet = quiet


_remarks: deque[str] = deque(maxlen=100)


def remark(line: str) -> None:
    """Write a line on standard error, unless quiet; control characters are shown, not obeyed."""
    if not _quiet:
        _remarks.append(line)
        sys.stderr.write(f"{visible(line)}\n")
        sys.stderr.flush()


def take_remarks() -> list[str]:
    """Return the remarks since the last call, at most the last hundred."""
    taken = list(_remarks)
    _remarks.clear()
    return taken


_announcements: list[Callable[[], None]] = []


@contextmanager
def announced(say: Callable[[], None]) -> Iterator[None]:
    """Call `say` when the first progress line of the block begins, at the latest at its end.

    So what a run works on is said before the work, and not before an error of its settings.
    """
    _announcements.append(say)
    try:
        yield
        _announce()
    finally:
        _announcements.clear()


def _announce() -> None:
    while _announcements:
        _announcements.pop()()


def _ignore(amount: float, note: str) -> None:
    """Show nothing."""


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))


@contextmanager
def progress(
    title: str, total: float | None, *, timed: bool = False
) -> Iterator[Advance]:
    """Show a title with a bar, the time left and a note, until the block ends.

    total: the amount of work, in any unit; None when it is not known. timed: where there is no
    terminal, write lines also while nothing advances, as in one slow call of a reward.
    """
    if _quiet or not processes.is_first():
        yield _ignore
        return
    _announce()
    if not sys.stderr.isatty():
        heartbeat = _Heartbeat(_one_line(title), total)
        with heartbeat.timed() if timed else nullcontext():
            yield heartbeat.advance
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        # names of files are no markup
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(
        *columns, console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(_one_line(title), total=total, note="")

        def advance(amount: float, note: str) -> None:
            bar.update(task, advance=amount, note=_one_line(note))

        yield advance


def _is_in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this process; its package alone may be imported."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized()


class _Heartbeat:
    """Writes a line a minute, so that a log shows that the work goes on."""

    def __init__(self, title: str, total: float | None) -> None:
        self._title = title
        self._total = total
        self._beat = NOTEBOOK_BEAT if _is_in_notebook() else BEAT
        self._began = self._last = time.monotonic()
        self._first: float | None = None
        self._done = 0.0
        self._note = ""
        self._lock = threading.Lock()

    def advance(self, amount: float, note: str) -> None:
        """Count work that is done; write a line where one is due."""
        with self._lock:
            self._done += amount
            self._note = note
            if self._first is None:
                # what a resumed run had done before
                self._first = self._done
            self._write_if_due()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Write lines that are due by a thread, which ends with the block."""
        has_ended = threading.Event()

        def beat() -> None:
            waits = self._beat
            while not has_ended.wait(waits):
                with self._lock:
                    self._write_if_due()
                    waits = self._last + self._beat - time.monotonic()

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            has_ended.set()
            thread.join()

    def _write_if_due(self) -> None:
        now = time.monotonic()
        if now - self._last < self._beat:
            return
        self._last = now
        seconds = now - self._began
        done, total, first = self._done, self._total, self._first
        words = [f"{self._title}:"]
        if total:
            words.append(f"{min(done / total, 1):.0%},")
        words.append(f"{_minutes(seconds)} so far")
        if total and first is not None and done > first:
            left = (total - done) * seconds / (done - first)
            words.append(f"and about {_minutes(max(left, 0.0))} left")
        line = " ".join(words)
        if self._note:
            line += f"; {_one_line(self._note)}"
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def _minutes(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
