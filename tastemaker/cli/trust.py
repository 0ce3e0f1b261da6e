"""What to make of a model: the verbs `explain` and `learning-curve`, and what `fit` prints."""

from pathlib import Path
from typing import Any

import click

from tastemaker.cli import options as o
from tastemaker.cli import reading as r

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


_HEADS = {
    "new": "the head is new: it was drawn, and learned from these judgements alone",
    "kept": "the head goes on from the trained one of the backbone: it reads as that one does, and "
    "keeps its scale unless there is an anchor",
}


def say_fit_memory(settings: o.Settings, *, json: bool) -> None:
    """Print what memory a fit takes. settings: those of `tm.fit`, by its names."""
    from tastemaker.reward.memory import fit_memory

    names = ["backbone", "training", "members", "shared"]
    names += ["device", "precision"]
    memory = fit_memory(**{name: settings[name] for name in names})
    o.say_memory(memory, json=json)


def describe_fit(model: Any, out: Path, seconds: float) -> None:
    """Print the verdict on a fitted model, and what was learned."""
    from tastemaker.data.splitting import relatives_line

    contract = model.contract
    if "verdict" in contract.evaluation:
        o.say(contract.evaluation["verdict"])
    o.say(f"{model!r}")
    o.say(f"  {contract.parts()}")
    data = contract.data
    if "head" in data:
        o.say(f"  {_HEADS[data['head']]}")
    relatives = relatives_line(
        data.get("near_copies", 0), data.get("shared_beginnings", 0)
    )
    if relatives:
        o.say(f"  {relatives}")
    for line in contract.judges_in_words():
        o.say(f"  {line}")
    control = contract.evaluation.get("control")
    if control:
        changes = _changes(control["before"], contract.evaluation)
        for name, figures in control["features"].items():
            ends = figures["correlation_before"], figures["correlation"]
            if None not in ends:
                changes.append(
                    f"correlation with {name} {ends[0]:+.2f} → {ends[1]:+.2f}"
                )
        features = ", ".join(control["features"])
        o.say(f"  control of {features}, held-out texts: {'; '.join(changes)}")
    o.say(f"saved in {out} after {seconds:.0f} s.")
    o.say(f'Score a text:  tastemaker score {out} "What a film!"')


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return "figure before → after" for each figure that both evaluations have."""
    names = {
        "accuracy": "accuracy",
        "pearson": "Pearson",
        "kendall_tau": "Kendall's τ",
        "log_loss": "log-loss",
    }
    return [
        f"{words} {before[name]:.3f} → {after[name]:.3f}"
        for name, words in names.items()
        if before.get(name) is not None and after.get(name) is not None
    ]


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
@o.device
@o.dtype
@o.remote_code
@o.output
def explain(
    model: Path,
    text: str,
    prompt: str | None,
    by: Any,
    json: bool,
    quiet: bool,
    **loading: Any,
) -> None:
    """Show which words or sentences made the score of a text."""
    import tastemaker as tm

    taste = tm.load(model, **loading)
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
@r.reading
@o.skip_bad
@o.device
@o.output
def learning_curve(
    sources: tuple[str, ...],
    backbone: str,
    doublings: int,
    reading: r.Reading,
    skip_bad: bool,
    device: Any,
    json: bool,
    quiet: bool,
) -> None:
    """Say whether more data would help."""
    import tastemaker as tm

    judgements = reading.judgements_with_notes(
        sources, [] if skip_bad else None, json=json, quiet=quiet
    )
    curve = tm.learning_curve(
        judgements,
        backbone=backbone,
        doublings=doublings,
        seed=reading.seed,
        device=device,
    )
    if json:
        result = curve.as_dict()
        result["read_as"] = reading.as_list()
        o.say_json(result)
    else:
        o.say(str(curve))
