"""The words and the grammar of the playground.

A language is a file, `english.yaml` or `chinese.yaml`, with `words` and `rules`. `words` maps
"kind group" to {value: "word, word, two words"}. What a value means depends on the kind: an opinion
is worth −1 (dreadful) … 1 (superb), a thing that can be praised has a weight, a modifier (`very`,
`not`) multiplies the opinion after it, and all other words are worth 0. A group (`plot`, `sound` …)
ties opinions to the things that they suit; `any` suits all. Words of `kind+` and `kind-` stand
beside good or bad words only.

`rules` is a grammar that is used both ways: it writes random sentences, and it gives a pattern that
reads them. A line of it is

    name: weight body | weight body …        a line may be repeated to add bodies

In a body, `<name>` is a rule or a kind of word; anything else is written as it stands. `±` is the
sign of the sentence (+ praise, − blame) and `∓` the opposite sign. `was/were` is singular/plural.
`<aspect>` is a thing that can be praised, chosen again for each body that holds it; the words of
that body suit it.

No rule calls itself, so the language is regular. Every kind of word, and every word that the rules
name, becomes one character, a *tag*. A text is well formed when each of its sentences, as a string
of tags, matches the regular expression. The reader is a little more generous than the writer: it
checks number (`the jokes were`), but not that praise and blame alternate around `but`, that an
adjective suits its noun, or who may exclaim.
"""

import random
import re
from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

import yaml

_OPINIONS = (
    "gradable extreme quality enjoyed enjoy enjoys fared fare verdict advice esteem remainder "
    "feeling fixed"
)
_MODIFIERS = (
    "degree fervour soften boost not far never wasnt werent didnt nothing something call amount "
    "full free lacking hadno lacked negate"
)
_DETAILS = "weekday weather company venue place person deed aside"

OPINIONS = frozenset(_OPINIONS.split())
MODIFIERS = frozenset(_MODIFIERS.split())
DETAILS = frozenset(_DETAILS.split())
THINGS = frozenset({"thing", "things", "whole"})
TURNS = frozenset({"but", "however"})
CONCESSIONS = frozenset({"although", "despite"})

_MARKS = str.maketrans("，。！？：’", ",.!?:'")
_UNIT = re.compile(r"[a-z]+(?:['-][a-z]+)*|\S")


@dataclass(frozen=True, slots=True)
class Word:
    """A word or set phrase. sign: +1 or −1 where it stands beside good or bad words only."""

    text: str
    kind: str
    group: str = "any"
    value: float = 0.0
    sign: int = 0


def units(text: str) -> list[str]:
    """Return the lower-cased text in units: English words, Chinese characters, single marks."""
    return _UNIT.findall(text.lower().translate(_MARKS))


def load_language(name: str) -> tuple[list[Word], str]:
    """Return the words of a language, in the order of its file, and the rules of its grammar.

    The file has the words of each kind and group, by their value: how strong an opinion is, or how
    much a word makes it stronger or weaker.
    """
    path = Path(__file__).with_name(f"{name}.yaml")
    text = path.read_text(encoding="utf-8")
    # the loader in C takes 3 ms, not 60
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    tables = yaml.load(text, loader)
    words: list[Word] = []
    for kind_and_group, by_value in tables["words"].items():
        for value, texts in by_value.items():
            place = f"{name}.yaml: {kind_and_group}: {value!r}"
            assert isinstance(value, float), place
            for text in texts.split(","):
                words.append(_word(kind_and_group, value, text.strip()))
    return words, tables["rules"]


def _word(key: str, value: float, text: str) -> Word:
    """Return a word of the table row "kind group"."""
    name, _, group = key.partition(" ")
    kind = name.rstrip("+-")
    sign = name.count("+") - name.count("-")
    if kind in OPINIONS:
        sign = (value > 0) - (value < 0)
    return Word(text, kind, group or "any", value, sign)


CONTENT = THINGS | OPINIONS | DETAILS
"""Kinds of words with content; using such a word twice is a repetition."""

_OPENINGS = {
    "opener",
    "urge",
    "summary",
    "merit",
    "flaw",
    "however",
    "admission",
    "coda",
}
_USED_ONCE = CONTENT | _OPENINGS

MARKS = ",.!?:"
_WIDE = str.maketrans(MARKS, "，。！？：")
VOICES = ("plain", "terse", "chatty", "formal")
PRAISE, BLAME = 1, -1
_SINGULAR, _PLURAL = 0, 1
_NUMBER_SHARES = (0.65, 0.35)
_ASPECTS = {"<aspect>": ("thing", "things"), "<whole>": ("whole", "whole")}
_SYMBOL = re.compile(r"<([a-z]+(?:-[a-z]+)*)([+±∓-]?)>")
_RULE = re.compile(r"([a-z]+(?:-[a-z]+)*)([+±-]?): (.+)")

Key = tuple[str, int, int]
"""A rule, or a kind of word: (name, sign, singular or plural)."""


@dataclass(frozen=True, slots=True)
class Body:
    """One way to write a rule. aspect: the kind of thing it speaks of, which replaces None."""

    weight: float
    aspect: str | None
    steps: tuple[str | Key | None, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """One body of a rule as it stands in the file. mark: "", "±", "+" or "-"."""

    name: str
    mark: str
    weight: float
    tokens: list[str]


def _lines(rules: str) -> Iterator[_Line]:
    for line in rules.splitlines():
        if not line:
            continue
        match = _RULE.fullmatch(line)
        assert match, f"not a rule: {line}"
        for part in match[3].split(" | "):
            weight, *tokens = part.split()
            yield _Line(match[1], match[2], float(weight), tokens)


class Grammar:
    """The rules and words of one language."""

    def __init__(self, language: str, first_tag: int, spaced: bool) -> None:
        listed, rules = load_language(language)
        self.spaced = spaced
        self._lines = list(_lines(rules))
        self._names = {line.name for line in self._lines}
        self._plans: dict[Key, tuple[list[float], list[Body]]] = {}
        literals: set[str] = set()
        for body in self._bodies():
            literals.update(
                step for step in body.steps if isinstance(step, str)
            )
        self.words = list(listed)
        for text in sorted(literals):
            self.words.append(Word(text, "=" + text.lower()))
        kinds = sorted({word.kind for word in self.words})
        self.tags = {
            kind: chr(first_tag + number) for number, kind in enumerate(kinds)
        }
        for mark in MARKS:  # the same in both languages
            self.tags[f"={mark}"] = "." if mark == "!" else mark
        self._pools = _pools(listed)
        self._verdicts: dict[str, int] = {}
        for word in listed:
            if word.kind in ("verdict", "advice"):
                self._verdicts[word.text] = word.sign

    def _bodies(self) -> Iterable[Body]:
        for line in self._lines:
            sign = BLAME if line.mark == "-" else PRAISE
            for number in (_SINGULAR, _PLURAL):
                yield from self._plan((line.name, sign, number))[1]

    def _plan(self, key: Key) -> tuple[list[float], list[Body]]:
        """Return a rule's bodies for one sign and number, and their cumulative weights."""
        if key not in self._plans:
            name, sign, number = key
            marks = ("", "±", "+" if sign == PRAISE else "-")
            bodies: list[Body] = []
            for line in self._lines:
                if line.name == name and line.mark in marks:
                    bodies += self._bodies_of(line, sign, number)
            heights = list(accumulate(body.weight for body in bodies))
            self._plans[key] = heights, bodies
        return self._plans[key]

    def _bodies_of(self, line: _Line, sign: int, number: int) -> list[Body]:
        """Return a line's body; two, singular and plural, where its aspect may be either."""
        aspect = next(
            (token for token in line.tokens if token in _ASPECTS), None
        )
        if aspect is None:
            return [self._body(line, line.weight, None, sign, number)]
        if aspect == "<whole>" or not self.spaced:
            return [self._body(line, line.weight, aspect, sign, _SINGULAR)]
        bodies = []
        for each, share in enumerate(_NUMBER_SHARES):
            bodies.append(
                self._body(line, line.weight * share, aspect, sign, each)
            )
        return bodies

    def _body(
        self,
        line: _Line,
        weight: float,
        aspect: str | None,
        sign: int,
        number: int,
    ) -> Body:
        steps: list[str | Key | None] = []
        for token in line.tokens:
            steps.append(
                None if token == aspect else _step(token, sign, number)
            )
        kind = None if aspect is None else _ASPECTS[aspect][number]
        return Body(weight, kind, tuple(steps))

    def sentence(
        self, name: str, sign: int, rng: random.Random, used: set[str]
    ) -> list[str]:
        """Write one sentence of a rule as a list of words.

        Words in `used` are avoided, and new ones are added to it.
        """
        out: list[str] = []
        self._write((name, sign, _SINGULAR), "whole", rng, used, out)
        return out

    def contradicts_itself(self, used: set[str]) -> bool:
        """Return whether the words of a review hold verdicts of both signs."""
        return {PRAISE, BLAME} <= {
            self._verdicts.get(word, 0) for word in used
        }

    def _write(
        self,
        key: Key,
        group: str,
        rng: random.Random,
        used: set[str],
        out: list[str],
    ) -> None:
        name, sign, _ = key
        if name not in self._names:
            out.append(self._word((name, sign, group), rng, used).text)
            return
        heights, bodies = self._plan(key)
        height = rng.random() * heights[-1]
        body = bodies[bisect(heights, height)]
        aspect = ""
        if body.aspect:
            word = self._word((body.aspect, sign, "any"), rng, used)
            aspect, group = word.text, word.group
        for step in body.steps:
            if step is None:
                out.append(aspect)
            elif isinstance(step, str):
                out.append(step)
            else:
                self._write(step, group, rng, used, out)

    def _word(
        self, pool: tuple[str, int, str], rng: random.Random, used: set[str]
    ) -> Word:
        words = self._pools[pool]
        word = words[int(rng.random() * len(words))]
        if word.kind in _USED_ONCE:
            for _ in range(20):
                if word.text not in used:
                    break
                word = words[int(rng.random() * len(words))]
            used.add(word.text)
        return word

    def render(self, sentences: list[list[str]]) -> str:
        """Return sentences as one text, with spaces, capitals and marks."""
        if self.spaced:
            return " ".join(_printed(words) for words in sentences)
        return "".join("".join(words) for words in sentences).translate(_WIDE)

    @cached_property
    def pattern(self) -> str:
        """The regular expression over tags that matches exactly one sentence."""
        patterns: dict[tuple[str, int], str] = {}
        roots = [
            f"{voice}{part}"
            for voice in VOICES
            for part in ("", "-turn", "-detail")
        ]
        alternatives = [
            self._pattern_of(root, _SINGULAR, patterns) for root in roots
        ]
        return f"(?:{'|'.join(alternatives)})"

    def _pattern_of(
        self, name: str, number: int, patterns: dict[tuple[str, int], str]
    ) -> str:
        """Return the expression that matches a rule or a kind of word."""
        if name not in self._names:
            return self.tags[name]
        if (name, number) not in patterns:
            alternatives: dict[str, None] = {}
            for sign in (PRAISE, BLAME):
                _, bodies = self._plan((name, sign, number))
                for body in bodies:
                    alternatives[self._pattern_of_body(body, patterns)] = None
            patterns[name, number] = f"(?:{'|'.join(alternatives)})"
        return patterns[name, number]

    def _pattern_of_body(
        self, body: Body, patterns: dict[tuple[str, int], str]
    ) -> str:
        parts = []
        for step in body.steps:
            if isinstance(step, tuple):
                parts.append(self._pattern_of(step[0], step[2], patterns))
            elif step is None:
                parts.append(re.escape(self.tags[body.aspect or ""]))
            else:
                parts.append(re.escape(self.tags["=" + step.lower()]))
        return "".join(parts)


def _step(token: str, sign: int, number: int) -> str | Key:
    """Return a token for one sign and number: a word as it stands, or the key of a rule."""
    if "/" in token:
        token = token.split("/")[number]
    symbol = _SYMBOL.fullmatch(token)
    if symbol is None:
        return token
    signs = {"±": sign, "∓": -sign, "+": PRAISE, "-": BLAME, "": sign}
    return symbol[1], signs[symbol[2]], number


def _pools(words: list[Word]) -> dict[tuple[str, int, str], list[Word]]:
    """Return words by (kind, sign, group). Sign 0 suits both signs, the group `any` all groups."""
    pools: dict[tuple[str, int, str], list[Word]] = {}
    all_groups = {word.group for word in words}
    for word in words:
        signs = (word.sign,) if word.sign else (PRAISE, BLAME)
        groups = [*all_groups] if word.group == "any" else [word.group]
        if word.kind in THINGS:
            groups.append("any")
        for sign in signs:
            for group in groups:
                key = (word.kind, sign, group)
                pools.setdefault(key, []).append(word)
    return pools


def _printed(words: list[str]) -> str:
    text = words[0][:1].upper() + words[0][1:]
    for before, word in pairwise(words):
        if word in MARKS:
            text += word
        elif before == "?":
            text += " " + word[:1].upper() + word[1:]
        else:
            text += " " + word
    return text


GRAMMARS = {
    "en": Grammar("english", first_tag=0xE000, spaced=True),
    "zh": Grammar("chinese", first_tag=0xE800, spaced=False),
}
