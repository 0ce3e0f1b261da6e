"""Simulated people who judge the playground's reviews: each sees the gold score through their own noise and bias."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tastemaker.data.judgements import Grade, Judgement, Label, Rating
from tastemaker.data.playground.gold import gold_score
from tastemaker.data.playground.reviews import Language, reviews
from tastemaker.errors import UsageError

Kind = Literal["label", "grade", "rating", "mixed"]

KINDS = ("label", "grade", "rating")


@dataclass(frozen=True, slots=True)
class Judge:
    """Somebody who reads a text as gold + bias + noise, on the gold scale 0 … 10.

    noise: standard deviation. carelessness: the probability of an answer that has nothing to do with the text.
    reversed: reads the scale upside down (10 − gold). Raises UsageError for values that no judge can have.
    """

    name: str
    noise: float = 0.0
    bias: float = 0.0
    carelessness: float = 0.0
    reversed: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise UsageError(f"judge {self.name}: noise is {self.noise}; a standard deviation is 0 or more")
        if not math.isfinite(self.bias):
            raise UsageError(f"judge {self.name}: bias is {self.bias}; give a finite number")
        if not 0 <= self.carelessness <= 1:
            raise UsageError(f"judge {self.name}: carelessness is {self.carelessness}; a probability is 0 to 1")

    def perceived(self, text: str, rng: random.Random) -> float:
        """Return what this judge makes of a text, 0 … 10; every call takes the same number of draws from `rng`."""
        careless, anything, error = rng.random(), rng.uniform(0, 10), rng.normalvariate(0, 1)
        if careless < self.carelessness:
            return anything
        gold = gold_score(text)
        return max(0.0, min(10.0, (10 - gold if self.reversed else gold) + self.bias + self.noise * error))

    def label(self, text: str, rng: random.Random) -> Label:
        """Return positive if the text seems better than 5."""
        return Label(text, self.perceived(text, rng) > 5, judge=self.name)

    def grade(self, text: str, rng: random.Random) -> Grade:
        """Return a grade of 1 … 10: ten equal steps of the gold scale."""
        return Grade(text, min(10, 1 + int(self.perceived(text, rng))), judge=self.name)

    def rating(self, text: str, rng: random.Random) -> Rating:
        """Return a rating of 0 … 10, to two decimals."""
        return Rating(text, round(self.perceived(text, rng), 2), judge=self.name)

    def judgement(self, text: str, kind: str, rng: random.Random) -> Judgement:
        """Return a label, grade or rating of a text, by the name of its kind."""
        answers: dict[str, Callable[[str, random.Random], Judgement]] = {
            "label": self.label,
            "grade": self.grade,
            "rating": self.rating,
        }
        return answers[kind](text, rng)


CAREFUL_JUDGES = (Judge("Ada", noise=0.6), Judge("Bo", noise=0.7, bias=0.3), Judge("Cy", noise=0.8, bias=-0.3))


def judgements(
    n: int,
    *,
    kind: Kind = "label",
    judges: Sequence[Judge] = CAREFUL_JUDGES,
    language: Language = "en",
    seed: int = 0,
) -> list[Judgement]:
    """Return one judgement of each of n reviews, each by a judge drawn at random; the same for the same seed.

    kind: "label", "grade", "rating", or "mixed" for any of them. Raises UsageError for what does not exist.
    """
    if kind not in (*KINDS, "mixed"):
        raise UsageError(f"the playground has no judgements of kind {kind!r}: choose one of {', '.join(KINDS)}, mixed")
    if not judges:
        raise UsageError("nobody to judge: give the playground at least one judge")
    rng = random.Random(f"judgements {seed}")
    found = []
    for number, text in enumerate(reviews(n, language=language, seed=seed)):
        judge, of_kind = rng.choice(judges), rng.choice(KINDS) if kind == "mixed" else kind
        found.append(replace(judge.judgement(text, of_kind, rng), where=f"playground:{number}"))
    return found
