"""Agreement between judges: published tables, the coincidence-matrix definition, identities."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.doctor import (
    distances_to_others,
    expected_distance,
    krippendorff_alpha,
    pairwise_agreement,
)

_ = np.nan
# Krippendorff (2011), "Computing Krippendorff's alpha-reliability", section C and D: four
# observers, twelve units
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)
# the same paper, section A: two observers, ten units, two values
TWO = np.array(
    [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], dtype=float
)


def long_form(table):
    """Return (values, units) of a table observers × units."""
    return table.ravel(), np.tile(np.arange(table.shape[1]), table.shape[0])


def by_coincidences(table, level):
    """α as the paper computes it: the coincidence matrix, pair by pair."""
    names = sorted({v for v in table.ravel() if not math.isnan(v)})
    o = np.zeros((len(names), len(names)))
    for unit in table.T:
        values = [names.index(v) for v in unit if not math.isnan(v)]
        for i, c in enumerate(values):
            for j, k in enumerate(values):
                if i != j:
                    o[c, k] += 1 / (len(values) - 1)
    n_c = o.sum(axis=0)

    def delta(c, k):
        if level == "nominal":
            return float(c != k)
        if level == "interval":
            return (names[c] - names[k]) ** 2
        low, high = min(c, k), max(c, k)
        return (n_c[low : high + 1].sum() - (n_c[c] + n_c[k]) / 2) ** 2

    cells = [(c, k) for c in range(len(names)) for k in range(len(names))]
    observed = sum(o[c, k] * delta(c, k) for c, k in cells)
    expected = sum(n_c[c] * n_c[k] * delta(c, k) for c, k in cells) / (n_c.sum() - 1)
    return 1 - observed / expected if expected > 0 else float("nan")


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_the_published_table(level, alpha):
    assert krippendorff_alpha(*long_form(OBSERVERS), level) == pytest.approx(
        alpha, abs=5e-4
    )


def test_the_published_binary_table():
    # 4 of 10 units disagree: D_o = 0.4; of 20 values 14 are 0 and 6 are 1: D_e = 2·14·6/(20·19) =
    # 0.442
    assert krippendorff_alpha(*long_form(TWO), "nominal") == pytest.approx(
        1 - 0.4 / (168 / 380)
    )
    assert krippendorff_alpha(*long_form(TWO), "nominal") == pytest.approx(
        0.095, abs=5e-4
    )


tables = st.integers(2, 4).flatmap(
    lambda judges: st.lists(
        st.lists(
            st.sampled_from([1.0, 2.0, 3.5, 7.0, math.nan]),
            min_size=judges,
            max_size=judges,
        ),
        min_size=1,
        max_size=8,
    )
)


@given(tables, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_it_is_the_definition(rows, level):
    table = np.array(rows).T
    assert krippendorff_alpha(*long_form(table), level) == pytest.approx(
        by_coincidences(table, level), nan_ok=True
    )


@given(tables, st.randoms(use_true_random=False))
def test_order_and_names_of_units_say_nothing(rows, random):
    values, units = long_form(np.array(rows).T)
    order = list(range(len(values)))
    random.shuffle(order)
    for level in ("nominal", "ordinal", "interval"):
        shuffled = krippendorff_alpha(values[order], 1000 - 7 * units[order], level)
        assert shuffled == pytest.approx(
            krippendorff_alpha(values, units, level), nan_ok=True
        )


def test_scales():
    values, units = long_form(OBSERVERS)
    moved = krippendorff_alpha(1e6 + 0.001 * values, units, "interval")
    assert moved == pytest.approx(
        krippendorff_alpha(values, units, "interval"), abs=1e-6
    )
    stretched = krippendorff_alpha(np.exp(values), units, "ordinal")
    assert stretched == pytest.approx(krippendorff_alpha(values, units, "ordinal"))


def test_extremes():
    same, opposite = [0, 0, 1, 1], [0, 1, 0, 1]
    assert krippendorff_alpha(same, [0, 0, 1, 1], "nominal") == 1
    # D_o = 1, D_e = 2·2·2/(4·3) = 2/3
    assert krippendorff_alpha(opposite, [0, 0, 1, 1], "nominal") == pytest.approx(-0.5)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize(
    ("values", "units"),
    [([], []), ([1, 2], [0, 1]), ([3, 3, 3], [0, 0, 0]), ([1, _], [0, 0])],
)
def test_nothing_to_agree_on(values, units, level):
    assert math.isnan(krippendorff_alpha(values, units, level))


def test_distances_of_one_judge():
    # a unit with 1, 2 and 4: squares 1 and 9; 1 and 4; 9 and 4; a unit with a single 7 says nothing
    distances = distances_to_others([1, 2, 7, 4], [0, 0, 1, 0], "interval")
    np.testing.assert_allclose(distances, [5, 2.5, np.nan, 6.5])
    np.testing.assert_allclose(
        distances_to_others([1, 1, 7, 4], [0, 0, 1, 0], "nominal"),
        [0.5, 0.5, np.nan, 1],
    )
    # all ordered pairs of 1, 2, 4: (1 + 9 + 4)/3
    assert expected_distance([1, 2, 7, 4], [0, 0, 1, 0], "interval") == pytest.approx(
        14 / 3
    )


def test_pairwise_agreement():
    # unit 0: A A B → 1 of 3 pairs; unit 1: tie tie → 1 of 1; unit 2 alone
    agreement = pairwise_agreement([1, 1, -1, 0, 0, 1], [0, 0, 0, 1, 1, 2])
    assert (agreement.share, agreement.pairs, agreement.units) == (0.5, 4, 2)
    # Wilson for 1.5 of 3: centre ½, half width 1.96/(3 + 3.8416)·√(0.75 + 0.9604)
    half = 1.96 / 6.8416 * math.sqrt(1.7104)
    assert (agreement.low, agreement.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_pairwise_agreement_of_nobody():
    agreement = pairwise_agreement([1, 2], [0, 1])
    assert (agreement.pairs, agreement.units) == (0, 0)
    assert math.isnan(agreement.share)
