"""The gold score: what a text of the playground is truly worth, 0 (worst) … 10 (best), for any text at all.

    gold = fluency · freshness² · (5 + 6 · m) within 0 … 10        m = Σ w·e·v / (1 + Σ w·e) over the clauses

- v, a clause's value: the mean of its opinions, each times the modifiers before it (`very`, `not`), within −1 … 1;
- w, its weight: the aspects that it speaks of (the acting counts more than the costumes), or 2 for the film as a whole;
- e, its emphasis: in a contrast 1.5 for the side that counts (after `but`, beside `although`), 0.5 for the other, else 1;
- the 1 below the line: a single opinion is weak evidence, so a score near 10 takes several;
- fluency: the share of words in sentences that the grammar can read. The others say nothing, and their known words
  count a tenth. So nonsense, lists of keywords and cut sentences are worth next to nothing;
- freshness: distinct ÷ all content words. Who repeats herself is worth little.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from tastemaker.data.lexicon import CONCESSIONS, DETAILS, MODIFIERS, OPINIONS, THINGS, TURNS, Word, units
from tastemaker.data.playground.grammar import CONTENT, GRAMMARS

WHOLE_WEIGHT = 2.0
STRONG, FAINT = 1.5, 0.5
GAIN = 6.0
KNOWN_BUT_UNREADABLE = 0.1
_ENDS = frozenset(".!")
_UNKNOWN = Word("", "unknown"), "\0"


class Clause(NamedTuple):
    """One statement about one thing: see the top of this file."""

    weight: float
    value: float
    emphasis: float


class Vocabulary:
    """Finds the words and set phrases of both languages in a sequence of units, longest first."""

    def __init__(self) -> None:
        self._single: dict[str, tuple[Word, str]] = {}
        self._phrases: dict[str, list[tuple[list[str], Word, str]]] = {}
        for grammar in GRAMMARS.values():
            for word in grammar.words:
                spelled, tag = units(word.text), grammar.tags[word.kind]
                if len(spelled) == 1:
                    self._single[spelled[0]] = word, tag
                else:
                    self._phrases.setdefault(spelled[0], []).append((spelled, word, tag))
        for phrases in self._phrases.values():
            phrases.sort(key=lambda phrase: -len(phrase[0]))

    def words(self, found: list[str]) -> tuple[list[Word], str]:
        """Return the words that units spell, and their tags; a unit that begins no word is an unknown word."""
        words, tags, start = [], "", 0
        while start < len(found):
            first, size = found[start], 1
            word, tag = self._single.get(first, _UNKNOWN)
            for phrase, phrase_word, phrase_tag in self._phrases.get(first, ()):
                if found[start : start + len(phrase)] == phrase:
                    word, tag, size = phrase_word, phrase_tag, len(phrase)
                    break
            words.append(word)
            tags += tag
            start += size
        return words, tags


@cache
def _vocabulary() -> Vocabulary:
    return Vocabulary()


@cache
def _sentence_pattern() -> re.Pattern[str]:
    return re.compile("|".join(grammar.pattern for grammar in GRAMMARS.values()))


def _sentences(text: str) -> list[list[str]]:
    """Split a text's units into sentences, each with its end mark; a missing last one is forgiven."""
    found = units(text)
    if found and found[-1] not in _ENDS:
        found.append(".")
    sentences, start = [], 0
    for at, unit in enumerate(found, start=1):
        if unit in _ENDS:
            sentences.append(found[start:at])
            start = at
    return sentences


def is_well_formed(text: str) -> bool:
    """Say whether the grammar of the playground, English or Chinese, can read every sentence of a text."""
    read = [_vocabulary().words(sentence)[1] for sentence in _sentences(text)]
    return bool(read) and all(_sentence_pattern().fullmatch(tags) for tags in read)


def clauses_of(words: Sequence[Word]) -> list[Clause]:
    """Read one well-formed sentence: what it says, about what, with which emphasis."""
    reader = _ClauseReader()
    for at, word in enumerate(words):
        kind = word.kind
        if kind in OPINIONS:
            reader.values.append(max(-1.0, min(1.0, reader.factor * word.value)))
            reader.factor = 1.0
        elif kind in MODIFIERS:
            reader.factor *= word.value
        elif kind in THINGS:
            reader.weight += word.value
        elif kind in TURNS:
            reader.turn(FAINT, STRONG)
        elif kind in CONCESSIONS:
            reader.concede()
        elif kind == "=,":
            reader.comma()
        elif kind == "=and" and not words[at - 1].kind == words[at + 1].kind == "gradable":
            reader.close()
    reader.close()
    return reader.clauses


class _ClauseReader:
    """The clauses read so far, and the one being read."""

    def __init__(self) -> None:
        self.clauses: list[Clause] = []
        self.values: list[float] = []
        self.weight, self.factor, self.emphasis = 0.0, 1.0, 1.0
        self.conceding = False

    def close(self) -> None:
        """End the clause if it has said anything yet ("as for the music," has not)."""
        if self.values:
            value = sum(self.values) / len(self.values)
            self.clauses.append(Clause(self.weight or WHOLE_WEIGHT, value, self.emphasis))
            self.values, self.weight, self.factor = [], 0.0, 1.0

    def turn(self, before: float, after: float) -> None:
        """Weigh what was said one way and what follows another."""
        self.close()
        self.clauses = [clause._replace(emphasis=before) for clause in self.clauses]
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
            self.emphasis, self.conceding = STRONG, False


def gold_score(text: str) -> float:
    """Return the gold score of any text, 0 … 10; an empty or unreadable one is worth 0, a neutral review 5."""
    clauses: list[Clause] = []
    content: list[Word] = []
    fluent = total = 0.0
    for sentence in _sentences(text):
        words, tags = _vocabulary().words(sentence)
        content += [word for word in words if word.kind in CONTENT]
        total += len(words)
        if _sentence_pattern().fullmatch(tags):
            fluent += len(words)
            clauses += clauses_of(words)
        elif len(words) > 1:
            fluent += KNOWN_BUT_UNREADABLE * sum(word is not _UNKNOWN[0] for word in words[:-1])
    if not total:
        return 0.0
    weights = [clause.weight * clause.emphasis for clause in clauses]
    mean = sum(w * clause.value for w, clause in zip(weights, clauses, strict=True)) / (1 + sum(weights))
    freshness = len(set(content)) / len(content) if content else 1.0
    return fluent / total * freshness**2 * max(0.0, min(10.0, 5 + GAIN * mean))
