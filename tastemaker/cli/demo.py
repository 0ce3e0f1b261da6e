"""`tastemaker demo`: the whole loop on the built-in playground."""

from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli import options as o

EXAMPLE = """The whole loop on an invented world of film reviews whose true score is known; four minutes, no download.

Example:

  tastemaker demo --out demo
"""


def demo(
    out: Annotated[Path, typer.Option(help="The folder for data, models and reports.")] = Path(
        "demo"
    ),
    texts: Annotated[int, typer.Option(help="Judgements to learn from, for each language.")] = 3000,
    seed: o.Seed = 0,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """The whole loop on the built-in playground."""
    from tastemaker.demo import run_demo

    found = run_demo(
        out, texts=texts, seed=seed, say=(lambda line: None) if json or quiet else o.say
    )
    if json:
        o.say_json(found)


demo.__doc__ = EXAMPLE
