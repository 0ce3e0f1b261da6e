"""Simulated judges of the playground: each sees the gold score through noise and bias.

They label, grade and rate single reviews, compare two and rank several. A careless answer has
nothing to do with the text: a label, grade or rating of a random number; a comparison won by a coin
flip; a ranking in random order. Careless comparisons and rankings keep their shape: they have as
many ties and tiers as an attentive answer.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from tastemaker.data.judgements import (
    Comparison,
    Grade,
    Judgement,
    Label,
    Prompt,
    Ranking,
    Rating,
)
from tastemaker.errors import UsageError
from tastemaker.playground.gold import gold_score
from tastemaker.playground.writing import Language, reviews
from tastemaker.playground.writing import prompts as distinct_prompts

Kind = Literal["label", "grade", "rating", "comparison", "ranking", "mixed"]

KINDS = ("label", "grade", "rating", "comparison", "ranking")


@dataclass(frozen=True, slots=True)
class Judge:
    """A judge who reads a text as gold + bias + noise, on the gold scale 0 … 10.

    noise: a standard deviation. carelessness: the probability of a careless answer.
    reversed: reads the scale upside down (10 − gold). tie_width: texts that seem less than this
    apart are a tie; 0: never a tie. Raises UsageError for values that no judge can have.
    """

    name: str
    noise: float = 0.0
    bias: float = 0.0
    carelessness: float = 0.0
    reversed: bool = False
    tie_width: float = 0.5

    def __post_init__(self) -> None:
        for name in ("noise", "tie_width"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(
                    f"judge {self.name}: {name} is {value}; give a number, 0 or more"
                )
        if not math.isfinite(self.bias):
            raise UsageError(
                f"judge {self.name}: bias is {self.bias}; give a finite number"
            )
        if not 0 <= self.carelessness <= 1:
            raise UsageError(
                f"judge {self.name}: carelessness is {self.carelessness}; a probability is 0 to 1"
            )

    def perceived(self, text: str, rng: random.Random) -> float:
        """Return the worth that the judge sees in a text, 0 … 10.

        Every judge takes the same draws from `rng`.
        """
        draw, careless_answer = rng.random(), rng.uniform(0, 10)
        attentive_answer = self._attentive(text, rng)
        return (
            careless_answer if draw < self.carelessness else attentive_answer
        )

    def _attentive(self, text: str, rng: random.Random) -> float:
        gold, error = gold_score(text), rng.normalvariate(0, 1)
        if self.reversed:
            gold = 10 - gold
        return max(0.0, min(10.0, gold + self.bias + self.noise * error))

    def label(self, text: str, rng: random.Random) -> Label:
        """Return positive if the text seems better than 5."""
        return Label(text, self.perceived(text, rng) > 5, judge=self.name)

    def grade(self, text: str, rng: random.Random) -> Grade:
        """Return a grade of 1 … 10: ten equal steps of the gold scale."""
        step = min(10, 1 + int(self.perceived(text, rng)))
        return Grade(text, step, judge=self.name)

    def rating(self, text: str, rng: random.Random) -> Rating:
        """Return a rating of 0 … 10, to two decimals."""
        rating = round(self.perceived(text, rng), 2)
        return Rating(text, rating, judge=self.name)

    def comparison(
        self,
        first: str,
        second: str,
        rng: random.Random,
        prompt: Prompt | None = None,
        *,
        margins: bool = False,
    ) -> Comparison:
        """Return which of two texts seems better, or a tie for less than `tie_width` apart.

        margins: add by how much, in whole points of the gold scale, at least one.
        """
        is_careless, coin = (
            rng.random() < self.carelessness,
            rng.random() < 0.5,
        )
        difference = self._attentive(first, rng) - self._attentive(second, rng)
        if abs(difference) < self.tie_width:
            return Comparison(
                first, second, tie=True, prompt=prompt, judge=self.name
            )
        first_wins = coin if is_careless or difference == 0 else difference > 0
        chosen, rejected = (first, second) if first_wins else (second, first)
        margin = max(1.0, float(round(abs(difference)))) if margins else 0.0
        return Comparison(
            chosen, rejected, margin, prompt=prompt, judge=self.name
        )

    def ranking(
        self,
        texts: Sequence[str],
        rng: random.Random,
        prompt: Prompt | None = None,
        *,
        top: int | None = None,
        partial: bool = False,
    ) -> Ranking:
        """Return texts in tiers, best first.

        A tier holds the texts that seem less than `tie_width` below its best. top: order only the
        best `top` texts; the others are the rest. partial: judge a random choice of at least two
        texts. Raises UsageError for a top below 1, and DataError for what no ranking can hold.
        """
        if top is not None and top < 1:
            raise UsageError(
                f"a ranking of the best {top} texts was asked for: ask for 1 or more"
            )
        is_careless = rng.random() < self.carelessness
        judged = list(texts)
        if partial and len(judged) > 2:
            judged = rng.sample(judged, rng.randint(2, len(judged)))
        # which of two equal texts comes first is left to chance
        rng.shuffle(judged)
        perceived = {text: self._attentive(text, rng) for text in judged}
        ordered = sorted(judged, key=perceived.__getitem__, reverse=True)
        sizes: list[int] = []
        best = math.inf
        for text in ordered[:top]:
            if sizes and best - perceived[text] < self.tie_width:
                sizes[-1] += 1
            else:
                best = perceived[text]
                sizes.append(1)
        dealt = iter(judged if is_careless else ordered)
        tiers = tuple(tuple(islice(dealt, size)) for size in sizes)
        return Ranking(tiers, tuple(dealt), prompt=prompt, judge=self.name)


CAREFUL_JUDGES = (
    Judge("Ada", noise=0.6),
    Judge("Bo", noise=0.7, bias=0.3),
    Judge("Cy", noise=0.8, bias=-0.3),
)


def troubled(
    judges: Sequence[Judge] = CAREFUL_JUDGES,
    *,
    careless: float = 0.3,
    reversed: float = 0.1,
    n: int = 20,
    seed: int = 0,
) -> tuple[Judge, ...]:
    """Return n judges like `judges`, some of whom answer at random and some upside down.

    careless, reversed: their shares of the n, rounded. Which judges they are is drawn from `seed`;
    the names do not tell. Raises UsageError for no judges and for shares that are not shares.
    """
    _check_judges(judges)
    if n < 1:
        raise UsageError(
            f"{n} judges were asked of the playground: ask for 1 or more"
        )
    if not (careless >= 0 and reversed >= 0 and careless + reversed <= 1):
        raise UsageError(
            f"careless is {careless} and reversed {reversed}: shares of the judges, "
            "together at most 1"
        )
    order = random.Random(f"troubled {seed}").sample(range(n), n)
    careless_count = round(careless * n)
    reversed_count = min(n - careless_count, round(reversed * n))
    crowd = []
    for number in range(n):
        model, place = judges[number % len(judges)], order.index(number)
        judge = replace(
            model, name=f"{model.name} {1 + number // len(judges)}"
        )
        if place < careless_count:
            judge = replace(judge, carelessness=1.0)
        elif place < careless_count + reversed_count:
            judge = replace(judge, reversed=True)
        crowd.append(judge)
    return tuple(crowd)


def judgements(
    n: int,
    *,
    kind: Kind = "label",
    judges: Sequence[Judge] = CAREFUL_JUDGES,
    language: Language = "en",
    seed: int = 0,
    answers: int | tuple[int, int] = (3, 6),
    top: int | None = None,
    partial: bool = False,
    margins: bool = False,
    prompts: bool = False,
    texts: Iterable[str] | None = None,
) -> list[Judgement]:
    """Return n judgements of distinct reviews by judges drawn at random; the same for a seed.

    kind: "label", "grade", "rating", "comparison", "ranking", or "mixed" for any of them, equally
    often. answers: how many reviews a ranking is about, or the fewest and the most. top, partial:
    see `Judge.ranking`. margins: comparisons have margins. prompts: each comparison and ranking
    answers a prompt of its own. texts: what is judged instead of new reviews.
    Raises UsageError for an invalid kind or number, and for too few texts.
    """
    fewest, most = (answers, answers) if isinstance(answers, int) else answers
    _check_arguments(n, kind, judges, fewest, most)
    plan = random.Random(f"kinds {seed}")
    kinds: list[str] = []
    sizes: list[int] = []
    for _ in range(n):
        each = plan.choice(KINDS) if kind == "mixed" else kind
        size = plan.randint(fewest, most)
        kinds.append(each)
        sizes.append({"comparison": 2, "ranking": size}.get(each, 1))
    if texts is None:
        texts = reviews(sum(sizes), language=language, seed=seed)
    remaining = iter(texts)
    prompt_count = sum(size > 1 for size in sizes) if prompts else 0
    new_prompts = distinct_prompts(prompt_count, language=language, seed=seed)
    rng = random.Random(f"judgements {seed}")
    results = []
    for number, size in enumerate(sizes):
        judge, judged = rng.choice(judges), list(islice(remaining, size))
        if len(judged) < size:
            raise UsageError(
                f"{n} judgements of kind {kind} are about {sum(sizes)} texts: more than were given."
            )
        prompt = next(new_prompts, None) if size > 1 else None
        judgement: Judgement
        if kinds[number] == "comparison":
            judgement = judge.comparison(
                judged[0], judged[1], rng, prompt, margins=margins
            )
        elif kinds[number] == "ranking":
            judgement = judge.ranking(
                judged, rng, prompt, top=top, partial=partial
            )
        else:  # label, grade or rating
            judgement = getattr(judge, kinds[number])(judged[0], rng)
        results.append(replace(judgement, where=f"playground:{number}"))
    return results


def _check_judges(judges: Sequence[Judge]) -> None:
    if not judges:
        raise UsageError("no judges: give the playground at least one judge")


def _check_arguments(
    n: int, kind: str, judges: Sequence[Judge], fewest: int, most: int
) -> None:
    if n < 0:
        raise UsageError(
            f"{n} judgements were asked of the playground: ask for 0 or more"
        )
    if kind not in (*KINDS, "mixed"):
        kinds = ", ".join((*KINDS, "mixed"))
        raise UsageError(
            f"the playground has no judgements of kind {kind!r}: choose one of {kinds}"
        )
    _check_judges(judges)
    if not 2 <= fewest <= most:
        raise UsageError(
            f"rankings of {fewest} to {most} reviews were asked for: "
            "give at least 2, the fewest first"
        )
