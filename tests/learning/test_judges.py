"""How judges differ: lenient and severe ones, those who always say yes, equal ones, and data that
cannot tell.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.data import Comparison, Judgement, Label, Ranking, Rating
from tastemaker.kinds import Likelihood
from tastemaker.maths import kendall
from tastemaker.playground import Judge, gold_score, judgements, reviews
from tastemaker.reward import JudgeEstimates, cross_fit, divide

GOOD = [Judge(f"good {i}", noise=0.7) for i in range(6)]
LEARNED, ALIKE = Likelihood(judges=True), Likelihood(judges=False)
MEASURED: list[Judgement] = [Label("fine", True), Label("awful", False)]


@cache
def unseen() -> tuple[list[str], list[float]]:
    texts = list(dict.fromkeys(reviews(450, seed=31337)))[:400]
    return texts, [gold_score(text) for text in texts]


def tau(of: Sequence[Judgement], likelihood: Likelihood | None = None) -> float:
    """Kendall's τ of a fit with the gold score, on unseen texts."""
    texts, gold = unseen()
    return kendall(tm.fit(list(of), likelihood=likelihood).score(texts), gold)


def estimates(
    of: Sequence[Judgement],
    measured: Sequence[Judgement] = MEASURED,
    likelihood: Likelihood = LEARNED,
) -> JudgeEstimates:
    """The judges of a fit that learns from all of the judgements."""
    judges = cross_fit(divide(list(of), list(measured), likelihood, 0)).judges
    assert judges is not None
    return judges


def crowd(bias: float) -> list[Judge]:
    """Two lenient, two unbiased and two severe judges; all follow the gold score."""
    biases = [bias, bias, 0.0, 0.0, -bias, -bias]
    return [replace(judge, bias=b) for judge, b in zip(GOOD, biases, strict=True)]


# a lenient judge's label is nearly always positive, so labels keep less than grades and ratings
@pytest.mark.parametrize(
    ("kind", "share"), [("label", 0.78), ("grade", 0.93), ("rating", 0.93)]
)
def test_lenient_and_severe_judges_do_not_hurt(kind: str, share: float) -> None:
    biased = judgements(600, kind=kind, judges=crowd(3.0), seed=0)
    unbiased = judgements(600, kind=kind, judges=crowd(0.0), seed=0)
    learned = tau(biased)
    assert learned >= tau(biased, ALIKE) + 0.02
    assert learned >= share * tau(unbiased, ALIKE)


@cache
def with_yes_men() -> JudgeEstimates:
    """Four good judges, and two who say yes to every text."""
    return estimates(
        [
            replace(label, positive=True)
            if label.judge in ("good 4", "good 5")
            else label
            for label in judgements(500, kind="label", judges=GOOD, seed=0)
        ]
    )


def test_who_says_yes_to_everything_is_less_reliable() -> None:
    rows = with_yes_men().as_dict()
    good = [rows[f"good {i}"]["reliability"] for i in range(4)]
    yes = [rows[f"good {i}"] for i in (4, 5)]
    assert min(good) > max(row["reliability"] for row in yes)
    assert all(row["leniency"] > 1 for row in yes)


def test_a_judge_who_never_varies_is_named() -> None:
    assert with_yes_men().summary()["always_the_same_answer"] == ["good 4", "good 5"]


def test_the_intervals_of_equal_judges_hold_one() -> None:
    rows = estimates(judgements(500, kind="label", judges=GOOD, seed=1)).as_dict()
    intervals = [row["interval"] for row in rows.values()]
    assert sum(low <= 1 <= high for low, high in intervals) >= 5
    assert all(high - low > 0.1 for low, high in intervals)


def test_many_judges_of_three_judgements_cost_nothing() -> None:
    judges = [Judge(f"judge {i:03d}", noise=0.7) for i in range(100)]
    labels = [
        replace(label, judge=judges[i // 3].name)
        for i, label in enumerate(
            judgements(300, kind="label", judges=[Judge("anybody", noise=0.7)], seed=2)
        )
    ]
    assert tau(labels, LEARNED) >= tau(labels, ALIKE) - 0.01


def test_a_crowd_without_signal_is_not_said_to_be_careless() -> None:
    # 200 labels by lenient and severe judges tell little: intervals are wide, not near 0
    result = estimates(judgements(200, kind="label", judges=crowd(3.0), seed=4))
    rows = result.as_dict().values()
    assert all(row["interval"][1] > 0.5 for row in rows)


def test_one_judge_alone_is_the_typical_judge() -> None:
    labels = judgements(200, kind="label", judges=GOOD[:1], seed=0)
    result = estimates(labels)
    row = result.as_dict()["good 0"]
    assert result.summary()["model"] in ("none", "leniency", "full")
    assert row["interval"][0] < 1 < row["interval"][1]
    assert tau(labels, LEARNED) == pytest.approx(tau(labels, ALIKE), abs=0.02)


def test_judges_of_one_judgement_each_stay_near_the_typical_judge() -> None:
    labels = [
        replace(label, judge=f"judge {i}")
        for i, label in enumerate(
            judgements(150, kind="label", judges=[Judge("anybody", noise=0.7)], seed=0)
        )
    ]
    result = estimates(labels)
    rows = result.as_dict()
    assert result.summary()["model"] == "none"
    assert all(row["judgements"] == 1 for row in rows.values())
    assert result.summary()["fewer_than_four_judgements"] == len(rows)
    holds = [row["interval"][0] < 1 < row["interval"][1] for row in rows.values()]
    assert sum(holds) >= 0.9 * len(rows)


def test_few_judgements_of_named_judges_can_be_learned_from() -> None:
    labels = judgements(9, kind="label", judges=GOOD[:2], seed=0)
    assert {label.positive for label in labels[:6]} == {True, False}
    result = estimates(labels[:6], measured=labels[6:])
    assert sum(row["judgements"] for row in result.as_dict().values()) == 6


def all_alike(kind: str) -> list[Judgement]:
    """Return 60 judgements of one kind that are all the same."""
    if kind == "ranking":
        pairs = judgements(60, kind="comparison", judges=GOOD, seed=0)
        return [Ranking((pair.texts,), judge=pair.judge) for pair in pairs]
    values: dict[str, dict[str, Any]] = {
        "label": {"positive": True},
        "grade": {"grade": 7},
        "rating": {"rating": 2.5},
        "comparison": {"tie": True},
    }
    made = judgements(60, kind=kind, judges=GOOD, seed=0)
    return [replace(judgement, **values[kind]) for judgement in made]


@pytest.mark.parametrize("likelihood", [LEARNED, ALIKE])
@pytest.mark.parametrize("kind", ["label", "grade", "rating", "comparison", "ranking"])
def test_judgements_that_are_all_alike_give_every_text_one_score(
    kind: str, likelihood: Likelihood, tmp_path: Path
) -> None:
    model = tm.fit(all_alike(kind), likelihood=likelihood, out=tmp_path / "taste")
    sentences = model.contract.data["not_learned"]
    assert "order texts" in sentences[0]
    assert model.score(["a fine film", "dull"]) == [0.0, 0.0]
    assert tm.load(tmp_path / "taste").score("a fine film") == 0.0
    card = (tmp_path / "taste" / "README.md").read_text()
    assert "Every text gets the same score" in card


def test_a_constant_model_predicts_base_rates(tmp_path: Path) -> None:
    model = tm.fit(all_alike("label"))
    assert 0.97 < model.probability("a fine film") < 1
    ratings = tm.fit(all_alike("rating"))
    assert ratings.rating("a fine film") == pytest.approx(2.5)


@pytest.mark.parametrize("settings", [{"backbone": "tiny"}, {"members": 2}])
def test_a_constant_model_of_any_backbone(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    model = tm.fit(all_alike("label"), out=tmp_path / "taste", **settings)
    assert model.score(["a fine film", "dull"]) == [0.0, 0.0]
    assert tm.load(tmp_path / "taste").score("a fine film") == 0.0


def test_a_kind_that_teaches_nothing_is_left_out_of_a_mixture() -> None:
    labels = judgements(60, kind="label", judges=GOOD, seed=0)
    ties = [
        replace(pair, tie=True)
        for pair in judgements(60, kind="comparison", judges=GOOD, seed=1)
    ]
    alone, mixed = tm.fit(labels), tm.fit([*labels, *ties])
    assert set(mixed.links) == {tm.Label}
    sentence = mixed.contract.data["not_learned"][0]
    assert "comparisons are ties" in sentence
    assert "left out" in sentence
    assert alone.contract.data["not_learned"] != mixed.contract.data["not_learned"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (lambda number: "ann", "one judge, ann"),
        (lambda number: f"judge {number}", "1.0 judgements each"),
    ],
)
def test_judges_who_cannot_be_told_apart_are_believed_alike(
    name: Callable[[int], str], words: str
) -> None:
    labels = [
        replace(label, judge=name(number))
        for number, label in enumerate(judgements(60, kind="label", seed=0))
    ]
    contract = tm.fit(labels).contract
    assert contract.judges == {}
    (sentence,) = contract.data["not_learned"]
    assert words in sentence
    assert sentence in contract.judges_in_words()


def test_judges_of_comparisons_have_no_leniency() -> None:
    result = estimates(
        judgements(250, kind="comparison", judges=GOOD, seed=0),
        [Comparison("fine", "awful")],
    )
    rows = result.as_dict().values()
    assert result.summary()["model"] in ("none", "full")
    assert result.summary()["always_the_same_answer"] == []
    assert all(row["leniency"] == 0 for row in rows)
    assert all(row["interval"][0] < row["interval"][1] for row in rows)


def test_the_order_of_judgements_does_not_matter() -> None:
    ratings = judgements(150, kind="rating", judges=crowd(3.0), seed=4)
    shuffled = list(ratings)
    random.Random(0).shuffle(shuffled)
    measured = [Rating("fine", 9.0), Rating("awful", 1.0)]
    once, again = estimates(ratings, measured), estimates(shuffled, measured)
    assert once.names == again.names
    assert once.model == again.model
    for name in ("discrimination", "leniency", "reliability", "low", "high"):
        assert getattr(once, name).tolist() == pytest.approx(
            getattr(again, name).tolist(), abs=1e-4
        ), name


def test_a_saved_model_keeps_its_judges(tmp_path: Path) -> None:
    labels = judgements(150, kind="label", judges=GOOD[:3], seed=0)
    model = tm.fit(labels, likelihood=LEARNED, out=tmp_path / "model")
    loaded = tm.load(tmp_path / "model")
    assert loaded.contract.judges == model.contract.judges
    assert loaded.contract.judge_model == model.contract.judge_model
    assert set(model.contract.judges) == {judge.name for judge in GOOD[:3]}
    assert set(model.contract.judge_model) == {
        "model",
        "reason",
        "gain_per_judgement",
        "spread",
        "leniency_sd",
        "always_the_same_answer",
        "fewer_than_four_judgements",
    }
