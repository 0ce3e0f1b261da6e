"""Declare, check and make settings objects.

A settings object is a frozen dataclass. Each of its fields is written once, by `setting`: default,
help and check. The command line, `--config` and the tables in docs/guide.md are made from them.

    @settings_class
    @dataclass(frozen=True)
    class PPO:
        clip: float = setting(0.2, "How far a ratio may move from 1.", POSITIVE)

        def __post_init__(self) -> None:
            check(self)
"""

import dataclasses
import difflib
import functools
import json
import math
import numbers
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from tastemaker.errors import UsageError

T = TypeVar("T")

MAIN = "Options"
"""The group of the options that most people need first."""


@dataclasses.dataclass(frozen=True)
class Check:
    """A condition on a value. text: what the value must be."""

    is_valid: Callable[[Any], bool]
    text: str


def at_least(least: int) -> Check:
    """Return the check of a count."""
    return Check(lambda value: value >= least, f"at least {least}")


POSITIVE = Check(lambda value: 0 < value < math.inf, "a positive number")
LIMIT = Check(lambda value: value > 0, "a positive number, infinite for none")
NOT_NEGATIVE = Check(
    lambda value: 0 <= value < math.inf, "a number, at least 0"
)
FINITE = Check(math.isfinite, "a finite number")
SHARE = Check(lambda value: 0 <= value <= 1, "from 0 to 1")
POSITIVE_SHARE = Check(lambda value: 0 < value <= 1, "above 0, at most 1")
PORT = Check(lambda value: 0 <= value < 2**16, "from 0 to 65535")
PART = Check(lambda value: 0 <= value < 1, "a share, at least 0 and below 1")


def setting(
    default: Any,
    help: str,
    check: Check | None = None,
    *,
    option: str | None = None,
    group: str | None = None,
    shown: str | None = None,
) -> Any:
    """Return a dataclass field that is a setting.

    option: its name on the command line, `--lr`, where it is not the field's name. group: its panel
    in `--help`, where it is not the class's. shown: what help shows in place of the default.
    """
    metadata = {
        "help": help,
        "check": check,
        "option": option,
        "group": group,
        "shown": shown,
    }
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check(settings: Any) -> None:
    """Raise UsageError for a setting whose type or value is wrong."""
    # an algorithm's errors start with its name
    prefix = getattr(type(settings), "name", "")
    prefix = f"{prefix}: " if isinstance(prefix, str) and prefix else ""
    hints = type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        _check_type(
            f"{prefix}{field.name}", hints[field.name], value, field.default
        )
        condition = field.metadata.get("check")
        if condition is None or value is None:
            continue
        if not condition.is_valid(value):
            raise UsageError(
                f"{prefix}{field.name} {value}: must be {condition.text}."
            )


def settings_class(kind: type[T]) -> type[T]:
    """Make a settings dataclass raise UsageError for a keyword that is none of its settings."""
    make = kind.__init__  # the one that dataclass wrote
    names = _names_of(kind)

    @functools.wraps(make)
    def make_from_settings(self: T, *values: Any, **settings: Any) -> None:
        _refuse_unknown(settings, names, kind.__name__)
        make(self, *values, **settings)

    kind.__init__ = make_from_settings  # type: ignore[assignment]
    return kind


def _names_of(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.init]


def _refuse_unknown(
    given: Collection[Any], names: Sequence[str], owner: str
) -> None:
    for name in given:
        if name not in names:
            close = nearest(str(name), names)
            raise UsageError(f"{owner} has no setting {name!r}: {close}.")


def settings_by_name(
    kind: type[Any], settings: Any, name: str
) -> Mapping[str, Any]:
    """Return settings that were given by name, an empty mapping for None.

    Raises UsageError for anything else. kind: their class. name: what the error calls them.
    """
    if settings is None:
        return {}
    if isinstance(settings, Mapping):
        return settings
    example = f"{{{_names_of(kind)[0]!r}: ...}} or {kind.__name__}(...)"
    raise UsageError(
        f"{name} {settings!r}: must be settings by name, such as {example}."
    )


def settings_from(
    kind: type[T],
    settings: T | Mapping[str, Any] | None,
    name: str,
    defaults: T | None = None,
) -> T:
    """Return an object of a settings class.

    settings: an object of the class, which is returned as it is, or values by name; the other
    settings have the values of `defaults`, by default those of the class. name: what errors call
    it.

    Raises UsageError for a setting that does not exist, or whose type or value is wrong.
    """
    if isinstance(settings, kind):
        return settings
    given = settings_by_name(kind, settings, name)
    _refuse_unknown(given, _names_of(kind), name)
    hints = type_hints(kind)
    values = {} if defaults is None else dict(vars(defaults))
    for key, value in given.items():
        is_tuple = typing.get_origin(hints[key]) is tuple
        values[key] = (
            tuple(value) if is_tuple and isinstance(value, list) else value
        )
    try:
        return kind(**values)
    except UsageError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise UsageError(f"{name}: {error}") from None


@functools.cache
def settings_table() -> dict[str, list[Any]]:
    """Return the settings that are options, by table.

    `scripts/option_tables.py` writes the file from the settings classes, because importing those
    imports torch, and `--help` should not wait for it. A test fails when the file is stale.
    """
    path = Path(__file__).with_name("cli") / "settings.json"
    table: dict[str, list[Any]] = json.loads(path.read_text(encoding="utf-8"))
    return table


def nearest(name: str, names: Collection[str]) -> str:
    """Return which of the names may be meant, and all of them."""
    close = difflib.get_close_matches(name, names, n=1)
    question = f"did you mean {close[0]}? " if close else ""
    return f"{question}Choose among {', '.join(names)}"


def type_hints(kind: type[Any]) -> dict[str, Any]:
    """Return the types of a settings class's fields by name."""
    return typing.get_type_hints(kind)


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether it allowed None."""
    if typing.get_origin(hint) not in (types.UnionType, typing.Union):
        return hint, False
    others = [part for part in typing.get_args(hint) if part is not type(None)]
    return (others[0] if len(others) == 1 else hint), len(others) < len(
        typing.get_args(hint)
    )


_TYPES: dict[type, tuple[type, str]] = {
    float: (numbers.Real, "a number"),
    int: (numbers.Integral, "a whole number"),
    bool: (bool, "true or false"),
    str: (str, "text"),
}


def _check_type(name: str, hint: Any, value: Any, default: Any) -> None:
    kind, is_optional = without_none(hint)
    if value is None and is_optional:
        return
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise UsageError(
                f"{name} {value!r}: must be one of {', '.join(choices)}."
            )
    elif typing.get_origin(kind) is tuple:
        is_tuple = isinstance(value, (tuple, list))
        if not is_tuple or any(
            not isinstance(part, numbers.Integral) for part in value
        ):
            raise UsageError(
                f"{name} {value!r}: must be whole numbers, such as {default}."
            )
    elif typing.get_origin(kind) is Mapping and not isinstance(value, Mapping):
        raise UsageError(f"{name} {value!r}: must be numbers by name.")
    elif kind in _TYPES:
        accepted, words = _TYPES[kind]
        is_number_from_bool = isinstance(value, bool) and kind is not bool
        if not isinstance(value, accepted) or is_number_from_bool:
            example = (
                ""
                if default in (None, dataclasses.MISSING)
                else f", such as {default}"
            )
            raise UsageError(f"{name} {value!r}: must be {words}{example}.")


def two_numbers(text: str) -> tuple[int, int]:
    """Return two whole numbers with a comma between. Raises UsageError for anything else."""
    try:
        first, second = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{text!r}: two whole numbers with a comma between, such as 1,5."
        ) from None
    return first, second


def scale_of(text: str) -> tuple[int, int]:
    """Return the lowest and the highest grade. Raises UsageError unless they rise."""
    lowest, highest = two_numbers(text)
    if lowest >= highest:
        raise UsageError(
            f"--scale {text!r}: the lowest must be below the highest."
        )
    return lowest, highest


def caution_of(text: str) -> Any:
    """Return a caution: a number, `minimum`, `pessimistic` or `pessimistic=NUMBER`.

    Raises UsageError for anything else.
    """
    if text == "minimum" or text.partition("=")[0] == "pessimistic":
        return text
    try:
        return float(text)
    except ValueError:
        raise UsageError(
            f"--caution {text!r}: a number such as 1, minimum, or pessimistic=0.1."
        ) from None


def numbers_of(value: Any) -> tuple[int, ...]:
    """Return whole numbers, from `64,64` or a list of `--config`. Raises UsageError."""
    parts = value.split(",") if isinstance(value, str) else value
    try:
        return tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        raise UsageError(
            f"{value!r}: whole numbers with commas between, such as 64,64."
        ) from None


def weight_of(text: str) -> tuple[str, float]:
    """Return a kind of judgements and its weight. Raises UsageError for anything else."""
    kind, _, number = str(text).partition("=")
    try:
        return kind, float(number)
    except ValueError:
        raise UsageError(
            f"--weight {text!r}: a kind and a number, such as comparison=2."
        ) from None


def pairs_of(option: str, given: Sequence[str]) -> dict[str, Any]:
    """Return NAME=VALUE pairs; a value that is no JSON is a word. Raises UsageError."""
    pairs: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(
                f"{option} {text}: write NAME=VALUE, such as continuous=true."
            )
        try:
            pairs[name] = json.loads(value)
        except ValueError:
            pairs[name] = value
    return pairs
