"""The command line: verbs of a few lines over the public functions.

An error is one line on stderr. The exit code is 0, 1 (failed) or 2 (bad usage or bad input).
torchrun starts the same command in each process: only the first one prints, an error once.
"""

import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from tastemaker import costs, processes
from tastemaker.cli.data import demo, doctor, fetch, inspect, split
from tastemaker.cli.gpt import pretrain, write
from tastemaker.cli.looping import loop
from tastemaker.cli.reports import frontier, report
from tastemaker.cli.reward import evaluate, fit, score
from tastemaker.cli.rl import play, steer, watch
from tastemaker.cli.serving import export, rank, serve
from tastemaker.cli.trust import explain, learning_curve
from tastemaker.errors import TastemakerError
from tastemaker.progress import set_quiet, take_remarks
from tastemaker.readable import visible

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


_VERBS = (
    fetch,
    inspect,
    split,
    doctor,
    fit,
    score,
    explain,
    evaluate,
    export,
    serve,
    rank,
    learning_curve,
    pretrain,
    write,
    steer,
    frontier,
    report,
    play,
    watch,
    loop,
    demo,
)

_DATABASE = re.compile(r"postgres(ql)?(\+\w+)?://.*", re.DOTALL)
_HTTP = re.compile(r"https?://\S+")
_WEIGHT = re.compile(r"=-?[\d.]+$")


class _Verbs(click.Group):
    """The verbs in the order of a first tour."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Verbs)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def app(debug: bool) -> None:
    """Learn a taste from people's judgements, score any text with it, and let a GPT write."""
    del debug  # read by `main` before the verbs run


for _verb in _VERBS:
    app.add_command(_verb)


def _command_of(words: Sequence[str]) -> str:
    """Return the command line that repeats this run."""
    command = ["tastemaker", *words]
    if processes.count() > 1:
        here = processes.local_count()
        start = ["torchrun", "--nproc-per-node", str(here)]
        if here < processes.count():
            nodes = processes.count() // here
            start[1:1] = ["--nnodes", str(nodes)]
        command = [*start, "-m", *command]
    # a report may be sent to anybody
    return shlex.join(map(_without_secrets, command))


def _without_secrets(word: str) -> str:
    """Return a word of a command line without the passwords and tokens of addresses in it."""
    from tastemaker.data.store.addresses import shown_name

    word = _DATABASE.sub(lambda match: shown_name(match[0]), word)
    return _HTTP.sub(_without_token, word)


def _without_token(match: re.Match[str]) -> str:
    """Return an HTTP address, and the weight of a reward behind it, without what may be a token."""
    from tastemaker.serve.client import shown_address

    weight = None if "?" in match[0] else _WEIGHT.search(match[0])
    address = match[0][: weight.start()] if weight else match[0]
    try:
        return shown_address(address) + (weight[0] if weight else "")
    except ValueError:  # brackets that are no IPv6 address
        return f"{address.partition('://')[0]}://…"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments) or [
        "--help"
    ]
    if "--debug" in words:
        words.remove("--debug")
        words.insert(0, "--debug")
    is_quiet = "--quiet" in words or "-q" in words
    if is_quiet:
        set_quiet(True)
    problems: Sequence[str] = ()
    take_remarks()  # of an earlier command line
    try:
        if processes.count() > 1:
            begin_together(words)
        with costs.running(_command_of(words)):
            code: Any = app.main(
                args=words, prog_name="tastemaker", standalone_mode=False
            )
    except TastemakerError as error:
        if words[0] == "--debug":
            raise
        code = error.exit_code
        problems = getattr(error, "problems", [str(error)])
    except click.ClickException as error:
        code = error.exit_code
        problems = [error.format_message()]
    except (click.Abort, KeyboardInterrupt) as error:
        # click raises its own error from Ctrl-C
        cause = error.__cause__ or error
        advice = "stopped from outside; what was finished is kept."
        code = 130
        problems = [str(cause) or advice]
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away, as `head` does
        code = 0
    finally:
        if is_quiet:
            set_quiet(False)  # for whoever called this function
    code = code if isinstance(code, int) else 0
    if processes.count() > 1:
        problems = end_together(code, problems)
    for problem in problems:
        line = visible(" ".join(problem.split()))
        sys.stderr.write(f"tastemaker: {line}\n")
    sys.exit(code)
