"""A command line in many processes: who may work so, and who speaks.

torchrun starts the same command in each process. Only the first one prints; an error is told once.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from tastemaker import processes

_TRAIN = ("fit", "pretrain", "steer")
_HELP = ("--help", "-h")
_stderr: int | None = None
"""The standard error that a process other than the first one had."""


class _Ended(KeyboardInterrupt):
    """torchrun, or a scheduler, ends this process."""


def begin_together(words: Sequence[str]) -> None:
    """Silence all processes but the first, and let them meet.

    Raises UsageError for a verb that does not train, LostProcess where the others do not come.
    """
    if not processes.is_first():
        _silence()
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb not in _TRAIN:
        processes.refuse(
            f"`{verb}`" if verb else "this command",
            "Start it without torchrun; fit, pretrain and steer train in many processes.",
        )
    if not any(word in _HELP for word in words):
        signal.signal(signal.SIGTERM, _raise)
        processes.join()


def _raise(number: int, frame: object) -> NoReturn:
    del number, frame
    raise _Ended(
        f"ended from outside (SIGTERM): one of the {processes.count()} processes has failed or was "
        "killed, or all are to stop. Go on with the same command and --resume."
    )


def _silence() -> None:
    """Lead all output into nothing, that of C++ too; remember where errors would go."""
    global _stderr  # noqa: PLW0603  one a process
    sys.stdout.flush()
    sys.stderr.flush()
    _stderr = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)


def end_together(code: int, problems: Sequence[str]) -> list[str]:
    """Leave the other processes; return the problems that this one is to print."""
    signal.signal(signal.SIGTERM, _raise)
    lines = processes.last_words(code, problems)
    if lines and _stderr is not None:
        os.dup2(_stderr, 2)
    return lines
