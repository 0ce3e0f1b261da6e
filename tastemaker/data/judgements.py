"""What people said about texts: frozen records, equal by value.

A judgement is evidence about the latent scores of its texts. Every kind is one record here, one likelihood in
`maths/evidence.py` and one link in `models/links/`. All of them say who judged (`judge`), when (`time`), what the texts
answer (`prompt`) and how much this one counts (`weight`). `where` (`reviews.csv:17`) and `source` (the file or subset)
say where it came from; they help messages and slices and take no part in equality.

A text's 64-bit name, to find exact duplicates and to draw lots: the same on every machine, in every process.

How a prompt and the text that answers it become the one text that a backbone reads.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tastemaker.errors import DataError, UsageError


class Message(NamedTuple):
    """One turn of a chat: who spoke ("system", "user", "assistant" …) and what they said."""

    role: str
    content: str


Prompt: TypeAlias = str | tuple[Message, ...]
"""What a text answers: a plain text, or the turns of a chat so far."""


def plain(prompt: Prompt) -> str:
    """Return a prompt as one text: itself, or its turns as `role: content` with an empty line between them."""
    return (
        prompt
        if isinstance(prompt, str)
        else "\n\n".join(f"{turn.role}: {turn.content}" for turn in prompt)
    )


@dataclass(frozen=True, slots=True)
class Example:
    """A text that can be scored, and the prompt it answers if there is one."""

    text: str
    prompt: Prompt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement(ABC):
    """What every judgement says besides what was judged. Raises DataError for what no judgement can be.

    weight: how many judgements this one counts for; 0 leaves it out of the fit.
    """

    prompt: Prompt | None = None
    judge: str | None = None
    time: datetime | None = None
    weight: float = 1.0
    where: str = field(default="", compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.judge is not None and not self.judge.strip():
            raise self.wrong("the judge's name is empty. Name the judge, or leave the judge out.")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise self.wrong(
                f"the weight is {self.weight:g}; a weight is a finite number of 0 or more."
            )

    @property
    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """The texts that were judged."""

    @property
    def examples(self) -> tuple[Example, ...]:
        """The texts that were judged, each with the prompt."""
        return tuple(Example(text, self.prompt) for text in self.texts)

    def wrong(self, what: str) -> DataError:
        """Return the error that says what is wrong with this judgement, and where it stands."""
        return DataError(f"{self.where or 'a ' + type(self).__name__.lower()}: {what}")


@dataclass(frozen=True, slots=True)
class _OfOneText(Judgement):
    text: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The one text that was judged."""
        return (self.text,)


@dataclass(frozen=True, slots=True)
class Label(_OfOneText):
    """Somebody said of a text: yes or no ("this review is positive")."""

    positive: bool


@dataclass(frozen=True, slots=True)
class Grade(_OfOneText):
    """Somebody chose a step of an ordered scale ("8 out of 10"): `lowest` ≤ `grade` ≤ `highest`."""

    grade: int
    lowest: int = 1
    highest: int = 10


@dataclass(frozen=True, slots=True)
class Rating(_OfOneText):
    """Somebody gave a number on a continuous scale ("7.35"); finite, any unit, higher is better."""

    rating: float


@dataclass(frozen=True, slots=True)
class Comparison(Judgement):
    """Somebody liked one of two texts better, by `margin` (0: not said how much), or found them equal (`tie`).

    Of a tie, `chosen` and `rejected` are just the two texts. Raises DataError for a text compared with itself, a margin
    that is negative or not finite, and a tie with a margin.
    """

    chosen: str
    rejected: str
    margin: float = 0.0
    tie: bool = False

    def __post_init__(self) -> None:
        Judgement.__post_init__(self)
        if self.chosen == self.rejected:
            raise self.wrong(f"compares a text with itself ({self.chosen[:40]!r}). Remove the row.")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise self.wrong(
                f"the margin is {self.margin:g}; it says by how much the chosen text is better: 0 or more."
            )
        if self.tie and self.margin:
            raise self.wrong(
                f"a tie with a margin of {self.margin:g}. Of two equal texts, neither is better."
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """The two texts: chosen, rejected."""
        return (self.chosen, self.rejected)


@dataclass(frozen=True, slots=True)
class Ranking(Judgement):
    """Somebody ordered texts: `tiers` from best to worst, the texts of a tier equally good.

    rest: texts that are worse than every tier, in no known order (a top-k ranking, a best of k). Texts that were not
    judged are left out. Lists are taken for tuples and a text for a tier of one: Ranking(["best", "good", "bad"]).
    Raises DataError for fewer than two texts, for a text that is repeated, and for an empty tier.
    """

    tiers: tuple[tuple[str, ...], ...]
    rest: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        Judgement.__post_init__(self)
        if isinstance(self.tiers, str):  # type: ignore[unreachable]  # callers without a type checker
            raise self.wrong("the tiers are one text. Give a list of texts, the best first.")
        object.__setattr__(self, "tiers", tuple(_tier(tier) for tier in self.tiers))
        object.__setattr__(self, "rest", _tier(self.rest))
        texts = self.texts
        if len(texts) < 2:
            raise self.wrong(f"a ranking of {len(texts)} answers. It needs at least two.")
        if not self.tiers or not all(self.tiers):
            raise self.wrong(
                "a ranking with an empty tier. Number the ranks without gaps, best first."
            )
        if len(set(texts)) < len(texts):
            repeated = next(text for text in texts if texts.count(text) > 1)
            raise self.wrong(
                f"a ranking that holds an answer twice ({repeated[:40]!r}). Remove one of them."
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts, best tier first, the rest last."""
        return (*(text for tier in self.tiers for text in tier), *self.rest)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The tier of each of `texts`, 0 for the best; the rest share the number after the last tier."""
        numbered = [number for number, tier in enumerate(self.tiers) for _ in tier]
        return (*numbered, *(len(self.tiers) for _ in self.rest))


def _tier(tier: str | Sequence[str]) -> tuple[str, ...]:
    return (tier,) if isinstance(tier, str) else tuple(tier)


def examples_of(item: Judgement | Example) -> tuple[Example, ...]:
    """Return the texts, each with its prompt, that a judgement or example is about."""
    return (item,) if isinstance(item, Example) else item.examples


def _hash(*parts: str) -> int:
    # surrogatepass: any Python string has a name, also one that is not valid Unicode
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def fingerprint(text: str) -> int:
    """Return the text's name, 0 … 2⁶⁴ − 1: equal for texts that are equal but for white space around them."""
    return _hash(text.strip())


def fingerprints(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return the names of n texts, uint64 [n]."""
    return np.fromiter((fingerprint(text) for text in texts), dtype=np.uint64)


def lot(seed: int, purpose: str, key: str) -> int:
    """Return the lot that `key` draws, 0 … 2⁶⁴ − 1: uniform, fixed by the seed, independent of everybody else's.

    Whoever takes the keys with the k smallest lots takes k of them at random, in any order they come, and a larger k
    takes the same ones and more. `purpose` keeps two uses of one seed independent.
    """
    return _hash(str(seed), purpose, key)


TEMPLATE = "{prompt}\n\n{text}"
"""How they are joined, unless the model says otherwise."""

CHAT = "chat"
"""The template of a model that reads prompt and text as its tokenizer's chat template puts them."""


def joined(example: Example, template: str = TEMPLATE) -> str:
    """Return the one text that is read: the text alone, or prompt and text as `template` puts them.

    Raises UsageError for a template without its two places {prompt} and {text}.
    """
    if "{prompt}" not in template or "{text}" not in template:
        raise UsageError(f"template {template!r}: must hold {{prompt}} and {{text}}.")
    if example.prompt is None:
        return example.text
    prompt = plain(example.prompt)
    before, after = template.split(
        "{prompt}", 1
    )  # not str.format: a template may hold other braces
    return before.replace("{text}", example.text) + prompt + after.replace("{text}", example.text)
