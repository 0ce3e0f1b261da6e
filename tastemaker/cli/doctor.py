"""`tastemaker doctor`: what is wrong with a data set, before a model is trained on it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tastemaker.cli import options as o

EXAMPLE = """Look for what is wrong with judgements before a model is trained on them.

Examples:

  tastemaker doctor comparisons.jsonl --report report

  tastemaker doctor train.jsonl --test test.jsonl --backbone minilm --max-length 256 --strict
"""


def doctor(
    sources: Annotated[
        list[str], typer.Argument(help="aclImdb folder or .tar.gz, JSONL, CSV, TSV, Parquet, hub name.")
    ],
    test: Annotated[str | None, typer.Option(help="The data that a model will be tested on: does it leak?")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens that will be read of a text.")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Whose tokens: linear (words), minilm, a model folder or a hub name.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for a problem worse than a note.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write doctor.html and doctor.json there.")] = None,
    format: o.Format = None,
    split: o.Split = None,
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
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> int:
    """Look for what is wrong with judgements before a model is trained on them."""
    from tastemaker.evaluation.doctor import doctor as diagnose
    from tastemaker.evaluation.doctor_page import write_doctor_page
    from tastemaker.models.backbones.counting import token_counter

    columns = o.columns_from(text_column, prompt_column, label_column, grade_column, rating_column, positive, scale)
    how: dict[str, Any] = {"target": target, "columns": columns, "format": format}
    odd_rows: list[Any] = []
    judgements = [j for s in sources for j in _read(s, odd_rows, split=split, limit=limit, seed=seed, **how)]
    tested = [] if test is None else _read(test, [], split=_test_split(test), **how)
    backbone = backbone or ("linear" if max_length is not None else None)
    count = None if backbone is None else token_counter(backbone)
    found = diagnose(judgements, test=tested, odd_rows=odd_rows, max_length=max_length, count_tokens=count)
    if report is not None:
        write_doctor_page(found, report)
        o.note(f"report: {report / 'doctor.html'}", quiet=quiet)
    if json:
        o.say_json(found.as_dict())
    else:
        o.say(str(found))
    return int(strict and not found.is_healthy)


def _test_split(source: str) -> str | None:
    from tastemaker.data.read import has_splits

    return "test" if has_splits(source) else None


def _read(source: str, odd_rows: list[Any], **options: Any) -> list[Any]:
    """Read what can be read; a source without a readable row is a finding too, but one that is not there is not."""
    import tastemaker as tm

    known = len(odd_rows)
    try:
        return tm.read(source, skip_bad=odd_rows, **options)
    except tm.DataError:
        if len(odd_rows) == known:
            raise
        return []


doctor.__doc__ = EXAMPLE
