"""Which answer a value names, by the names of the columns of the answers."""

import re
from collections.abc import Mapping, Sequence

from tastemaker.data.roles import in_english, plain_name
from tastemaker.data.values import parse_number

STEMS = (
    "response answer completion output reply generation text summary candidate option model "
    "assistant result translation story"
)
NUMBERED = re.compile(
    rf"(?:{STEMS.replace(' ', '|')})(?:_?text)?_?(?P<part>[0-9ab])", re.ASCII
)
"""Names of an answer among several."""

_TIE_WORDS = (
    "=,tie,ties,tied,both,equal,equally good,same,draw,neither,none,both good,both bad,bothbad,"
    "tie (bothbad),tie (both bad),no preference,unsure,"
    "平,平局,平手,持平,一样,一样好,差不多,都好,都不好,都差"
)
TIES = frozenset(_TIE_WORDS.split(","))
_WORSE_WORDS = "worse worst loser losing lost rejected bad"
WORSE = frozenset(_WORSE_WORDS.split())
"""Words of the name of a column, or of a value, that point at the worse answer."""
_PRAISE_WORDS = "is was much far clearly slightly better best wins win won preferred chosen"
_PRAISE = frozenset(_PRAISE_WORDS.split())
"""Words behind the name of the better answer."""
_NEGATIONS = WORSE | {"not", "no"}
_COMPARING = frozenset(["than", "over", "to", "against", "vs", "versus"])
"""Words after which a name is the one that another is compared with: better_than_b."""
_BETTER_WORDS = (
    "better best winner winning wins win won preferred chosen selected"
)
_BETTER = frozenset(_BETTER_WORDS.split())
"""Words of the name of a column that point at the answer that it also names: a_is_better."""
_RELATION = re.compile(r"(.*?)\s*(>+|<+|=+)\s*(.*)", re.DOTALL)
"""Values such as "A>B"."""
PLAIN_PAIRS = (
    ("a", "b"),
    ("left", "right"),
    ("first", "second"),
    ("one", "two"),
)
"""Values that say which of two answers is better, whatever the answers are called."""
_YES_OR_NO = (("0", "1"), ("false", "true"), ("no", "yes"), ("否", "是"))
TOKEN = re.compile(r"[^\W\d_]+|\d+")


def wins_by_name(
    words: Sequence[str],
    answers: tuple[str, ...],
    *,
    is_named: bool = False,
) -> dict[str, int] | None:
    """Return the index of the answer that each value means; None if any value is ambiguous.

    Unambiguous values are the names of the answers, the parts in which these names differ (1 and 2
    of response_1 and response_2), or pairs such as A and B. Words of a tie are passed over. Usual
    Chinese words are put into English first.
    """
    english = {word: in_english(word) for word in words if word not in TIES}
    if not english:
        return None
    rest = [*dict.fromkeys(english.values())]
    wins = _wins(rest, answers, is_named=is_named)
    if wins is None:
        return None
    return {word: wins[spelled] for word, spelled in english.items()}


def _wins(
    rest: Sequence[str],
    answers: tuple[str, ...],
    *,
    is_named: bool,
) -> dict[str, int] | None:
    """Return the index of the answer that each value means. No value is a tie."""
    parts = differing_parts(answers)
    wins = {}
    for word in rest:
        best = _best_of(word, parts, answers)
        if best is not None:
            wins[word] = best
    if {"0", "1", "2"} == set(rest) and parts == ["1", "2"]:
        wins["0"] = -1
    if len(wins) == len(rest) and _is_sure(wins, parts, is_named=is_named):
        return wins
    if len(answers) == 2:
        for pair in PLAIN_PAIRS:
            if set(rest) <= set(pair):
                return {pair[0]: 0, pair[1]: 1}
        if set(rest) == {"1", "2"}:
            return {"1": 0, "2": 1}
    return None


def _is_sure(
    wins: Mapping[str, int],
    parts: Sequence[str],
    *,
    is_named: bool,
) -> bool:
    """Return whether values that name answers leave no doubt.

    One digit alone may count from 0 or from 1; the name of a column does not.
    """
    if not all(part.isdigit() for part in parts):
        return True
    if any(not word.isdigit() for word in wins):
        return True
    is_counted = is_named and (len(parts) > 2 or "1" not in wins)
    return is_counted or len({*wins.values()} - {-1}) > 1


def wins_of_one(
    column: str,
    words: Sequence[str],
    answers: tuple[str, ...],
) -> dict[str, int] | None:
    """Return what yes and no mean in a column such as response_a_is_better; None for another."""
    tokens = TOKEN.findall(plain_name(column))
    if len(answers) != 2 or not _BETTER & set(tokens):
        return None
    parts = differing_parts(answers)
    if all(part.isdigit() for part in parts):
        parts = [plain_name(name) for name in answers]
    named = _named_in(tokens, parts)
    if len(named) != 1 or _NEGATIONS & set(tokens) or _compares(tokens, parts):
        return None
    best = named[0]
    for no, yes in _YES_OR_NO:
        if set(words) <= {no, yes}:
            return {yes: best, no: 1 - best}
    return None


def _best_of(
    word: str,
    parts: Sequence[str],
    answers: Sequence[str],
) -> int | None:
    """Return the index of the answer that a value names as the best; −1 for a tie.

    None for a value that is ambiguous: one that names several answers or has a negation.
    """
    if parse_number(word) is not None:
        return parts.index(word) if word in parts else None
    joined = [_joined(name) for name in answers]
    if joined.count(_joined(word)) == 1:
        return joined.index(_joined(word))
    relation = _RELATION.fullmatch(word)
    if relation is None:
        return _mentioned(word, parts, answers)
    left, right = (
        _best_of(side, parts, answers) for side in (relation[1], relation[3])
    )
    if left is None or right is None or left == right or len(answers) > 2:
        return None
    return {">": left, "<": right, "=": -1}[relation[2][0]]


def _mentioned(
    word: str,
    parts: Sequence[str],
    answers: Sequence[str],
) -> int | None:
    """Return the only answer that a value names as the better one; None for another value.

    The value ends at the name, or has words such as "is better" behind it.
    """
    tokens = TOKEN.findall(word)
    of_names = {token for part in parts for token in TOKEN.findall(part)}
    while tokens and tokens[-1] in _PRAISE - of_names:
        tokens.pop()
    if not tokens or _NEGATIONS & set(tokens) or _compares(tokens, parts):
        return None
    named = _named_in(tokens, parts)
    letter = NUMBERED.fullmatch("_".join(tokens))
    if not named and letter and len(answers) == 2:
        # the columns are numbered, and a value such as "model_b" has a letter
        order = [] if {"a", "b"} & set(parts) else ["a", "b"]
        return order.index(letter["part"]) if letter["part"] in order else None
    if len(named) != 1:
        return None
    ending = TOKEN.findall(parts[named[0]])
    return named[0] if tokens[-len(ending) :] == ending else None


def _named_in(tokens: Sequence[str], parts: Sequence[str]) -> list[int]:
    """Return the indices of the parts of which all words stand in a row."""
    spelled = f" {' '.join(tokens)} "
    named = []
    for number, part in enumerate(parts):
        if f" {' '.join(TOKEN.findall(part))} " in spelled:
            named.append(number)
    return named


def _compares(tokens: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether words say that one answer is compared with another, as `better than b`."""
    of_names = {token for part in parts for token in TOKEN.findall(part)}
    return bool((_COMPARING - of_names) & set(tokens))


def _joined(name: str) -> str:
    """Return the letters and digits of a name: "responsea" of responseA, response_a, Response A."""
    return "".join(TOKEN.findall(name.casefold()))


def differing_parts(
    answers: Sequence[str],
) -> list[str]:
    """Return the part of each name that differs: "1" and "2" of response_1, response_2.

    Parts are whole words, apart from a number or letter at the end of a word.
    """
    plain = [plain_name(name) for name in answers]
    parts = _without_shared(plain)
    if all(re.fullmatch(r"\d+|[a-z]", part, re.ASCII) for part in parts):
        return parts
    words = [TOKEN.findall(name) for name in plain]
    start = _shared(words)
    end = _shared([each[start:][::-1] for each in words])
    return [
        " ".join(each[start : len(each) - end]) or name
        for each, name in zip(words, plain, strict=True)
    ]


def _without_shared(names: Sequence[str]) -> list[str]:
    """Return names without the characters that all begin with and all end with."""
    start = _shared(names)
    end = _shared([name[start:][::-1] for name in names])
    return [name[start : len(name) - end].strip("_") or name for name in names]


def _shared(sequences: Sequence[Sequence[str]]) -> int:
    """Return with how many equal items all sequences begin."""
    count = 0
    for items in zip(*sequences, strict=False):
        if len(set(items)) > 1:
            break
        count += 1
    return count
