"""The options that several verbs share, and what they mean, written once."""

import functools
import inspect
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tastemaker.errors import UsageError

_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_LISTED = 20
"""Rows that are left out are listed up to so many."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")
]
Split = Annotated[
    str | None, typer.Option(help="Which part of a source that has parts: train, test, unsup …")
]
Target = Annotated[
    Literal["label", "rating"] | None,
    typer.Option(help="label or rating; left out: everything that was judged."),
]
Limit = Annotated[int | None, typer.Option(help="Only so many texts, chosen at random by --seed.")]
Precision = Annotated[
    Literal["float32", "fast", "bfloat16", "int8"],
    typer.Option(help="float32 is what the contract proves; fast is what this processor gains by."),
]
Seed = Annotated[int, typer.Option(help="Same seed, same bits on one CPU.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to compute.")]
TextColumn = Annotated[
    str | None, typer.Option(help="The column that holds the text, where it is not recognised.")
]
PromptColumn = Annotated[str | None, typer.Option(help="The column that holds the prompt.")]
LabelColumn = Annotated[str | None, typer.Option(help="The column that holds a yes-or-no label.")]
GradeColumn = Annotated[
    str | None, typer.Option(help="The column that holds a whole-number grade.")
]
RatingColumn = Annotated[
    str | None, typer.Option(help="The column that holds a rating, any number.")
]
Positive = Annotated[
    str | None, typer.Option(help="Which label value means positive, where it is not obvious.")
]
Scale = Annotated[
    str | None, typer.Option(help="The scale of the grades or ratings: LOWEST,HIGHEST such as 1,5.")
]

Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with a killed run, to the same bits.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what OUT holds.")]
Format = Annotated[
    str | None,
    typer.Option(help="The shape of the rows, where it is not recognised: hh, pandalm, table …"),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out rows that cannot be read; count and list them."),
]


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take a verb's options from a YAML file; what the command line says wins. Unknown keys fail."""
    if path is None or context.resilient_parsing:
        return path
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path}: cannot be read as YAML ({' '.join(str(error).split())})."
        ) from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: must hold `option: value` lines, not {type(values).__name__}.")
    known = {p.name: p for p in context.command.params if p.name not in ("config", "help")}
    settings = {str(key).replace("-", "_"): value for key, value in values.items()}
    for key in settings:
        if key not in known:
            raise UsageError(
                f"{path}: unknown key {key!r}. Known here: {', '.join(sorted(n for n in known if n))}."
            )
    context.default_map = {**(context.default_map or {}), **settings}
    return path


Config = Annotated[
    Path | None,
    typer.Option(
        help="A YAML file with this verb's options; the command line wins.",
        callback=_read_config,
        is_eager=True,
    ),
]


@dataclass(frozen=True)
class Reading:
    """How a verb was told to read its sources."""

    split: Split = None
    target: Target = None
    limit: Limit = None
    seed: Seed = 0
    text_column: TextColumn = None
    prompt_column: PromptColumn = None
    label_column: LabelColumn = None
    grade_column: GradeColumn = None
    rating_column: RatingColumn = None
    positive: Positive = None
    scale: Scale = None
    format: Format = None

    @property
    def columns(self) -> Any:
        """The columns that were named. Raises UsageError for a scale that is not two numbers."""
        from tastemaker.data.columns import Columns

        return Columns(
            text=self.text_column,
            prompt=self.prompt_column,
            label=self.label_column,
            grade=self.grade_column,
            rating=self.rating_column,
            positive=self.positive,
            scale=_scale(self.scale),
        )

    def judgements(self, sources: Sequence[str], skipped: list[Any] | None = None) -> list[Any]:
        """Return the judgements of all sources; rows that cannot be read go to `skipped`, if there is such a list."""
        import tastemaker as tm

        how: dict[str, Any] = {
            "target": self.target,
            "limit": self.limit,
            "seed": self.seed,
            "format": self.format,
        }
        how |= {"split": self.split, "columns": self.columns, "skip_bad": skipped}
        return [judgement for source in sources for judgement in tm.read(source, **how)]


def gathers(**groups: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a verb, in the place of each parameter named here, the options that are the fields of a dataclass.

    The verb is handed one object of that class. Typer asks a function for its signature, so that is what is made.
    """

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        shared = {name: [_parameter(f) for f in fields(group)] for name, group in groups.items()}

        @functools.wraps(verb)
        def run(**options: Any) -> Any:
            made = {
                name: group(**{f.name: options.pop(f.name) for f in fields(group)})
                for name, group in groups.items()
            }
            return verb(**options, **made)

        own = inspect.signature(verb).parameters.items()
        kept = [parameter.replace(kind=_KEYWORD) for name, parameter in own if name not in groups]
        parameters = [*kept, *chain.from_iterable(shared.values())]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(option: Field[Any]) -> inspect.Parameter:
    return inspect.Parameter(option.name, _KEYWORD, default=option.default, annotation=option.type)


def note_skipped(skipped: Sequence[Any], *, quiet: bool) -> None:
    """List on stderr the rows that were left out."""
    for error in skipped[:_LISTED]:
        note(f"left out: {error}", quiet=quiet)
    if skipped:
        more = f", {_LISTED} of them listed above" if len(skipped) > _LISTED else ""
        note(f"{len(skipped):,} rows were left out because they cannot be read{more}.", quiet=quiet)


def _scale(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    lowest, highest = two_numbers("--scale", text)
    if lowest >= highest:
        raise UsageError(f"--scale {text!r}: the lowest must be below the highest.")
    return lowest, highest


def caution_of(text: str) -> Any:
    """Return the caution that an option says. Raises UsageError unless it is a number or `minimum`."""
    from tastemaker.errors import UsageError

    if text == "minimum":
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--caution {text!r}: a number such as 1, or minimum.") from None


def two_numbers(option: str, text: str) -> tuple[int, int]:
    """Return two whole numbers with a comma between. Raises UsageError for anything else."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{option} {text!r}: two whole numbers with a comma between, such as 1,5."
        ) from None
    return first, second


def settings(option: str, given: Sequence[str] | None) -> dict[str, Any]:
    """Return NAME=VALUE settings; a value that is no JSON is a word. Raises UsageError for one without a value."""
    found: dict[str, Any] = {}
    for setting in given or ():
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"{option} {setting}: write NAME=VALUE, such as gamma=0.99.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def say(text: str) -> None:
    """Print a line for people on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str, *, quiet: bool) -> None:
    """Print a side remark on stderr, unless told to be quiet."""
    if not quiet:
        sys.stderr.write(text + "\n")


def say_json(values: dict[str, Any]) -> None:
    """Print one JSON object on stdout."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")
