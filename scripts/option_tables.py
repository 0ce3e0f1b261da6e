"""Write what is made from the settings: the command line's table and the tables in docs/guide.md.

python scripts/option_tables.py           # writes both
python scripts/option_tables.py --check   # fails if one of them is stale
"""

import json
import math
import sys
import typing
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click

import tastemaker as tm
from tastemaker.rank import Judging
from tastemaker.rl import ALGORITHMS, algorithm_class
from tastemaker.serve import Serving
from tastemaker.settings import type_hints, without_none

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ROOT / "tastemaker" / "cli" / "settings.json"
GUIDE = ROOT / "docs" / "guide.md"
BEGIN, END = (
    "<!-- options: written by scripts/option_tables.py -->\n",
    "<!-- end of options -->\n",
)

CLASSES: dict[str, type[Any]] = {
    "training": tm.Training,
    "likelihood": tm.Likelihood,
    "pretraining": tm.Pretraining,
    "sampling": tm.Sampling,
    "steering": tm.Steering,
    "kl": tm.KL,
    "scaling": tm.Scaling,
    "limits": tm.Limits,
    "playing": tm.Playing,
    "serving": Serving,
    "judging": Judging,
}
_ALGORITHMS = {name: algorithm_class(name) for name in ALGORITHMS}
_PLAYABLE = {name: kind for name, kind in _ALGORITHMS.items() if kind.play_settings}
# one object among several is chosen; a setting that several have is one option
CHOICES: dict[str, tuple[str, str, dict[str, type[Any]]]] = {
    "backbone": (
        "Backbone",
        "the backbone's own",
        {"linear": tm.Linear, "tiny": tm.Tiny, "networks": tm.Encoder},
    ),
    "algorithm": ("Algorithm", "the algorithm's own", _ALGORITHMS),
    "playing_algorithm": (
        "Algorithm",
        "measured for the environment, if it was",
        _PLAYABLE,
    ),
}


def settings_table() -> dict[str, list[Any]]:
    """Return the settings that are options, by table."""
    table: dict[str, list[Any]] = {}
    for name, kind in CLASSES.items():
        table[name] = [_row(kind, field, kind.group) for field in _settings(kind)]
    for name, (group, default, kinds) in CHOICES.items():
        table[name] = _merged(kinds, group, default)
    return table


def _settings(kind: type[Any]) -> list[Field[Any]]:
    return [field for field in fields(kind) if "help" in field.metadata]


def _row(kind: type[Any], field: Field[Any], group: str) -> dict[str, Any]:
    metadata = field.metadata
    return {
        "field": field.name,
        "option": metadata["option"] or "--" + field.name.replace("_", "-"),
        **_type(type_hints(kind)[field.name]),
        "help": metadata["help"],
        "default": metadata["shown"] or _words(field.default),
        "group": metadata["group"] or group,
    }


def _type(hint: Any) -> dict[str, Any]:
    """Return how an option reads a value."""
    kind, _ = without_none(hint)
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return {"type": "choice", "choices": list(typing.get_args(kind))}
    if origin is tuple:
        return {"type": "numbers"}
    if origin is None:
        return {"type": kind.__name__}
    return {"type": "texts" if issubclass(origin, Sequence) else "weights"}


def _words(default: Any) -> str:
    """Return a default as `--help` shows it."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if default is None or default is MISSING or default == ():
        return ""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, float):
        return "inf" if math.isinf(default) else f"{default:g}"
    return str(default)


def _merged(
    kinds: dict[str, type[Any]], group: str, default: str
) -> list[dict[str, Any]]:
    """Return one row a setting of several classes: the help of the first, and who has it."""
    rows: dict[str, dict[str, Any]] = {}
    owners: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        for field in _settings(kind):
            row = _row(kind, field, group)
            owners.setdefault(field.name, []).append(name)
            first = rows.setdefault(field.name, row)
            if first["default"] != row["default"]:
                first["default"] = default
    for name, row in rows.items():
        if len(owners[name]) < len(kinds):
            row["help"] = f"{row['help']} ({', '.join(owners[name])})"
    return list(rows.values())


def option_tables() -> str:
    """Return the options of all verbs in Markdown, one table a panel."""
    from tastemaker.cli import app

    lines = []
    for name, verb in app.commands.items():
        lines += [f"### `tastemaker {name}`", ""]
        panels = verb.panels(click.Context(verb))  # type: ignore[attr-defined]
        for title, parameters in panels.items():
            options = [p for p in parameters if hasattr(p, "meaning")]
            if not options:
                continue
            lines += [
                f"**{title}**",
                "",
                "| option | default | meaning |",
                "|---|---|---|",
            ]
            lines += [_table_row(option) for option in options]
            lines.append("")
    return "\n".join(lines)


def _table_row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    default = "required" if option.required else option.shown
    cells = [names, default, option.meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def settings_text() -> str:
    """Return the table of settings as JSON, one setting a line."""
    tables = []
    for name, rows in settings_table().items():
        lines = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in rows)
        tables.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(tables) + "\n}\n"


def guide_text() -> str:
    """Return the guide with its option tables."""
    before, _, rest = GUIDE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + option_tables() + "\n" + END + after


def main() -> None:
    """Write the files, or check them."""
    # the settings first: the command line, and so the guide, is made from that file
    for path, text in ((SETTINGS, settings_text), (GUIDE, guide_text)):
        if "--check" not in sys.argv:
            path.write_text(text(), encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text():
            sys.exit(f"{path.name} is stale: run `python scripts/option_tables.py`")


if __name__ == "__main__":
    main()
