"""What to make of a model and its scores: what `fit` and `score` print, and two verbs.

The verbs are `explain` and `learning-curve`.
"""

import sys
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


# ---- scores of texts and of lines of standard input -------------------------


_UNITS = {"probabilities": "P(positive)", "ratings": "rating"}
"""How one number of each meaning is called on screen."""


def provenance(taste: Any) -> dict[str, str]:
    """Return whether a model was fitted or adopted; nothing for one behind an address."""
    contract = getattr(taste, "contract", None)
    return {} if contract is None else {"provenance": contract.provenance}


def note_truncated(taste: Any, truncated: int, rows: int, quiet: bool) -> None:
    """Say how many texts were longer than the model reads."""
    if not truncated:
        return
    contract = getattr(taste, "contract", None)
    length, side = "what", "a part"
    if contract is not None:
        length = f"the {contract.max_length} tokens that"
        side = "their start" if contract.cut == "left" else "their end"
    o.note(
        f"{truncated:,} of {rows:,} texts are longer than {length} "
        f"this model reads; {side} was cut off.",
        quiet=quiet,
    )


def _as_read(reading: r.Reading) -> dict[str, Any]:
    """Return what a file and the anchor's source were read as, where there are any."""
    return {"read_as": reading.as_list()} if reading.read_as else {}


def say_scored(
    taste: Any,
    counts: Any,
    out: Path,
    reading: r.Reading,
    *,
    json: bool,
    quiet: bool,
) -> None:
    """Say how many rows of a file were scored; add what it was read as to that of others."""
    reading.read_as.append(counts.read_as)
    note_truncated(taste, counts.truncated, counts.rows, quiet)
    if not json:
        o.say(f"{counts.rows:,} rows scored into {out}")
        return
    result = {
        "out": str(out),
        "rows": counts.rows,
        "truncated": counts.truncated,
        **_as_read(reading),
        **provenance(taste),
    }
    o.say_json(result, with_remarks=True)


def score_texts(
    taste: Any,
    examples: list[Any],
    reading: r.Reading,
    precision: str,
    caution: Any,
    uncertainty: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Print the scores of texts."""
    from tastemaker.errors import UsageError

    scores = taste.score_all(examples, precision=precision)
    if uncertainty and scores.uncertainty is None:
        raise UsageError(
            "--uncertainty needs an ensemble, and this is a single model. Fit one with --members 5."
        )
    deviations = scores.uncertainty.tolist() if uncertainty else None
    meanings = taste.meanings(scores)
    scores = scores.cautious(caution)
    truncated = int(scores.truncated.sum())
    note_truncated(taste, truncated, len(examples), quiet)
    if json:
        result = {
            "scores": scores.as_list(),
            **meanings,
            "truncated": truncated,
            **_as_read(reading),
            **provenance(taste),
        }
        if deviations is not None:
            result["uncertainty"] = deviations
        o.say_json(result, with_remarks=True)
        return
    for number, example in enumerate(examples):
        line = f"{scores.values[number]:+.3f}"
        if deviations is not None:
            line += f" ± {deviations[number]:.3f}"
        for name, values in meanings.items():
            line += f"  {_UNITS[name]} {values[number]:.2f}"
        text = " ".join(example.text.split())
        o.say(f"{line}  {text:.80}")


def score_standard_input(
    taste: Any,
    reading: r.Reading,
    precision: str,
    caution: Any,
    uncertainty: bool,
    json: bool,
    quiet: bool,
) -> None:
    """Score one text a line as they arrive; with --json all scores in one object at the end."""
    from tastemaker.bulk_lines import score_lines

    scores: list[float] = []
    deviations: list[float] = []
    rows = truncated = 0
    settings: dict[str, Any] = {"precision": precision, "caution": caution}
    for line in score_lines(
        taste, sys.stdin, uncertainty=uncertainty, **settings
    ):
        rows += 1
        truncated += int(line.truncated)
        if json:
            scores.append(line.score)
            if line.uncertainty is not None:
                deviations.append(line.uncertainty)
            continue
        deviation = (
            "" if line.uncertainty is None else f" ± {line.uncertainty:.4f}"
        )
        o.say(f"{line.score:+.4f}{deviation}\t{line.text}")
    note_truncated(taste, truncated, rows, quiet)
    if json:
        result: dict[str, Any] = {
            "scores": scores,
            "truncated": truncated,
            **_as_read(reading),
            **provenance(taste),
        }
        if uncertainty:
            result["uncertainty"] = deviations
        o.say_json(result, with_remarks=True)
