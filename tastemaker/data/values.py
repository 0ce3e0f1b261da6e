"""Cells of a table as texts, numbers and labels (`chats` reads chat messages).

A function of a cell takes `where`, the place of the row (`reviews.csv:17`), and `column`, the name
of the cell's column, and raises DataError with one line that names both for a cell that is wrong.

Names of classes may hold numbers: "4 stars", "rating: 3", "4 out of 5", "5 - excellent". The number
of such a class is its grade, so that classes that are absent leave a gap. A number that may count
places or name classes ("1st", "class 2") is none of these.
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from tastemaker.errors import DataError

_SHOWN = 40

LABEL_PAIRS = (
    ("false", "true"),
    ("0", "1"),
    ("-1", "1"),
    ("neg", "pos"),
    ("negative", "positive"),
    ("no", "yes"),
    ("bad", "good"),
    ("否", "是"),
    ("负面", "正面"),
    ("消极", "积极"),
    ("差评", "好评"),
    ("不推荐", "推荐"),
)
"""(negative, positive): the pairs of labels that need no `positive`."""

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Myanmar, Khmer, kana and Han, for a class of characters in a pattern: no space says
where a word ends."""
SPACELESS_CHARACTER = re.compile(f"[{SPACELESS}]")

UNJUDGED_WORDS = frozenset(("null", "nan", "n/a", "na", "<na>", "#n/a"))
"""Plain forms of cells that spell an empty one."""


def show(value: object) -> str:
    """Return the value as one short line for a message."""
    line = repr(value)
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"


def bad_cell(
    value: object, where: str, column: str, problem: str
) -> DataError:
    """Return the error of a cell: what it holds, and what is wrong with that."""
    return DataError(
        f"{where}: column {column!r} holds {show(value)}{problem}"
    )


def empty_cell(where: str, column: str, missing: str = "value") -> DataError:
    """Return the error of a cell that must not be empty."""
    return DataError(
        f"{where}: no {missing} in column {column!r}. Fill it in or remove the row."
    )


def is_missing(value: object) -> bool:
    """Return whether a cell is empty: None, white space, or the NaN that data frames write."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def word_count(text: str) -> int:
    """Return how many words a text has: an estimate where no spaces stand between them.

    Two Han characters, kana or letters of Thai, Lao, Myanmar or Khmer count as a word.
    """
    if text.isascii():
        return len(text.split())
    rest, characters = SPACELESS_CHARACTER.subn(" ", text)
    others = [part for part in rest.split() if any(map(str.isalnum, part))]
    return len(others) + (characters + 1) // 2


def text_of(value: object, where: str, column: str) -> str:
    """Return the cell as it is. Raises DataError unless it is a text with something in it."""
    text = answer_of(value, where, column)
    if not text.strip():
        raise DataError(
            f"{where}: the text in column {column!r} is empty. Fill it in or remove the row."
        )
    return text


def answer_of(value: object, where: str, column: str) -> str:
    """Return the cell as it is, empty or not: an empty answer is judged too.

    Raises DataError for what is not a text.
    """
    if value is None:
        raise empty_cell(where, column, "text")
    if not isinstance(value, str):
        kind = type(value).__name__
        raise bad_cell(
            value, where, column, f" ({kind}) where a text belongs."
        )
    if not value.isascii():
        _check_unicode(value, where, column)
    return value


def _check_unicode(text: str, where: str, column: str) -> None:
    try:  # JSON can spell half a surrogate pair; no tokenizer can read it
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        raise DataError(
            f"{where}: the text in column {column!r} is not valid Unicode: "
            f"half a surrogate pair, {half}, at character {error.start}."
        ) from error


# a tuple: `str | int` would be made for each cell
_NUMERIC = (str, int, float, Decimal)


def parse_number(value: object) -> float | None:
    """Return the cell as a number, perhaps not finite; None when it is not one (a bool is not)."""
    if isinstance(value, bool) or not isinstance(value, _NUMERIC):
        return None
    # Python reads 1_000; no table means it
    if isinstance(value, str) and "_" in value:
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:  # an integer of more than 308 digits
        return math.inf


def number_of(value: object, where: str, column: str) -> float:
    """Return the cell as a finite number, or raise DataError."""
    number = parse_number(value)
    if number is None and is_missing(value):
        raise empty_cell(where, column)
    if number is None:
        raise bad_cell(value, where, column, ", which is not a number.")
    if not math.isfinite(number):
        raise bad_cell(value, where, column, ", which is not a finite number.")
    return number


def whole_of(value: object, where: str, column: str) -> int:
    """Return the cell as a whole number ("2.0" is one), or raise DataError."""
    number = number_of(value, where, column)
    if not number.is_integer():
        raise bad_cell(value, where, column, ", which is not a whole number.")
    return int(number)


def word_of(value: object) -> str | None:
    """Return a label's plain form: "pos" for "Pos ", "true" for True, "1" for 1.0.

    An empty cell gives None.
    """
    if is_missing(value):
        return None
    number = parse_number(value)
    if number is not None and math.isfinite(number) and number.is_integer():
        return str(int(number))
    return str(value).strip().casefold()


# ---- numbers in the names of classes ----------------------------------------


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
