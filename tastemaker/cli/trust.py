"""The verbs that say what to make of a model: `explain` and `learning-curve`."""

from pathlib import Path
from typing import Any

import click

from tastemaker.cli import options as o

EXPLAIN = """Show which words or sentences made the score of a text.

Examples:

  tastemaker explain taste "The acting was brilliant, but the story was dull."

  tastemaker explain taste "It is safe." --prompt "Is it safe?" --json
"""

LEARNING_CURVE = """Would more data help? Fit on an eighth, a quarter, a half and all of the data.

Example:

  tastemaker learning-curve comparisons.jsonl
"""

_EXPLAINED = 2  # of the highest and of the lowest scores


def explanations(taste: Any, measured: Any) -> list[Any]:
    """Return what made the highest and the lowest scores of an evaluation."""
    import tastemaker as tm

    explained = []
    for example in measured.extremes(_EXPLAINED):
        explained.append(tm.explain(taste, example))
    return explained


@o.verb(EXPLAIN)
@click.argument(
    "model",
    metavar="DIR",
    type=o.PATH,
    help="A folder saved by `tastemaker fit`.",
)
@click.argument("text", help="The text whose score is explained.")
@o.option("--prompt", help="What the text answers.")
@o.option(
    "--by",
    type=click.Choice(["auto", "words", "sentences"]),
    default="auto",
    help="auto: words of a linear model and of a short text, else sentences.",
)
@o.output
def explain(
    model: Path,
    text: str,
    prompt: str | None,
    by: Any,
    json: bool,
    quiet: bool,
) -> None:
    """Show which words or sentences made the score of a text."""
    import tastemaker as tm

    taste = tm.load(model)
    explanation = tm.explain(taste, text, prompt=prompt, by=by)
    if json:
        o.say_json(explanation.as_dict())
    else:
        o.say(str(explanation))


@o.verb(LEARNING_CURVE)
@click.argument("sources", nargs=-1, required=True, help=o.SOURCES)
@o.option(
    "--backbone",
    default="linear",
    help="linear, tiny, minilm, a model folder or a hub name.",
)
@o.option(
    "--doublings",
    type=int,
    default=3,
    help="How often the data is doubled; 3 begin with an eighth.",
)
@o.reading
@o.skip_bad
@o.output
def learning_curve(
    sources: tuple[str, ...],
    backbone: str,
    doublings: int,
    reading: o.Reading,
    skip_bad: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Say whether more data would help."""
    import tastemaker as tm

    skipped: list[Any] = []
    judgements = reading.judgements(sources, skipped if skip_bad else None)
    o.note_skipped(skipped, quiet=quiet)
    curve = tm.learning_curve(
        judgements,
        backbone=backbone,
        doublings=doublings,
        seed=reading.seed,
    )
    if json:
        o.say_json(curve.as_dict())
    else:
        o.say(str(curve))
