"""Show what a source is read as before anything is trained: columns, examples, other readings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from tastemaker.data.formats.single import to_row
from tastemaker.data.judgement_columns import JUDGEMENTS
from tastemaker.data.judgements import Judgement
from tastemaker.data.packed import unpacked_name
from tastemaker.data.read_as import ReadAs
from tastemaker.data.reading import read
from tastemaker.data.roles import Columns, Roles, with_roles
from tastemaker.data.source_names import is_several
from tastemaker.data.values import word_count
from tastemaker.errors import DataError, UsageError
from tastemaker.readable import notebook_html

_EXAMPLES = 3
_REASONS = {
    "unreadable": "left out: cannot be read",
    "no_judgement": "left out: no judgement",
}
_SHOWN = 60


@dataclass(frozen=True)
class Inspection:
    """What a source is read as. examples: three judgements. changes: what options would change."""

    read_as: ReadAs
    examples: tuple[Judgement, ...]
    changes: tuple[str, ...]
    skipped: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            **self.read_as.as_dict(),
            "examples": [to_row(judgement) for judgement in self.examples],
            "options": list(self.changes),
            "skipped": self.skipped,
        }

    def _repr_html_(self) -> str:
        """Return what was read and three judgements, for a notebook."""
        rows = [["example", "field", "value"]]
        for number, judgement in enumerate(self.examples, 1):
            for name, value in to_row(judgement).items():
                rows.append([str(number), name, str(value)])
        return notebook_html([str(self.read_as), *self.changes], rows)

    def __str__(self) -> str:
        """Return the lines for the shell."""
        shown = self.read_as
        lines = [str(shown), f"  {_counts(shown.kinds)} in {shown.source}"]
        for reason, words in _REASONS.items():
            if count := shown.left_out.get(reason):
                rows = "1 row" if count == 1 else f"{count:,} rows"
                lines.append(f"  {rows} {words}")
        lines += [f"  note: {note}" for note in shown.notes]
        for number, judgement in enumerate(self.examples, 1):
            lines.append(f"example {number}, {judgement.where}:")
            for name, value in to_row(judgement).items():
                lines.append(f"  {name:<10} {_one_line(value)}")
        if self.changes:
            lines.append("What options would change:")
            lines += [f"  {change}" for change in self.changes]
        return "\n".join(lines)


def inspect(
    source: Any,
    *,
    columns: Columns | None = None,
    format: str | None = None,
    split: str | None = None,
    **roles: Unpack[Roles],
) -> Inspection:
    """Return what a source is read as, with examples and what each option would change.

        print(tm.inspect("reviews.csv"))

    The arguments are those of `read`. Rows that cannot be read are counted. Raises DataError for a
    source of which nothing can be read.
    """
    if is_several(source):
        raise UsageError(
            f"inspect shows one source, and here are {len(source)}. Inspect each."
        )
    report: list[ReadAs] = []
    skipped: list[DataError] = []
    chosen = with_roles(columns, roles)
    judgements = read(
        source,
        columns=chosen,
        format=format,
        split=split,
        skip_bad=skipped,
        report=report,
    )
    shown = report[0]
    return Inspection(
        shown,
        _examples(judgements),
        tuple(_changes(shown, has_header=_is_headed(shown, chosen))),
        shown.left_out.get("unreadable", 0),
    )


def _examples(
    judgements: Sequence[Judgement],
) -> tuple[Judgement, ...]:
    """Return three judgements of different rows, of different kinds where there are some."""
    chosen: list[Judgement] = []
    for judgement in judgements:
        kinds = {each.kind for each in chosen}
        places = {each.where for each in chosen}
        if judgement.kind not in kinds or judgement.where not in places:
            chosen.append(judgement)
        if len(chosen) == _EXAMPLES:
            break
    return tuple(chosen)


def _is_headed(shown: ReadAs, columns: Columns | None) -> bool:
    """Return whether the first line of a table names its columns."""
    is_lines = Path(unpacked_name(Path(shown.source))).suffix in (
        ".csv",
        ".tsv",
    )
    return is_lines and not (columns and columns.header)


def _changes(shown: ReadAs, *, has_header: bool) -> list[str]:
    """Return a line for each option that would read a source in another way."""
    changes = []
    for column in _prose(shown):
        if column not in shown.cells:
            continue
        cell = shown.cells[column]
        for role in ("text", "prompt"):
            if role != "prompt" or role not in shown.roles:
                changes.append(
                    f"--{role}-column {column}: the {role} would be {cell}"
                )
    judging = [role for role in shown.roles if role in JUDGEMENTS]
    is_needed = len(judging) < 2 or shown.format != "table"
    for role, column in shown.roles.items():
        if role in judging and is_needed:
            continue
        if role in _SWITCHED:
            changes.append(f"--{role}-column none: {column} would not be read")
    if "rating" not in shown.roles and "grade" in shown.roles:
        column = shown.roles["grade"]
        changes.append(
            f"--rating-column {column}: any number instead of steps of a scale"
        )
    changes += _changed_values(shown)
    if has_header:
        changes.append("--header NAME,...: the first line would be a row")
    return changes


def _changed_values(shown: ReadAs) -> list[str]:
    """Return a line for each option about values, rather than columns, that would apply."""
    changes = []
    details = shown.details
    if shown.format == "table" and "label" in shown.roles:
        now = details.get("label") or "none is"
        changes.append(f"--positive VALUE: another label is good; now {now}")
        changes.append(
            "--order WORST,...,BEST: classes of the label column as grades"
        )
    if shown.format == "table" and {"grade", "rating"} & shown.roles.keys():
        now = details.get("grade") or details.get("rating") or "as the values"
        changes.append(f"--scale LOWEST,HIGHEST: another scale; now {now}")
        if " < " in now:
            changes.append("--order WORST,...,BEST: another order")
    if shown.format == "answers":
        now = details.get("better") or details.get("answers", "best first")
        changes.append(
            "--answers COLUMN,... --better COLUMN: other columns are compared"
        )
        changes.append(
            f"--first VALUE,... --tie VALUE,...: what wins; now {now}"
        )
    elif shown.format == "table" and len(_prose(shown)) > 1:
        columns = ",".join(_prose(shown))
        changes.append(
            f"--answers {columns}: they would be compared, the best first"
        )
    return changes


def _prose(shown: ReadAs) -> list[str]:
    """Return the text column, and the columns not used that hold texts of several words."""
    columns = [shown.roles["text"]] if "text" in shown.roles else []
    for column, cell in shown.cells.items():
        if cell[:1] in {"'", '"'} and word_count(cell[1:-1]) > 1:
            columns.append(column)
    return columns


_SWITCHED = (
    "prompt",
    "system",
    "label",
    "grade",
    "rating",
    "judge",
    "time",
    "weight",
)


def _counts(
    kinds: dict[str, int],
) -> str:
    parts = [f"{count:,} {kind}s" for kind, count in kinds.items()]
    return ", ".join(parts) or "no judgements"


def _one_line(
    value: Any,
) -> str:
    line = " ".join(str(value).split())
    plain = "".join(c if c.isprintable() else "\ufffd" for c in line)
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 1]}…"
