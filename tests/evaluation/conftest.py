"""A model that is a table of scores, and judgements to evaluate it on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tastemaker.data.judgements import Example, Grade, Judgement, Label, Rating
from tastemaker.evaluation.evaluate import Evaluation, evaluate
from tastemaker.models.links import GradeLink, LabelLink, Link, RatingLink
from tastemaker.models.scores import Scores


@dataclass
class TableModel:
    """Knows each text's score by heart. It reads `limit` characters."""

    links: Mapping[type[Judgement], Link]
    scores: Mapping[str, float]
    limit: int = 1000
    asked: int = 0

    def score_all(self, examples: Sequence[Example]) -> Scores:
        self.asked += len(examples)
        values = np.array([self.scores[example.text] for example in examples], dtype=np.float64)
        return Scores(values, np.array([len(example.text) > self.limit for example in examples], dtype=bool))


@pytest.fixture
def table_model() -> type[TableModel]:
    return TableModel


@dataclass
class World:
    """Judgements of simulated texts, a good model, and a worse baseline."""

    judgements: list[Judgement]
    model: TableModel
    baseline: TableModel

    def evaluated(self, **options: object) -> Evaluation:
        return evaluate(self.model, self.judgements, baseline=self.baseline, resamples=100, **options)


_LINKS: dict[type[Judgement], Callable[[float], Link]] = {
    Label: lambda slope: LabelLink(3 * slope, 0.0),
    Grade: lambda slope: GradeLink(1, 10, 2.2 * slope, np.linspace(-3.2, 3.2, 9).tolist()),
    Rating: lambda slope: RatingLink(7.0, 1.2, slope),
}


def _judgement(kind: type[Judgement], text: str, gold: float, luck: float, row: int) -> Judgement:
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
        texts = [f"text {i} " + "x" * int(length) for i, length in enumerate(generator.integers(5, 1200, n))]
        gold = generator.normal(size=n)
        luck = generator.random(n)
        judged = [_judgement(kind, texts[i], gold[i], luck[i], i + 2) for kind in kinds for i in range(n)]
        good = dict(zip(texts, gold + 0.4 * generator.normal(size=n), strict=True))
        worse = dict(zip(texts, gold + 1.0 * generator.normal(size=n), strict=True))
        return World(
            judged,
            TableModel({kind: _LINKS[kind](0.9) for kind in kinds}, good),
            TableModel({kind: _LINKS[kind](0.5) for kind in kinds}, worse),
        )

    return make
