"""Likelihoods of labels, grades and ratings: by hand, by finite differences, by identities."""

import math
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import Tensor
from torch.autograd import gradcheck

FAR = (-1e4, -50.0, 0.0, 50.0, 1e4)
finite = st.floats(-30, 30)
gaps = st.lists(st.floats(1e-3, 10), min_size=0, max_size=9)


@pytest.fixture(scope="module")
def evidence(checked: Callable[[str], ModuleType]) -> ModuleType:
    """`tastemaker.maths.likelihoods` with every shape and type checked."""
    return checked("tastemaker.maths.likelihoods")


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(computed: Tensor, *expected: float, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(
        computed, doubles(*expected).to(computed.dtype), rtol=tolerance, atol=tolerance
    )


def ascending(first: float, steps: list[float]) -> Tensor:
    return first + torch.tensor([0.0, *steps], dtype=torch.float64).cumsum(0)


def test_shapes_are_checked(evidence: ModuleType) -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        evidence.label_log_likelihood(doubles(0, 0), torch.tensor([True]))
    with pytest.raises(jaxtyping.TypeCheckError):
        evidence.label_log_likelihood(doubles(0), doubles(1))  # a label is a bool


def test_label_by_hand(evidence: ModuleType) -> None:
    # σ(0) = 1/2, so ln P = −ln 2 for either label; σ(ln 3) = 3/4, so ln P is ln 3/4 for yes and ln
    # 1/4 for no
    logits, labels = (
        doubles(0, 0, math.log(3), math.log(3)),
        torch.tensor([True, False, True, False]),
    )
    log_likelihood = evidence.label_log_likelihood(logits, labels)
    close(log_likelihood, -math.log(2), -math.log(2), math.log(3 / 4), math.log(1 / 4))


def test_grade_by_hand(evidence: ModuleType) -> None:
    # three grades, θ = (−ln 3, ln 3), logit 0: P(>0) = σ(ln 3) = 3/4 and P(>1) = σ(−ln 3) = 1/4,
    # so P(0) = 1/4, P(1) = 3/4 − 1/4 = 1/2, P(2) = 1/4
    theta = doubles(-math.log(3), math.log(3))
    log_likelihood = evidence.grade_log_likelihood(
        doubles(0, 0, 0), torch.tensor([0, 1, 2]), theta
    )
    close(log_likelihood, math.log(1 / 4), math.log(1 / 2), math.log(1 / 4))
    close(evidence.grade_probabilities(doubles(0), theta)[0], 1 / 4, 1 / 2, 1 / 4)


def test_grade_by_hand_away_from_the_middle(evidence: ModuleType) -> None:
    # the same θ, logit ln 3: P(>0) = σ(2 ln 3) = 9/10 and P(>1) = σ(0) = 1/2, so 1/10, 4/10, 5/10
    theta = doubles(-math.log(3), math.log(3))
    close(evidence.grade_probabilities(doubles(math.log(3)), theta)[0], 0.1, 0.4, 0.5)
    log_likelihood = evidence.grade_log_likelihood(
        doubles(*[math.log(3)] * 3), torch.tensor([0, 1, 2]), theta
    )
    close(log_likelihood, math.log(0.1), math.log(0.4), math.log(0.5))


def test_two_grades_are_a_label(evidence: ModuleType) -> None:
    # one threshold: P(step 1) = σ(logit − θ), which is a label with that intercept
    logits, theta = doubles(-2, -0.3, 0, 1.7), doubles(0.4)
    positive = torch.tensor([True, False, True, False])
    grade = evidence.grade_log_likelihood(logits, positive.long(), theta)
    torch.testing.assert_close(
        grade, evidence.label_log_likelihood(logits - 0.4, positive)
    )


def test_rating_by_hand(evidence: ModuleType) -> None:
    # N(1; 1, 1) = 1/√(2π); N(3; 1, 2²) = e^{−1/2}/(2√(2π))
    close(
        evidence.rating_log_likelihood(
            doubles(1), doubles(1), torch.zeros(()).double()
        ),
        -0.5 * math.log(2 * math.pi),
    )
    two = torch.tensor(math.log(2), dtype=torch.float64)
    close(
        evidence.rating_log_likelihood(doubles(1), doubles(3), two),
        -0.5 - math.log(2) - 0.5 * math.log(2 * math.pi),
    )


def test_rating_agrees_with_torch(evidence: ModuleType) -> None:
    means, ratings, log_sd = (
        torch.randn(50).double(),
        torch.randn(50).double(),
        torch.tensor(-0.7).double(),
    )
    expected = torch.distributions.Normal(means, log_sd.exp()).log_prob(ratings)
    torch.testing.assert_close(
        evidence.rating_log_likelihood(means, ratings, log_sd), expected
    )


@settings(deadline=None)
@given(logit=finite, first=finite, steps=gaps)
def test_grade_probabilities_are_a_distribution(
    evidence: ModuleType, logit: float, first: float, steps: list[float]
) -> None:
    shares = evidence.grade_probabilities(doubles(logit), ascending(first, steps))
    assert (shares >= 0).all()
    close(shares.sum(1), 1.0)


@settings(deadline=None)
@given(logit=finite, first=finite, steps=gaps)
def test_grade_likelihoods_sum_to_one(
    evidence: ModuleType, logit: float, first: float, steps: list[float]
) -> None:
    theta = ascending(first, steps)
    every = torch.arange(len(theta) + 1)
    log_likelihood = evidence.grade_log_likelihood(
        doubles(*[logit] * len(every)), every, theta
    )
    close(log_likelihood.exp().sum(0, keepdim=True), 1.0, tolerance=1e-9)


@settings(deadline=None)
@given(logit=finite, first=finite, steps=gaps)
def test_grade_likelihood_is_the_log_of_its_probability(
    evidence: ModuleType, logit: float, first: float, steps: list[float]
) -> None:
    theta = ascending(first, steps)
    every = torch.arange(len(theta) + 1)
    log_likelihood = evidence.grade_log_likelihood(
        doubles(*[logit] * len(every)), every, theta
    ).exp()
    torch.testing.assert_close(
        log_likelihood,
        evidence.grade_probabilities(doubles(logit), theta)[0],
        rtol=1e-6,
        atol=1e-12,
    )


def test_label_gradient(evidence: ModuleType) -> None:
    labels = torch.tensor([True, False, True, False])
    logits = doubles(-3, -0.5, 0.2, 4).requires_grad_()
    assert gradcheck(lambda x: evidence.label_log_likelihood(x, labels), logits)


def test_grade_gradient(evidence: ModuleType) -> None:
    steps = torch.tensor([0, 1, 2, 3, 0, 3])
    logits, theta = (
        doubles(-3, -0.5, 0.2, 4, 2, -2).requires_grad_(),
        doubles(-1, 0.3, 0.35).requires_grad_(),
    )
    assert gradcheck(
        lambda x, t: evidence.grade_log_likelihood(x, steps, t), (logits, theta)
    )
    assert gradcheck(evidence.grade_probabilities, (logits, theta))


def test_rating_gradient(evidence: ModuleType) -> None:
    means, ratings = doubles(-1, 0, 2).requires_grad_(), doubles(0.5, 0, -3)
    log_sd = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(
        lambda m, s: evidence.rating_log_likelihood(m, ratings, s), (means, log_sd)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("label", [True, False])
def test_far_labels_stay_finite(
    evidence: ModuleType, dtype: torch.dtype, label: bool
) -> None:
    logits = torch.tensor(FAR, dtype=dtype, requires_grad=True)
    log_likelihood = evidence.label_log_likelihood(
        logits, torch.full((len(FAR),), label)
    )
    log_likelihood.sum().backward()
    assert logits.grad is not None
    assert log_likelihood.isfinite().all()
    assert logits.grad.isfinite().all()
    # far on the wrong side the log-likelihood is the logit itself: ln σ(−10⁴) = −10⁴ and its slope
    # is 1
    assert log_likelihood[0 if label else -1].item() == -1e4
    assert abs(logits.grad[0 if label else -1].item()) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "thresholds",
    [
        (0.0,),
        (-1.0, 0.0, 2.0),
        (0.0, 0.0, 0.0),
        (-1e-9, 0.0, 1e-9),
        (1e4, 1e4 + 1, 2e4),
        (-1e4, 0.0, 1e4),
    ],
)
def test_far_grades_stay_finite(
    evidence: ModuleType, dtype: torch.dtype, thresholds: tuple[float, ...]
) -> None:
    for step in range(len(thresholds) + 1):
        logits = torch.tensor(FAR, dtype=dtype, requires_grad=True)
        theta = torch.tensor(thresholds, dtype=dtype, requires_grad=True)
        log_likelihood = evidence.grade_log_likelihood(
            logits, torch.full((len(FAR),), step), theta
        )
        log_likelihood.sum().backward()
        assert logits.grad is not None
        assert theta.grad is not None
        assert log_likelihood.isfinite().all()
        assert (log_likelihood <= 0).all()
        assert logits.grad.isfinite().all()
        assert theta.grad.isfinite().all()
        assert evidence.grade_probabilities(logits, theta).isfinite().all()


def test_narrow_grades_keep_their_digits(evidence: ModuleType) -> None:
    # a grade 10⁻¹⁰ wide at logit 0 between thresholds around 0: P = σ'(0)·10⁻¹⁰ = 10⁻¹⁰/4; the
    # difference of two
    # sigmoids would have kept six digits of it, and none at a logit of 30, where P = σ'(30)·10⁻¹⁰ ≈
    # e⁻³⁰·10⁻¹⁰
    theta = doubles(-0.5e-10, 0.5e-10)
    log_likelihood = evidence.grade_log_likelihood(
        doubles(0, 30), torch.tensor([1, 1]), theta
    )
    close(log_likelihood, math.log(1e-10 / 4), -30 + math.log(1e-10), tolerance=1e-9)


def test_no_judgements(evidence: ModuleType) -> None:
    none = torch.zeros(0)
    assert evidence.label_log_likelihood(
        none, torch.zeros(0, dtype=torch.bool)
    ).shape == (0,)
    assert evidence.grade_log_likelihood(
        none, torch.zeros(0, dtype=torch.long), torch.zeros(2)
    ).shape == (0,)
    assert evidence.rating_log_likelihood(none, none, torch.zeros(())).shape == (0,)


@pytest.mark.parametrize(("mean", "log_sd"), [(0.0, 0.0), (1.5, -0.7), (-3.0, 1.2)])
def test_hubers_density_integrates_to_one(
    evidence: ModuleType, mean: float, log_sd: float
) -> None:
    sd = math.exp(log_sd)

    def density(rating: float) -> float:
        log_likelihood = evidence.huber_log_likelihood(
            doubles(mean), doubles(rating), torch.tensor(log_sd).double()
        )
        return log_likelihood.exp().item()

    # in three pieces: the density turns from square to straight at 1.345 sd
    bounds = [mean + sd * at for at in (-40, -evidence.HUBER, evidence.HUBER, 40)]
    mass = sum(quad(density, low, high)[0] for low, high in pairwise(bounds))
    assert mass == pytest.approx(1, abs=1e-7)


def test_huber_is_normal_near_the_mean_and_straight_beyond(
    evidence: ModuleType,
) -> None:
    mean, log_sd = doubles(0, 0, 0, 0, 0), torch.tensor(math.log(2)).double()
    near = doubles(-2.6, -1, 0, 0.3, 2.6)  # within 1.345 · 2
    gap = evidence.huber_log_likelihood(
        mean, near, log_sd
    ) - evidence.rating_log_likelihood(mean, near, log_sd)
    torch.testing.assert_close(gap, gap[:1].expand(5))
    assert -0.1 < gap[0].item() < 0  # the tails hold a bit more than the Normal's
    far = evidence.huber_log_likelihood(doubles(0, 0, 0), doubles(10, 12, 14), log_sd)
    torch.testing.assert_close(
        far.diff(), doubles(-evidence.HUBER, -evidence.HUBER)
    )  # 1.345 for every sd of 2
    close(
        evidence.huber_log_likelihood(mean, -near, log_sd),
        *evidence.huber_log_likelihood(mean, near, log_sd),
    )


def test_huber_gradient(evidence: ModuleType) -> None:
    means, ratings = doubles(-1, 0, 2, 0).requires_grad_(), doubles(0.5, 0.1, -9, 7)
    log_sd = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(
        lambda m, s: evidence.huber_log_likelihood(m, ratings, s), (means, log_sd)
    )
    means.grad = None
    evidence.huber_log_likelihood(means, ratings, log_sd).sum().backward()
    assert means.grad is not None
    assert means.grad.abs().max().item() == pytest.approx(
        evidence.HUBER * math.exp(-0.3)
    )  # no outlier pulls harder
