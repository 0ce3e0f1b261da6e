"""The parts of a command line: options in panels, settings made into options, and `--config`."""

import functools
import json as json_module
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from tastemaker.errors import UsageError
from tastemaker.readable import visible, visible_json
from tastemaker.settings import MAIN, nearest, numbers_of, scale_of, weight_of

F = TypeVar("F", bound=Callable[..., Any])
Settings = dict[str, Any]
"""Those settings of a settings object that the command line or `--config` gave, by field."""

DATA, REWARDS, BEST_OF, RUN = "Data", "Rewards", "Best of n", "Run"
SOURCES = (
    "aclImdb folder or .tar.gz, JSONL, CSV, TSV, Parquet, hub name; columns may follow: "
    "reviews.csv:text=words,grade=stars."
)
PATH = click.Path(path_type=Path)
_LISTED = 20
"""Rows that were left out are listed up to this many."""


class Option(click.Option):
    """An option that stands in a panel of `--help`. shown: the default, in words."""

    def __init__(
        self,
        names: Sequence[str],
        panel: str = MAIN,
        shown: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(names, **more)
        default = more.get("default")
        if shown is None and default is not None:
            shown = str(default)
        self.panel, self.meaning, self.shown = (
            panel,
            self.help or "",
            shown or "",
        )
        if self.shown:
            self.help = f"{self.meaning} [default: {self.shown}]"


class Verb(click.Command):
    """A command whose `--help` shows its options in panels: the main ones first, the run last."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        more["context_settings"] = {"max_content_width": 100}
        super().__init__(*arguments, **more)

    def panels(
        self, context: click.Context
    ) -> dict[str, list[click.Parameter]]:
        """Return the parameters by panel, in the order in which they are shown."""
        panels: dict[str, list[click.Parameter]] = {MAIN: []}
        for parameter in self.get_params(context):
            if not isinstance(parameter, click.Argument):
                panels.setdefault(getattr(parameter, "panel", RUN), []).append(
                    parameter
                )
        panels[RUN] = panels.pop(RUN)
        return panels

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write each panel as a section."""
        for title, parameters in self.panels(ctx).items():
            records = [
                parameter.get_help_record(ctx) for parameter in parameters
            ]
            rows = [record for record in records if record is not None]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def verb(text: str) -> Callable[[F], Verb]:
    """Make a verb of a function. text: what it does, with examples."""
    return click.command(cls=Verb, help=text)


def option(*names: str, **more: Any) -> Callable[[F], F]:
    """Give a verb an option: click's settings, and `panel` and `shown` as `Option` has them."""
    return click.option(*names, cls=Option, **more)


def flag(name: str, help: str, panel: str = MAIN) -> Callable[[F], F]:
    """Give a verb an option without a value."""
    return option(name, is_flag=True, help=help, panel=panel)


# --- settings objects as options ------------------------------------------------------------------

_TYPES: dict[str, dict[str, Any]] = {
    "float": {"type": float},
    "int": {"type": int},
    "str": {"type": str},
    "bool": {"default": None},
    "texts": {"type": str, "multiple": True},
    "numbers": {"type": numbers_of, "metavar": "INTEGER,..."},
    "weights": {"type": weight_of, "multiple": True, "metavar": "KIND=NUMBER"},
}


@functools.cache
def settings_table() -> dict[str, list[Any]]:
    """Return the settings that are options, by table.

    `scripts/option_tables.py` writes the file from the settings classes, because importing those
    imports torch, and `--help` should not wait for it. A test fails when the file is stale.
    """
    text = (
        Path(__file__).with_name("settings.json").read_text(encoding="utf-8")
    )
    table: dict[str, list[Any]] = json_module.loads(text)
    return table


def settings(
    parameter: str,
    table: str | None = None,
    *,
    shown: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Callable[[F], F]:
    """Give a verb the settings of a table as options; it gets those that were given as a dict.

    shown: the default of all of them, in words. defaults: values that this verb has for some.
    """
    rows = settings_table()[table or parameter]

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(**options: Any) -> Any:
            given: Settings = {}
            for row in rows:
                value = options.pop(row["option"][2:].replace("-", "_"))
                if value is not None and value != ():
                    given[row["field"]] = (
                        dict(value) if row["type"] == "weights" else value
                    )
            return function(**options, **{parameter: given})

        for row in reversed(rows):
            default = (defaults or {}).get(row["field"])
            words = shown or row["default"] if default is None else None
            call = _option_of(row, default, words)(call)
        return call  # type: ignore[return-value]

    return decorate


def _option_of(
    row: Mapping[str, Any], default: Any, shown: str | None
) -> Callable[[F], F]:
    name = row["option"]
    more = dict(_TYPES.get(row["type"], {}))
    if row["type"] == "bool":
        name = f"{name}/--no-{name[2:]}"
    elif row["type"] == "choice":
        more["type"] = click.Choice(row["choices"])
    if default is not None:
        more["default"] = default
    return option(
        name, help=row["help"], panel=row["group"], shown=shown, **more
    )


# --- options that several verbs share -------------------------------------------------------------


def _read_config(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> None:
    """Take a verb's options from a YAML file. Unknown keys are refused."""
    if path is None or context.resilient_parsing:
        return
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = " ".join(str(error).split())
        raise UsageError(
            f"{path}: cannot be read as YAML ({message})."
        ) from error
    if not isinstance(values, dict):
        raise UsageError(
            f"{path}: must hold `option: value` lines, not {type(values).__name__}."
        )
    parameters = {
        p.name: p
        for p in context.command.params
        if p.name and p.name != "config"
    }
    names = {_key_of(p): name for name, p in parameters.items()}
    settings = {}
    for key, value in values.items():
        option = str(key).replace("-", "_")
        if option not in names:
            raise UsageError(
                f"{path}: unknown key {key!r}: {nearest(option, sorted(names))}."
            )
        is_list = getattr(parameters[names[option]], "multiple", False)
        settings[names[option]] = (
            [value] if is_list and not isinstance(value, list) else value
        )
    context.default_map = settings


def _key_of(parameter: click.Parameter) -> str:
    """Return the key of a parameter in `--config`: its longest name."""
    name = max(parameter.opts, key=len)
    return name.lstrip("-").replace("-", "_")


def _several(*decorators: Callable[[Any], Any]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


seed = option(
    "--seed", type=int, default=0, help="Same seed, same bits on one CPU."
)
device = option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    help="Where to compute.",
    panel=RUN,
)
training_precision = option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    help="Number format of the products.",
    panel=RUN,
)
resuming = _several(
    flag("--resume", "Go on with a killed run, to the same bits.", RUN),
    flag("--overwrite", "Replace what OUT holds.", RUN),
)
output = _several(
    option(
        "--config",
        type=PATH,
        callback=_read_config,
        is_eager=True,
        expose_value=False,
        help="A YAML file with this verb's options; the command line wins.",
        panel=RUN,
    ),
    flag(
        "--json",
        "Print one JSON object on stdout and nothing else there.",
        RUN,
    ),
    option(
        "--quiet",
        "-q",
        is_flag=True,
        help="No progress and no notes.",
        panel=RUN,
    ),
)
split = option(
    "--split",
    help="Part of a source that has parts, such as train, test or unsup.",
    panel=DATA,
)
format = option(
    "--format",
    help="Format of the rows if it is not recognised, such as hh, pandalm or table.",
    panel=DATA,
)
skip_bad = flag(
    "--skip-bad",
    "Leave out rows that cannot be read; count and list them.",
    DATA,
)
text_column = option(
    "--text-column", help="Column of the text.", shown="recognised", panel=DATA
)
prompt_column = option(
    "--prompt-column",
    help="Column of the prompt.",
    shown="recognised",
    panel=DATA,
)
chat = flag(
    "--chat", "The prompts are what a user says, to be answered.", DATA
)


@dataclass(frozen=True)
class Reading:
    """How a verb reads its sources. read_as: takes what each was read as."""

    target: str | None = None
    seed: int = 0
    limit: int | None = None
    split: str | None = None
    format: str | None = None
    text_column: str | None = None
    prompt_column: str | None = None
    system_column: str | None = None
    label_column: str | None = None
    grade_column: str | None = None
    rating_column: str | None = None
    judge_column: str | None = None
    time_column: str | None = None
    weight_column: str | None = None
    positive: str | None = None
    scale: tuple[int, int] | None = None
    order: str | None = None
    answers: str | None = None
    better: str | None = None
    first: str | None = None
    tie: str | None = None
    header: str | None = None
    read_as: list[Any] = field(default_factory=list, compare=False)

    @property
    def columns(self) -> Any:
        """The columns that were named."""
        from tastemaker.data.roles import Columns

        columns = {}
        for each in fields(Columns):
            name = each.name
            value = getattr(self, f"{name}_column", None)
            value = getattr(self, name, value)
            if value is not None:
                columns[name] = value
        return Columns(**columns)

    def judgements(
        self, sources: Sequence[str], skipped: list[Any] | None = None
    ) -> list[Any]:
        """Return the judgements of all sources. Rows that cannot be read go to `skipped`."""
        import tastemaker as tm

        judgements: list[Any] = []
        for source in sources:
            judgements += tm.read(
                source,
                target=self.target,  # type: ignore[arg-type]
                limit=self.limit,
                seed=self.seed,
                format=self.format,
                split=self.split,
                columns=self.columns,
                skip_bad=skipped,
                report=self.read_as,
            )
        return judgements

    def say(self, *, json: bool, quiet: bool) -> None:
        """Print on stderr what each source was read as; with --json that is in the object."""
        for each in self.read_as:
            name = f"{each.source} " if len(self.read_as) > 1 else ""
            note(f"{name}{each}", quiet=json or quiet)
            for line in each.notes:
                note(f"  note: {line}", quiet=json or quiet)

    def as_list(self) -> list[dict[str, Any]]:
        """Return what each source was read as, for JSON."""
        return [each.as_dict() for each in self.read_as]


def _column(role: str, what: str) -> Callable[[F], F]:
    return option(
        f"--{role}-column",
        help=f"Column of {what}; none: leave it out.",
        shown="recognised",
        panel=DATA,
    )


_reading_options = _several(
    option(
        "--target",
        type=click.Choice(["label", "rating"]),
        help="Which judgements to take; left out: all.",
    ),
    seed,
    option(
        "--limit",
        type=int,
        help="Only so many texts, drawn by --seed.",
        panel=DATA,
    ),
    split,
    format,
    text_column,
    prompt_column,
    _column("system", "the system prompt"),
    _column("label", "a yes-or-no label"),
    _column("grade", "a whole number"),
    _column("rating", "any number"),
    _column("judge", "who judged"),
    _column("time", "when it was judged"),
    _column("weight", "how many judgements a row counts for"),
    option(
        "--positive",
        help="Label that means positive, where it is not obvious.",
        panel=DATA,
    ),
    option(
        "--scale",
        type=scale_of,
        metavar="LOWEST,HIGHEST",
        help="Scale of the grades or ratings, such as 1,5.",
        panel=DATA,
    ),
    option(
        "--order",
        metavar="WORST,...,BEST",
        help="Order of the classes of the label column, such as low,medium,high.",
        panel=DATA,
    ),
    option(
        "--answers",
        metavar="COLUMN,...",
        help="Columns of the texts that are compared; without --better, best first.",
        panel=DATA,
    ),
    option(
        "--better",
        metavar="COLUMN",
        help="Column that says which of the answers is better.",
        panel=DATA,
    ),
    option(
        "--first",
        metavar="VALUE",
        help="Value of --better that means the first answer, where it is not obvious.",
        panel=DATA,
    ),
    option(
        "--tie",
        metavar="VALUE",
        help="Value of --better that means a tie.",
        panel=DATA,
    ),
    option(
        "--header",
        metavar="NAME,...",
        help="Names of the columns of a CSV or TSV file without a header.",
        panel=DATA,
    ),
)


def reading(function: F) -> F:
    """Give a verb the options about its sources; it gets them as one `Reading`."""

    @functools.wraps(function)
    def call(**options: Any) -> Any:
        values = {}
        for each in fields(Reading):
            if each.name != "read_as":
                values[each.name] = options.pop(each.name)
        return function(**options, reading=Reading(**values))

    return _reading_options(call)  # type: ignore[return-value]


# --- what is printed ------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print a line on stdout."""
    sys.stdout.write(visible(text) + "\n")


def note(text: str, *, quiet: bool) -> None:
    """Print a side remark on stderr, unless quiet."""
    if not quiet:
        sys.stderr.write(visible(text) + "\n")


def say_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    text = json_module.dumps(values, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(visible_json(text) + "\n")


def note_skipped(skipped: Sequence[Any], *, quiet: bool) -> None:
    """List on stderr the rows that were left out."""
    for error in skipped[:_LISTED]:
        note(f"left out: {error}", quiet=quiet)
    if skipped:
        more = (
            f", {_LISTED} of them listed above"
            if len(skipped) > _LISTED
            else ""
        )
        note(
            f"{len(skipped):,} rows were left out because they cannot be read{more}.",
            quiet=quiet,
        )


def comparisons(
    sources: tuple[str, ...],
    reading: Reading,
    *,
    chat: bool,
    skip_bad: bool,
    json: bool,
    quiet: bool,
) -> list[Any]:
    """Return the judgements of all sources. chat: prompts of text are what a user says.

    Raises DataError for a source that compares nothing.
    """
    from tastemaker.data.texts import as_chat
    from tastemaker.rl.text.judged import check_compares

    judgements: list[Any] = []
    skipped: list[Any] = []
    for source in sources:
        rows = reading.judgements([source], skipped if skip_bad else None)
        check_compares(rows, source)
        judgements += rows
    reading.say(json=json, quiet=quiet)
    note_skipped(skipped, quiet=quiet)
    if not chat:
        return judgements
    return [
        replace(one, prompt=as_chat(one.prompt))
        if isinstance(one.prompt, str)
        else one
        for one in judgements
    ]
