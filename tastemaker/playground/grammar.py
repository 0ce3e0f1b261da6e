"""One grammar, used both ways: it writes random sentences, and compiles to one regular expression that reads them.

    name: weight body | weight body …        a line may be repeated to add bodies

`<name>` is a rule or a kind of word; anything else is written as it stands. `±` stands for the sign of what is said
(+ praise, − blame) and `∓` for the opposite. `was/were` is singular/plural. `<aspect>` is a thing that can be praised,
new for each body that holds it; the words of that body suit it.

No rule calls itself, so the language is regular. Every kind of word, and every word that the rules name, becomes one
character, a *tag*; a text is well formed when each of its sentences, as a string of tags, matches the expression. The
reader is a little more generous than the writer: it checks number (`the jokes were`), not that praise and blame
alternate around `but`, that an adjective suits its noun, or who may exclaim.
"""

import random
import re
from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

from tastemaker.playground import chinese, english
from tastemaker.playground.lexicon import DETAILS, OPINIONS, THINGS, Table, Word, words_of

CONTENT = THINGS | OPINIONS | DETAILS
"""Kinds of words that say something; whoever uses one twice repeats herself."""

_SAID_ONCE = CONTENT | {
    "opener",
    "urge",
    "summary",
    "merit",
    "flaw",
    "however",
    "admission",
    "coda",
}

MARKS = ",.!?:"
_WIDE = str.maketrans(MARKS, "，。！？：")
VOICES = ("plain", "terse", "chatty", "formal")
PRAISE, BLAME = 1, -1
_SINGULAR, _PLURAL = 0, 1
_OPENERS = {"<aspect>": ("thing", "things"), "<whole>": ("whole", "whole")}
_SYMBOL = re.compile(r"<([a-z]+(?:-[a-z]+)*)([+±∓-]?)>")
_RULE = re.compile(r"([a-z]+(?:-[a-z]+)*)([+±-]?): (.+)")

Key = tuple[str, int, int]
"""A rule, or a kind of word: its name, the sign of what it says, singular or plural."""


@dataclass(frozen=True, slots=True)
class Body:
    """One way to write a rule. `opens`: the kind of aspect that it speaks of, put where a step is None."""

    weight: float
    opens: str | None
    steps: tuple[str | Key | None, ...]


def _lines(text: str) -> Iterator[tuple[str, str, float, str]]:
    """Yield (name, sign mark, weight, body) of every body of a grammar."""
    for line in filter(None, text.splitlines()):
        match = _RULE.fullmatch(line)
        assert match, f"not a rule: {line}"
        for part in match[3].split(" | "):
            weight, _, body = part.partition(" ")
            yield match[1], match[2], float(weight), body


class Grammar:
    """The rules and words of one language."""

    def __init__(self, rules: str, table: Table, first_tag: int, spaced: bool) -> None:
        self.spaced = spaced
        self._lines = list(_lines(rules))
        self._names = {name for name, *_ in self._lines}
        self._plans: dict[Key, tuple[list[float], list[Body]]] = {}
        listed = words_of(table)
        literals = {step for body in self._bodies() for step in body.steps if isinstance(step, str)}
        self.words = listed + [Word(text, "=" + text.lower()) for text in sorted(literals)]
        kinds = sorted({word.kind for word in self.words})
        self.tags = {kind: chr(first_tag + number) for number, kind in enumerate(kinds)}
        self.tags |= {
            f"={mark}": "." if mark == "!" else mark for mark in MARKS
        }  # the same in every language
        self._pools = self._pool(listed)
        self._verdicts = {
            word.text: word.sign for word in listed if word.kind in ("verdict", "advice")
        }

    def _bodies(self) -> Iterable[Body]:
        for name, mark, _, _ in self._lines:
            for number in (_SINGULAR, _PLURAL):
                yield from self._plan((name, BLAME if mark == "-" else PRAISE, number))[1]

    def _pool(self, words: list[Word]) -> dict[tuple[str, int, str], list[Word]]:
        """Gather words by kind, sign and the group they suit; sign 0 suits both, group `any` suits all."""
        pools: dict[tuple[str, int, str], list[Word]] = {}
        groups = {word.group for word in words}
        for word in words:
            for sign in (word.sign,) if word.sign else (PRAISE, BLAME):
                for group in groups if word.group == "any" else (word.group,):
                    pools.setdefault((word.kind, sign, group), []).append(word)
                if word.kind in THINGS:
                    pools.setdefault((word.kind, sign, "any"), []).append(word)
        return pools

    def _plan(self, key: Key) -> tuple[list[float], list[Body]]:
        """Return a rule's bodies for one sign and number, and their cumulative weights."""
        if key not in self._plans:
            name, sign, number = key
            marks = ("", "±", "+" if sign == PRAISE else "-")
            found = [
                (weight, body)
                for at, mark, weight, body in self._lines
                if at == name and mark in marks
            ]
            bodies = [
                made
                for weight, body in found
                for made in self._made(weight, body.split(), sign, number)
            ]
            self._plans[key] = list(accumulate(body.weight for body in bodies)), bodies
        return self._plans[key]

    def _made(self, weight: float, tokens: list[str], sign: int, number: int) -> Iterator[Body]:
        """Yield a body as it is in one number, or in both where it opens an aspect that may be either."""
        opener = next((token for token in tokens if token in _OPENERS), None)
        if opener is None:
            yield Body(weight, None, tuple(self._step(token, sign, number) for token in tokens))
        elif opener == "<whole>" or not self.spaced:
            yield self._opened(weight, opener, tokens, sign, _SINGULAR)
        else:
            yield self._opened(weight * 0.65, opener, tokens, sign, _SINGULAR)
            yield self._opened(weight * 0.35, opener, tokens, sign, _PLURAL)

    def _opened(
        self, weight: float, opener: str, tokens: list[str], sign: int, number: int
    ) -> Body:
        steps = tuple(
            None if token == opener else self._step(token, sign, number) for token in tokens
        )
        return Body(weight, _OPENERS[opener][number], steps)

    def _step(self, token: str, sign: int, number: int) -> str | Key:
        token = token.split("/")[number] if "/" in token else token
        symbol = _SYMBOL.fullmatch(token)
        if not symbol:
            return token
        signs = {"±": sign, "∓": -sign, "+": PRAISE, "-": BLAME, "": sign}
        return symbol[1], signs[symbol[2]], number

    def sentence(self, name: str, sign: int, rng: random.Random, used: set[str]) -> list[str]:
        """Write one sentence of a rule as a list of words; words in `used` are avoided, new ones added."""
        out: list[str] = []
        self._write((name, sign, _SINGULAR), "whole", rng, used, out)
        return out

    def contradicts_itself(self, used: set[str]) -> bool:
        """Say whether words used in one review hold verdicts of both signs ("do not miss it … avoid it")."""
        return {PRAISE, BLAME} <= {self._verdicts.get(word, 0) for word in used}

    def _write(
        self, key: Key, group: str, rng: random.Random, used: set[str], out: list[str]
    ) -> None:
        if key[0] not in self._names:
            out.append(self._word((key[0], key[1], group), rng, used).text)
            return
        heights, bodies = self._plan(key)
        body = bodies[bisect(heights, rng.random() * heights[-1])]
        aspect = ""
        if body.opens:
            word = self._word((body.opens, key[1], "any"), rng, used)
            aspect, group = word.text, word.group
        for step in body.steps:
            if step is None:
                out.append(aspect)
            elif isinstance(step, str):
                out.append(step)
            else:
                self._write(step, group, rng, used, out)

    def _word(self, pool: tuple[str, int, str], rng: random.Random, used: set[str]) -> Word:
        words = self._pools[pool]
        word = words[int(rng.random() * len(words))]
        if word.kind in _SAID_ONCE:
            for _ in range(20):
                if word.text not in used:
                    break
                word = words[int(rng.random() * len(words))]
            used.add(word.text)
        return word

    def render(self, sentences: list[list[str]]) -> str:
        """Return sentences as people print them."""
        if not self.spaced:
            return "".join("".join(words) for words in sentences).translate(_WIDE)
        return " ".join(_printed(words) for words in sentences)

    @cached_property
    def pattern(self) -> str:
        """The regular expression over tags that matches exactly one sentence."""
        made: dict[tuple[str, int], str] = {}

        def alternatives(name: str, number: int) -> str:
            if name not in self._names:
                return self.tags[name]
            if (name, number) not in made:
                bodies = (
                    self._plan((name, PRAISE, number))[1] + self._plan((name, BLAME, number))[1]
                )
                made[name, number] = (
                    "(?:" + "|".join(dict.fromkeys(spelled(body) for body in bodies)) + ")"
                )
            return made[name, number]

        def spelled(body: Body) -> str:
            tags = []
            for step in body.steps:
                if isinstance(step, tuple):
                    tags.append(alternatives(step[0], step[2]))
                else:
                    tags.append(
                        re.escape(
                            self.tags[body.opens or "" if step is None else "=" + step.lower()]
                        )
                    )
            return "".join(tags)

        roots = [f"{voice}{part}" for voice in VOICES for part in ("", "-turn", "-detail")]
        return "(?:" + "|".join(alternatives(root, _SINGULAR) for root in roots) + ")"


def _printed(words: list[str]) -> str:
    text = words[0][:1].upper() + words[0][1:]
    for before, word in pairwise(words):
        if word in MARKS:
            text += word
        else:
            text += " " + (word[:1].upper() + word[1:] if before == "?" else word)
    return text


GRAMMARS = {
    "en": Grammar(english.RULES, english.WORDS, first_tag=0xE000, spaced=True),
    "zh": Grammar(chinese.RULES, chinese.WORDS, first_tag=0xE800, spaced=False),
}
