"""`tastemaker doctor`: what is wrong with a data set, before a model is trained on it."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tastemaker.cli import options as o

EXAMPLE = """Look for what is wrong with judgements before a model is trained on them.

Examples:

  tastemaker doctor comparisons.jsonl --report report

  tastemaker doctor train.jsonl --test test.jsonl --backbone minilm --max-length 256 --strict
"""


@o.gathers(reading=o.Reading)
def doctor(
    sources: Annotated[
        list[str],
        typer.Argument(help="aclImdb folder or .tar.gz, JSONL, CSV, TSV, Parquet, hub name."),
    ],
    reading: o.Reading,
    test: Annotated[
        str | None, typer.Option(help="The data that a model will be tested on: does it leak?")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens that will be read of a text.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Whose tokens: linear (words), minilm, a model folder or a hub name."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 for a problem worse than a note.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write doctor.html and doctor.json there.")
    ] = None,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> int:
    """Look for what is wrong with judgements before a model is trained on them."""
    import tastemaker as tm
    from tastemaker.data.reading import has_splits
    from tastemaker.reward.backbones.opening import token_counter

    odd_rows: list[Any] = []
    judgements = [judgement for source in sources for judgement in _read(source, reading, odd_rows)]
    tested: list[Any] = []
    if test is not None:
        tested = _read(
            test, replace(reading, split="test" if has_splits(test) else None, limit=None), []
        )
    backbone = backbone or ("linear" if max_length is not None else None)
    count = None if backbone is None else token_counter(backbone)
    found = tm.doctor(
        judgements, test=tested, odd_rows=odd_rows, max_length=max_length, count_tokens=count
    )
    if report is not None:
        tm.write_doctor_page(found, report)
        o.note(f"report: {report / 'doctor.html'}", quiet=quiet)
    if json:
        o.say_json(found.as_dict())
    else:
        o.say(str(found))
    return int(strict and not found.is_healthy)


def _read(source: str, reading: o.Reading, odd_rows: list[Any]) -> list[Any]:
    """Read what can be read; a source without a readable row is a finding too, but one that is not there is not."""
    from tastemaker.errors import DataError

    known = len(odd_rows)
    try:
        return reading.judgements([source], odd_rows)
    except DataError:
        if len(odd_rows) == known:
            raise
        return []


doctor.__doc__ = EXAMPLE
