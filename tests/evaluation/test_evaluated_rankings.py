"""Evaluated rankings against numbers worked out by hand, and several kinds together."""

import json
import math
import re
from pathlib import Path

import pytest
from letters import SCORES, A, B, C, D, compared

from tastemaker.data import Comparison, Label, Ranking, fingerprints
from tastemaker.evaluate import evaluate
from tastemaker.kinds import ComparisonLink, LabelLink, RankingLink, favourites

METRICS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"


@pytest.fixture
def pairs(table_model):
    return table_model({Comparison: ComparisonLink(math.log(3))}, SCORES)


@pytest.fixture
def lists(table_model):
    return table_model({Ranking: RankingLink()}, SCORES)


# --- rankings


def test_rankings_by_hand(lists):
    # D > B = C > A in scores. First list: D, then B and A in one tier: τ: DB and DA agree, BA is
    # tied by people:
    # 2/√(2·3). Second list: A first, then B, the rest C: AB and AC wrong, BC scored alike:
    # −2/√(3·2).
    judged = [Ranking([D, [B, A]], prompt="p"), Ranking([A, B], rest=(C,), prompt="q")]
    values = evaluate(lists, judged).as_dict()
    assert values["n"] == 2
    assert values["kendall_tau"] == pytest.approx(0, abs=1e-12)
    assert values["top1"] == 0.5
    assert values["accuracy"] == pytest.approx((2 + 0.5) / 5)
    assert values["pairs"] == 5
    assert values["unordered_lists"] == 0
    # gains 2, 1, 0 of A, B, C; by score B and C share places 1 and 2, A is third
    d2, d3 = 1 / math.log2(3), 1 / 2
    assert values["ndcg"] == pytest.approx((1 + ((1 + d2) / 2 + 2 * d3) / (2 + d2)) / 2)
    assert values["constant_top1"] == pytest.approx(1 / 3)
    assert values["constant_kendall_tau"] == 0
    assert values["constant_accuracy"] == 0.5
    # longest first: D, B, A is right and τ as above; C, B, A is the second list the wrong way round
    assert values["longer_kendall_tau"] == pytest.approx((2 / math.sqrt(6) - 1) / 2)
    assert values["longer_baseline"] == pytest.approx(2 / 5)
    assert values["longer_top1"] == 0.5
    by_distance = {
        row["part"]: (row["n"], row["accuracy"]) for row in values["by_distance"]
    }
    assert by_distance == {"1": (4, 2.5 / 4), "2": (1, 0.0)}


def test_lists_of_one_tier_are_counted_and_left_out(lists):
    judged = [
        Ranking([D, B], prompt="p"),
        Ranking([[A, D]], prompt="q"),
        Ranking([C, A], prompt="r"),
    ]
    evaluation = evaluate(lists, judged)
    assert evaluation.as_dict()["unordered_lists"] == 1
    assert evaluation.as_dict()["kendall_tau"] == 1
    assert evaluation.as_dict()["top1"] == 1
    assert "1 rankings are all ties" in str(evaluation)


def test_lists_of_unlike_lengths_do_not_see_each_others_padding(lists):
    short, long = Ranking([A, D], prompt="p"), Ranking([D, C, A, B], prompt="q")
    both = evaluate(lists, [short, long]).as_dict()
    alone = [evaluate(lists, [one]).as_dict() for one in (short, long)]
    for name in ("kendall_tau", "ndcg", "top1", "log_loss"):
        assert both[name] == pytest.approx((alone[0][name] + alone[1][name]) / 2), name
    # the longer one: people in none of 1 and 5 of 6 pairs, the model in 1 of 1 and 5 of 6, with
    # half for CB
    assert both["people_prefer_longer"] == pytest.approx(5 / 7)
    assert both["prefers_longer"] == pytest.approx(6.5 / 7)


def test_a_ranking_of_two_is_a_comparison(order_world, table_model):
    w = order_world(Comparison, 50)
    as_lists = [
        Ranking([[*j.texts]] if j.tie else [*j.texts], prompt=j.prompt)
        for j in w.judgements
    ]
    ranked = evaluate(
        table_model({Ranking: RankingLink(1.0, [0.0])}, w.model.scores),
        as_lists,
        resamples=50,
    ).as_dict()
    compared_ = w.evaluated().as_dict()
    for name in (
        "accuracy",
        "longer_baseline",
        "prefers_longer",
        "people_prefer_longer",
    ):
        assert ranked[name] == pytest.approx(compared_[name]), name
    assert ranked["kendall_tau"] == pytest.approx(2 * compared_["accuracy"] - 1)


def test_rankings_against_their_rivals(order_world):
    evaluation = order_world(Ranking, 80).evaluated()
    values = evaluation.as_dict()
    for name in ("kendall_tau", "ndcg", "top1", "accuracy"):
        low, high = values[f"{name}_interval"]
        assert low < values[name] < high
        assert (
            values[name] > values["linear_baseline"][name] > values[f"constant_{name}"]
        )
    assert values["difference_to_longer"]["kendall_tau_interval"][0] > 0
    assert any(
        v.startswith("The model beats the linear baseline by ") and "Kendall's τ" in v
        for v in evaluation.verdicts()
    )


# --- together


@pytest.mark.parametrize("kind", [Comparison, Ranking])
def test_the_dictionary_is_json_and_the_table_is_aligned(order_world, kind):
    evaluation = order_world(kind, 30).evaluated(
        training_fingerprints=fingerprints(["unrelated"])
    )
    values = evaluation.as_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    contract = {
        "accuracy",
        "accuracy_interval",
        "n",
        "longer_baseline",
        "longer_baseline_interval",
        "linear_baseline",
    }
    contract |= (
        {"ties"}
        if kind is Comparison
        else {"kendall_tau", "ndcg", "top1", "top1_interval"}
    )
    assert contract <= set(values)
    assert isinstance(values["longer_baseline"], float)
    assert "accuracy" in values["linear_baseline"]
    heading, rule = evaluation.table().splitlines()[:2]
    for word in ("model", "linear baseline", "longer text", "coin"):
        assert word in heading
    assert set(rule) == {"─"}


def test_kinds_about_one_text_and_about_two_lie_side_by_side(table_model):
    model = table_model({Label: LabelLink(), Comparison: ComparisonLink()}, SCORES)
    judged = [
        Label(D, True),
        Label(A, True),
        Label(B, False),
        *compared((D, C), (D, A), (C, A)),
    ]
    evaluation = evaluate(model, judged)
    values = evaluation.as_dict()
    assert (
        values["accuracy"] == values["by_kind"]["label"]["accuracy"] == 2 / 3
    )  # of the first kind
    assert values["by_kind"]["comparison"]["accuracy"] == 1
    assert values["longer_baseline"] == 1
    assert (
        values["texts"] == model.asked == 9
    )  # a text is scored once for each prompt that it answers
    assert "3 comparisons" in str(evaluation)


def test_known_texts_leave_out_every_judgement_about_them(pairs):
    judged = compared((D, C), (A, B), (C, A))
    values = evaluate(pairs, judged, training_fingerprints=fingerprints([B])).as_dict()
    assert values["duplicates"]["texts"] == 1
    assert values["duplicates"]["accuracy_without"] == 1  # the wrong one is about B


def test_repeats_within_count_the_same_pair_either_way_round(pairs):
    judged = [
        Comparison(D, C, judge="Ann"),
        Comparison(C, D, judge="Ann"),
        Comparison(D, C, judge="Ben"),
    ]
    assert evaluate(pairs, judged).duplicates.within == 1


def test_favourites_are_the_same_from_either_side(order_world):
    evaluation = order_world(Comparison, 30).evaluated().kinds[0]
    promised, got = favourites(evaluation.judged, evaluation.predictions)
    assert ((promised >= 0.5) & (promised <= 1)).all()
    assert set(got) <= {0.0, 0.5, 1.0}
    decided = evaluation.answers[:, 1] > 0
    assert got[decided].mean() == pytest.approx(
        evaluation.measured.model["accuracy"].value
    )


def _keys(values):
    """Every key of nested JSON."""
    if isinstance(values, dict):
        return set(values) | {key for value in values.values() for key in _keys(value)}
    return (
        {key for value in values for key in _keys(value)}
        if isinstance(values, list)
        else set()
    )


@pytest.mark.parametrize("kind", [Comparison, Ranking])
def test_every_figure_is_defined(order_world, kind):
    documented = set(re.findall(r"`([a-z_0-9]+)`", METRICS.read_text(encoding="utf-8")))
    evaluation = order_world(kind, 30).evaluated(
        training_fingerprints=fingerprints(["unrelated"])
    )
    assert _keys(evaluation.as_dict()) - documented - {"comparison", "ranking"} == set()
