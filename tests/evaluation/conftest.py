"""A model that is a table of scores, and judgements to evaluate it on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tastemaker.data import (
    Comparison,
    Example,
    Grade,
    Judgement,
    Label,
    Ranking,
    Rating,
)
from tastemaker.evaluate import Evaluation, evaluate
from tastemaker.kinds import (
    ComparisonLink,
    GradeLink,
    LabelLink,
    Link,
    RankingLink,
    RatingLink,
)
from tastemaker.scores import Scores


@dataclass
class TableModel:
    """Knows each text's score by heart. It reads `limit` characters."""

    links: Mapping[type[Judgement], Link]
    scores: Mapping[str, float]
    limit: int = 1000
    asked: int = 0

    def score_all(self, examples: Sequence[Example]) -> Scores:
        self.asked += len(examples)
        values = np.array(
            [self.scores[example.text] for example in examples], dtype=np.float64
        )
        return Scores(
            values,
            np.array(
                [len(example.text) > self.limit for example in examples], dtype=bool
            ),
        )


@pytest.fixture(scope="session")
def table_model() -> type[TableModel]:
    return TableModel


@dataclass
class World:
    """Judgements of simulated texts, a good model, and a worse baseline."""

    judgements: list[Judgement]
    model: TableModel
    baseline: TableModel

    def evaluated(self, **options: object) -> Evaluation:
        return evaluate(
            self.model,
            self.judgements,
            baseline=self.baseline,
            resamples=100,
            **options,
        )


_LINKS: dict[type[Judgement], Callable[[float], Link]] = {
    Label: lambda slope: LabelLink(3 * slope, 0.0),
    Grade: lambda slope: GradeLink(
        1, 10, 2.2 * slope, np.linspace(-3.2, 3.2, 9).tolist()
    ),
    Rating: lambda slope: RatingLink(7.0, 1.2, slope),
}


def _judgement(
    kind: type[Judgement], text: str, gold: float, luck: float, row: int
) -> Judgement:
    where = f"reviews.csv:{row}"
    if kind is Label:
        return Label(text, luck < 1 / (1 + np.exp(-4 * gold)), where=where)
    if kind is Grade:
        return Grade(text, int(np.clip(round(5.5 + 2.6 * gold), 1, 10)), where=where)
    return Rating(text, float(7 + 1.2 * gold + 0.3 * (luck - 0.5)), where=where)


@pytest.fixture
def world() -> Callable[..., World]:
    """Make n texts of unlike lengths; each is judged once in each of the kinds."""

    def make(*kinds: type[Judgement], n: int = 300) -> World:
        generator = np.random.default_rng(11)
        texts = [
            f"text {i} " + "x" * int(length)
            for i, length in enumerate(generator.integers(5, 1200, n))
        ]
        gold = generator.normal(size=n)
        luck = generator.random(n)
        judged = [
            _judgement(kind, texts[i], gold[i], luck[i], i + 2)
            for kind in kinds
            for i in range(n)
        ]
        good = dict(zip(texts, gold + 0.4 * generator.normal(size=n), strict=True))
        worse = dict(zip(texts, gold + 1.0 * generator.normal(size=n), strict=True))
        return World(
            judged,
            TableModel({kind: _LINKS[kind](0.9) for kind in kinds}, good),
            TableModel({kind: _LINKS[kind](0.5) for kind in kinds}, worse),
        )

    return make


def _compared(
    generator: np.random.Generator, prompt: str, texts: list[str], utility: np.ndarray
) -> list[Judgement]:
    """Let three judges compare the first two texts, some of them carefully."""
    judged: list[Judgement] = []
    for judge in ("Ann", "Ben", "Cho"):
        by = utility[0] - utility[1] + generator.logistic()
        first, second = (texts[0], texts[1]) if by > 0 else (texts[1], texts[0])
        is_tie = abs(by) < 0.3
        common = {
            "prompt": prompt,
            "judge": judge,
            "where": f"{'ab'[len(judged) % 2]}.jsonl:{len(judged) + 1}",
        }
        judged.append(
            Comparison(
                first,
                second,
                0.0 if is_tie else float(np.ceil(min(abs(by), 3))),
                is_tie,
                **common,
            )
        )
    return judged


def _ranked(
    generator: np.random.Generator, prompt: str, texts: list[str], utility: np.ndarray
) -> list[Judgement]:
    """Rank the texts, neighbours that are hard to tell apart in one tier."""
    heard = utility + generator.gumbel(size=len(texts))
    tiers: list[list[str]] = []
    last = np.inf
    for i in np.argsort(-heard):
        if tiers and last - heard[i] < 0.15:
            tiers[-1].append(texts[i])
        else:
            tiers.append([texts[i]])
        last = heard[i]
    return [Ranking(tiers, prompt=prompt, judge="Ann", where="lists.jsonl:1")]


@pytest.fixture
def order_world() -> Callable[..., World]:
    """Make n prompts and the texts that answer them, compared or ranked by people who like longer
    ones a bit better.
    """

    def make(kind: type[Judgement], n: int = 100) -> World:
        generator = np.random.default_rng(5)
        judged: list[Judgement] = []
        good: dict[str, float] = {}
        worse: dict[str, float] = {}
        for number in range(n):
            k = 2 if kind is Comparison else int(generator.integers(2, 7))
            lengths = generator.integers(5, 900, k)
            texts = [f"answer {number}.{i} " + "y" * int(lengths[i]) for i in range(k)]
            gold = generator.normal(size=k)
            make_one = _compared if kind is Comparison else _ranked
            judged += make_one(
                generator,
                f"prompt {number}",
                texts,
                1.5 * gold + 0.6 * (lengths - 450) / 450,
            )
            good |= dict(
                zip(
                    texts,
                    gold + 0.4 * generator.normal(size=k) + 0.5 * (lengths - 450) / 450,
                    strict=True,
                )
            )
            worse |= dict(
                zip(texts, gold + 1.5 * generator.normal(size=k), strict=True)
            )
        links: list[Link] = [RankingLink(), RankingLink()]
        if kind is Comparison:
            links = [ComparisonLink(1.4, -1.0), ComparisonLink(0.6, -1.0)]
        return World(
            judged,
            TableModel({kind: links[0]}, good),
            TableModel({kind: links[1]}, worse),
        )

    return make
