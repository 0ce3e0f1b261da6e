"""The parts of a command line: options in panels, settings made into options, and `--config`."""

import functools
import json as json_module
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from tastemaker.errors import UsageError
from tastemaker.progress import remark, take_remarks
from tastemaker.readable import visible, visible_json
from tastemaker.settings import (
    MAIN,
    nearest,
    numbers_of,
    settings_table,
    weight_of,
)

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

page = option(
    "--report/--no-report",
    "report",
    default=True,
    envvar="TASTEMAKER_REPORT",
    help="Write report/report.html into the folder of the run.",
    shown="report",
    panel=RUN,
)
"""The option of verbs that write a page about their run."""


def _read_config(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> None:
    """Take a verb's options from a YAML file. Unknown keys are refused."""
    if path is None or context.resilient_parsing:
        return
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply to be read.") from error
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


def several(*decorators: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return several decorators as one."""

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
dtype = option(
    "--dtype",
    type=click.Choice(["float32", "auto", "bfloat16", "float16"]),
    default="float32",
    help="Number format of a network's weights in memory; auto: as they are saved.",
    panel=RUN,
)
remote_code = flag(
    "--trust-remote-code",
    "Run code that a published model brings along.",
    RUN,
)
training_precision = option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    help="Number format of the products.",
    panel=RUN,
)
dry_run = flag(
    "--dry-run",
    "Print what memory the run takes and whether it fits, and read no weights and no data.",
    RUN,
)
resuming = several(
    flag("--resume", "Go on with a killed run, to the same bits.", RUN),
    flag("--overwrite", "Replace what OUT holds.", RUN),
)
output = several(
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
system_column = option(
    "--system-column",
    help="Column of the system prompt.",
    shown="recognised",
    panel=DATA,
)
chat = flag(
    "--chat", "The prompts are what a user says, to be answered.", DATA
)


# --- what is printed ------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print a line on stdout."""
    sys.stdout.write(visible(text) + "\n")


def note(text: str, *, quiet: bool) -> None:
    """Print a side remark on stderr, unless quiet."""
    if not quiet:
        remark(text)


def say_json(values: Mapping[str, Any], *, with_remarks: bool = False) -> None:
    """Print one JSON object on stdout. with_remarks: with what was printed on stderr, if any."""
    if with_remarks and (remarks := take_remarks()):
        values = {**values, "remarks": remarks}
    text = json_module.dumps(values, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(visible_json(text) + "\n")


def say_memory(memory: Any, *, json: bool) -> None:
    """Print what memory a run takes."""
    if json:
        say_json(memory.as_dict())
        return
    for line in str(memory).splitlines():
        say(line)


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
