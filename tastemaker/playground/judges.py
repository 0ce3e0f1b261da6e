"""Simulated people who judge the playground's reviews: each sees the gold score through their own noise and bias.

They label, grade and rate single reviews, compare two and rank several. A careless answer has nothing to do with the
text: a label, grade or rating of a number drawn at random; a comparison won by a coin flip; a ranking whose texts are
dealt out at random. Comparisons and rankings keep their shape then: as many ties and tiers as an attentive answer has.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from tastemaker.data.judgements import Comparison, Grade, Judgement, Label, Prompt, Ranking, Rating
from tastemaker.errors import UsageError
from tastemaker.playground.gold import gold_score
from tastemaker.playground.writing import Language, reviews
from tastemaker.playground.writing import prompts as distinct_prompts

Kind = Literal["label", "grade", "rating", "comparison", "ranking", "mixed"]

KINDS = ("label", "grade", "rating", "comparison", "ranking")


@dataclass(frozen=True, slots=True)
class Judge:
    """Somebody who reads a text as gold + bias + noise, on the gold scale 0 … 10.

    noise: standard deviation. carelessness: the probability of an answer that has nothing to do with the text.
    reversed: reads the scale upside down (10 − gold). tie_width: texts that seem less than this apart are a tie; 0 for
    somebody who never says so. Raises UsageError for values that no judge can have.
    """

    name: str
    noise: float = 0.0
    bias: float = 0.0
    carelessness: float = 0.0
    reversed: bool = False
    tie_width: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise UsageError(
                f"judge {self.name}: noise is {self.noise}; a standard deviation is 0 or more"
            )
        if not math.isfinite(self.bias):
            raise UsageError(f"judge {self.name}: bias is {self.bias}; give a finite number")
        if not 0 <= self.carelessness <= 1:
            raise UsageError(
                f"judge {self.name}: carelessness is {self.carelessness}; a probability is 0 to 1"
            )
        if not (math.isfinite(self.tie_width) and self.tie_width >= 0):
            raise UsageError(
                f"judge {self.name}: tie_width is {self.tie_width}; a distance of scores is 0 or more"
            )

    def perceived(self, text: str, rng: random.Random) -> float:
        """Return what this judge makes of a text, 0 … 10. Every judge takes the same draws from `rng`."""
        careless, anything = rng.random(), rng.uniform(0, 10)
        seen = self._seen(text, rng)
        return anything if careless < self.carelessness else seen

    def _seen(self, text: str, rng: random.Random) -> float:
        """Return what this judge makes of a text in an attentive moment, 0 … 10."""
        gold, error = gold_score(text), rng.normalvariate(0, 1)
        return max(
            0.0, min(10.0, (10 - gold if self.reversed else gold) + self.bias + self.noise * error)
        )

    def label(self, text: str, rng: random.Random) -> Label:
        """Return positive if the text seems better than 5."""
        return Label(text, self.perceived(text, rng) > 5, judge=self.name)

    def grade(self, text: str, rng: random.Random) -> Grade:
        """Return a grade of 1 … 10: ten equal steps of the gold scale."""
        return Grade(text, min(10, 1 + int(self.perceived(text, rng))), judge=self.name)

    def rating(self, text: str, rng: random.Random) -> Rating:
        """Return a rating of 0 … 10, to two decimals."""
        return Rating(text, round(self.perceived(text, rng), 2), judge=self.name)

    def comparison(
        self,
        first: str,
        second: str,
        rng: random.Random,
        prompt: Prompt | None = None,
        *,
        margins: bool = False,
    ) -> Comparison:
        """Return which of two texts seems better, or a tie where they seem less than `tie_width` apart.

        margins: also say by how much, in whole points of the gold scale, at least one.
        """
        careless, coin = rng.random() < self.carelessness, rng.random() < 0.5
        difference = self._seen(first, rng) - self._seen(second, rng)
        if abs(difference) < self.tie_width:
            return Comparison(first, second, tie=True, prompt=prompt, judge=self.name)
        first_wins = coin if careless or difference == 0 else difference > 0
        chosen, rejected = (first, second) if first_wins else (second, first)
        margin = max(1.0, float(round(abs(difference)))) if margins else 0.0
        return Comparison(chosen, rejected, margin, prompt=prompt, judge=self.name)

    def ranking(
        self,
        texts: Sequence[str],
        rng: random.Random,
        prompt: Prompt | None = None,
        *,
        top: int | None = None,
        partial: bool = False,
    ) -> Ranking:
        """Return texts in tiers, best first; those that seem less than `tie_width` below a tier's best share the tier.

        top: order the best `top` texts only, the others are the rest. partial: judge a random choice of the texts, two
        at least. Raises UsageError for a top below 1 and DataError for what no ranking can hold.
        """
        if top is not None and top < 1:
            raise UsageError(f"a ranking of the best {top} texts was asked for: ask for 1 or more")
        careless = rng.random() < self.carelessness
        judged = list(texts)
        if partial and len(judged) > 2:
            judged = rng.sample(judged, rng.randint(2, len(judged)))
        rng.shuffle(judged)  # which of two equal texts comes first is left to chance
        seen = {text: self._seen(text, rng) for text in judged}
        ordered = sorted(judged, key=seen.__getitem__, reverse=True)
        sizes: list[int] = []
        best = math.inf
        for text in ordered[:top]:
            if sizes and best - seen[text] < self.tie_width:
                sizes[-1] += 1
            else:
                best = seen[text]
                sizes.append(1)
        dealt = iter(judged if careless else ordered)
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
    """Return n judges after the models of `judges`, some of whom always answer at random and some upside down.

    careless, reversed: their shares of the n, rounded; who they are is drawn from `seed`. The names do not tell.
    Raises UsageError for nobody and for shares that are not shares.
    """
    _check_anybody(judges)
    if n < 1:
        raise UsageError(f"{n} judges were asked of the playground: ask for 1 or more")
    if not (careless >= 0 and reversed >= 0 and careless + reversed <= 1):
        raise UsageError(
            f"careless is {careless} and reversed {reversed}: shares of the judges, together at most 1"
        )
    order = random.Random(f"troubled {seed}").sample(range(n), n)
    at_random = round(careless * n)
    upside_down = min(n - at_random, round(reversed * n))
    crowd = []
    for who in range(n):
        model, place = judges[who % len(judges)], order.index(who)
        judge = replace(model, name=f"{model.name} {1 + who // len(judges)}")
        if place < at_random:
            judge = replace(judge, carelessness=1.0)
        elif place < at_random + upside_down:
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
    """Return n judgements, each of reviews of its own and by a judge drawn at random; the same for the same seed.

    kind: "label", "grade", "rating", "comparison", "ranking", or "mixed" for any of them, equally often.
    answers: how many reviews a ranking is about, or the fewest and the most. top, partial: see `Judge.ranking`.
    margins: comparisons say by how much. prompts: each comparison and ranking answers a prompt of its own.
    texts: what is judged, in the place of reviews of the judgements' own; what a policy wrote, say.
    Raises UsageError for what does not exist, and for too few texts.
    """
    fewest, most = (answers, answers) if isinstance(answers, int) else answers
    _check_asked(n, kind, judges, fewest, most)
    plan = random.Random(f"kinds {seed}")
    kinds = [
        (plan.choice(KINDS) if kind == "mixed" else kind, plan.randint(fewest, most))
        for _ in range(n)
    ]
    sizes = [{"comparison": 2, "ranking": size}.get(of_kind, 1) for of_kind, size in kinds]
    judged_texts = iter(
        texts if texts is not None else reviews(sum(sizes), language=language, seed=seed)
    )
    asked = distinct_prompts(
        sum(size > 1 for size in sizes) if prompts else 0, language=language, seed=seed
    )
    rng = random.Random(f"judgements {seed}")
    found = []
    for number, ((of_kind, _), size) in enumerate(zip(kinds, sizes, strict=True)):
        judge, judged = rng.choice(judges), list(islice(judged_texts, size))
        if len(judged) < size:
            raise UsageError(
                f"{n} judgements of kind {kind} are about {sum(sizes)} texts: more than were given."
            )
        prompt = next(asked, None) if size > 1 else None
        answers_of = _answers(judge, judged, rng, prompt, top=top, partial=partial, margins=margins)
        found.append(replace(answers_of[of_kind](), where=f"playground:{number}"))
    return found


def _answers(
    judge: Judge,
    texts: Sequence[str],
    rng: random.Random,
    prompt: str | None,
    *,
    top: int | None,
    partial: bool,
    margins: bool,
) -> Mapping[str, Callable[[], Judgement]]:
    """Return how a judge answers about texts, by the name of the kind."""
    return {
        "label": lambda: judge.label(texts[0], rng),
        "grade": lambda: judge.grade(texts[0], rng),
        "rating": lambda: judge.rating(texts[0], rng),
        "comparison": lambda: judge.comparison(texts[0], texts[1], rng, prompt, margins=margins),
        "ranking": lambda: judge.ranking(texts, rng, prompt, top=top, partial=partial),
    }


def _check_anybody(judges: Sequence[Judge]) -> None:
    if not judges:
        raise UsageError("nobody to judge: give the playground at least one judge")


def _check_asked(n: int, kind: str, judges: Sequence[Judge], fewest: int, most: int) -> None:
    """Raise UsageError for judgements that cannot be had."""
    if n < 0:
        raise UsageError(f"{n} judgements were asked of the playground: ask for 0 or more")
    if kind not in (*KINDS, "mixed"):
        raise UsageError(
            f"the playground has no judgements of kind {kind!r}: choose one of {', '.join(KINDS)}, mixed"
        )
    _check_anybody(judges)
    if not 2 <= fewest <= most:
        raise UsageError(
            f"rankings of {fewest} to {most} reviews were asked for: give at least 2, the fewest first"
        )
