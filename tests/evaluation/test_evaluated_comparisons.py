"""Evaluated comparisons against numbers worked out by hand, and on odd data."""

import json
import math

import numpy as np
import pytest
import torch
from letters import SCORES, A, B, C, D, compared

from tastemaker.data import Comparison
from tastemaker.evaluate import evaluate
from tastemaker.kinds import (
    ComparisonLink,
    Likelihood,
    agreement_with_others,
)


@pytest.fixture
def pairs(table_model):
    return table_model({Comparison: ComparisonLink(math.log(3))}, SCORES)


# --- comparisons


def test_comparisons_by_hand(pairs):
    judged = compared((D, C), (B, A), (C, B), (A, B))
    values = evaluate(pairs, judged).as_dict()
    assert values["n"] == 4
    assert values["ties"] == 0
    assert values["accuracy"] == 2.5 / 4  # right, right, equal scores: half, wrong
    # three promised 3/4, one wrongly so, and one half: (2·ln(4/3) + ln 2 + ln 4)/4
    assert values["log_loss"] == pytest.approx(
        (2 * math.log(4 / 3) + math.log(2) + math.log(4)) / 4, abs=1e-6
    )
    # favourites at 3/4: two of three won; the even pair promised ½ and counts ½
    assert values["ece"] == pytest.approx(3 / 4 * (3 / 4 - 2 / 3), abs=1e-6)
    assert values["constant_accuracy"] == 0.5
    assert values["constant_log_loss"] == pytest.approx(math.log(2))
    assert values["longer_baseline"] == 3 / 4
    assert values["difference_to_longer"]["accuracy"] == pytest.approx(2.5 / 4 - 3 / 4)
    assert values["people_prefer_longer"] == 3 / 4
    assert values["prefers_longer"] == 3.5 / 4  # DC, BA and AB; BC is equal
    assert values["linear_baseline"] is None
    low, high = values["accuracy_interval"]
    assert 0 <= low < 2.5 / 4 < high <= 1


def test_ties_are_counted_and_left_out_of_accuracy(pairs):
    judged = [
        *compared((D, C), (A, B)),
        Comparison(D, A, tie=True, prompt="p9"),
        Comparison(B, C, tie=True, prompt="p8"),
    ]
    values = evaluate(pairs, judged).as_dict()
    assert (values["n"], values["ties"], values["accuracy"]) == (4, 2, 0.5)
    # people are divided in half, of pairs of unlike length: DC longer, AB shorter, and two ties
    assert values["people_prefer_longer"] == 0.5
    # a favourite that ties came half true: of DA promised 9/10, ½; of BC, even, ½
    assert values["ece"] == pytest.approx(
        (2 * (3 / 4 - 1 / 2) + 1 * (9 / 10 - 1 / 2)) / 4, abs=1e-6
    )
    # the link knows no ties, so its log-loss is that of the decided pairs alone: not flattered by
    # ln 1
    assert values["log_loss"] == pytest.approx(
        (math.log(4 / 3) + math.log(4)) / 2, abs=1e-6
    )
    # a coin that knows in hindsight that half are ties: ln 2 for which it is, and ½ · ln 2 for the
    # side
    assert values["constant_log_loss"] == pytest.approx(1.5 * math.log(2))


def test_the_log_loss_of_a_tie_is_davidsons(table_model):
    # ν = 1 and equal scores: win, lose and tie are equally likely
    model = table_model({Comparison: ComparisonLink(1.0, 0.0)}, SCORES)
    values = evaluate(
        model, [Comparison(B, C, tie=True, prompt="p"), Comparison(B, C, prompt="q")]
    ).as_dict()
    assert values["log_loss"] == pytest.approx(math.log(3), abs=1e-6)
    assert values["accuracy"] == 0.5


def test_nothing_but_ties_leaves_accuracy_undefined(pairs):
    evaluation = evaluate(
        pairs, [Comparison(B, C, tie=True), Comparison(A, D, tie=True)]
    )
    assert evaluation.as_dict()["accuracy"] is None
    assert evaluation.as_dict()["ties"] == 2
    assert "accuracy is undefined" in str(evaluation)
    json.dumps(evaluation.as_dict(), allow_nan=False)


def test_aids_of_the_fit_are_no_part_of_the_log_loss(pairs):
    judged = compared((D, C), (A, B), margin=2.0)
    plain = evaluate(pairs, judged).as_dict()["log_loss"]
    pairs.links[Comparison].aids = Likelihood(margin=1.0, smoothing=0.1)
    assert evaluate(pairs, judged).as_dict()["log_loss"] == plain
    assert (
        pairs.links[Comparison].aids.margin == 1.0
    )  # the model's own link is left as it was
    assert pairs.links[Comparison].slope.dtype == torch.float32


def test_which_text_comes_first_does_not_matter_to_ties(pairs):
    one = evaluate(pairs, [*compared((D, C)), Comparison(A, D, tie=True)]).as_dict()
    other = evaluate(pairs, [*compared((D, C)), Comparison(D, A, tie=True)]).as_dict()
    assert one == other


def test_accuracy_by_margin_length_source_and_judge(pairs):
    judged = [
        Comparison(
            D, C, 3.0, prompt="p", judge="Ann", source="one"
        ),  # 2 characters apart, right
        Comparison(C, B, 1.0, prompt="q", judge="Ben", where="two.jsonl:3"),  # 2, half
        Comparison(A, B, 1.0, prompt="r", judge="Ann", where="two.jsonl:4"),  # 2, wrong
        Comparison(D, A, prompt="s"),  # 6, right
        Comparison(D, B, tie=True, prompt="t", judge="Ann"),
    ]
    values = evaluate(pairs, judged).as_dict()

    def table(name):
        return {row["part"]: (row["n"], row["accuracy"]) for row in values[name]}

    assert table("by_margin") == {"not said": (1, 1.0), "1": (2, 0.25), "3": (1, 1.0)}
    assert table("by_length_difference") == {"2": (3, 0.5), "6": (1, 1.0)}
    assert table("by_source") == {
        "two.jsonl": (2, 0.25),
        "not known": (1, 1.0),
        "one": (1, 1.0),
    }
    assert table("by_judge") == {
        "Ann": (2, 0.5),
        "Ben": (1, 0.5),
        "not named": (1, 1.0),
    }
    assert values["by_length_difference"][1]["longer_baseline"] == 1


def test_a_single_judge_or_source_and_no_margin_make_no_table(pairs):
    evaluation = evaluate(pairs, compared((D, C), (A, B), judge="Ann", source="one"))
    assert [
        evaluation.as_dict()[name] for name in ("by_margin", "by_source", "by_judge")
    ] == [
        [],
        [],
        [],
    ]
    assert "judge" not in str(evaluation)


def test_many_judges_share_a_row(table_model):
    judged = [
        Comparison(f"t{j}.{i}", f"u{j}.{i}", judge=f"judge {j}", prompt=f"{j}.{i}")
        for j in range(30)
        for i in range(31 - j)
    ]
    model = table_model(
        {Comparison: ComparisonLink()},
        {text: float(text[0] == "t") for j in judged for text in j.texts},
    )
    rows = evaluate(model, judged, resamples=10).as_dict()["by_judge"]
    assert [row["part"] for row in rows[:2]] == ["judge 0", "judge 1"]
    assert rows[-1]["part"] == "10 others"
    assert len(rows) == 21
    assert sum(row["n"] for row in rows) == len(judged)


def test_many_margins_fall_into_quarters(table_model):
    judged = [
        Comparison(f"t{i}", f"u{i}", 0.1 * (i + 1), prompt=str(i)) for i in range(40)
    ]
    model = table_model(
        {Comparison: ComparisonLink()},
        {text: float(text[0] == "t") for j in judged for text in j.texts},
    )
    rows = evaluate(model, judged, resamples=10).as_dict()["by_margin"]
    assert [(row["part"], row["n"]) for row in rows] == [
        ("0.1–1", 10),
        ("1.1–2", 10),
        ("2.1–3", 10),
        ("3.1–4", 10),
    ]


# --- the human ceiling


def test_agreement_with_others_by_hand():
    judged = [
        Comparison("a", "b", judge="Ann"),  # others: Ben for b, Cho for a
        Comparison("b", "a", judge="Ben"),  # others: both for a
        Comparison("a", "b", judge="Cho"),
        Comparison("b", "a", judge="Ann", prompt="another"),  # nobody else judged it
        Comparison("c", "d", judge="Ann"),  # the other one found a tie: no answer
        Comparison("d", "c", judge="Ben", tie=True),  # a tie has no right side
        Comparison("e", "f", judge="Ann"),  # the same judge again, and nobody else
        Comparison("e", "f", judge="Ann"),
        Comparison("g", "h"),  # who it was is not known
        Comparison("h", "g"),
    ]
    expected = [
        0.5,
        0,
        0.5,
        math.nan,
        math.nan,
        math.nan,
        math.nan,
        math.nan,
        math.nan,
        math.nan,
    ]
    np.testing.assert_array_equal(agreement_with_others(judged), expected)


def test_a_judge_does_not_agree_with_their_own_repeats(pairs):
    judged = [
        Comparison("a", "b", judge="Ann"),
        Comparison("a", "b", judge="Ann"),
        Comparison("b", "a", judge="Ben"),
    ]
    assert agreement_with_others(judged).tolist() == [0, 0, 0]


@pytest.mark.parametrize("judges", [2, 3, 9])
def test_a_perfect_score_reaches_the_human_ceiling(table_model, judges):
    # people err with probability 0.2, so the truth agrees with 80 % of them, and two of them agree
    # with a chance of 0.8² + 0.2² = 0.68, however many judge a pair
    generator = np.random.default_rng(2)
    judged = []
    for i in range(2700 // judges):
        for judge in range(judges):
            right, wrong = f"right {i}", f"wrong {i}"
            first, second = (
                (right, wrong) if generator.random() < 0.8 else (wrong, right)
            )
            judged.append(
                Comparison(first, second, judge=f"judge {judge}", prompt=f"p{i}")
            )
    model = table_model(
        {Comparison: ComparisonLink()},
        {t: float(t[0] == "r") for j in judged for t in j.texts},
    )
    values = evaluate(model, judged, resamples=200).as_dict()
    assert values["accuracy"] == pytest.approx(0.8, abs=0.02)
    assert values["human_agreement"] == pytest.approx(0.68, abs=0.02)
    assert values["human_ceiling"] == pytest.approx(0.8, abs=0.02)
    assert values["human_agreement_n"] == 2700
    low, high = values["human_ceiling_interval"]
    assert low < 0.8 < high


def test_of_plain_pairs_and_toss_ups_a_perfect_score_reaches_the_agreement(table_model):
    # half of the pairs are plain, and judges of the others are divided
    judged = []
    for i in range(40):
        pair = (f"right {i}", f"wrong {i}")
        answers = [pair, pair, pair, pair]
        if i % 2:
            answers = [pair, pair, pair[::-1], pair[::-1]]
        for judge, (first, second) in enumerate(answers):
            judged.append(
                Comparison(first, second, judge=f"judge {judge}", prompt=f"p{i}")
            )
    model = table_model(
        {Comparison: ComparisonLink()},
        {t: float(t[0] == "r") for j in judged for t in j.texts},
    )
    values = evaluate(model, judged).as_dict()
    assert values["accuracy"] == 0.75
    # of two and two, one of the three others agrees
    assert values["human_agreement"] == pytest.approx((1 + 1 / 3) / 2)
    agreement = values["human_agreement"]
    ceiling = 0.5 + math.sqrt((agreement - 0.5) / 2)
    assert values["human_ceiling"] == pytest.approx(ceiling)
    assert values["accuracy"] < ceiling


def test_the_ceiling_is_quoted_only_where_it_is_known(pairs, order_world):
    assert "Two judges of the same texts" in str(
        order_world(Comparison, 20).evaluated()
    )
    evaluation = evaluate(pairs, compared((D, C), (A, B)))
    assert "Two judges of the same texts" not in str(evaluation)
    assert evaluation.as_dict()["human_ceiling"] is None


# --- intervals


def test_ten_judges_of_one_prompt_do_not_narrow_the_interval(table_model):
    generator = np.random.default_rng(7)
    once = [Comparison(f"t{i}", f"u{i}", prompt=f"p{i}", judge="0") for i in range(100)]
    scores = {text: generator.normal() for j in once for text in j.texts}
    model = table_model({Comparison: ComparisonLink()}, scores)
    tenfold = [
        Comparison(j.chosen, j.rejected, prompt=j.prompt, judge=str(n))
        for j in once
        for n in range(10)
    ]
    alone, copied = (evaluate(model, judged).as_dict() for judged in (once, tenfold))
    assert copied["accuracy_interval"] == pytest.approx(alone["accuracy_interval"])
    assert copied["n"] == 1000


def test_the_order_of_the_comparisons_does_not_matter(order_world):
    w = order_world(Comparison, 40)
    first = w.evaluated().as_dict()
    w.judgements.reverse()
    second = w.evaluated().as_dict()
    for name in (
        "accuracy",
        "accuracy_interval",
        "log_loss",
        "longer_baseline",
        "human_ceiling_interval",
    ):
        assert second[name] == pytest.approx(first[name], abs=1e-12), name


def test_the_linear_baseline_is_compared_by_pairs(order_world):
    w = order_world(Comparison, 60)
    values = w.evaluated().as_dict()
    alone = evaluate(w.baseline, w.judgements, resamples=100).as_dict()
    assert values["linear_baseline"]["accuracy"] == alone["accuracy"]
    assert values["difference_to_linear"]["accuracy"] == pytest.approx(
        values["accuracy"] - alone["accuracy"]
    )
    itself = evaluate(w.model, w.judgements, baseline=w.model, resamples=50).as_dict()
    low, high = itself["difference_to_linear"]["accuracy_interval"]
    assert low < 0 < high
    assert -low == pytest.approx(high)


def test_a_score_that_is_length_ties_with_always_the_longer(order_world):
    w = order_world(Comparison, 60)
    w.model.scores = {text: float(len(text)) for text in w.model.scores}
    evaluation = w.evaluated()
    values = evaluation.as_dict()
    assert values["accuracy"] == values["longer_baseline"]
    assert values["prefers_longer"] == 1
    start = "The model cannot be told apart from always the longer text"
    assert any(
        v.startswith(start) and "+0.0 points" in v for v in evaluation.verdicts()
    )
