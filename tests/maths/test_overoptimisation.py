"""Curves of over-optimisation: known curves are recovered; best of n against all choices of n."""

import itertools
import math

import numpy as np
import pytest

from tastemaker.errors import UsageError
from tastemaker.maths import BEST_OF, LEARNED, best_of_kl, expected_best, fitted

KLS = np.array([0.0, 0.5, 1.0, 2.0, 4.0, 9.0, 16.0, 25.0])


def test_a_learned_curve_is_recovered_with_its_peak():
    # d = 0 gives 0, d = 1 gives α = 2; with β = 1 the peak is at d = exp(2/1 − 1) = e, KL e², and R
    # = βd = e
    d = np.sqrt(KLS)
    gains = np.array([x * (2 - math.log(x)) if x else 0.0 for x in d])
    fit = fitted(LEARNED, KLS, gains)
    assert fit is not None
    assert (fit.alpha, fit.beta, fit.r_squared) == pytest.approx((2, 1, 1))
    assert fit.peak == pytest.approx(math.e**2)
    assert fit.gain(fit.peak) == pytest.approx(math.e)
    assert fit.gain(KLS) == pytest.approx(gains)
    assert fit.has_peak_in_data


def test_a_best_of_curve_is_recovered_with_its_peak():
    # R = d(1.2 − 0.2 d): the peak is at d = 1.2/0.4 = 3, KL 9, R = 3 · 0.6 = 1.8
    d = np.sqrt(KLS)
    fit = fitted(BEST_OF, KLS, d * (1.2 - 0.2 * d))
    assert fit is not None
    assert (fit.alpha, fit.beta, fit.peak) == pytest.approx((1.2, 0.2, 9))
    assert float(fit.gain(9)) == pytest.approx(1.8)


def test_a_peak_beyond_the_data_is_not_seen_and_a_rising_curve_has_none():
    d = np.sqrt(KLS)
    far = fitted(BEST_OF, KLS, d * (1.2 - 0.1 * d))  # d = 6, KL 36, beyond 25
    rising = fitted(BEST_OF, KLS, d * (1.2 + 0.1 * d))
    assert far is not None
    assert rising is not None
    assert far.peak == pytest.approx(36)
    assert not far.has_peak_in_data
    assert rising.peak is None
    assert not rising.has_peak_in_data


def test_too_few_kls_are_no_curve_and_negative_estimates_count_as_none():
    assert fitted(LEARNED, [-0.1, 0.0, 1.0, 2.0], [0, 0, 1, 2]) is None
    assert fitted(LEARNED, [-0.1, 0.5, 1.0, 2.0], [0, 0.3, 1, 2]) is not None


def test_kl_of_the_best_of_n():
    assert [round(best_of_kl(n), 2) for n in (1, 8, 64, 256)] == [0, 1.20, 3.17, 4.55]
    with pytest.raises(UsageError, match="best of 0"):
        best_of_kl(0)


@pytest.mark.parametrize("n", range(1, 8))
def test_the_expected_best_is_the_mean_over_all_choices(n):
    generator = np.random.default_rng(n)
    proxy, gold = generator.normal(size=7), generator.normal(size=7)
    choices = [
        max(chosen, key=lambda i: proxy[i])
        for chosen in itertools.combinations(range(7), n)
    ]
    assert expected_best(proxy, gold, n) == pytest.approx(np.mean(gold[choices]))
    assert expected_best(proxy, proxy, n) == pytest.approx(np.mean(proxy[choices]))


def test_completions_that_score_alike_are_chosen_alike():
    # of 3 choices of two among (1, 1, 0): one holds both at the top, two hold one of them: each top
    # is chosen ½ of all
    assert expected_best([1, 1, 0], [4, 8, 100], 2) == pytest.approx(6)
    assert expected_best([0, 0, 0], [1, 2, 6], 2) == pytest.approx(3)


@pytest.mark.parametrize("n", [0, 4])
def test_more_than_there_are_cannot_be_chosen(n):
    with pytest.raises(UsageError, match=f"best of {n} among 3"):
        expected_best([1, 2, 3], [1, 2, 3], n)
