"""Which columns of a table are answers, and which says which of them is better."""

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import combinations
from typing import Any

from tastemaker.data.beginnings import layout_hint
from tastemaker.data.cells import listed
from tastemaker.data.roles import plain_name
from tastemaker.data.tables import Row, Table
from tastemaker.data.values import (
    LABEL_PAIRS,
    SPACELESS_CHARACTER,
    UNJUDGED_WORDS,
    is_missing,
    parse_number,
    word_count,
    word_of,
)
from tastemaker.data.vote_names import (
    NUMBERED,
    PLAIN_PAIRS,
    STEMS,
    TIES,
    TOKEN,
    differing_parts,
    wins_by_name,
)
from tastemaker.errors import DataError

_STEM = STEMS.replace(" ", "|")
_NUMBERED_WITHIN = re.compile(
    rf"(?:(?:{_STEM})_?)?(?P<part>[0-9ab])_(?:{_STEM})(?:_text)?", re.ASCII
)
"""Names of an answer among several: model_a_response."""

_BETTER_WORDS = (
    "better best winner winning preferred preference choice chosen label labels vote "
    "selected verdict judgement judgment"
)
_BETTER = frozenset(_BETTER_WORDS.split())
_LABELS = frozenset(["label", "labels"])
_STRONG = _BETTER - _LABELS - {"judgement", "judgment", "selected"}
"""Words of the names of columns that say that answers are compared, whatever these are called."""
_OTHER_WORDS = (
    "id user judge annotator rater worker agent position order rank index row "
    "fold split turn"
)
_OTHER = frozenset(_OTHER_WORDS.split())
"""Words of the names of columns that are taken for votes only if the user names them."""
_NUMBER_WORDS = "votes vote upvotes upvote likes wins points score scores rating ratings stars rank"
_MARK_WORDS = (
    "thumbs thumb like liked upvoted good helpful correct accepted approved"
)
"""Words of the names of columns that hold yes or no for each answer: thumbs_a, thumbs_b."""
_MARKS = frozenset(_MARK_WORDS.split())
_NUMBERS = frozenset(_NUMBER_WORDS.split())
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

_PAIRED = (*PLAIN_PAIRS, ("1", "2"), ("0", "1"))
"""Words in which the names of two answers may differ: left_text, right_text."""
_MOST_TEXTS = 12
"""Columns of texts among which two are searched for that a column of votes names."""

_FEW = 7
"""Different values of a column that may say which answer is better."""
_WORDS = 3
"""Words of such a value."""


def numbered_answers(
    names: Collection[str],
    head: Sequence[Row],
) -> tuple[str, ...]:
    """Return two columns of texts whose names differ in a number or letter; () for none."""
    at_the_end = _numbered_pairs(names, head, NUMBERED)
    answers = _only_answers(at_the_end, head)
    if answers and not _may_be_models(answers):
        return answers
    within = _numbered_pairs(names, head, _NUMBERED_WITHIN)
    return _only_answers([*at_the_end, *within], head)


def _numbered_pairs(
    names: Collection[str],
    head: Sequence[Row],
    pattern: re.Pattern[str],
) -> list[tuple[str, ...]]:
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        plain = plain_name(name)
        match = pattern.fullmatch(plain)
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
    return pairs


def _only_answers(
    pairs: Sequence[tuple[str, ...]],
    head: Sequence[Row],
) -> tuple[str, ...]:
    """Return the only pair of answers; names of models may stand beside them."""
    with_words = [pair for pair in pairs if _has_words(pair, head)]
    answers = []
    for pair in pairs:
        if pair in with_words or not _may_be_models(pair):
            answers.append(pair)
    if len(answers) != 1:
        answers = with_words
    return answers[0] if len(answers) == 1 else ()


def paired_answers(
    names: Collection[str],
    head: Sequence[Row],
) -> tuple[str, ...]:
    """Return two columns of texts whose names differ only in a word such as left and right.

    Something must say which is better: two texts with a label may be anything.
    """
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        tokens = TOKEN.findall(plain_name(name))
        if not _holds_answers(name, head):
            continue
        for place, token in enumerate(tokens):
            others = [*tokens[:place], "*", *tokens[place + 1 :]]
            groups.setdefault(" ".join(others), {})[token] = name
    pairs = []
    for group in groups.values():
        series = {token for token in group if len(token) == 1}
        for parts in _PAIRED:
            is_whole = set(parts) <= set(group) and series <= set(parts)
            pair = tuple(group.get(part, "") for part in parts)
            if is_whole and _are_compared(pair, names, head):
                pairs.append(pair)
    return pairs[0] if len(pairs) == 1 else ()


def _are_compared(
    answers: tuple[str, ...],
    names: Iterable[str],
    head: Sequence[Row],
) -> bool:
    """Return whether another column says which of two texts is better, and not merely judges."""
    rest = [name for name in names if name not in answers]
    if any(map(_is_strong, rest)) or number_columns(answers, rest, head, ()):
        return True
    return any(
        _names_answers(name, answers, head)
        for name in _short_columns(rest, head, ())
    )


def _names_answers(
    name: str,
    answers: tuple[str, ...],
    head: Sequence[Row],
) -> bool:
    """Return whether the values of a column are the names of the answers, and no classes.

    Numbers, A and B may mean anything, and so may a label: the column must be called a vote then.
    """
    if _is_label(name) or not _unambiguous_columns([name], answers, head):
        return False
    words = _votes_in(name, head)
    if any(parse_number(word) is not None for word in words):
        return False
    tokens = {token for word in words for token in TOKEN.findall(word)}
    parts = differing_parts(answers)
    return any(set(TOKEN.findall(part)) <= tokens for part in parts)


def _votes_in(name: str, head: Sequence[Row]) -> set[str]:
    """Return the different values of a column, without ties and cells that nobody judged."""
    words = {word_of(row.get(name)) or "" for row in head}
    return words - {"", "-1", *TIES, *UNJUDGED_WORDS}


def _is_label(name: str) -> bool:
    return bool(_LABELS & set(plain_name(name).split("_")))


def _is_strong(name: str) -> bool:
    return bool(_STRONG & set(plain_name(name).split("_")))


def answers_of_votes(
    names: Collection[str],
    head: Sequence[Row],
    used: Collection[str],
    *,
    among: str | None = None,
) -> tuple[str, ...]:
    """Return the two columns of texts of which the values of a column say which is better.

    The values name the columns, or they are A and B, 1 and 2 or the like and the table has no
    other texts. used: columns that hold something else. among: a column that must be one of the
    two, which values must name then.
    """
    voting = [name for name in names if _is_strong(name)]
    if among is not None and not voting:
        return ()
    texts = []
    for name in names:
        if name not in used and _holds_answers(name, head):
            texts.append(name)
    pairs: dict[tuple[str, ...], None] = {}
    for column in _short_columns(voting or names, head, used):
        words = _votes_in(column, head)
        are_numbers = any(parse_number(word) is not None for word in words)
        if not voting and (are_numbers or _is_label(column)):
            continue
        others = [name for name in texts if name != column]
        if words and 2 <= len(others) <= _MOST_TEXTS:
            is_alone = bool(voting) and among is None
            pairs |= dict.fromkeys(
                _named_pairs(sorted(words), others, is_alone=is_alone)
            )
    answers = []
    for pair in pairs:
        if _has_words(pair, head) and (among is None or among in pair):
            answers.append(pair)
    return answers[0] if len(answers) == 1 else ()


def _named_pairs(
    words: Sequence[str],
    texts: Sequence[str],
    *,
    is_alone: bool,
) -> list[tuple[str, ...]]:
    """Return the pairs of columns that values name.

    is_alone: two columns without others may be meant by any values that tell two answers apart.
    """
    are_plain = any(set(words) <= set(parts) for parts in _PAIRED)
    if is_alone and len(texts) == 2:
        pair = tuple(texts)
        is_said = wins_by_name(words, pair) is not None
        return [pair] if is_said or are_plain else []
    if are_plain:
        return []
    pairs: list[tuple[str, ...]] = []
    for pair in combinations(texts, 2):
        wins = wins_by_name(words, pair)
        if wins is not None and len({*wins.values()} - {-1}) == 2:
            pairs.append(pair)
    return pairs


def _may_be_models(names: Sequence[str]) -> bool:
    plain = plain_name(names[0])
    is_model = plain.startswith("model") and bool(NUMBERED.fullmatch(plain))
    return is_model or plain.endswith("_model")


def _has_words(
    names: Iterable[str],
    head: Sequence[Row],
) -> bool:
    """Return whether some cell of these columns holds more than one word."""
    return any(
        word_count(str(row.get(name))) > 1 for name in names for row in head
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
    """Return a column of numbers for each answer, such as votes_a and votes_b; () for none.

    Marks such as correct_a and correct_b count only where there are no other numbers.
    """
    columns, sorts = _columns_of(answers, names, head, used, _NUMBERS)
    if not sorts:
        columns, sorts = _columns_of(answers, names, head, used, _MARKS)
    are_pairs = all(len(several) == 1 for several in columns)
    # the lower rank is better, and the higher rating: one does not go with the other
    if not are_pairs or len(sorts) > 1:
        return ()
    return tuple(several[0] for several in columns)


def _columns_of(
    answers: tuple[str, ...],
    names: Iterable[str],
    head: Sequence[Row],
    used: Collection[str],
    numbers: Collection[str],
) -> tuple[list[list[str]], set[str]]:
    """Return the columns of numbers of each answer, and which of these words name them."""
    parts = differing_parts(answers)
    fillers = _NUMBER_FILLERS | set(STEMS.split())
    columns: dict[str, list[str]] = {part: [] for part in parts}
    sorts: set[str] = set()
    for name in names:
        tokens = re.findall(r"[a-z]+|\d+", plain_name(name))
        rest = [token for token in tokens if token not in fillers]
        words = [token for token in rest if token in numbers]
        others = [token for token in rest if token not in numbers]
        is_named = len(words) == 1 and len(others) == 1
        if not is_named or others[0] not in columns or name in used:
            continue
        if _holds_numbers(name, head):
            columns[others[0]].append(name)
            sorts.update(words)
    return [columns[part] for part in parts], sorts


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
        are_short = all(word_count(word or "") <= _WORDS for word in words)
        parts = set(plain_name(name).split("_"))
        # of a Chinese name that is not known, no one can say what its values mean
        is_known = not SPACELESS_CHARACTER.search(plain_name(name))
        is_vote = may_vote(name) or (is_known and not parts & _OTHER)
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
        if wins_by_name(list(values), answers) is not None:
            unambiguous.append(name)
    return unambiguous
