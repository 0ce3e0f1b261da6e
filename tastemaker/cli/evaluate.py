"""`tastemaker evaluate`: how far to trust a reward model, or how well a policy foresees text."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tastemaker.cli import options as o

EXAMPLE = """Measure a reward model on judged texts it has not seen, or a policy on any text.

Examples:

  tastemaker evaluate taste aclImdb.tar.gz --split test

  tastemaker evaluate taste aclImdb.tar.gz --split test --report report --json

Rows of RewardBench 2 are recognised and scored by its own rule:

  tastemaker evaluate taste reward-bench-2.parquet

The perplexity that a GPT has on a text, per token and per byte:

  tastemaker evaluate gpt aclImdb.tar.gz --split test
"""


@o.gathers(reading=o.Reading)
def evaluate(
    model: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder saved by `fit` or `pretrain`.")
    ],
    source: Annotated[
        str,
        typer.Argument(help="aclImdb folder or .tar.gz, a table, hub name; of a GPT also texts."),
    ],
    reading: o.Reading,
    report: Annotated[
        Path | None, typer.Option(help="Write report.html, report.png, evaluation.json there.")
    ] = None,
    skip_bad: o.SkipBad = False,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Measure a reward model on judged texts it has not seen, or a policy on any text."""
    if _is_policy(model):
        _evaluate_policy(model, source, reading, report, skip_bad=skip_bad, json=json, quiet=quiet)
        return
    import tastemaker as tm
    from tastemaker.evaluate.rewardbench import evaluate_rewardbench

    taste = tm.load(model)
    reading = _like_the_training(reading, taste.contract, source)
    items = _items(source, reading)
    if items is not None:
        found = evaluate_rewardbench(taste, items)
        o.say_json(found.as_dict()) if json else o.say(str(found))
        return
    skipped: list[Any] | None = [] if skip_bad else None
    judgements = reading.judgements([source], skipped)
    o.note_skipped(skipped or [], quiet=quiet)
    known: dict[str, Any] = {
        "baseline": taste.baseline,
        "training_fingerprints": taste.training_fingerprints,
    }
    measured = tm.evaluate(taste, judgements, seed=reading.seed, **known)
    if report is not None:
        tm.write_report(measured, report)
        o.note(f"report: {report / 'report.html'}", quiet=quiet)
    if json:
        o.say_json(measured.as_dict() | ({} if skipped is None else {"skipped": len(skipped)}))
    else:
        o.say(str(measured))


def _is_policy(folder: Path) -> bool:
    """Return whether a folder holds a language model, and not a reward model, which may be made of one."""
    if not (folder / "config.json").is_file() or (folder / "tastemaker.json").is_file():
        return False
    from tastemaker.gpt.networks import is_causal

    return is_causal(folder)


def _evaluate_policy(
    model: Path,
    source: str,
    reading: o.Reading,
    report: Path | None,
    *,
    skip_bad: bool,
    json: bool,
    quiet: bool,
) -> None:
    import tastemaker as tm
    from tastemaker.errors import UsageError

    if report is not None:
        raise UsageError(
            "--report is of a reward model; a policy's perplexity is a line. Leave it out."
        )
    named = reading.columns if reading.text_column or reading.prompt_column else None
    documents = tm.Documents(
        [source], reading.split, named, reading.format, leave_out_bad=skip_bad, limit=reading.limit
    )
    policy = tm.Policy.load(model)
    for line in policy.notes:
        o.note(line, quiet=quiet)
    found = tm.perplexity(policy, documents)
    o.note_skipped(documents.bad, quiet=quiet)
    o.say_json(found.as_dict()) if json else o.say(str(found))


def _like_the_training(reading: o.Reading, contract: Any, source: str) -> o.Reading:
    """Return how to read, completed by what the model learned from; the split `test` of a source that has splits."""
    from tastemaker.data.reading import has_splits

    grades = contract.links.get("grade")
    return replace(
        reading,
        positive=reading.positive or contract.labels.get("positive"),
        scale=reading.scale or (f"{grades['lowest']},{grades['highest']}" if grades else None),
        split=reading.split or ("test" if has_splits(source) else None),
    )


def _items(source: str, reading: o.Reading) -> Any:
    """Return RewardBench 2's rows, where the source holds them and no column was named."""
    from tastemaker.data.reading import rewardbench_items

    named = (reading.text_column, reading.label_column, reading.grade_column, reading.rating_column)
    return (
        None
        if any(named)
        else rewardbench_items(source, split=reading.split, format=reading.format)
    )


evaluate.__doc__ = EXAMPLE
