"""Judgements: frozen records of what people think of texts, equal by value.

A judgement is evidence about the latent scores of its texts. Each kind is a record here and a link
in `tastemaker/kinds`. A record holds who judged, when, the prompt, the weight, and where it was
read (`where`, `source`, `path`: for messages and slices; they take no part in equality).

Also here: a text's 64-bit fingerprint, which finds exact duplicates and draws lots, and the
template that joins a prompt and the text that answers it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tastemaker.errors import DataError, SaysNothing, UsageError


class Message(NamedTuple):
    """One turn of a chat: the role ("system", "user", "assistant" …) and the text."""

    role: str
    content: str


Prompt: TypeAlias = str | tuple[Message, ...]
"""What a text answers: a plain text, or the turns of a chat so far."""


def plain(prompt: Prompt) -> str:
    """Return a prompt as one text: itself, or its turns as `role: content` in paragraphs."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in prompt)


@dataclass(frozen=True, slots=True)
class Example:
    """A text that can be scored, and the prompt it answers if there is one."""

    text: str
    prompt: Prompt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement(ABC):
    """What all kinds of judgement have. Raises DataError for what no judgement can be.

    A kind is a frozen dataclass derived from this one. Its own fields are the columns of its rows
    (`json_rows`): texts, true or false (or None), numbers, tuples of texts, and tuples of tuples of
    texts.

    weight: how many judgements this one counts for; 0 leaves it out of the fit.
    source: what its source is called, such as a file's name. path: tells two sources of one name
    apart; empty where the name was given.
    kind: the name of the kind, in rows, messages and saved models.
    level: the level of measurement of `value`, or of who won (for Krippendorff's alpha).
    """

    kind: ClassVar[str]
    level: ClassVar[Literal["nominal", "ordinal", "interval"]] = "nominal"

    prompt: Prompt | None = None
    judge: str | None = None
    time: datetime | None = None
    weight: float = 1.0
    where: str = field(default="", compare=False, repr=False)
    source: str = field(default="", compare=False, repr=False)
    path: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.judge is not None and not self.judge.strip():
            raise self.wrong(
                "the judge's name is empty. Name the judge, or leave the judge out."
            )
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise self.wrong(
                f"the weight is {self.weight:g}; a weight is a finite number of 0 or more."
            )

    @property
    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """The texts that were judged."""

    @property
    def value(self) -> float:
        """The judgement of a single text as a number, higher is better."""
        raise NotImplementedError(
            f"{type(self).__name__} judges no single text."
        )

    @property
    def middle(self) -> float:
        """The value that divides high from low."""
        return 0.0

    @property
    def scale(self) -> tuple[int, int] | None:
        """The ends of the scale that the value lies on; None without one."""
        return None

    @property
    def ranks(self) -> tuple[int, ...]:
        """The rank of each of `texts`, 0 for the best; () for a judgement of a single text."""
        return ()

    @property
    def unordered_rank(self) -> int:
        """The rank whose texts have no known order, −1 for none; other shared ranks are ties."""
        return -1

    @property
    def places(self) -> tuple[int, ...]:
        """The place at which each of `texts` was shown, 0 for the first; () where unknown."""
        return ()

    @property
    def details(self) -> tuple[Any, ...]:
        """The answer besides the texts and their ranks."""
        return ()

    @property
    def best(self) -> tuple[str, ...]:
        """The texts that no other is better than; all of them where texts are not compared."""
        if not self.ranks:
            return self.texts
        best = []
        for text, rank in zip(self.texts, self.ranks, strict=True):
            if rank == 0:
                best.append(text)
        return tuple(best)

    @property
    def has_tie(self) -> bool:
        """Whether the judge found texts equally good."""
        tied = [rank for rank in self.ranks if rank != self.unordered_rank]
        return len(set(tied)) < len(tied)

    @property
    def examples(self) -> tuple[Example, ...]:
        """The texts that were judged, each with the prompt."""
        return tuple(Example(text, self.prompt) for text in self.texts)

    @staticmethod
    def spread(values: NDArray[np.float64]) -> dict[str, float]:
        """Return how the answers are spread. values: of texts, or of pairs: −1, 0 for a tie, 1."""
        return {"tied_pairs": float((values == 0).mean())}

    def row_problem(self) -> str | None:
        """Return what is wrong with a row that holds this judgement; None where all is well."""
        return None

    def wrong(self, problem: str) -> DataError:
        """Return the error for a problem of this judgement, with its place in the source."""
        return DataError(self._placed(problem))

    def says_nothing(self, problem: str) -> SaysNothing:
        """Return the error of a judgement that is well formed and says nothing."""
        return SaysNothing(self._placed(problem))

    def _placed(self, problem: str) -> str:
        return f"{self.where or 'a ' + self.kind}: {problem}"


@dataclass(frozen=True, slots=True)
class _OfOneText(Judgement):
    text: str

    @property
    def texts(self) -> tuple[str, ...]:
        """The one text that was judged."""
        return (self.text,)


@dataclass(frozen=True, slots=True)
class Label(_OfOneText):
    """Yes or no about a text ("this review is positive")."""

    kind: ClassVar[str] = "label"
    positive: bool

    @property
    def value(self) -> float:
        """1 for positive, 0 for negative."""
        return float(self.positive)

    @property
    def middle(self) -> float:
        """One half."""
        return 0.5

    @staticmethod
    def spread(values: NDArray[np.float64]) -> dict[str, float]:
        """Return the share of positive labels."""
        return {"positive": float(values.mean())}

    @property
    def details(self) -> tuple[Any, ...]:
        """The label."""
        return (self.positive,)


@dataclass(frozen=True, slots=True)
class Grade(_OfOneText):
    """A step of an ordered scale ("8 out of 10"): `lowest` ≤ `grade` ≤ `highest`."""

    kind: ClassVar[str] = "grade"
    level: ClassVar[Literal["nominal", "ordinal", "interval"]] = "ordinal"
    grade: int
    lowest: int = 1
    highest: int = 10

    @property
    def value(self) -> float:
        """The grade."""
        return float(self.grade)

    @property
    def scale(self) -> tuple[int, int]:
        """The lowest and the highest grade."""
        return (self.lowest, self.highest)

    @property
    def middle(self) -> float:
        """The middle of the scale."""
        return (self.lowest + self.highest) / 2

    @staticmethod
    def spread(values: NDArray[np.float64]) -> dict[str, float]:
        """Return how often each grade was given."""
        grades, counts = np.unique(values, return_counts=True)
        return {
            f"{grade:g}": int(n)
            for grade, n in zip(grades, counts, strict=True)
        }

    @property
    def details(self) -> tuple[Any, ...]:
        """The grade and its scale."""
        return (self.grade, self.lowest, self.highest)

    def row_problem(self) -> str | None:
        """Return a grade that lies outside its scale."""
        if self.lowest <= self.grade <= self.highest:
            return None
        scale = f"{self.lowest} to {self.highest}"
        return (
            f"column 'grade' holds {self.grade}, outside the scale of {scale}."
        )


@dataclass(frozen=True, slots=True)
class Rating(_OfOneText):
    """A number on a continuous scale ("7.35"): finite, any unit, higher is better."""

    kind: ClassVar[str] = "rating"
    level: ClassVar[Literal["nominal", "ordinal", "interval"]] = "interval"
    rating: float

    @property
    def value(self) -> float:
        """The rating."""
        return float(self.rating)

    @property
    def middle(self) -> float:
        """The rating itself: without ends, a scale has no middle, so no rating is high or low."""
        return float(self.rating)

    @staticmethod
    def spread(values: NDArray[np.float64]) -> dict[str, float]:
        """Return the lowest rating, the mean and the highest."""
        ends = float(values.min()), float(values.max())
        return {
            "lowest": ends[0],
            "mean": float(values.mean()),
            "highest": ends[1],
        }

    @property
    def details(self) -> tuple[Any, ...]:
        """The rating."""
        return (self.rating,)


@dataclass(frozen=True, slots=True)
class Comparison(Judgement):
    """One of two texts is better, by `margin` (0: unknown by how much), or they are a `tie`.

    Of a tie, `chosen` and `rejected` are just the two texts. chosen_first: whether `chosen` was
    shown first, or on the left; None where unknown. Raises DataError for a text compared with
    itself, a margin that is negative or not finite, and a tie with a margin.
    """

    kind: ClassVar[str] = "comparison"
    chosen: str
    rejected: str
    margin: float = 0.0
    tie: bool = False
    chosen_first: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        Judgement.__post_init__(self)
        if self.chosen == self.rejected:
            raise self.says_nothing(
                f"compares a text with itself ({self.chosen[:40]!r}). Remove the row."
            )
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise self.wrong(
                f"the margin is {self.margin:g}; "
                "it is how much better the chosen text is: 0 or more."
            )
        if self.tie and self.margin:
            raise self.wrong(
                f"a tie with a margin of {self.margin:g}. Of two equal texts, neither is better."
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """The two texts: chosen, rejected."""
        return (self.chosen, self.rejected)

    @property
    def ranks(self) -> tuple[int, ...]:
        """0 and 1; of a tie 0 and 0."""
        return (0, 0) if self.tie else (0, 1)

    @property
    def places(self) -> tuple[int, ...]:
        """0 for the text that was shown first and 1 for the other; () where unknown."""
        if self.chosen_first is None:
            return ()
        return (0, 1) if self.chosen_first else (1, 0)

    @property
    def details(self) -> tuple[Any, ...]:
        """The margin."""
        return (self.margin,)


MOST_RANKED = 1000
"""Texts of one ranking. Time and memory of a fit grow with the square of their number."""


@dataclass(frozen=True, slots=True)
class Ranking(Judgement):
    """An order of texts: `tiers` from best to worst, the texts of a tier equally good.

    rest: texts that are worse than all tiers, in no known order (a top-k ranking, a best of k).
    Texts that were not judged are left out. Lists are taken for tuples and a text for a tier of
    one: Ranking(["best", "good", "bad"]). shown: the texts in the order in which they were shown;
    () where unknown. Raises DataError for fewer than two texts, for a text that is repeated, for an
    empty tier, and where other texts were shown than ranked.
    """

    kind: ClassVar[str] = "ranking"
    tiers: tuple[tuple[str, ...], ...]
    rest: tuple[str, ...] = ()
    shown: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        Judgement.__post_init__(self)
        if isinstance(self.tiers, str):  # type: ignore[unreachable]  # untyped callers
            raise self.wrong(
                "the tiers are one text. Give a list of texts, the best first."
            )
        object.__setattr__(
            self, "tiers", tuple(_tier(tier) for tier in self.tiers)
        )
        object.__setattr__(self, "rest", _tier(self.rest))
        object.__setattr__(self, "shown", _tier(self.shown))
        texts = self.texts
        if len(texts) < 2:
            raise self.says_nothing(
                f"a ranking of {len(texts)} answers. It needs at least two."
            )
        if len(texts) > MOST_RANKED:
            raise self.wrong(
                f"a ranking of {len(texts):,} answers. At most {MOST_RANKED:,} can be read, since "
                "all pairs of them are compared: divide it into several."
            )
        if not self.tiers or not all(self.tiers):
            raise self.wrong(
                "a ranking with an empty tier. Number the ranks without gaps, best first."
            )
        if len(set(texts)) < len(texts):
            repeated = next(text for text in texts if texts.count(text) > 1)
            raise self.says_nothing(
                f"a ranking that holds an answer twice ({repeated[:40]!r}). Remove one of them."
            )
        if self.shown and sorted(self.shown) != sorted(texts):
            raise self.wrong(
                "the texts in the order shown are not the ranked ones. "
                "Give each ranked text once, or leave the order out."
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts, best tier first, the rest last."""
        return (*(text for tier in self.tiers for text in tier), *self.rest)

    @property
    def ranks(self) -> tuple[int, ...]:
        """The tier of each text; the rest share the number after the last tier."""
        numbered = [
            number for number, tier in enumerate(self.tiers) for _ in tier
        ]
        return (*numbered, *(len(self.tiers) for _ in self.rest))

    @property
    def unordered_rank(self) -> int:
        """The rank of the rest."""
        return len(self.tiers)

    @property
    def places(self) -> tuple[int, ...]:
        """The place of each of `texts` in `shown`; () where unknown."""
        place_of = {text: place for place, text in enumerate(self.shown)}
        return tuple(place_of[text] for text in self.texts if place_of)


def _tier(tier: str | Sequence[str]) -> tuple[str, ...]:
    return (tier,) if isinstance(tier, str) else tuple(tier)


RECORDS: dict[str, type[Judgement]] = {
    record.kind: record
    for record in (Label, Grade, Rating, Comparison, Ranking)
}
"""The kinds of judgement by name. `tastemaker.kinds.register` adds to it."""


def examples_of(item: Judgement | Example) -> tuple[Example, ...]:
    """Return the texts, each with its prompt, that a judgement or example is about."""
    return (item,) if isinstance(item, Example) else item.examples


def _hash(*parts: str) -> int:
    # surrogatepass: any Python string has a name, also one that is not valid Unicode
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def fingerprint(text: str) -> int:
    """Return the text's 64-bit hash. Texts that differ only in outer white space share it."""
    return _hash(text.strip())


def fingerprints(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return the fingerprints of n texts, uint64 [n]."""
    return np.fromiter((fingerprint(text) for text in texts), dtype=np.uint64)


def lot(seed: int, purpose: str, key: str) -> int:
    """Return a random number for `key`, 0 … 2⁶⁴ − 1: uniform, and fixed by the seed.

    The keys with the k smallest lots are a random choice of k keys, whatever order they come in; a
    larger k adds to the same choice. purpose: keeps two uses of one seed independent.
    """
    return _hash(str(seed), purpose, key)


TEMPLATE = "{prompt}\n\n{text}"
"""How a prompt and a text are joined by default."""

CHAT = "chat"
"""The template of a model that joins them by its tokenizer's chat template."""

PAIR = "pair"
"""The template of an encoder that reads them as a pair: `tokenizer(prompt, text)`."""


def joined(example: Example, template: str = TEMPLATE) -> str:
    """Return the text that a model reads: the text alone, or prompt and text in the template.

    Raises UsageError for a template without its two places {prompt} and {text}.
    """
    if "{prompt}" not in template or "{text}" not in template:
        raise UsageError(
            f"template {template!r}: must hold {{prompt}} and {{text}}."
        )
    if example.prompt is None:
        return example.text
    prompt = plain(example.prompt)
    # a template may hold other braces
    before, after = template.split("{prompt}", 1)
    return (
        before.replace("{text}", example.text)
        + prompt
        + after.replace("{text}", example.text)
    )
