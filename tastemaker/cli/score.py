"""`tastemaker score`: any text → a number."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tastemaker.cli import options as o

_ONE = {"probabilities": "P(positive)", "ratings": "rating"}
"""How one of each meaning is called on screen."""

EXAMPLE = """Score texts, lines of standard input, or a file.

Examples:

  tastemaker score taste "I was moved to tears, twice, and left the cinema grinning."

  head reviews.txt | tastemaker score taste -

  tastemaker score taste --file reviews.csv --out scored.parquet

An ensemble (`fit --members 5`) also says how far its members disagree, and can be cautious about it:

  tastemaker score taste --uncertainty --caution 1 "Well."
"""


def score(
    model: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder saved by `tastemaker fit`.")
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; `-` reads one a line.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Score the rows of a JSONL, CSV, TSV or Parquet file …")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="… into this file, with the input's columns kept.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What the texts answer.")] = None,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Say how far an ensemble disagrees.")
    ] = False,
    caution: Annotated[
        str,
        typer.Option(
            help="Of an ensemble: λ of mean − λ·deviation, or minimum for its lowest member."
        ),
    ] = "0",
    precision: o.Precision = "float32",
    text_column: o.TextColumn = None,
    prompt_column: o.PromptColumn = None,
    score_column: Annotated[
        str, typer.Option(help="The name of the column that is added.")
    ] = "score",
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Score texts, lines of standard input, or a file."""
    import tastemaker as tm
    from tastemaker.errors import UsageError

    if (file is None) == (not texts):
        raise UsageError("give either texts (or - for standard input) or --file, one of the two.")
    if (file is None) != (out is None):
        raise UsageError("--file and --out belong together: rows in, rows and scores out.")
    taste = tm.load(model)
    how: dict[str, Any] = {"precision": precision, "caution": o.caution_of(caution)}
    if file is not None and out is not None:
        done = tm.score_file(
            taste,
            file,
            out,
            text_column=text_column,
            prompt_column=prompt_column,
            score_column=score_column,
            uncertainty=uncertainty,
            **how,
        )
        if json:
            o.say_json({"out": str(out), "rows": done.rows, "truncated": done.truncated})
        else:
            o.say(f"{done.rows:,} rows scored into {out}")
        _note_truncated(taste, done.truncated, done.rows, quiet=quiet)
    elif texts == ["-"]:
        _score_lines(taste, how, uncertainty=uncertainty, json=json, quiet=quiet)
    else:
        examples = [tm.Example(text, prompt) for text in texts or []]
        _score_texts(taste, examples, how, uncertainty=uncertainty, json=json, quiet=quiet)


def _deviations(scores: Any) -> list[float]:
    """Return how far the members disagree. Raises UsageError for a single model."""
    from tastemaker.errors import UsageError

    if scores.uncertainty is None:
        raise UsageError(
            "--uncertainty needs an ensemble, and this is a single model. Fit one with --members 5."
        )
    found: list[float] = scores.uncertainty.tolist()
    return found


def _score_texts(
    taste: Any,
    examples: list[Any],
    how: dict[str, Any],
    *,
    uncertainty: bool,
    json: bool,
    quiet: bool,
) -> None:
    scores = taste.score_all(examples, precision=how["precision"])
    deviations = _deviations(scores) if uncertainty else None
    meanings = taste.meanings(scores)
    scores = scores.cautious(how["caution"])
    truncated = int(scores.truncated.sum())
    if json:
        found = {"scores": scores.as_list(), **meanings, "truncated": truncated}
        o.say_json(found | ({"uncertainty": deviations} if deviations is not None else {}))
    else:
        for number, example in enumerate(examples):
            said = f" ± {deviations[number]:.3f}" if deviations is not None else ""
            said += "".join(
                f"  {_ONE[name]} {values[number]:.2f}" for name, values in meanings.items()
            )
            o.say(f"{scores.values[number]:+.3f}{said}  {' '.join(example.text.split()):.80}")
    _note_truncated(taste, truncated, len(examples), quiet=quiet)


def _score_lines(
    taste: Any, how: dict[str, Any], *, uncertainty: bool, json: bool, quiet: bool
) -> None:
    """Score one text a line as they arrive; with --json all scores in one object at the end."""
    from tastemaker.bulk import score_lines

    scores: list[float] = []
    deviations: list[float] = []
    rows = truncated = 0
    for line in score_lines(taste, sys.stdin, uncertainty=uncertainty, **how):
        rows, truncated = rows + 1, truncated + int(line.truncated)
        if json:
            scores.append(line.score)
            deviations += [] if line.uncertainty is None else [line.uncertainty]
        else:
            said = "" if line.uncertainty is None else f" ± {line.uncertainty:.4f}"
            o.say(f"{line.score:+.4f}{said}\t{line.text}")
    if json:
        found: dict[str, Any] = {"scores": scores, "truncated": truncated}
        o.say_json(found | ({"uncertainty": deviations} if uncertainty else {}))
    _note_truncated(taste, truncated, rows, quiet=quiet)


def _note_truncated(taste: Any, truncated: int, rows: int, *, quiet: bool) -> None:
    if truncated:
        contract = taste.contract
        side = "start" if contract.cut == "left" else "end"
        o.note(
            f"{truncated:,} of {rows:,} texts are longer than the {contract.max_length} tokens that this model reads; "
            f"their {side} was cut off.",
            quiet=quiet,
        )


score.__doc__ = EXAMPLE
