"""The values of a column that may judge: which there are, and which mean that nobody judged."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from tastemaker.data.roles import Columns
from tastemaker.data.values import (
    LABEL_PAIRS,
    UNJUDGED_WORDS,
    Numbered,
    numbered,
    parse_number,
    word_of,
)

MOST_STEPS = 20
"""Whole numbers with at most this number of steps are grades; with more they are ratings."""

_MOST_TEXTS = 64
"""Cells of a column that are remembered while it is surveyed."""
_LONGEST = 64
"""Characters of such a cell."""

_EMPTIES = UNJUDGED_WORDS | {"none"}

UNLABELLED = "-1"
"""The label of what nobody labelled, except in a column of −1 and 1."""


@dataclass
class Survey:
    """The values of one column.

    words: the first distinct values, each with the place of its first cell. lowest, highest: of the
    numbers; −1 counts once `settle` says so. are_whole: all numbers are whole. texts: some cells
    that were added already. first_odd: the first cell that is no finite number, and its place.
    empties: words such as null. unlabelled: the values that mean that nobody judged.
    """

    words: dict[str, str] = field(default_factory=dict)
    lowest: float = math.inf
    highest: float = -math.inf
    are_whole: bool = True
    texts: set[Any] = field(default_factory=set)
    first_odd: tuple[Any, str] | None = None
    empties: dict[str, str] = field(default_factory=dict)
    has_minus_one: bool = False
    unlabelled: frozenset[str] = frozenset()

    def add(
        self,
        value: Any,
        place: Callable[[int], str],
        row: int,
    ) -> None:
        """Add one cell. Bad cells raise no error here: the second pass reports them.

        place: a row's number → where it is. An equal cell changes nothing, so it is passed over.
        """
        is_text = isinstance(value, str) and len(value) <= _LONGEST
        # not a bool, which is equal to an integer and another word
        if is_text or type(value) is int:
            if value in self.texts:
                return
            if len(self.texts) < _MOST_TEXTS:
                self.texts.add(value)
        word = word_of(value)
        if word in _EMPTIES:
            self.empties.setdefault(word, place(row))
            return
        is_new = word is not None and word not in self.words
        if word is not None and is_new and len(self.words) <= MOST_STEPS:
            self.words[word] = place(row)
        number = parse_number(value)
        if number == -1:
            self.has_minus_one = True
        elif number is not None and math.isfinite(number):
            self.lowest = min(self.lowest, number)
            self.highest = max(self.highest, number)
            self.are_whole = self.are_whole and number.is_integer()
        elif word is not None and self.first_odd is None:
            self.first_odd = (value, place(row))

    @property
    def is_whole(self) -> bool:
        """Whether every value is a whole number."""
        return self.are_whole and self.first_odd is None

    def settle(self, columns: Columns) -> None:
        """Decide, after the last cell, which values mean that nobody judged.

        They are words such as null, unless somebody named them or the only other class. So is −1
        below numbers from 0 up, but not on a scale such as −1, 0, 1 or −1, 0.3, 0.9, and not where
        all are −1.
        """
        named = {word_of(name) for name in (*columns.order, columns.positive)}
        if not _is_no_class(self.words):
            named.add("none")
        # spam and null, of which somebody says that spam is positive
        positive = word_of(columns.positive)
        if len(self.empties) == 1 and set(self.words) == {positive}:
            named |= self.empties.keys()
        for word in named & self.empties.keys():
            where = self.words[str(word)] = self.empties.pop(str(word))
            self.first_odd = self.first_odd or (word, where)
        self.unlabelled = frozenset(self.empties)
        if not self.has_minus_one:
            return
        is_on_scale = columns.scale is not None and columns.scale[0] < 0
        if self.lowest >= 0 and self.highest > 1 and not is_on_scale:
            self.unlabelled |= {UNLABELLED}
        else:
            self.lowest = min(self.lowest, -1.0)
            self.highest = max(self.highest, -1.0)

    def are_grades(self, unlabelled: Collection[str] = ()) -> bool:
        """Return whether labels such as these are grades: more than two whole numbers."""
        words = [word for word in self.words if word not in unlabelled]
        return self.is_whole and len(words) > 2

    def worded(
        self,
        unlabelled: Collection[str] = (),
        *,
        is_scale: bool = False,
    ) -> Numbered | None:
        """Return the numbers in classes such as "4 stars"; None for plain numbers and others.

        is_scale: somebody, or the column's name, says that they are on a scale.
        """
        if all(parse_number(word) is not None for word in self.words):
            return None
        words = [word for word in self.words if word not in unlabelled]
        return numbered(words, is_scale=is_scale)

    def has_few_steps(
        self,
        scale: tuple[int, int] | None,
        *,
        past_bad: bool = False,
    ) -> bool:
        """Return whether these are whole numbers on a scale of at most MOST_STEPS steps.

        past_bad: cells that are no numbers do not count.
        """
        lowest, highest = scale or (self.lowest, self.highest)
        is_whole = self.are_whole if past_bad else self.is_whole
        return is_whole and 0 <= highest - lowest < MOST_STEPS


def _is_no_class(words: Collection[str]) -> bool:
    """Return whether "none" beside these values is an empty cell, and not the name of a class."""
    are_numbers = all(parse_number(word) is not None for word in words)
    return are_numbers or any(set(words) <= set(pair) for pair in LABEL_PAIRS)
