"""Position bias and tie widths: learned from comparisons and rankings, kept out of the score.

What the score does not tell of the texts makes log-odds smaller, those of a bias as well: a bias is
learned as three fifths to all of what it is for somebody who knows the gold score.
"""

import dataclasses
import math
import random

import pytest

import tastemaker as tm
from tastemaker.data import Comparison, Judgement, Ranking
from tastemaker.maths import kendall
from tastemaker.playground import gold_score, reviews

BIASES = (-0.6, 0.0, 0.6, 1.2, 1.8)  # log-odds, of five judges; the mean is 0.6


def comparisons(
    count: int, seed: int, biases: tuple[float, ...] = BIASES
) -> list[Judgement]:
    """Return comparisons by judges who favour the text shown first, each by a bias of their own."""
    draw = random.Random(seed)
    texts = list(reviews(2 * count, seed=seed))
    judged: list[Judgement] = []
    for number in range(count):
        first, second = texts[2 * number : 2 * number + 2]
        if first == second:
            continue
        judge = number % len(biases)
        logit = 0.8 * (gold_score(first) - gold_score(second)) + biases[judge]
        first_won = draw.random() < 1 / (1 + math.exp(-logit))
        chosen, rejected = (first, second) if first_won else (second, first)
        judged.append(
            Comparison(chosen, rejected, chosen_first=first_won, judge=f"j{judge}")
        )
    return judged


def bias_of(model: tm.RewardModel) -> dict[str, float]:
    bias: dict[str, float] = model.contract.judge_model["position_bias"]
    return bias


@pytest.mark.parametrize("seed", range(3))
def test_each_judges_position_bias_is_learned(seed: int) -> None:
    model = tm.fit(comparisons(1500, seed), seed=seed)
    bias = bias_of(model)
    assert 0.2 < bias["mean"] < 0.75
    assert bias["judgements"] > 1000
    learned = [model.contract.judges[f"j{n}"]["position_bias"] for n in range(5)]
    assert sorted(learned) == pytest.approx(learned, abs=0.3)
    assert 0.8 < learned[-1] - learned[0] < 2.6


def test_it_is_learned_without_named_judges_too() -> None:
    nameless = [
        dataclasses.replace(j, judge=None) for j in comparisons(1000, 0, (0.8,))
    ]
    model = tm.fit(nameless)
    assert not model.contract.judges
    assert 0.4 < bias_of(model)["mean"] < 1.0
    assert bias_of(model)["low"] > 0.2


def test_no_bias_is_found_where_there_is_none() -> None:
    for seed in range(3):
        bias = bias_of(tm.fit(comparisons(800, seed, (0.0,) * 4), seed=seed))
        assert bias["low"] < 0 < bias["high"]


def test_the_other_order_gives_the_opposite_bias() -> None:
    shown = comparisons(600, 1)
    turned = [
        dataclasses.replace(j, chosen_first=not j.chosen_first)  # type: ignore[attr-defined]
        for j in shown
    ]
    one, other = tm.fit(shown), tm.fit(turned)
    assert bias_of(one)["mean"] == pytest.approx(-bias_of(other)["mean"], abs=1e-3)
    texts = list(reviews(20, seed=9))
    assert one.score(texts) == pytest.approx(other.score(texts), abs=1e-3)


def test_an_unknown_order_teaches_no_bias() -> None:
    unknown = [
        dataclasses.replace(j, chosen_first=None)  # type: ignore[call-arg]
        for j in comparisons(300, 0)
    ]
    assert "position_bias" not in tm.fit(unknown).contract.judge_model


def test_a_bias_does_not_spoil_the_score() -> None:
    """The better texts are mostly shown last, and the first is favoured."""
    draw = random.Random(0)
    texts = list(reviews(3000, seed=4))
    judged: list[Judgement] = []
    for a, b in zip(texts[::2], texts[1::2], strict=True):
        if gold_score(a) == gold_score(b):
            continue
        worse, better = sorted((a, b), key=gold_score)
        first, second = (worse, better) if draw.random() < 0.9 else (better, worse)
        logit = 0.5 * (gold_score(first) - gold_score(second)) + 1.5
        first_won = draw.random() < 1 / (1 + math.exp(-logit))
        chosen, rejected = (first, second) if first_won else (second, first)
        judged.append(Comparison(chosen, rejected, chosen_first=first_won))
    unknown = [dataclasses.replace(j, chosen_first=None) for j in judged]  # type: ignore[call-arg]
    unseen = list(reviews(400, seed=77))
    gold = [gold_score(text) for text in unseen]

    def tau(judgements: list[Judgement]) -> float:
        scores = tm.fit(judgements).score(unseen)
        return kendall(scores, gold)

    assert tau(judged) > tau(unknown) + 0.02


def test_rankings_tell_the_bias_by_place() -> None:
    draw = random.Random(0)
    texts = list(dict.fromkeys(reviews(4000, seed=3)))
    judged: list[Judgement] = []
    for start in range(0, 1600, 4):
        shown = texts[start : start + 4]
        left = list(shown)
        order = []
        while left:
            weights = [
                math.exp(0.8 * gold_score(t) + 1.5 * (0.5 - shown.index(t) / 3))
                for t in left
            ]
            best = draw.choices(left, weights)[0]
            left.remove(best)
            order.append(best)
        judged.append(Ranking(tuple((t,) for t in order), shown=tuple(shown)))
    bias = bias_of(tm.fit(judged))
    assert 0.7 < bias["mean"] < 1.7
    assert bias["low"] > 0.5


def test_who_gives_more_ties_is_told_apart() -> None:
    draw = random.Random(0)
    texts = list(reviews(3000, seed=5))
    judged: list[Judgement] = []
    for number, (a, b) in enumerate(zip(texts[::2], texts[1::2], strict=True)):
        if a == b:
            continue
        strength = math.exp(0.5 * (gold_score(a) - gold_score(b)) / 2)
        tie = (0.3, 1.0, 3.0)[number % 3]
        total = strength + 1 / strength + tie
        drawn = draw.random() * total
        name = f"j{number % 3}"
        if drawn < tie:
            judged.append(Comparison(a, b, tie=True, judge=name))
        elif drawn < tie + strength:
            judged.append(Comparison(a, b, judge=name))
        else:
            judged.append(Comparison(b, a, judge=name))
    rows = tm.fit(judged).contract.judges
    widths = [rows[f"j{n}"]["tie_width"] for n in range(3)]
    assert widths[0] < -0.5 < 0.5 < widths[2]
    assert widths[0] < widths[1] < widths[2]
