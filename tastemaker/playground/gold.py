"""The gold score: the true worth of a text of the playground, 0 (worst) … 10 (best), for any text.

    gold = fluency · freshness² · (5 + 7 · m) within 0 … 10     m = Σ w·e·v / (2 + Σ w·e), by clause

- v, the value of a clause: the mean of its opinions, each times the modifiers before it (`very`,
  `not`), within −1 … 1.
- w, its weight: that of the things it speaks of (acting counts more than costumes), or 1.6 for the
  film as a whole.
- e, its emphasis: 1.4 for the side of a contrast that counts (after `but`), 0.6 for the other side,
  and 1 elsewhere.
- 2, the weight of silence: few opinions are weak evidence, so a score near 10 takes several.
- fluency: the share of words in sentences that the grammar can read. In other sentences, known
  words count a tenth. So nonsense, lists of keywords and cut sentences are worth next to nothing.
- freshness: distinct words of content ÷ all words of content. Repetition is worth little.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from tastemaker.playground.grammar import (
    CONCESSIONS,
    CONTENT,
    GRAMMARS,
    MODIFIERS,
    OPINIONS,
    THINGS,
    TURNS,
    Word,
    units,
)

WHOLE_WEIGHT = 1.6
STRONG, FAINT = 1.4, 0.6
SILENCE = 2.0
GAIN = 7.0
UNREADABLE_WORD_SHARE = 0.1

_ROLES = {
    "=,": "comma",
    "=and": "and",
    **dict.fromkeys(OPINIONS, "opinion"),
    **dict.fromkeys(MODIFIERS, "modifier"),
    **dict.fromkeys(THINGS, "thing"),
    **dict.fromkeys(TURNS, "turn"),
    **dict.fromkeys(CONCESSIONS, "concession"),
}

Tagged = tuple[Word, str]
_UNKNOWN: Tagged = (Word("", "unknown"), "\0")
_SENTENCE = re.compile(r"[^.]*\.")  # over tags, where "!" is "." too


class Clause(NamedTuple):
    """One statement about one thing: see the top of this file."""

    weight: float
    value: float
    emphasis: float


class Sentence(NamedTuple):
    """The words of a sentence with its end mark, and whether the grammar can read it."""

    words: list[Word]
    is_readable: bool


class Vocabulary:
    """Finds the words and set phrases of both languages in a sequence of units, longest first."""

    def __init__(self) -> None:
        self._single: dict[str, Tagged] = {}
        self._phrases: dict[
            tuple[str, str], list[tuple[list[str], Tagged]]
        ] = {}
        for grammar in GRAMMARS.values():
            for word in grammar.words:
                tag = grammar.tags[word.kind]
                self._add(units(word.text), (word, tag))
        for phrases in self._phrases.values():
            phrases.sort(key=lambda phrase: -len(phrase[0]))

    def _add(self, spelled: list[str], tagged: Tagged) -> None:
        if len(spelled) == 1:
            self._single[spelled[0]] = tagged
        else:
            beginning = (spelled[0], spelled[1])
            self._phrases.setdefault(beginning, []).append((spelled, tagged))

    def tagged(self, text: list[str]) -> list[Tagged]:
        """Return the words that units spell, with their tags; other units are unknown words."""
        result = []
        start = 0
        followers = [*text[1:], ""]
        while start < len(text):
            tagged, size = self._single.get(text[start], _UNKNOWN), 1
            beginning = (text[start], followers[start])
            for spelled, phrase in self._phrases.get(beginning, ()):
                if text[start : start + len(spelled)] == spelled:
                    tagged, size = phrase, len(spelled)
                    break
            result.append(tagged)
            start += size
        return result


@cache
def _vocabulary() -> Vocabulary:
    return Vocabulary()


@cache
def _readable() -> re.Pattern[str]:
    return re.compile(
        "|".join(grammar.pattern for grammar in GRAMMARS.values())
    )


def sentences(text: str) -> Iterator[Sentence]:
    """Yield the sentences of any text. A missing end mark of the last one is forgiven."""
    spelled = units(text)
    if spelled and spelled[-1] not in (".", "!"):
        spelled.append(".")
    tagged = _vocabulary().tagged(spelled)
    tags = "".join([tag for _, tag in tagged])
    fullmatch = _readable().fullmatch
    for match in _SENTENCE.finditer(tags):
        start, end = match.span()
        words = [word for word, _ in tagged[start:end]]
        is_readable = fullmatch(tags, start, end) is not None
        yield Sentence(words, is_readable)


def is_well_formed(text: str) -> bool:
    """Return whether the grammar, English or Chinese, can read every sentence of a text."""
    readable = [sentence.is_readable for sentence in sentences(text)]
    return bool(readable) and all(readable)


def clauses_of(words: Sequence[Word]) -> list[Clause]:
    """Return the clauses of one well-formed sentence."""
    reader = _ClauseReader()
    for place, word in enumerate(words):
        role = _ROLES.get(word.kind)
        if role == "opinion":
            reader.opinion(word.value)
        elif role == "modifier":
            reader.factor *= word.value
        elif role == "thing":
            reader.weight += word.value
        elif role == "comma":
            reader.comma()
        elif role == "turn":
            reader.turn(FAINT, STRONG)
        elif role == "concession":
            reader.concede()
        elif role == "and":
            joins_adjectives = (
                words[place - 1].kind == words[place + 1].kind == "gradable"
            )
            if not joins_adjectives:
                reader.close()
    reader.close()
    return reader.clauses


class _ClauseReader:
    """The clauses that were read, and the state of the one that is being read."""

    def __init__(self) -> None:
        self.clauses: list[Clause] = []
        self.values: list[float] = []
        self.weight = 0.0
        self.factor = 1.0
        self.emphasis = 1.0
        self.conceding = False

    def opinion(self, value: float) -> None:
        """Take an opinion, with the modifiers before it."""
        self.values.append(max(-1.0, min(1.0, self.factor * value)))
        self.factor = 1.0

    def close(self) -> None:
        """End the clause if it has an opinion ("as for the music," has none)."""
        if self.values:
            value = sum(self.values) / len(self.values)
            self.clauses.append(
                Clause(self.weight or WHOLE_WEIGHT, value, self.emphasis)
            )
            self.values = []
            self.weight = 0.0
            self.factor = 1.0

    def turn(self, before: float, after: float) -> None:
        """Set the emphasis of the clauses before this word, and of those after it."""
        self.close()
        self.clauses = [
            clause._replace(emphasis=before) for clause in self.clauses
        ]
        self.emphasis = after

    def concede(self) -> None:
        """`Although X, Y` stresses Y; so does `Y, although X`."""
        self.close()
        self.conceding = not self.clauses
        self.turn(STRONG, FAINT)

    def comma(self) -> None:
        """End the clause; after a concession comes the side that counts."""
        self.close()
        if self.conceding and self.clauses:
            self.emphasis = STRONG
            self.conceding = False


def gold_score(text: str) -> float:
    """Return the gold score of any text, 0 … 10.

    An empty or unreadable text is worth 0, a neutral review 5.
    """
    clauses: list[Clause] = []
    content: list[str] = []
    fluent = total = 0.0
    for words, is_readable in sentences(text):
        content += [word.text for word in words if word.kind in CONTENT]
        total += len(words)
        if is_readable:
            fluent += len(words)
            clauses += clauses_of(words)
        elif len(words) > 1:
            vocabulary_words = sum(
                word is not _UNKNOWN[0] for word in words[:-1]
            )
            fluent += UNREADABLE_WORD_SHARE * vocabulary_words
    if not total:
        return 0.0
    weight_sum = weighted_values = 0.0
    for weight, value, emphasis in clauses:
        weight_sum += weight * emphasis
        weighted_values += weight * emphasis * value
    freshness = len(set(content)) / len(content) if content else 1.0
    balance = GAIN * weighted_values / (SILENCE + weight_sum)
    worth = max(0.0, min(10.0, 5 + balance))
    fluency = fluent / total
    return fluency * freshness**2 * worth
