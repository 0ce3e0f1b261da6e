"""The shell: thin verbs over the public names.

Errors are one line on stderr; the exit code is 0, 1 (failed) or 2 (bad usage or bad input).
"""

import sys
from collections.abc import Sequence
from typing import Any

import typer

from tastemaker.cli.demo import demo
from tastemaker.cli.doctor import doctor
from tastemaker.cli.evaluate import evaluate
from tastemaker.cli.fetch import fetch
from tastemaker.cli.fit import fit
from tastemaker.cli.frontier import frontier
from tastemaker.cli.play import play
from tastemaker.cli.pretrain import pretrain
from tastemaker.cli.score import score
from tastemaker.cli.steer import steer
from tastemaker.cli.watch import watch
from tastemaker.cli.write import write
from tastemaker.errors import TastemakerError

# typer carries its own click, whose exceptions are reached through the one that typer makes public
_BAD_USAGE: Any = typer.BadParameter.__mro__[1:3]

app = typer.Typer(
    name="tastemaker",
    help="Learn a taste from people's judgements, score any text with it, and let a GPT write.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _verb in (
    fetch,
    doctor,
    fit,
    score,
    evaluate,
    pretrain,
    write,
    steer,
    frontier,
    play,
    watch,
    demo,
):
    app.command()(_verb)


@app.callback()
def _common(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Learn a taste from people's judgements, score any text with it, and let a GPT write."""
    del debug  # read by `main` before the verbs run


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if "--debug" in given:
        given.remove("--debug")
        given.insert(0, "--debug")
    if "--quiet" in given or "-q" in given:
        from tastemaker.progress import set_quiet

        set_quiet(True)
    try:
        code: Any = app(args=given, prog_name="tastemaker", standalone_mode=False)
    except TastemakerError as error:
        if given[:1] == ["--debug"]:
            raise
        code = _fail(str(error), error.exit_code)
    except _BAD_USAGE as error:
        code = _fail(error.format_message(), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = _fail("stopped from outside; what was finished is kept.", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away, as `head` does
        code = 0
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    sys.stderr.write("tastemaker: " + " ".join(message.split()) + "\n")
    return code
