"""What a judge may answer, checked against what was shown, and what became of it.

An answer comes in numbers of places: 0 for the text that was shown first. It is saved in numbers
of the item's texts, so that it means the same whatever the order was.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tastemaker.errors import UsageError

MOST_COMMENT = 2000
_MOST_FLAGS = 20
OF_EACH = {"grades": "grade", "labels": "label"}
"""What a ranking may have beside it, by its name in an answer: what is asked of each text."""
STRENGTHS = (1, 2, 3)
"""Slightly, clearly or much better: the margin of a comparison."""


class Outcome(NamedTuple):
    """What became of an answer. is_new: False where the same one was here already."""

    judgement: int
    is_new: bool


def checked_answer(
    answer: Any,
    ask: str,
    shown: Sequence[int],
    scale: tuple[int, int] = (1, 7),
) -> dict[str, Any]:
    """Return an answer as it is saved. Raises UsageError for an invalid one.

    shown: the numbers of the texts, in the order in which they were shown. scale: of a grade.
    """
    if not isinstance(answer, Mapping):
        raise UsageError("the answer is no object.")
    if "skip" in answer:
        return {"skip": _words(answer["skip"], "the reason")}
    checked: dict[str, Any] = {}
    if ask == "rank":
        checked["tiers"] = _tiers(answer.get("tiers"), shown)
        strength = answer.get("strength")
        if strength is not None:
            if strength not in STRENGTHS or len(checked["tiers"]) != 2:
                raise UsageError(
                    "the strength belongs to a comparison: 1, 2 or 3."
                )
            checked["strength"] = int(strength)
        checked |= _of_each(answer, shown, scale)
    else:
        checked["value"] = _value(answer.get("value"), ask, scale)
        if ask == "grade":
            checked["scale"] = list(scale)
    if flags := answer.get("flags"):
        if not isinstance(flags, list) or len(flags) > _MOST_FLAGS:
            raise UsageError("the flags are no short list.")
        checked["flags"] = [_words(flag, "a flag") for flag in flags]
    if comment := answer.get("comment"):
        checked["comment"] = _words(comment, "the comment")
    return checked


def _of_each(
    answer: Mapping[str, Any], shown: Sequence[int], scale: tuple[int, int]
) -> dict[str, Any]:
    """Return the grades and labels beside a ranking, by text, None for a text without one."""
    checked: dict[str, Any] = {}
    for name, ask in OF_EACH.items():
        values = answer.get(name)
        if values is None:
            continue
        if not isinstance(values, list) or len(values) != len(shown):
            raise UsageError(
                f"the {name} are no list of {len(shown)}, one for each answer."
            )
        by_text: list[Any] = [None] * len(shown)
        for number, value in zip(shown, values, strict=True):
            if value is not None:
                by_text[number] = _value(value, ask, scale)
        if any(value is not None for value in by_text):
            checked[name] = by_text
    if "grades" in checked:
        checked["scale"] = list(scale)
    return checked


def _tiers(tiers: Any, shown: Sequence[int]) -> list[list[int]]:
    """Return tiers of text numbers. Raises UsageError for a foreign or repeated answer."""
    if not isinstance(tiers, list) or not all(
        isinstance(t, list) for t in tiers
    ):
        raise UsageError("the tiers are no list of lists.")
    places = [place for tier in tiers for place in tier]
    for place in places:
        is_number = isinstance(place, int) and not isinstance(place, bool)
        if not is_number or not 0 <= place < len(shown):
            raise UsageError("a ranking with an answer that was not shown.")
    if len(set(places)) < len(places):
        raise UsageError("a ranking that holds an answer twice.")
    if not all(tiers):
        raise UsageError("a ranking with an empty tier.")
    if len(places) < 2:
        raise UsageError("rank at least two answers, or skip.")
    return renumbered(tiers, shown)


def renumbered(
    tiers: Sequence[Sequence[int]], numbers: Mapping[int, Any] | Sequence[Any]
) -> list[list[Any]]:
    """Return tiers with `numbers[n]` in the place of n."""
    changed = []
    for tier in tiers:
        changed.append([numbers[number] for number in tier])
    return changed


def _value(value: Any, ask: str, scale: tuple[int, int]) -> bool | int | float:
    if ask == "label":
        if not isinstance(value, bool):
            raise UsageError("a label is yes or no.")
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise UsageError(f"a {ask.removesuffix('e')}e is a number.")
    if ask == "rate":
        return float(value)
    if value != int(value) or not scale[0] <= value <= scale[1]:
        raise UsageError(
            f"a grade is a whole number from {scale[0]} to {scale[1]}."
        )
    return int(value)


def _words(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) > MOST_COMMENT:
        raise UsageError(
            f"{name} is no text of at most {MOST_COMMENT} characters."
        )
    return value
