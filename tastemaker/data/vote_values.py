"""What the values of a column mean that says which answer is better.

The meaning is taken from the names of the answers. Where it could be either way round, it is asked
for and never guessed.
"""

import math
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tastemaker.data.cells import listed
from tastemaker.data.roles import Columns, plain_name
from tastemaker.data.tables import Table
from tastemaker.data.values import UNJUDGED_WORDS, parse_number, word_of
from tastemaker.data.vote_names import (
    TIES,
    WORSE,
    differing_parts,
    wins_by_name,
    wins_of_one,
)
from tastemaker.errors import DataError

_RANGE = re.compile(r"\s*([-+]?[\d.]*\d)\s*\.\.\s*([-+]?\d[\d.]*)\s*")
"""Numbers from one to another: 1..3."""

_ENDS = dict.fromkeys(("neg", "negative"), -math.inf)
_ENDS |= dict.fromkeys(("pos", "positive"), math.inf)
"""Words for an end of a scale."""

_SHOWN = 7
_MOST = 50
"""Different values of a column of words."""


@dataclass(frozen=True)
class Votes:
    """How a column says which answer is better.

    wins: by the plain form of a value, the index of the best answer; −1 for a tie. lead_sign: 0 if
    `wins` is enough. Else the column also holds numbers for two answers: those in the middle are
    ties, and how far another one is from there, times lead_sign, is the lead of the first answer.
    unjudged: the values that mean that nobody judged.
    """

    column: str
    wins: Mapping[str, int]
    lead_sign: float = 0.0
    middle: tuple[float, float] = (0.0, 0.0)
    unjudged: frozenset[str] = frozenset()

    def lead(self, number: float) -> float:
        """Return how far the first answer is ahead; negative if the second one is better."""
        lowest, highest = self.middle
        beyond = max(number - highest, 0.0) + min(number - lowest, 0.0)
        return self.lead_sign * beyond

    def meaning(self, answers: Sequence[str]) -> str:
        """Return what the values mean, in one line."""
        parts = []
        for word, best in self.wins.items():
            parts.append(f"{word}: {answers[best] if best >= 0 else 'a tie'}")
        if self.lead_sign:
            lowest, highest = (f"{end:g}" for end in self.middle)
            is_above = self.lead_sign > 0
            end = f"above {highest}" if is_above else f"below {lowest}"
            parts.append(f"{end}: {answers[0]}")
            if lowest != highest:
                parts.append(f"{lowest} to {highest}: a tie")
        parts += [f"{word}: not judged" for word in sorted(self.unjudged)]
        return ", ".join(parts)


@dataclass(frozen=True)
class _Choice:
    """The values that an option such as --first names: words, and ranges of numbers."""

    words: tuple[str, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()

    def holds(self, word: str) -> bool:
        """Return whether a value is one of these."""
        number = parse_number(word)
        is_within = number is not None and any(
            lowest <= number <= highest for lowest, highest in self.ranges
        )
        return word in self.words or is_within

    @property
    def is_given(self) -> bool:
        """Whether the option names anything."""
        return bool(self.words or self.ranges)

    @property
    def span(self) -> tuple[float, float] | None:
        """The lowest and highest of these numbers and ends; None where there are other words."""
        ends = [end for ends in self.ranges for end in ends]
        for word in self.words:
            number = _ENDS.get(word, parse_number(word))
            if number is None:
                return None
            ends.append(number)
        return (min(ends), max(ends)) if ends else None

    def side_of(self, middle: tuple[float, float]) -> float:
        """Return on which side of the middle of a scale these are: −1, 1, or 0 for neither."""
        if self.span is None:
            return 0.0
        lowest, highest = self.span
        return float(lowest > middle[1]) - float(highest < middle[0])


@dataclass
class _Survey:
    """The values of a column. are_few: words holds all of them.

    Of many numbers, words holds the first ones, the lowest and the highest.
    """

    words: dict[str, None] = field(default_factory=dict)
    are_few: bool = True
    ends: list[str] = field(default_factory=list)

    def add_one_of_many(self, word: str) -> None:
        """Add a number beyond the first ones."""
        self.are_few = False
        numbers = sorted(
            [*self.ends, word], key=lambda one: parse_number(one) or 0.0
        )
        self.ends = [numbers[0], numbers[-1]]

    def chosen(self, option: str | None) -> _Choice:
        """Return what an option names: one value, or several with commas, or ranges."""
        whole = word_of(option)
        if whole is None:
            return _Choice()
        if whole in self.words or whole in TIES:
            return _Choice((whole,))
        words, ranges = [], []
        for part in whole.split(","):
            match = _RANGE.fullmatch(part)
            if match is not None:
                ranges.append((float(match[1]), float(match[2])))
            elif word := word_of(part):
                words.append(word)
        return _Choice(tuple(words), tuple(ranges))


@dataclass(frozen=True)
class VotesReader:
    """Decides how a column says which answer is better, by the values that it holds."""

    table: Table
    answers: tuple[str, ...]
    column: str
    columns: Columns

    def votes(
        self,
        *,
        is_named: bool,
    ) -> Votes:
        """Return how to read the column. Raises DataError where its values can mean either way.

        is_named: the user named the answers. Then 0/1 and 1/2 mean the first and second answer, and
        of signed whole numbers those below 0 the first. −1, 0 and 1 alone may be either: a sign, or
        0 and 1 where −1 is not judged.
        """
        survey = self._survey()
        first, second, tie = (
            survey.chosen(option)
            for option in (
                self.columns.first,
                self.columns.second,
                self.columns.tie,
            )
        )
        words = list(survey.words)
        ties = [word for word in words if tie.holds(word) or word in TIES]
        rest = [word for word in words if word not in ties]
        unjudged = self._unjudged(rest, first, second, tie)
        rest = [word for word in rest if word not in unjudged]
        is_scale = first.is_given and bool(tie.ranges)
        wins = None
        if not is_scale:
            wins = self._wins(rest, ties, first, second, is_named=is_named)
        if wins is not None:
            wins |= dict.fromkeys(ties, -1)
            return Votes(self.column, wins, unjudged=unjudged)
        numbers = [parse_number(word) for word in rest]
        are_signed = any(one is not None and one < 0 for one in numbers)
        is_pair = len(self.answers) == 2
        end = first.span if first.is_given else second.span
        if end and is_pair and None not in numbers:
            votes = self._by_number(rest, first, second, tie, survey)
            ties = [word for word in ties if parse_number(word) is None]
            wins = dict.fromkeys(ties, -1)
            return Votes(
                self.column,
                wins,
                *votes,
                unjudged=unjudged,
            )
        is_sign = are_signed and _are_whole(numbers) and not _are_signs(rest)
        is_asked = first.is_given or second.is_given
        if is_named and is_pair and is_sign and not is_asked:
            wins = dict.fromkeys(ties, -1)
            return Votes(self.column, wins, -1.0, unjudged=unjudged)
        if first.is_given:
            raise self._choice_error(
                "--first", self.columns.first, first, rest
            )
        if second.is_given:
            option = self.columns.second
            raise self._choice_error("--second", option, second, rest)
        raise self._ambiguity_error(rest)

    def _survey(self) -> _Survey:
        survey = _Survey()
        for _, row in self.table.rows_past([]):
            word = word_of(row.get(self.column))
            if word is None or word in survey.words:
                continue
            is_kept = word in TIES or word in UNJUDGED_WORDS
            if is_kept or len(survey.words) < _MOST:
                survey.words[word] = None
                continue
            # numbers may be many; other values cannot all be explained
            if parse_number(word) is None:
                raise self._too_many()
            survey.add_one_of_many(word)
        survey.words |= dict.fromkeys(survey.ends)
        return survey

    def _unjudged(
        self,
        words: Collection[str],
        first: _Choice,
        second: _Choice,
        tie: _Choice,
    ) -> frozenset[str]:
        """Return the values that mean that nobody judged: empty words, and −1 beside codes.

        −1 is also one where the options explain all other values, or a scale has a middle above 0.
        """
        unjudged = UNJUDGED_WORDS.intersection(words)
        rest = [word for word in words if word not in unjudged]
        others = {word for word in rest if word != "-1"}
        is_vote = first.holds("-1") or second.holds("-1")
        if "-1" not in rest or not others or is_vote:
            return unjudged
        numbers = [parse_number(word) for word in others]
        if any(number is not None and number < 0 for number in numbers):
            return unjudged
        codes = set(differing_parts(self.answers))
        are_codes = others >= {"1", "2"} and others <= {"0", "1", "2"}
        if "0" in codes:
            are_codes = others <= codes
        is_beside_words = None in numbers or len(self.answers) > 2
        has_zero = first.holds("0") or second.holds("0")
        are_explained = second.is_given and all(
            first.holds(word) or second.holds(word) for word in others
        )
        is_scale = tie.span is not None and tie.span[0] > 0
        is_code = are_codes or is_beside_words or has_zero
        if is_code or is_scale or (first.is_given and are_explained):
            return unjudged | {"-1"}
        return unjudged

    def _wins(
        self,
        rest: list[str],
        ties: list[str],
        first: _Choice,
        second: _Choice,
        *,
        is_named: bool,
    ) -> dict[str, int] | None:
        """Return the index of the answer that each value means; None where they do not say it."""
        if not rest:
            return {}
        if first.is_given or second.is_given:
            return self._chosen_wins(rest, ties, first, second)
        if WORSE & set(plain_name(self.column).split("_")):
            return None
        wins = wins_by_name(rest, self.answers, is_named=is_named)
        if wins is None:
            wins = wins_of_one(self.column, rest, self.answers)
        is_pair = len(self.answers) == 2
        if wins is None and is_named and is_pair and set(rest) == {"0", "1"}:
            wins = {"0": 0, "1": 1}
        return wins

    def _chosen_wins(
        self,
        rest: list[str],
        ties: list[str],
        first: _Choice,
        second: _Choice,
    ) -> dict[str, int] | None:
        """Return what each value means by --first and --second; None for a scale of numbers."""
        numbers = [parse_number(word) for word in rest]
        if len(self.answers) > 2:
            return _counted_from(first, numbers, len(self.answers))
        are_signed = any(
            number is not None and number < 0 for number in numbers
        )
        if are_signed and None not in numbers:
            return None
        wins = {}
        others = []
        for word in rest:
            if first.holds(word):
                wins[word] = 0
            elif second.holds(word):
                wins[word] = 1
            else:
                others.append(word)
        if not wins or not others:
            return wins or None
        is_counted = len(wins) == 1 and {*wins, *others} == {"0", "1", "2"}
        if is_counted and "0" in others and not ties:
            others.remove("0")
            wins["0"] = -1
        named = set(wins.values()) - {-1}
        if len(others) > 1 or len(named) > 1:
            return None
        return wins | dict.fromkeys(others, 1 - named.pop())

    def _by_number(
        self,
        words: Collection[str],
        first: _Choice,
        second: _Choice,
        tie: _Choice,
        survey: _Survey,
    ) -> tuple[float, tuple[float, float]]:
        """Return the sign of the lead of the first answer, and the middle of the scale."""
        numbers = {word: parse_number(word) or 0.0 for word in words}
        middle = tie.span
        if middle is None and min(numbers.values(), default=0) < 0:
            middle = (0.0, 0.0)
        if middle is None and survey.are_few:
            choice = first if first.is_given else second
            chosen = [numbers[word] for word in words if choice.holds(word)]
            others = [
                numbers[word] for word in words if not choice.holds(word)
            ]
            middle = _between(chosen, others) if len(chosen) > 1 else None
        sides = [0.0, 0.0]
        if middle is not None:
            sides = [first.side_of(middle), second.side_of(middle)]
        if first.is_given and not (middle and sides[0]):
            option = self.columns.first
            raise self._choice_error("--first", option, first, list(words))
        is_opposite = not first.is_given or sides[0] == -sides[1]
        if second.is_given and not (middle and sides[1] and is_opposite):
            option = self.columns.second
            raise self._choice_error("--second", option, second, list(words))
        return sides[0] or -sides[1], middle or (0.0, 0.0)

    def _too_many(self) -> DataError:
        return DataError(
            f"{self.table.name}: column {self.column!r} holds more than {_MOST} different values, "
            "which do not say which answer is better. Name another one with --better; of numbers, "
            "say which end means the first answer: --first -1 below 0, or --tie MIDDLE and --first."
        )

    def _choice_error(
        self,
        name: str,
        value: str | None,
        choice: _Choice,
        words: Sequence[str],
    ) -> DataError:
        """Return the error of values that an option does not explain."""
        where = f"{self.table.name}: column {self.column!r}"
        others = [word for word in words if not choice.holds(word)]
        numbers = [parse_number(word) for word in words]
        is_pair = len(self.answers) == 2
        if is_pair and len(numbers) > 2 and None not in numbers:
            advice = (
                "If they are a scale, name its middle, the tie, and the end of the first answer: "
                f"--tie {_middle_of(words)} --first {words[0]}."
            )
        elif len(others) == len(words):
            return DataError(
                f"{where} never holds {value!r} ({name}). It holds {listed(words[:_SHOWN])}."
            )
        else:
            advice = (
                "Name all that mean the first answer with --first, all that mean the second with "
                "--second, and a tie with --tie."
            )
        return DataError(
            f"{where} holds {listed(others[:_SHOWN])} besides {value!r} ({name}). {advice}"
        )

    def _ambiguity_error(
        self,
        words: list[str],
    ) -> DataError:
        both = ",".join(self.answers)
        shown = listed(words[:_SHOWN])
        choices = " or ".join(
            f"--first {shlex.quote(word)}" for word in words[:2]
        )
        if len(words) == 1:
            choices += f" (--second {shlex.quote(words[0])} if the other is)"
        numbers = [parse_number(word) for word in words]
        advice = ""
        if any(number is not None and number < 0 for number in numbers):
            choices = "--first -1 (below 0) or --first 1 (above 0)"
            if _are_signs(words):
                choices += ", or --first 0 or --second 0 (-1: not judged)"
        elif len(self.answers) > 2 and "0" in words:
            choices = "--first 0 or --tie 0"
        elif len(words) > 2 and None not in numbers:
            advice = (
                " If they are a scale, name its middle, the tie, and the end of "
                f"{self.answers[0]!r}: --tie {_middle_of(words)} --first {words[0]}."
            )
        return DataError(
            f"{self.table.name}: {listed(self.answers)} are compared, and column "
            f"{self.column!r} holds {shown}. Which value means that {self.answers[0]!r} is "
            f"better? Say so: --answers {both} --better {self.column} and {choices}."
            f"{advice}"
        )


def _are_whole(numbers: Sequence[float | None]) -> bool:
    return all(one is not None and one.is_integer() for one in numbers)


def _are_signs(words: Collection[str]) -> bool:
    return {parse_number(word) for word in words} == {-1.0, 0.0, 1.0}


def _middle_of(words: Collection[str]) -> str:
    numbers = [parse_number(word) or 0.0 for word in words]
    return f"{(min(numbers) + max(numbers)) / 2:g}"


def _between(
    firsts: Sequence[float],
    others: Sequence[float],
) -> tuple[float, float] | None:
    """Return the number halfway between two groups; None if one does not end before the other."""
    if not firsts or not others:
        return None
    for lower, upper in ((firsts, others), (others, firsts)):
        if max(lower) < min(upper):
            middle = (max(lower) + min(upper)) / 2
            return middle, middle
    return None


def _counted_from(
    first: _Choice,
    numbers: Sequence[float | None],
    count: int,
) -> dict[str, int] | None:
    """Return the answer of each number, where the first of several answers has the number named."""
    start = parse_number(first.words[0]) if len(first.words) == 1 else None
    if start is None:
        return None
    wins = {}
    for number in numbers:
        if number is None or not 0 <= number - start < count:
            return None
        wins[f"{number:g}"] = int(number - start)
    return wins
