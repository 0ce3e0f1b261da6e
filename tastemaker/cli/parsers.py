"""What the texts of options mean: numbers, scales, cautions, NAME=VALUE pairs."""

import json
from collections.abc import Sequence
from typing import Any

from tastemaker.errors import UsageError


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
        raise UsageError(f"--scale {text!r}: the lowest must be below the highest.")
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
