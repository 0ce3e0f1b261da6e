"""What `score` prints of texts and of lines of standard input."""

import sys
from pathlib import Path
from typing import Any

from tastemaker.cli import options as o
from tastemaker.cli.reading import Reading

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


def _as_read(reading: Reading) -> dict[str, Any]:
    """Return what a file and the anchor's source were read as, where there are any."""
    return {"read_as": reading.as_list()} if reading.read_as else {}


def say_scored(
    taste: Any,
    counts: Any,
    out: Path,
    reading: Reading,
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
    reading: Reading,
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
    reading: Reading,
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
