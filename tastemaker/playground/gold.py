"""The gold score: what a text of the playground is truly worth, 0 (worst) … 10 (best), for any text at all.

    gold = fluency · freshness² · (5 + 7 · m) within 0 … 10      m = Σ w·e·v / (2 + Σ w·e) over the clauses

- v, a clause's value: the mean of its opinions, each times the modifiers before it (`very`, `not`), within −1 … 1;
- w, its weight: that of the aspects it speaks of (acting counts more than costumes), or 1.6 for the film as a whole;
- e, its emphasis: in a contrast 1.4 for the side that counts (after `but`), 0.6 for the other, and 1 elsewhere;
- the 2 below the line is silence: few opinions are weak evidence, so a score near 10 takes several;
- fluency: the share of words in sentences that the grammar can read. The others say nothing, and their known words
  count a tenth. So nonsense, lists of keywords and cut sentences are worth next to nothing;
- freshness: distinct ÷ all content words. Who repeats herself is worth little.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from tastemaker.playground.grammar import CONTENT, GRAMMARS
from tastemaker.playground.lexicon import (
    CONCESSIONS,
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
KNOWN_BUT_UNREADABLE = 0.1

_ROLES = {"=,": "comma", "=and": "and"}
for _role, _kinds in (
    ("opinion", OPINIONS),
    ("modifier", MODIFIERS),
    ("thing", THINGS),
    ("turn", TURNS),
    ("concession", CONCESSIONS),
):
    _ROLES |= dict.fromkeys(_kinds, _role)

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
        self._phrases: dict[str, dict[str, list[tuple[list[str], Tagged]]]] = {}
        for grammar in GRAMMARS.values():
            for word in grammar.words:
                spelled, tagged = units(word.text), (word, grammar.tags[word.kind])
                if len(spelled) == 1:
                    self._single[spelled[0]] = tagged
                else:
                    by_second = self._phrases.setdefault(spelled[0], {})
                    by_second.setdefault(spelled[1], []).append((spelled, tagged))
        for by_second in self._phrases.values():
            for phrases in by_second.values():
                phrases.sort(key=lambda phrase: -len(phrase[0]))

    def tagged(self, found: list[str]) -> list[Tagged]:
        """Return the words that units spell, with their tags; a unit that begins no word is an unknown word."""
        result, start = [], 0
        while start < len(found):
            first, size = found[start], 1
            tagged = self._single.get(first, _UNKNOWN)
            if first in self._phrases:
                for spelled, phrase in self._phrases[first].get(
                    "".join(found[start + 1 : start + 2]), ()
                ):
                    if found[start : start + len(spelled)] == spelled:
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
    return re.compile("|".join(grammar.pattern for grammar in GRAMMARS.values()))


def sentences(text: str) -> Iterator[Sentence]:
    """Yield the sentences of any text. A missing end mark of the last one is forgiven."""
    found = units(text)
    if found and found[-1] not in (".", "!"):
        found.append(".")
    tagged = _vocabulary().tagged(found)
    tags = "".join([tag for _, tag in tagged])
    fullmatch = _readable().fullmatch
    for match in _SENTENCE.finditer(tags):
        start, end = match.span()
        yield Sentence(
            [word for word, _ in tagged[start:end]], fullmatch(tags, start, end) is not None
        )


def is_well_formed(text: str) -> bool:
    """Say whether the grammar of the playground, English or Chinese, can read every sentence of a text."""
    readable = [sentence.is_readable for sentence in sentences(text)]
    return bool(readable) and all(readable)


def clauses_of(words: Sequence[Word]) -> list[Clause]:
    """Read one well-formed sentence: what it says, about what, with which emphasis."""
    reader = _ClauseReader()
    for at, word in enumerate(words):
        role = _ROLES.get(word.kind)
        if role is None:
            continue
        if role == "opinion":
            reader.values.append(max(-1.0, min(1.0, reader.factor * word.value)))
            reader.factor = 1.0
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
        elif not words[at - 1].kind == words[at + 1].kind == "gradable":
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
    content: list[str] = []
    fluent = total = 0.0
    for words, is_readable in sentences(text):
        content += [word.text for word in words if word.kind in CONTENT]
        total += len(words)
        if is_readable:
            fluent += len(words)
            clauses += clauses_of(words)
        elif len(words) > 1:
            fluent += KNOWN_BUT_UNREADABLE * sum(word is not _UNKNOWN[0] for word in words[:-1])
    if not total:
        return 0.0
    heard = praised = 0.0
    for weight, value, emphasis in clauses:
        heard += weight * emphasis
        praised += weight * emphasis * value
    freshness = len(set(content)) / len(content) if content else 1.0
    return (
        fluent / total * freshness**2 * max(0.0, min(10.0, 5 + GAIN * praised / (SILENCE + heard)))
    )
