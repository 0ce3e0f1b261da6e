"""Settings of algorithms are checked where they are made."""

import math
from typing import Any

from tastemaker.errors import UsageError


def check_positive(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is no positive number."""
    for name in names:
        value = getattr(settings, name)
        if not (value > 0 and math.isfinite(value)):
            raise UsageError(f"{settings.name}: {name} {value}: must be a positive number.")


def check_limit(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is not above 0; infinite is none."""
    for name in names:
        value = getattr(settings, name)
        if not value > 0:
            raise UsageError(f"{settings.name}: {name} {value}: must be a positive number, infinite for none.")


def check_not_negative(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is negative or no number."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < math.inf:
            raise UsageError(f"{settings.name}: {name} {value}: must be a number, at least 0.")


def check_share(settings: Any, *names: str) -> None:
    """Raise UsageError for a setting that is not from 0 to 1."""
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise UsageError(f"{settings.name}: {name} {getattr(settings, name)}: must be from 0 to 1.")


def check_at_least(settings: Any, least: int, *names: str) -> None:
    """Raise UsageError for a count that is too small."""
    for name in names:
        if getattr(settings, name) < least:
            raise UsageError(f"{settings.name}: {name} {getattr(settings, name)}: must be at least {least}.")


def check_word(settings: Any, name: str, *known: str) -> None:
    """Raise UsageError for a word that is none of those known."""
    if getattr(settings, name) not in known:
        raise UsageError(f"{settings.name}: {name} {getattr(settings, name)!r}: must be one of {', '.join(known)}.")
