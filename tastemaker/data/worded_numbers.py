"""Numbers in the names of classes: "4 stars", "rating: 3", "4 out of 5", "5 - excellent".

The number of such a class is its grade, so that classes that are absent leave a gap. A number
that may count places or name classes ("1st", "class 2") is none of these.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

_PATTERN = re.compile(
    r"(?P<before>\D*?)(?P<number>\d+(?:\.\d+)?)"
    r"(?:\s*(?:/|(?:out\s+)?of)\s*(?P<most>\d+)(?:\.0)?)?(?P<after>\D*)",
    re.ASCII,
)
_SIGNS = ("-", "\N{MINUS SIGN}")
_WORD = re.compile(r"[^\W\d_]+")
_PUNCTUATION = re.compile(
    r"[\w\s\-\N{MINUS SIGN}\N{EN DASH}\N{EM DASH}.:,;=()/'\"!+*★⭐%]*"
)
_PLACES = ("st", "nd", "rd", "th")

_UNIT_WORDS = (
    "star stars point points pt pts mark marks rating rated score scored grade graded "
    "stern sterne étoile étoiles estrella estrellas stella stelle 星 分"
)
_UNITS = frozenset(_UNIT_WORDS.split())
_GOOD_WORDS = "best excellent perfect great good agree positive always"
_GOOD = frozenset(_GOOD_WORDS.split())
_BAD_WORDS = "worst awful terrible bad poor disagree negative never"
_BAD = frozenset(_BAD_WORDS.split())


@dataclass(frozen=True)
class WordedNumber:
    """The number in the name of a class. words: the others in it. most: of "4 out of 5", the 5."""

    value: float
    words: frozenset[str]
    begins: bool
    most: int | None = None


@dataclass(frozen=True)
class Numbered:
    """The numbers of the classes of a column. has_units: they are stars, points or the like."""

    lowest: float
    highest: float
    is_whole: bool
    has_units: bool


@lru_cache(maxsize=1000)
def number_in(word: str) -> WordedNumber | None:
    """Return the number in the plain form of a class; None for none, and for several."""
    match = _PATTERN.fullmatch(word)
    if match is None or not _PUNCTUATION.fullmatch(word):
        return None
    before, after = match["before"], match["after"]
    if after.startswith(_PLACES) and _WORD.match(after)[0] in _PLACES:  # type: ignore[index]
        return None
    value = float(match["number"])
    rest = before[:-1].rstrip()
    if before.endswith(_SIGNS) and (not rest or rest[-1] in ":=("):
        value = -value
    words = frozenset(_WORD.findall(f"{before} {after}"))
    most = match["most"]
    return WordedNumber(
        value, words, not before.strip(" ("), int(most) if most else None
    )


def numbered(words: Collection[str], *, is_scale: bool) -> Numbered | None:
    """Return the numbers of the classes of a column; None unless they are plainly grades.

    words: their plain forms. is_scale: somebody, or the column's name, says that they are grades;
    a few may then be bad, for their rows to say so.
    """
    numbers = [number_in(word) for word in words]
    parsed = [number for number in numbers if number is not None]
    least = len(words) / 2 if is_scale else len(words)
    is_worded = any(number.words or number.most for number in parsed)
    if len(parsed) < least or (is_scale and not is_worded) or not parsed:
        return None
    values = [number.value for number in parsed]
    has_units = all(number.words <= _UNITS for number in parsed)
    if not has_units:
        are_distinct = len(set(values)) == len(values)
        begin = all(number.begins for number in parsed)
        enough = is_scale or (begin and len(values) > 2)
        if not enough or not are_distinct or _is_reversed(parsed):
            return None
    most = {number.most for number in parsed}
    if len(most) > 1:
        return None
    top = next(iter(most))
    lowest, highest = min(values), max(values)
    if top is not None:
        lowest, highest = min(1, lowest), max(top, highest)
    is_whole = all(value.is_integer() for value in values)
    return Numbered(lowest, highest, is_whole, has_units)


def _is_reversed(numbers: list[WordedNumber]) -> bool:
    """Return whether the words say that the lowest number is the best."""
    ordered = sorted(numbers, key=lambda number: number.value)
    first, last = ordered[0].words, ordered[-1].words
    return bool((first - last) & _GOOD or (last - first) & _BAD)
