"""Simulated judges: they say what gold says, as wrongly as they were told to."""

import math
import random
import statistics

import pytest

from tastemaker.data.judgements import Grade, Label, Rating
from tastemaker.data.playground import CAREFUL_JUDGES, Judge, gold_score, judgements, reviews
from tastemaker.errors import UsageError


def test_a_careful_judge_says_what_gold_says() -> None:
    judge, rng = Judge("Ada"), random.Random(0)
    for text in reviews(300, language="mixed", seed=6):
        gold = gold_score(text)
        assert judge.label(text, rng) == Label(text, gold > 5, judge="Ada")
        assert judge.grade(text, rng) == Grade(text, min(10, 1 + math.floor(gold)), judge="Ada")
        assert judge.rating(text, rng) == Rating(text, round(gold, 2), judge="Ada")


def test_a_reversed_judge_reads_the_scale_upside_down() -> None:
    text, rng = "The acting was superb.", random.Random(0)
    assert Judge("x", reversed=True).rating(text, rng).rating == pytest.approx(10 - 7.74)
    assert not Judge("x", reversed=True).label(text, rng).positive
    assert Judge("x", reversed=True, bias=1).rating(text, rng).rating == pytest.approx(11 - 7.74)


def test_bias_and_noise_are_as_large_as_said() -> None:
    judge, rng = Judge("x", noise=0.5, bias=1.0), random.Random(0)
    errors = [judge.rating("The acting was good.", rng).rating - 6.4412 for _ in range(4000)]
    assert statistics.mean(errors) == pytest.approx(1.0, abs=0.03)  # standard error 0.5/√4000 = 0.008
    assert statistics.pstdev(errors) == pytest.approx(0.5, abs=0.03)


def test_a_careless_judge_is_careless_as_often_as_said() -> None:
    judge, rng = Judge("x", carelessness=0.3), random.Random(0)
    ratings = [judge.rating("The acting was superb.", rng).rating for _ in range(4000)]
    assert sum(rating != 7.74 for rating in ratings) / 4000 == pytest.approx(0.3, abs=0.03)
    assert statistics.mean(rating for rating in ratings if rating != 7.74) == pytest.approx(5, abs=0.4)


def test_judgements_are_one_a_review_signed_and_placed() -> None:
    texts = reviews(200, language="zh", seed=9)
    for kind, record in (("label", Label), ("grade", Grade), ("rating", Rating)):
        found = judgements(200, kind=kind, language="zh", seed=9)
        assert [judgement.text for judgement in found] == texts
        assert all(type(judgement) is record for judgement in found)
        assert {judgement.judge for judgement in found} == {judge.name for judge in CAREFUL_JUDGES}
        assert [judgement.where for judgement in found] == [f"playground:{number}" for number in range(200)]
    assert {type(judgement) for judgement in judgements(50, kind="mixed")} == {Label, Grade, Rating}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reviews(3, language="fr"), "no language 'fr': choose one of en, zh, mixed"),
        (lambda: reviews(-1), "-1 reviews"),
        (
            lambda: judgements(3, kind="stars"),
            "no judgements of kind 'stars': choose one of label, grade, rating, mixed",
        ),
        (lambda: judgements(3, judges=()), "nobody to judge"),
        (lambda: Judge("Zed", noise=-1), "judge Zed: noise is -1"),
        (lambda: Judge("Zed", bias=math.nan), "judge Zed: bias is nan"),
        (lambda: Judge("Zed", carelessness=1.5), "judge Zed: carelessness is 1.5"),
    ],
)
def test_what_does_not_exist_is_refused_in_one_line(call: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
