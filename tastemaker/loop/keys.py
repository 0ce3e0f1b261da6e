"""The keys of a loop file: its sections, the options of each, and what a value may be.

The options are those of the verbs, by their names on the command line. They come from the table
that the command line has (`settings_table`), so checking a file needs no torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from tastemaker.data.roles import Columns
from tastemaker.loop.yaml_lines import Entry, Problem
from tastemaker.rl.algorithms import ALGORITHMS
from tastemaker.settings import nearest, settings_table

DEFAULT_ALGORITHM = "ppo"
REWARDS = ("model", "baseline")
"""What steers: the model that was fitted, or the linear model that is fitted beside a network."""


@dataclass(frozen=True)
class Key:
    """A key of a section.

    kind: what its value is, a key of `_KINDS`. table, field: the settings class it belongs to, by
    the name of its table, and its field there; None: an argument of the verb itself.
    """

    kind: str
    choices: tuple[str, ...] = ()
    table: str | None = None
    field: str = ""


_DEVICE = Key("choice", ("auto", "cpu", "cuda", "mps"))
_PRECISION = Key("choice", ("auto", "float32", "bfloat16"))

TOP: dict[str, Key] = {
    "language": Key("choice", ("en", "zh")),
    "seed": Key("int"),
    "judgements": Key("texts"),
    "held_out": Key("held_out"),
    "gold": Key("str"),
    "policy": Key("str"),
    "best_of": Key("int"),
    "read": Key("section"),
    "fit": Key("section"),
    "watcher": Key("section"),
    "evaluate": Key("section"),
    "pretrain": Key("section"),
    "steer": Key("section"),
    "rounds": Key("section"),
}

_READ: dict[str, Key] = {
    "target": Key("choice", ("label", "rating")),
    "limit": Key("int"),
    "split": Key("str"),
    "format": Key("str"),
    "skip_bad": Key("bool"),
}
_FIT: dict[str, Key] = {
    "backbone": Key("str"),
    "held_out": Key("float"),
    "anchor": Key("str"),
    "members": Key("int"),
    "shared": Key("bool"),
    "experts": Key("bool"),
    "precision": _PRECISION,
    "device": _DEVICE,
}
_PRETRAIN: dict[str, Key] = {
    "texts": Key("texts"),
    "size": Key("choice", ("tiny", "small", "medium", "large")),
    "from": Key("str"),
    "each": Key("choice", ("file", "paragraph", "line")),
    "limit": Key("int"),
    "split": Key("str"),
    "format": Key("str"),
    "skip_bad": Key("bool"),
    "text_column": Key("str"),
    "prompt_column": Key("str"),
    "precision": _PRECISION,
    "device": _DEVICE,
}
_STEER: dict[str, Key] = {
    "algorithms": Key("section"),
    "reward": Key("choice", REWARDS),
    "rewards": Key("texts"),
    "prompts": Key("str"),
    "opening": Key("numbers"),
    "limit": Key("int"),
    "split": Key("str"),
    "prompt_column": Key("str"),
    "chat": Key("bool"),
    "caution": Key("caution"),
    "device": _DEVICE,
}
_ROUNDS: dict[str, Key] = {
    "number": Key("int"),
    "judges": Key("str"),
    "judgements": Key("int"),
    "answers": Key("int"),
}
_TABLES = {
    "fit": ("training", "backbone", "likelihood"),
    "watcher": ("training", "backbone", "likelihood"),
    "pretrain": ("pretraining",),
    "steer": ("steering", "kl", "scaling", "limits", "sampling", "algorithm"),
}
_OWN: dict[str, dict[str, Key]] = {
    "read": _READ,
    "fit": _FIT,
    "watcher": {**_FIT, "judgements": Key("texts")},
    "evaluate": {"show": Key("texts")},
    "pretrain": _PRETRAIN,
    "steer": _STEER,
    "rounds": _ROUNDS,
}


@cache
def keys_of(section: str) -> dict[str, Key]:
    """Return the keys of a section; of the file itself for ""."""
    if not section:
        return TOP
    keys = dict(_OWN[section])
    if section == "read":
        keys |= _column_keys()
    for table in _TABLES.get(section, ()):
        for row in settings_table()[table]:
            name = row["option"].removeprefix("--").replace("-", "_")
            choices = tuple(row.get("choices", ()))
            keys.setdefault(
                name, Key(row["type"], choices, table, row["field"])
            )
    return keys


def _column_keys() -> dict[str, Key]:
    """Return the keys that name columns, as the options of the verbs do."""
    keys = {}
    for field in fields(Columns):
        kind = "str"
        if field.name == "scale":
            kind = "numbers"
        elif field.default == ():
            kind = "texts"
        is_option = field.name in _PLAIN
        name = field.name if is_option else f"{field.name}_column"
        keys[name] = Key(kind, (), "columns", field.name)
    return keys


_PLAIN = frozenset(
    (
        "positive",
        "scale",
        "order",
        "answers",
        "better",
        "first",
        "tie",
        "header",
    )
)


# --- what a value may be ----------------------------------------------------------------------


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _numbers(value: Any) -> tuple[int, ...] | None:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        return None


def _texts(value: Any) -> tuple[str, ...] | None:
    parts = value if isinstance(value, list) else [value]
    is_text = all(isinstance(part, str | int | float) for part in parts)
    return tuple(map(str, parts)) if parts and is_text else None


def _whole(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole else None


def _weights(value: Any) -> dict[str, float] | None:
    if not isinstance(value, dict):
        return None
    numbers = {str(key): _number(each) for key, each in value.items()}
    complete = {key: n for key, n in numbers.items() if n is not None}
    return complete if len(complete) == len(numbers) else None


def _held_out(value: Any) -> Any:
    if isinstance(value, float):
        return value if 0 < value < 1 else None
    return _texts(value) if not isinstance(value, int | bool) else None


_KINDS: Mapping[str, tuple[Any, str]] = {
    "float": (_number, "a number"),
    "int": (_whole, "a whole number"),
    "numbers": (_numbers, "whole numbers, such as [2, 8]"),
    "texts": (_texts, "one name or a list of names"),
    "weights": (_weights, "numbers by name"),
    "held_out": (_held_out, "a share such as 0.1, or sources"),
    "bool": (lambda v: v if isinstance(v, bool) else None, "true or false"),
    "caution": (
        lambda v: v if _number(v) is None else _number(v),
        "a number, or minimum",
    ),
    "str": (
        lambda v: None if isinstance(v, dict | list | bool) else str(v),
        "text",
    ),
}


def _checked(name: str, key: Key, entry: Entry) -> tuple[Any, str]:
    """Return a value as the verbs take it, and what is wrong with it."""
    if key.kind == "choice":
        is_choice = entry.value in key.choices
        wrong = f"must be one of {', '.join(key.choices)}"
        read = entry.value
    else:
        convert, words = _KINDS[key.kind]
        read = convert(entry.value)
        is_choice = read is not None
        wrong = f"must be {words}"
    if is_choice:
        return read, ""
    return None, f"{name} {entry.value!r}: {wrong}."


def values_of(
    section: str, entry: Entry, problems: list[Problem]
) -> dict[str, Any]:
    """Return the values of a section, by key. Appends what is wrong to `problems`."""
    return checked_values(
        section or "a loop file", keys_of(section), entry, problems
    )


def checked_values(
    title: str,
    keys: Mapping[str, Key],
    entry: Entry,
    problems: list[Problem],
) -> dict[str, Any]:
    """Return the values of a mapping, by key. Appends what is wrong to `problems`."""
    if not entry.is_section:
        text = f"{title}: must hold `key: value` lines, not {entry.value!r}."
        problems.append(Problem(entry.line, text))
        return {}
    values = {}
    for written, each in entry.entries.items():
        name = written.replace("-", "_")
        if name not in keys:
            text = f"{title} has no key {written!r}: {_advice(name, keys)}"
            problems.append(Problem(each.line, text))
            continue
        if keys[name].kind == "section":
            continue
        value, wrong = _checked(name, keys[name], each)
        if wrong:
            problems.append(Problem(each.line, wrong))
        else:
            values[name] = value
    return values


def _advice(name: str, keys: Mapping[str, Key]) -> str:
    """Return which key may be meant, or all keys where none is near."""
    question, mark, _ = nearest(name, sorted(keys)).partition("? ")
    return f"{question}?" if mark else f"{question}."


def algorithm_entries(
    steer: Entry, problems: list[Problem]
) -> dict[str, Entry]:
    """Return the settings of each algorithm of the `steer` section, by its name."""
    entry = steer.entries.get("algorithms", Entry(None))
    named = dict(entry.entries)
    if isinstance(entry.value, str):
        named = {entry.value: Entry(None, entry.line)}
    elif isinstance(entry.value, list):
        named = {str(name): Entry(None, entry.line) for name in entry.value}
    elif not entry.is_section:
        problems.append(
            Problem(entry.line, f"algorithms {entry.value!r}: name some.")
        )
    for name in list(named):
        if name not in ALGORITHMS:
            text = (
                f"there is no algorithm {name!r}: {nearest(name, ALGORITHMS)}."
            )
            problems.append(Problem(named.pop(name).line, text))
    return named or {DEFAULT_ALGORITHM: Entry(None, steer.line)}


def grouped(
    section: str, values: Mapping[str, Any]
) -> dict[str | None, dict[str, Any]]:
    """Return the values of a section by settings class, under the names of its fields.

    The arguments of the verb itself are under None.
    """
    keys = keys_of(section)
    groups: dict[str | None, dict[str, Any]] = {None: {}}
    for table in (*_TABLES.get(section, ()), "columns"):
        groups[table] = {}
    for name, value in values.items():
        key = keys[name]
        groups[key.table][key.field or name] = value
    return groups


def sections(entry: Entry) -> Iterator[str]:
    """Yield the names of the sections of a file that hold something or are named."""
    for name in entry.entries:
        key = TOP.get(name.replace("-", "_"))
        if key is not None and key.kind == "section":
            yield name.replace("-", "_")
