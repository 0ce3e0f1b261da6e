"""`tastemaker evaluate`: how far to trust a reward model."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tastemaker.cli import options as o

EXAMPLE = """Measure a reward model on judged texts it has not seen.

Examples:

  tastemaker evaluate taste aclImdb.tar.gz --split test

  tastemaker evaluate taste aclImdb.tar.gz --split test --report report --json

Rows of RewardBench 2 are recognised and scored by its own rule:

  tastemaker evaluate taste reward-bench-2.parquet
"""


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="A folder saved by `tastemaker fit`.")],
    source: Annotated[str, typer.Argument(help="aclImdb folder or .tar.gz, JSONL, CSV, TSV, Parquet, hub name.")],
    split: Annotated[str | None, typer.Option(help="Which part of the source: test where it has one.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write report.html, report.png, evaluation.json there.")] = None,
    target: o.Target = None,
    limit: o.Limit = None,
    seed: o.Seed = 0,
    text_column: o.TextColumn = None,
    prompt_column: o.PromptColumn = None,
    label_column: o.LabelColumn = None,
    grade_column: o.GradeColumn = None,
    rating_column: o.RatingColumn = None,
    positive: o.Positive = None,
    scale: o.Scale = None,
    format: o.Format = None,
    skip_bad: o.SkipBad = False,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Measure a reward model on judged texts it has not seen."""
    import tastemaker as tm
    from tastemaker.data.read import has_splits
    from tastemaker.evaluation.rewardbench import evaluate_rewardbench

    taste = tm.load(model)
    positive = positive or taste.contract.labels.get("positive")
    grades = taste.contract.links.get("grade")
    scale = scale or (f"{grades['lowest']},{grades['highest']}" if grades else None)
    split = split or ("test" if has_splits(source) else None)
    items = None if any((text_column, label_column, grade_column, rating_column)) else _items(source, split, format)
    if items is not None:
        found = evaluate_rewardbench(taste, items)
        o.say_json(found.as_dict()) if json else o.say(str(found))
        return
    columns = o.columns_from(text_column, prompt_column, label_column, grade_column, rating_column, positive, scale)
    how: dict[str, Any] = {
        "split": split,
        "target": target,
        "limit": limit,
        "seed": seed,
        "columns": columns,
        "format": format,
    }
    judgements, bad = o.read_sources([source], skip_bad=skip_bad, quiet=quiet, **how)
    measured = tm.evaluate(
        taste,
        judgements,
        baseline=taste.baseline,
        training_fingerprints=taste.training_fingerprints,
        seed=seed,
    )
    if report is not None:
        tm.write_report(measured, report)
        o.note(f"report: {report / 'report.html'}", quiet=quiet)
    if json:
        o.say_json(measured.as_dict() | ({"skipped": len(bad)} if skip_bad else {}))
    else:
        o.say(str(measured))


def _items(source: str, split: str | None, format: str | None) -> Any:
    from tastemaker.data.read import rewardbench_items

    return rewardbench_items(source, split=split, format=format)


evaluate.__doc__ = EXAMPLE
