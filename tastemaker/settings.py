"""Settings are checked where they are made: one line says which value cannot be, and why."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from tastemaker.errors import UsageError

_KINDS: dict[type, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a word",
}


def check_settings(name: str, kind: type[Any], given: Mapping[str, Any]) -> None:
    """Check what is given for the fields of a dataclass, all of which have defaults.

    Raises UsageError, in the name of whose settings they are, for one that does not exist or is of another type.
    """
    defaults = {f.name: f.default for f in fields(kind)}
    for key, value in given.items():
        if key not in defaults:
            raise UsageError(f"{name} has no setting {key!r}: choose among {', '.join(defaults)}.")
        wanted: Any = type(defaults[key])
        is_like = isinstance(value, (int, float) if wanted is float else wanted)
        if not is_like or isinstance(value, bool) > (wanted is bool):
            raise UsageError(
                f"{name}: {key} {value!r}: must be {_KINDS[wanted]}, such as {defaults[key]}."
            )


def check_positive(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is no positive number. None is another's choice, here and below."""
    _refuse(settings, names, lambda value: 0 < value < math.inf, "a positive number")


def check_limit(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is not above 0; infinite is none."""
    _refuse(settings, names, lambda value: value > 0, "a positive number, infinite for none")


def check_not_negative(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is negative or no number."""
    _refuse(settings, names, lambda value: 0 <= value < math.inf, "a number, at least 0")


def check_share(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is not from 0 to 1."""
    _refuse(settings, names, lambda value: 0 <= value <= 1, "from 0 to 1")


def check_part(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is no share of something that keeps a rest."""
    _refuse(settings, names, lambda value: 0 <= value < 1, "a share, at least 0 and below 1")


def check_at_least(settings: Any, least: int, *names: str) -> None:
    """Raise UsageError for a count that is too small."""
    _refuse(settings, names, lambda value: value >= least, f"at least {least}")


def check_word(settings: Any, name: str, *known: str) -> None:
    """Raise UsageError for a word that is none of those known."""
    if getattr(settings, name) not in known:
        raise UsageError(
            f"{_whose(settings)}{name} {getattr(settings, name)!r}: must be one of {', '.join(known)}."
        )


def _refuse(
    settings: Any, names: Iterable[str], can_be: Callable[[Any], bool], wanted: str
) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None and not can_be(value):
            raise UsageError(f"{_whose(settings)}{name} {value}: must be {wanted}.")


def _whose(settings: Any) -> str:
    """Return in whose name settings speak: an algorithm has one, and is one of several that could be meant."""
    return f"{settings.name}: " if hasattr(settings, "name") else ""
