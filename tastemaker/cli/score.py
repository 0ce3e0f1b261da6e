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
"""


def score(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="A folder saved by `tastemaker fit`.")],
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; `-` reads one a line.")] = None,
    file: Annotated[Path | None, typer.Option(help="Score the rows of a JSONL, CSV, TSV or Parquet file …")] = None,
    out: Annotated[Path | None, typer.Option(help="… into this file, with the input's columns kept.")] = None,
    precision: o.Precision = "float32",
    text_column: o.TextColumn = None,
    prompt_column: o.PromptColumn = None,
    score_column: Annotated[str, typer.Option(help="The name of the column that is added.")] = "score",
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
    if file is not None and out is not None:
        done = tm.score_file(
            taste,
            file,
            out,
            text_column=text_column,
            prompt_column=prompt_column,
            score_column=score_column,
            precision=precision,
        )
        if json:
            o.say_json({"out": str(out), "rows": done.rows, "truncated": done.truncated})
        else:
            o.say(f"{done.rows:,} rows scored into {out}")
        _note_truncated(taste, done.truncated, done.rows, quiet=quiet)
    elif texts == ["-"]:
        _score_lines(taste, precision, json=json, quiet=quiet)
    else:
        _score_texts(taste, texts or [], precision, json=json, quiet=quiet)


def _score_texts(taste: Any, texts: list[str], precision: Any, *, json: bool, quiet: bool) -> None:
    from tastemaker.data.judgements import Example

    scores = taste.score_all([Example(text) for text in texts], precision=precision)
    meanings = taste.meanings(scores)
    truncated = int(scores.truncated.sum())
    if json:
        o.say_json({"scores": scores.as_list(), **meanings, "truncated": truncated})
    else:
        for number, text in enumerate(texts):
            said = "".join(f"  {_ONE[name]} {values[number]:.2f}" for name, values in meanings.items())
            o.say(f"{scores.values[number]:+.3f}{said}  {' '.join(text.split()):.80}")
    _note_truncated(taste, truncated, len(texts), quiet=quiet)


def _score_lines(taste: Any, precision: Any, *, json: bool, quiet: bool) -> None:
    """Score one text a line as they arrive; with --json all scores in one object at the end."""
    from tastemaker.scoring import score_lines

    scores: list[float] = []
    rows = truncated = 0
    for line, value, cut in score_lines(taste, sys.stdin, precision=precision):
        rows, truncated = rows + 1, truncated + int(cut)
        if json:
            scores.append(value)
        else:
            o.say(f"{value:+.4f}\t{line}")
    if json:
        o.say_json({"scores": scores, "truncated": truncated})
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
