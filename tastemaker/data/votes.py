"""Which column says which answer is better, and what its values mean.

The meaning is taken from the names of the answers. Where it could be either way round, it is asked
for and never guessed.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

from tastemaker.data.beginnings import layout_hint
from tastemaker.data.cells import listed
from tastemaker.data.roles import Columns, plain_name
from tastemaker.data.tables import Row, Table
from tastemaker.data.values import (
    LABEL_PAIRS,
    is_missing,
    parse_number,
    word_of,
)
from tastemaker.errors import DataError

_STEMS = (
    "response answer completion output reply generation text summary candidate option model "
    "assistant result translation story"
)
_STEM = _STEMS.replace(" ", "|")
_NUMBERED = re.compile(rf"(?:{_STEM})(?:_?text)?_?(?P<part>[0-9ab])", re.ASCII)
_NUMBERED_WITHIN = re.compile(
    rf"(?:(?:{_STEM})_?)?(?P<part>[0-9ab])_(?:{_STEM})(?:_text)?", re.ASCII
)
"""Names of an answer among several: response_a, and model_a_response."""

_BETTER_WORDS = (
    "better best winner winning preferred preference choice chosen label labels vote "
    "selected verdict judgement judgment"
)
_BETTER = frozenset(_BETTER_WORDS.split())
_TIE_WORDS = (
    "=,tie,ties,tied,both,equal,equally good,same,draw,neither,none,both good,both bad,bothbad,"
    "tie (bothbad),tie (both bad),no preference,unsure"
)
_TIES = frozenset(_TIE_WORDS.split(","))
_WORSE_WORDS = "worse worst loser losing lost rejected bad"
_WORSE = frozenset(_WORSE_WORDS.split())
"""Words of the name of a column, or of a value, that point at the worse answer."""
_OTHER_WORDS = (
    "id user judge annotator rater worker agent position order rank index row "
    "fold split turn"
)
_OTHER = frozenset(_OTHER_WORDS.split())
"""Words of the names of columns that are taken for votes only if the user names them."""
_NEGATIONS = _WORSE | {"not", "no"}
_RELATION = re.compile(r"(.*?)\s*(>+|<+|=+)\s*(.*)", re.DOTALL)
"""Values such as "A>B"."""

_NUMBER_WORDS = "votes vote upvotes upvote likes wins points score scores rating ratings stars rank"
_MARK_WORDS = (
    "thumbs thumb like liked upvoted good helpful correct accepted approved"
)
"""Words of the names of columns that hold yes or no for each answer: thumbs_a, thumbs_b."""
_NUMBERS = frozenset(f"{_NUMBER_WORDS} {_MARK_WORDS}".split())
"""Words of the names of columns that hold a number for each answer: votes_a, votes_b."""
_COUNT_WORDS = "votes vote upvotes upvote likes wins"
_COUNTS = frozenset(f"{_COUNT_WORDS} {_MARK_WORDS}".split())
"""Those that count people, or say yes or no. By how much one number is larger says little of how
much better the answer is."""
_FILLER_WORDS = "count counts num n number of total up user human is was"
_NUMBER_FILLERS = frozenset(_FILLER_WORDS.split())

_WORD_PAIRS = [pair for pair in LABEL_PAIRS if not pair[1].isdigit()]
_YES_OR_NO = dict.fromkeys((no for no, _ in _WORD_PAIRS), 0)
_YES_OR_NO |= dict.fromkeys((yes for _, yes in _WORD_PAIRS), 1)

_FEW = 7
"""Different values of a column that may say which answer is better."""
_WORDS = 3
"""Words of such a value."""
_MOST = 50

_PLAIN = (("a", "b"), ("left", "right"), ("first", "second"), ("one", "two"))
"""Values that say which of two answers is better, whatever the answers are called."""


@dataclass(frozen=True)
class Votes:
    """How a column says which answer is better.

    wins: by the plain form of a value, the index of the best answer; −1 for a tie. lead_sign: 0 if
    `wins` is used. Else the column holds signed numbers for two answers, and a number times
    lead_sign is the lead of the first answer.
    """

    column: str
    wins: Mapping[str, int]
    lead_sign: float = 0.0


def numbered_answers(
    names: Collection[str],
    head: Sequence[Row],
) -> tuple[str, ...]:
    """Return two columns of texts whose names differ in a number or letter; () for none."""
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        plain = plain_name(name)
        match = _NUMBERED.fullmatch(plain) or _NUMBERED_WITHIN.fullmatch(plain)
        if match and _holds_answers(name, head):
            stem = (
                f"{plain[: match.start('part')]}*{plain[match.end('part') :]}"
            )
            groups.setdefault(stem, {})[match["part"]] = name
    pairs: list[tuple[str, ...]] = []
    for group in groups.values():
        for parts in (("1", "2"), ("0", "1"), ("a", "b")):
            if set(group) == set(parts):
                pairs.append(tuple(group[part] for part in parts))
    # names of models may stand beside the answers
    with_words = [pair for pair in pairs if _has_words(pair, head)]
    answers = []
    for pair in pairs:
        if pair in with_words or not _may_be_models(pair):
            answers.append(pair)
    if len(answers) != 1:
        answers = with_words
    return answers[0] if len(answers) == 1 else ()


def _may_be_models(names: Sequence[str]) -> bool:
    plain = plain_name(names[0])
    return plain.startswith("model") and bool(_NUMBERED.fullmatch(plain))


def _has_words(
    names: Iterable[str],
    head: Sequence[Row],
) -> bool:
    """Return whether some cell of these columns holds more than one word."""
    return any(
        len(str(row.get(name)).split()) > 1 for name in names for row in head
    )


def _holds_answers(
    name: str,
    head: Sequence[Row],
) -> bool:
    filled = _filled_cells(name, head)
    return bool(filled) and all(
        (isinstance(cell, str) and parse_number(cell) is None)
        or isinstance(cell, list)
        for cell in filled
    )


def may_vote(name: str) -> bool:
    """Return whether the name of a column says that it holds which answer is better."""
    return bool(_BETTER & set(plain_name(name).split("_")))


def number_columns(
    answers: tuple[str, ...],
    names: Iterable[str],
    head: Sequence[Row],
    used: Collection[str],
) -> tuple[str, ...]:
    """Return a column of numbers for each answer, such as votes_a and votes_b; () for none."""
    parts = _differing_parts(answers)
    fillers = _NUMBER_FILLERS | set(_STEMS.split())
    columns: dict[str, list[str]] = {part: [] for part in parts}
    sorts = set()
    for name in names:
        tokens = re.findall(r"[a-z]+|\d+", plain_name(name))
        rest = [token for token in tokens if token not in fillers]
        words = [token for token in rest if token in _NUMBERS]
        others = [token for token in rest if token not in _NUMBERS]
        is_named = len(words) == 1 and len(others) == 1
        if not is_named or others[0] not in columns or name in used:
            continue
        if _holds_numbers(name, head):
            columns[others[0]].append(name)
            sorts.update(words)
    are_pairs = all(len(several) == 1 for several in columns.values())
    # the lower rank is better, and the higher rating: one does not go with the other
    if not are_pairs or len(sorts) > 1:
        return ()
    return tuple(columns[part][0] for part in parts)


def _holds_numbers(
    name: str,
    head: Sequence[Row],
) -> bool:
    filled = _filled_cells(name, head)
    return bool(filled) and all(
        parse_number(as_number(cell)) is not None for cell in filled
    )


def as_number(cell: Any) -> Any:
    """Return 1 for yes and true, 0 for no and false; any other cell as it is."""
    return _YES_OR_NO.get(word_of(cell) or "", cell)


def _filled_cells(name: str, head: Sequence[Row]) -> list[Any]:
    cells = [row.get(name) for row in head]
    return [cell for cell in cells if not is_missing(cell)]


def are_counts(names: Sequence[str]) -> bool:
    """Return whether columns of numbers count votes, or say yes or no, by their names."""
    words = [set(re.findall("[a-z]+", plain_name(name))) for name in names]
    return all(_COUNTS & one for one in words)


def better_column(
    table: Table,
    answers: tuple[str, ...],
    names: Iterable[str],
    head: Sequence[Row],
    used: Collection[str],
) -> str:
    """Return the column that says which answer is better. Raises DataError unless there is one."""
    short_columns = _short_columns(names, head, used)
    likely = [name for name in short_columns if may_vote(name)]
    unambiguous = _unambiguous_columns(likely or short_columns, answers, head)
    for candidates in (unambiguous, likely, short_columns):
        if len(candidates) == 1:
            return candidates[0]
    among = (
        f" among {listed(likely or short_columns)}" if short_columns else ""
    )
    both = ",".join(answers)
    raise DataError(
        f"{table.name}: {listed(answers)} look like answers that are compared. Name the column "
        f"that says which is better{among}: --answers {both} --better COLUMN; or, if the first "
        f"is always the better one, only --answers {both}.{layout_hint(list(names))}"
    )


def has_verdicts(
    answers: tuple[str, ...],
    names: Iterable[str],
    head: Sequence[Row],
) -> bool:
    """Return whether a column says which answer is better, by its name or by its values.

    Numbers alone do not say it: 1 and 2 may be a difficulty.
    """
    if any(map(may_vote, names)):
        return True
    in_words = []
    for name in _short_columns(names, head, ()):
        if not _holds_numbers(name, head):
            in_words.append(name)
    return bool(_unambiguous_columns(in_words, answers, head))


def _short_columns(
    names: Iterable[str],
    head: Sequence[Row],
    used: Collection[str],
) -> list[str]:
    """Return the columns of few different values, each of few words."""
    short_columns = []
    for name in names:
        words = {word_of(row.get(name)) for row in head} - {None}
        is_scalar = not any(
            isinstance(row.get(name), list | dict) for row in head
        )
        are_short = all(len((word or "").split()) <= _WORDS for word in words)
        parts = set(plain_name(name).split("_"))
        is_vote = may_vote(name) or not parts & _OTHER
        is_few = 0 < len(words) <= _FEW and are_short and is_vote
        if name not in used and is_scalar and is_few:
            short_columns.append(name)
    return short_columns


def _unambiguous_columns(
    names: Iterable[str],
    answers: tuple[str, ...],
    head: Sequence[Row],
) -> list[str]:
    """Return the columns whose values can mean the answers in one way only."""
    unambiguous = []
    for name in names:
        cells = [word_of(row.get(name)) or "" for row in head]
        values = dict.fromkeys(word for word in cells if word)
        if _unambiguous_wins(list(values), answers) is not None:
            unambiguous.append(name)
    return unambiguous


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

        is_named: the user named the answers. Then 0/1, 1/2 and false/true mean first/second answer.
        """
        words = self._words()
        first, tie = word_of(self.columns.first), word_of(self.columns.tie)
        ties = [word for word in words if word in _TIES or word == tie]
        rest = [word for word in words if word not in ties]
        numbers = [parse_number(word) for word in rest]
        are_signed = any(one is not None and one < 0 for one in numbers)
        if first is not None and are_signed:
            sign = -1 if first.startswith(("-", "neg")) else 1
            return Votes(self.column, {}, float(sign))
        if first is not None:
            return Votes(self.column, self._wins_from_first(first, rest, ties))
        if _WORSE & set(plain_name(self.column).split("_")):
            raise self._ambiguity_error(rest)
        wins = _unambiguous_wins(rest, self.answers, is_named=is_named)
        if wins is not None:
            return Votes(self.column, wins | dict.fromkeys(ties, -1))
        if is_named and len(self.answers) == 2:
            if are_signed and None not in numbers:
                return Votes(self.column, {}, -1.0)
            for order in (("0", "1"), ("1", "2"), ("true", "false")):
                if rest and set(rest) <= set(order):
                    wins = {order[0]: 0, order[1]: 1}
                    return Votes(self.column, wins | dict.fromkeys(ties, -1))
        raise self._ambiguity_error(rest)

    def _words(self) -> list[str]:
        words: dict[str, None] = {}
        for _, row in self.table.rows_past([]):
            word = word_of(row.get(self.column))
            if word is not None:
                words[word] = None
                if len(words) > _MOST:
                    raise DataError(
                        f"{self.table.name}: column {self.column!r} holds more than {_MOST} "
                        "different values, which do not say which answer is better. Name "
                        "another one with --better."
                    )
        return list(words)

    def _wins_from_first(
        self,
        first: str,
        rest: list[str],
        ties: list[str],
    ) -> dict[str, int]:
        others = [word for word in rest if word != first]
        if first not in rest:
            raise DataError(
                f"{self.table.name}: column {self.column!r} never holds {first!r} (--first). "
                f"It holds {listed(rest)}."
            )
        if len(others) > 1 and "0" in others:
            others.remove("0")
            ties = [*ties, "0"]
        if len(others) > 1:
            raise DataError(
                f"{self.table.name}: column {self.column!r} holds {listed(others)} besides "
                f"{first!r}. Say which of them is a tie with --tie."
            )
        second = dict.fromkeys(others, 1)
        return {first: 0} | second | dict.fromkeys(ties, -1)

    def _ambiguity_error(
        self,
        words: list[str],
    ) -> DataError:
        both = ",".join(self.answers)
        shown = listed(words[:_FEW])
        choices = " or ".join(f"--first {word}" for word in words[:2])
        return DataError(
            f"{self.table.name}: {listed(self.answers)} are compared, and column "
            f"{self.column!r} holds {shown}. Which value means that {self.answers[0]!r} is "
            f"better? Say so: --answers {both} --better {self.column} and {choices or '--first'}."
        )


def _unambiguous_wins(
    words: Sequence[str],
    answers: tuple[str, ...],
    *,
    is_named: bool = False,
) -> dict[str, int] | None:
    """Return the index of the answer that each value means; None if any value is ambiguous.

    Unambiguous values are the names of the answers, the parts in which these names differ (1 and 2
    of response_1 and response_2), or pairs such as A and B.
    """
    parts = _differing_parts(answers)
    rest = [word for word in words if word not in _TIES]
    wins = {}
    for word in rest:
        best = _best_of(word, parts, answers)
        if best is not None:
            wins[word] = best
    are_digits = all(part.isdigit() for part in parts)
    # one digit alone may count from 0 or from 1
    digits = set("0123456789")
    are_letters = bool(wins) and not any(digits & set(word) for word in wins)
    is_sure = not are_digits or is_named or are_letters
    is_sure = is_sure or len({*wins.values()} - {-1}) > 1
    if are_digits and is_sure and "0" not in parts and "0" in rest:
        wins.setdefault("0", -1)
    if rest and len(wins) == len(rest) and is_sure:
        return wins
    if len(answers) == 2:
        for pair in _PLAIN:
            if rest and set(rest) <= set(pair):
                return {pair[0]: 0, pair[1]: 1}
        if set(rest) == {"1", "2"}:
            return {"1": 0, "2": 1}
    return None


def _best_of(
    word: str,
    parts: Sequence[str],
    answers: Sequence[str],
) -> int | None:
    """Return the index of the answer that a value names as the best; −1 for a tie.

    None for a value that is ambiguous: one that names several answers or has a negation.
    """
    for number, name in enumerate(answers):
        if word == plain_name(name):
            return number
    relation = _RELATION.fullmatch(word)
    if relation:
        left, right = (
            _best_of(side, parts, answers)
            for side in (relation[1], relation[3])
        )
        if left is None or right is None or left == right or len(answers) > 2:
            return None
        sign = relation[2][0]
        return {">": left, "<": right, "=": -1}[sign]
    tokens = re.findall(r"[a-z]+|\d+", word)
    mentioned = [token for token in tokens if token in parts]
    letter = _NUMBERED.fullmatch("_".join(tokens))
    if not mentioned and letter and len(answers) == 2:
        # the columns are numbered, and a value such as "model_b" has a letter
        order = [] if {"a", "b"} & set(parts) else ["a", "b"]
        return order.index(letter["part"]) if letter["part"] in order else None
    if len(mentioned) != 1 or tokens[-1] != mentioned[0]:
        return None
    return None if _NEGATIONS & set(tokens) else parts.index(mentioned[0])


def _differing_parts(
    answers: Sequence[str],
) -> list[str]:
    """Return the part of each name that differs: "1" and "2" of response_1, response_2."""
    plain = [plain_name(name) for name in answers]
    start = len(commonprefix(plain))  # noqa: RUF071  characters, not folders
    turned = [name[start:][::-1] for name in plain]
    end = len(commonprefix(turned))  # noqa: RUF071
    return [name[start : len(name) - end].strip("_") or name for name in plain]
