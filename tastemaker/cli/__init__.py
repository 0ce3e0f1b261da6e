"""The command line: verbs of a few lines over the public functions.

An error is one line on stderr. The exit code is 0, 1 (failed) or 2 (bad usage or bad input).
"""

import sys
from collections.abc import Sequence
from typing import Any

import click

from tastemaker.cli.data import demo, doctor, fetch, inspect, split
from tastemaker.cli.gpt import pretrain, write
from tastemaker.cli.looping import loop
from tastemaker.cli.ranking import rank
from tastemaker.cli.reports import frontier, report
from tastemaker.cli.reward import evaluate, fit, score
from tastemaker.cli.rl import play, steer, watch
from tastemaker.cli.serving import export, serve
from tastemaker.cli.trust import explain, learning_curve
from tastemaker.errors import TastemakerError
from tastemaker.readable import visible

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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments) or [
        "--help"
    ]
    if "--debug" in words:
        words.remove("--debug")
        words.insert(0, "--debug")
    if "--quiet" in words or "-q" in words:
        from tastemaker.progress import set_quiet

        set_quiet(True)
    try:
        code: Any = app.main(
            args=words, prog_name="tastemaker", standalone_mode=False
        )
    except TastemakerError as error:
        if words[0] == "--debug":
            raise
        for problem in getattr(error, "problems", [str(error)]):
            code = _fail(problem, error.exit_code)
    except click.ClickException as error:
        code = _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt) as error:
        # click raises its own error from Ctrl-C
        cause = error.__cause__ or error
        kept = "stopped from outside; what was finished is kept."
        code = _fail(str(cause) or kept, 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away, as `head` does
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    line = visible(" ".join(message.split()))
    sys.stderr.write(f"tastemaker: {line}\n")
    return code
