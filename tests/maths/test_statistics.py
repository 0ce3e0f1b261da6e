"""Figures against hand-worked numbers, other libraries, and their definitions by brute force."""

import math
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from tastemaker.maths import (
    accuracy,
    auroc,
    auroc_of,
    bootstrap,
    ece,
    kendall,
    log_loss,
    mae,
    mean_of,
    mean_of_defined,
    pearson,
    pearson_of,
    percentile_interval,
    ratio_of,
    reliability,
    restricted,
    roc_curve,
    spearman,
    spearman_of,
    value_of,
    wilson_interval,
)

few_values = st.integers(-4, 4).map(float)  # so that ties are common


@st.composite
def scored_labels(draw):
    n = draw(st.integers(2, 25))
    scores = draw(st.lists(few_values, min_size=n, max_size=n))
    labels = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return np.array(scores), np.array(labels)


@st.composite
def two_columns(draw):
    n = draw(st.integers(3, 25))
    columns = st.lists(few_values, min_size=n, max_size=n)
    return np.array(draw(columns)), np.array(draw(columns))


def counts(draws, n):
    """Weights [1, n]: how often each observation was drawn."""
    return np.bincount(draws, minlength=n)[None].astype(float)


# --- hand-worked


def test_accuracy_is_the_share_of_equals():
    assert accuracy([True, False, True, True], [True, True, True, False]) == 0.5


def test_auroc_counts_pairs_and_half_the_ties():
    # positives 3, 2 and negatives 2, 1: 3>2, 3>1 and 2>1 are won, 2=2 is half won → 3.5 of 4 pairs
    assert auroc([3, 2, 2, 1], [True, True, False, False]) == 0.875


def test_auroc_of_one_class_is_undefined():
    assert math.isnan(auroc([1, 2, 3], [True, True, True]))


def test_log_loss_by_hand():
    # −(ln 0.8 + ln(1 − 0.4)) / 2 = (0.223144 + 0.510826) / 2
    assert log_loss([0.8, 0.4], [True, False]) == pytest.approx(0.366985, abs=1e-6)


def test_log_loss_neither_clips_nor_loses_digits():
    assert log_loss([0.0], [True]) == math.inf
    assert log_loss([1.0], [False]) == math.inf
    assert log_loss([1.0, 0.0], [True, False]) == 0
    assert log_loss([1e-20], [False]) == pytest.approx(
        1e-20, rel=1e-12, abs=0
    )  # ln(1 − 1e-20) would round to 0


def test_ece_by_hand():
    # two bins: {0.1, 0.3} promise 0.2, half come true: 0.3 off; {0.8, 0.9} promise 0.85, all come
    # true: 0.15 off
    # ECE = 2/4 · 0.3 + 2/4 · 0.15 = 0.225
    p, positive = [0.1, 0.3, 0.8, 0.9], [False, True, True, True]
    bins = reliability(p, positive, bins=2)
    np.testing.assert_allclose(bins.predicted, [0.2, 0.85])
    np.testing.assert_allclose(bins.observed, [0.5, 1.0])
    assert bins.count.tolist() == [2, 2]
    assert ece(p, positive, bins=2) == pytest.approx(0.225)


def test_reliability_closes_the_last_bin_and_leaves_out_empty_ones():
    bins = reliability([0.0, 1.0, 1.0], [False, True, False])
    assert bins.predicted.tolist() == [0, 1]
    assert bins.count.tolist() == [1, 2]
    assert bins.ece == pytest.approx(2 / 3 * 0.5)


def test_reliability_counts_half_for_a_tie():
    bins = reliability([0.6, 0.6, 0.9], [1.0, 0.5, 0.5], bins=2)
    assert bins.observed.tolist() == [pytest.approx(2 / 3)]
    assert bins.ece == pytest.approx(0.7 - 2 / 3)


def test_ratio_of_weighs_lists_by_their_pairs():
    # 1 of 1 pair and 1 of 3: two of four together; without the second all of one; a list drawn
    # twice counts twice
    share = ratio_of([1, 1], [1, 3])
    np.testing.assert_allclose(
        share(np.array([[1.0, 1.0], [1.0, 0.0], [2.0, 1.0], [0.0, 0.0]])),
        [0.5, 1, 0.6, np.nan],
    )


def test_mean_of_defined_leaves_out_what_is_not():
    mean = mean_of_defined([1.0, np.nan, 4.0])
    np.testing.assert_allclose(
        mean(np.array([[1.0, 1.0, 1.0], [0.0, 3.0, 1.0], [0.0, 3.0, 0.0]])),
        [2.5, 4, np.nan],
    )


def test_mae_by_hand():
    assert mae([1, 5, 3.5], [2, 5, 3]) == 0.5


def test_correlations_by_hand():
    # x = 1 2 3, y = 1 3 2: covariance 1/3·(1 + 0 + 0) = 1/3, variances 2/3 → 1/2; the ranks are the
    # values
    # pairs: (1,2) and (1,3) agree, (2,3) does not → τ = (2 − 1)/3
    assert pearson([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert spearman([10, 20, 300], [1, 3, 2]) == pytest.approx(0.5)
    assert kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)


@pytest.mark.parametrize("correlation", [pearson, spearman, kendall])
def test_a_correlation_with_a_constant_is_undefined(correlation):
    assert math.isnan(correlation([0.1, 0.1, 0.1], [1, 2, 3]))
    assert math.isnan(correlation([1, 2, 3], [0.7, 0.7, 0.7]))


@pytest.mark.parametrize(
    "figure", [accuracy, auroc, log_loss, ece, mae, pearson, spearman, kendall]
)
def test_no_data_is_undefined(figure):
    assert math.isnan(figure([], []))


def test_roc_curve_by_hand():
    # thresholds from above: 3 catches one positive; 2 a positive and a negative at once; 1 the last
    # negative
    wrong, right = roc_curve([3, 2, 2, 1], [True, True, False, False])
    assert wrong.tolist() == [0, 0, 0.5, 1]
    assert right.tolist() == [0, 0.5, 1, 1]


def test_wilson_interval_stays_inside_and_matches_the_textbook():
    low, high = wilson_interval([0, 8, 10], [10, 10, 10])
    # z² = 3.8416; 8 of 10: centre (8 + 1.9208)/13.8416 = 0.71674, half 1.96/13.8416·√(1.6 + 0.9604)
    # = 0.22658
    assert (low[1], high[1]) == (
        pytest.approx(0.49016, abs=1e-5),
        pytest.approx(0.94332, abs=1e-5),
    )
    assert low[0] == pytest.approx(0)
    assert high[2] == pytest.approx(1)


# --- definitions and other libraries


@given(scored_labels())
def test_auroc_is_the_share_of_won_pairs(data):
    scores, positive = data
    pairs = list(product(scores[positive], scores[~positive]))
    if not pairs:
        assert math.isnan(auroc(scores, positive))
        return
    won = sum((a > b) + (a == b) / 2 for a, b in pairs)
    assert auroc(scores, positive) == pytest.approx(won / len(pairs))
    assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))


@given(scored_labels())
def test_auroc_is_the_area_under_the_curve(data):
    scores, positive = data
    if 0 < positive.sum() < len(positive):
        wrong, right = roc_curve(scores, positive)
        assert auroc(scores, positive) == pytest.approx(np.trapezoid(right, wrong))


@given(scored_labels())
def test_turning_the_scores_round_turns_auroc_round(data):
    scores, positive = data
    if 0 < positive.sum() < len(positive):
        assert auroc(-scores, positive) == pytest.approx(1 - auroc(scores, positive))


@given(two_columns())
def test_correlations_are_scipys(data):
    x, y = data
    if np.ptp(x) and np.ptp(y):
        assert pearson(x, y) == pytest.approx(
            scipy.stats.pearsonr(x, y).statistic, abs=1e-12
        )
        assert spearman(x, y) == pytest.approx(
            scipy.stats.spearmanr(x, y).statistic, abs=1e-12
        )
        assert kendall(x, y) == pytest.approx(
            scipy.stats.kendalltau(x, y).statistic, abs=1e-12
        )


@given(two_columns(), st.floats(-1e6, 1e6), st.floats(1e-3, 1e3))
def test_pearson_knows_no_unit(data, offset, scale):
    x, y = data
    expected = pearson(x, y)
    assert pearson(offset + scale * x, y) == pytest.approx(
        expected, abs=1e-6, nan_ok=True
    )


def test_pearson_survives_a_large_offset():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    assert pearson(x + 1e9, x) == pytest.approx(1.0, abs=1e-12)


@given(
    st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=1, max_size=20)
)
def test_log_loss_is_sklearns(data):
    p, positive = np.array([d[0] for d in data]), np.array([d[1] for d in data])
    assert log_loss(p, positive) == pytest.approx(
        sklearn_log_loss(positive, p, labels=[False, True])
    )


@given(scored_labels(), st.randoms(use_true_random=False))
def test_the_order_of_the_data_does_not_matter(data, random):
    scores, positive = data
    order = list(range(len(scores)))
    random.shuffle(order)
    p = 1 / (1 + np.exp(-scores))
    for figure, first in (
        (auroc, scores),
        (log_loss, p),
        (ece, p),
        (accuracy, p > 0.5),
        (spearman, scores),
    ):
        after = figure(first[order], positive[order])
        assert after == pytest.approx(figure(first, positive), abs=1e-12, nan_ok=True)


# --- weights

STATISTICS = {
    "mean": lambda x, y: mean_of(x),
    "auroc": lambda x, y: auroc_of(x, y > 0),
    "pearson": pearson_of,
    "spearman": spearman_of,
}


@pytest.mark.parametrize("name", STATISTICS)
@given(data=two_columns(), seed=st.integers(0, 1000))
def test_counts_as_weights_are_the_resample_itself(name, data, seed):
    x, y = data
    draws = np.random.default_rng(seed).integers(len(x), size=len(x))
    weighted = STATISTICS[name](x, y)(counts(draws, len(x)))[0]
    resampled = value_of(STATISTICS[name](x[draws], y[draws]), len(x))
    assert weighted == pytest.approx(resampled, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", STATISTICS)
@given(data=two_columns(), seed=st.integers(0, 1000))
def test_zeros_as_weights_leave_out(name, data, seed):
    x, y = data
    where = np.random.default_rng(seed).random(len(x)) < 0.6
    alone = value_of(STATISTICS[name](x[where], y[where]), int(where.sum()))
    zeroed = STATISTICS[name](x, y)(where[None].astype(float))[0]
    restricted_alone = restricted(STATISTICS[name](x[where], y[where]), where)(
        np.ones((1, len(x)))
    )[0]
    assert zeroed == pytest.approx(alone, abs=1e-9, nan_ok=True)
    assert restricted_alone == pytest.approx(alone, abs=1e-9, nan_ok=True)


# --- the bootstrap


def test_bootstrap_of_a_mean_has_the_textbook_spread():
    x = np.random.default_rng(1).normal(size=400)
    samples = bootstrap({"mean": mean_of(x)}, np.arange(400), seed=2, resamples=4000)[
        "mean"
    ]
    low, high = percentile_interval(samples)
    error = x.std() / math.sqrt(400)
    assert samples.std() == pytest.approx(error, rel=0.05)
    assert low == pytest.approx(x.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(x.mean() + 1.96 * error, abs=0.15 * error)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        x = generator.random(150) < 0.8
        low, high = percentile_interval(
            bootstrap({"p": mean_of(x)}, np.arange(150), seed=seed, resamples=300)["p"]
        )
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_bootstrap_draws_whole_groups():
    # each text judged four times alike: four copies of 100 observations are still worth 100, not
    # 400
    x = np.random.default_rng(3).normal(size=100)
    alone = bootstrap({"mean": mean_of(x)}, np.arange(100), seed=4, resamples=500)[
        "mean"
    ]
    copied = bootstrap(
        {"mean": mean_of(np.repeat(x, 4))},
        np.repeat(np.arange(100), 4),
        seed=4,
        resamples=500,
    )["mean"]
    np.testing.assert_allclose(copied, alone)


def test_bootstrap_is_seeded_and_does_not_know_the_order():
    x = np.random.default_rng(6).normal(size=50)
    names = np.arange(50, dtype=np.uint64) * np.uint64(7919)
    first = bootstrap({"mean": mean_of(x)}, names, seed=8, resamples=100)["mean"]
    order = np.random.default_rng(9).permutation(50)
    np.testing.assert_allclose(
        bootstrap({"mean": mean_of(x[order])}, names[order], seed=8, resamples=100)[
            "mean"
        ],
        first,
    )
    assert not np.array_equal(
        bootstrap({"mean": mean_of(x)}, names, seed=9, resamples=100)["mean"], first
    )


def test_bootstrap_in_chunks_is_the_same_as_at_once(monkeypatch):
    x = np.random.default_rng(6).normal(size=30)
    at_once = bootstrap({"mean": mean_of(x)}, np.arange(30), resamples=40)["mean"]
    monkeypatch.setattr(
        "tastemaker.maths.resampling._CHUNK", 100
    )  # 3 resamples a chunk
    in_chunks = bootstrap({"mean": mean_of(x)}, np.arange(30), resamples=40)["mean"]
    np.testing.assert_allclose(in_chunks, at_once, rtol=0, atol=1e-14)


def test_statistics_share_their_resamples():
    x = np.random.default_rng(7).normal(size=60)
    samples = bootstrap(
        {"x": mean_of(x), "x + 1": mean_of(x + 1)}, np.arange(60), resamples=50
    )
    np.testing.assert_allclose(samples["x + 1"] - samples["x"], 1)


def test_percentile_interval_by_hand():
    # 0 … 100: the quantiles 0.025 and 0.975 lie at 2.5 and 97.5; undefined samples do not count
    assert percentile_interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert percentile_interval(np.append(np.arange(101.0), np.nan)) == pytest.approx(
        (2.5, 97.5)
    )
    assert percentile_interval(np.arange(101.0), level=0.5) == pytest.approx((25, 75))
    assert all(
        math.isnan(end) for end in percentile_interval(np.array([np.nan, np.nan]))
    )
