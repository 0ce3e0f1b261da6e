"""A progress line with the time left. Silent without a terminal, and by `--quiet`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tastemaker.readable import visible

Advance = Callable[[float, str], None]
"""A function of (the amount of work done since the last call, a short note or "")."""

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Switch every progress line of this process off or on (`--quiet`)."""
    global _quiet  # noqa: PLW0603  one switch a process, set by the shell
    _quiet = quiet


def _ignore(amount: float, note: str) -> None:
    """Show nothing."""


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))


@contextmanager
def progress(title: str, total: float | None) -> Iterator[Advance]:
    """Show a title with a bar, the time left and a note, until the block ends.

    total: the amount of work, in any unit; None when it is not known.
    """
    if _quiet or not sys.stderr.isatty():
        yield _ignore
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
