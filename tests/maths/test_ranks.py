"""Agreement of scores and lists: by hand, against scipy and scikit-learn, and by definition."""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from tastemaker.maths import (
    agreement,
    agreement_by_distance,
    is_ordered,
    kendall_by_list,
    ndcg_by_list,
    top_one_by_list,
)
from tastemaker.maths import statistics as ranks

NONE = math.nan


@st.composite
def one_list(draw):
    """Scores and tiers of one list, ties common; tiers are numbered without gaps."""
    k = draw(st.integers(2, 9))
    scores = draw(st.lists(st.integers(-3, 3).map(float), min_size=k, max_size=k))
    tiers = np.unique(
        draw(st.lists(st.integers(0, 4), min_size=k, max_size=k)), return_inverse=True
    )[1]
    return np.array(scores), tiers.astype(float)


def padded(values, width, fill):
    return np.append(values, np.full(width - len(values), fill))


# --- hand-worked

# people: A best, B and C alike below, D worst. Scores order A and B the wrong way round and tie C
# with D.
SCORES, TIERS = [[2.0, 3.0, 1.0, 1.0]], [[0.0, 1.0, 1.0, 2.0]]


def test_agreement_by_hand():
    # ordered pairs: AB lost, AC, AD and BD won, CD half; BC is not ordered → 3.5 of 5
    won, pairs = agreement(SCORES, -np.array(TIERS))
    assert (won.tolist(), pairs.tolist()) == ([3.5], [5.0])


def test_agreement_by_distance_by_hand():
    # one tier apart: AB lost, AC and BD won, CD half → 2.5 of 4; two apart: AD won
    won, pairs = agreement_by_distance(SCORES, TIERS, 3)
    assert won.tolist() == [[2.5, 1.0, 0.0]]
    assert pairs.tolist() == [[4.0, 1.0, 0.0]]
    won, pairs = agreement_by_distance(
        SCORES, TIERS, 1
    )  # everything in the one column that is open at its end
    assert (won.tolist(), pairs.tolist()) == ([[3.5]], [[5.0]])


def test_kendall_by_hand():
    # concordant 3, discordant 1; people order 5 pairs, scores 5 (all but CD) → 2/√25
    assert kendall_by_list(SCORES, TIERS).tolist() == [pytest.approx(0.4)]


def test_ndcg_by_hand():
    # gains A 2, B 1, C 1, D 0. By score: B 1st, A 2nd, C and D share places 3 and 4.
    d2, d3, d4 = 1 / math.log2(3), 1 / math.log2(4), 1 / math.log2(5)
    reached = 1 + 2 * d2 + 1 * (d3 + d4) / 2
    ideal = 2 + d2 + d3
    assert ndcg_by_list(SCORES, TIERS).tolist() == [pytest.approx(reached / ideal)]


def test_top_one_by_hand():
    assert top_one_by_list(SCORES, TIERS).tolist() == [0.0]
    # three share the top, one of them is best → 1/3; two of two best at the top → 1
    scores, tiers = (
        [[5.0, 5.0, 5.0], [4.0, 4.0, 1.0]],
        [[0.0, 1.0, 2.0], [0.0, 0.0, 1.0]],
    )
    assert top_one_by_list(scores, tiers).tolist() == pytest.approx([1 / 3, 1.0])


def test_a_list_in_which_all_are_equally_good_is_undefined():
    scores, tiers = [[1.0, 2.0, 3.0]], np.zeros((1, 3))
    assert agreement(scores, -tiers)[1].tolist() == [0]
    for figure in (kendall_by_list, ndcg_by_list, top_one_by_list):
        assert np.isnan(figure(scores, tiers)).all()
    assert not is_ordered(tiers)[0]


def test_equal_scores_are_a_coin():
    scores, tiers = np.zeros((1, 4)), np.array([[0.0, 1.0, 2.0, 3.0]])
    assert agreement(scores, -tiers)[0].tolist() == [3.0]  # half of 6
    assert kendall_by_list(scores, tiers).tolist() == [0.0]
    assert top_one_by_list(scores, tiers).tolist() == [0.25]
    # the mean NDCG of all 24 orders
    orders = np.array(list(permutations(range(4))), dtype=float)
    mean = ndcg_by_list(orders, np.repeat(tiers, 24, axis=0)).mean()
    assert ndcg_by_list(scores, tiers)[0] == pytest.approx(mean)


def test_two_scores_a_hair_apart_are_not_a_tie():
    tiny = 5e-324
    assert kendall_by_list([[tiny, 0.0]], [[0.0, 1.0]]).tolist() == [1.0]


def test_no_lists_are_no_figures():
    nothing = np.zeros((0, 3))
    assert agreement(nothing, nothing)[0].shape == (0,)
    for figure in (kendall_by_list, ndcg_by_list, top_one_by_list):
        assert figure(nothing, nothing).shape == (0,)


# --- definitions and other libraries


@given(one_list())
def test_kendall_is_scipys(data):
    scores, tiers = data
    tau = kendall_by_list([scores], [tiers])[0]
    if np.ptp(tiers) == 0:
        assert math.isnan(tau)
    elif np.ptp(scores) == 0:
        assert tau == 0
    else:
        assert tau == pytest.approx(
            scipy.stats.kendalltau(scores, -tiers).statistic, abs=1e-12
        )


@given(one_list())
def test_ndcg_is_sklearns(data):
    scores, tiers = data
    if np.ptp(tiers):
        expected = ndcg_score([tiers.max() - tiers], [scores])
        assert ndcg_by_list([scores], [tiers])[0] == pytest.approx(expected, abs=1e-12)


@given(one_list())
def test_agreement_is_the_share_of_won_pairs(data):
    scores, tiers = data
    won = pairs = 0.0
    for i, j in combinations(range(len(scores)), 2):
        if tiers[i] != tiers[j]:
            better, worse = (i, j) if tiers[i] < tiers[j] else (j, i)
            pairs += 1
            won += (scores[better] > scores[worse]) + (
                scores[better] == scores[worse]
            ) / 2
    counts = agreement([scores], [-tiers])
    assert (counts[0][0], counts[1][0]) == (won, pairs)
    by_distance = agreement_by_distance([scores], [tiers], 3)
    assert (by_distance[0].sum(), by_distance[1].sum()) == (won, pairs)


@given(one_list(), st.integers(1, 4), st.floats(-9, 9))
def test_padding_is_not_read(data, more, filled):
    scores, tiers = data
    wide, wide_tiers = (
        padded(scores, len(scores) + more, filled),
        padded(tiers, len(tiers) + more, NONE),
    )
    for figure in (kendall_by_list, ndcg_by_list, top_one_by_list):
        assert figure([wide], [wide_tiers])[0] == pytest.approx(
            figure([scores], [tiers])[0], nan_ok=True
        )
    for figure in (
        lambda s, t: agreement(s, -np.array(t)),
        lambda s, t: agreement_by_distance(s, t, 2),
    ):
        for alone, in_company in zip(
            figure([scores], [tiers]), figure([wide], [wide_tiers]), strict=True
        ):
            np.testing.assert_array_equal(alone, in_company)


@given(one_list(), st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(data, random):
    scores, tiers = data
    order = list(range(len(scores)))
    random.shuffle(order)
    for figure in (kendall_by_list, ndcg_by_list, top_one_by_list):
        shuffled = figure([scores[order]], [tiers[order]])[0]
        assert shuffled == pytest.approx(
            figure([scores], [tiers])[0], abs=1e-12, nan_ok=True
        )


def test_in_chunks_is_the_same_as_at_once(monkeypatch):
    generator = np.random.default_rng(3)
    scores = generator.integers(0, 4, (50, 6)).astype(float)
    tiers = np.array(
        [
            np.unique(row, return_inverse=True)[1]
            for row in generator.integers(0, 3, (50, 6))
        ],
        dtype=float,
    )
    figures = [
        kendall_by_list,
        ndcg_by_list,
        top_one_by_list,
        agreement,
        lambda s, t: agreement_by_distance(s, t, 2),
    ]
    at_once = [figure(scores, tiers) for figure in figures]
    for numbers in (70, 1):  # a few lists at a time, and one that does not fit
        monkeypatch.setattr(ranks, "_RANKS_CHUNK", numbers)
        for figure, expected in zip(figures, at_once, strict=True):
            np.testing.assert_array_equal(figure(scores, tiers), expected)


def test_lists_are_taken_in_parts_by_hand():
    # a list that needs 0.4 of what is held at once: two a part; one that needs more than all: one a
    # part
    assert list(ranks._chunks(5, ranks._RANKS_CHUNK * 2 // 5)) == [
        slice(0, 2),
        slice(2, 4),
        slice(4, 5),
    ]
    assert list(ranks._chunks(2, 3 * ranks._RANKS_CHUNK)) == [slice(0, 1), slice(1, 2)]
    assert list(ranks._chunks(3, 0)) == [slice(0, 3)]
    assert list(ranks._chunks(0, 10)) == []
