"""The estimators of KL, one number at a time and by enumeration: their direction, sign and bias."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tastemaker.maths import ESTIMATORS, k1, k2, k3


@pytest.mark.parametrize(
    ("policy", "reference", "expected"),
    [(0.5, 0.4, (0.2231, 0.0249, 0.0231)), (0.4, 0.5, (-0.2231, 0.0249, 0.0269))],
)
def test_one_action(
    policy: float, reference: float, expected: tuple[float, ...]
) -> None:
    """ln(0.5/0.4) = 0.2231, half its square, and 0.8 − 1 + 0.2231; r = ref/π is 1.25 the other way
    round.
    """
    logs = torch.tensor([policy, reference]).double().log()
    estimates = [
        float(ESTIMATORS[name](logs[0], logs[1])) for name in ("k1", "k2", "k3")
    ]
    assert estimates == pytest.approx(expected, abs=5e-5)


def mean(estimator: str, policy: Tensor, reference: Tensor) -> float:
    """The estimator's mean over actions of the policy."""
    return float((policy * ESTIMATORS[estimator](policy.log(), reference.log())).sum())


def test_k1_and_k3_are_right_on_average() -> None:
    """0.9 ln 1.8 + 0.1 ln 0.2 = 0.3681; the other direction, KL(ref ‖ π), is 0.5108. k2: 0.2850."""
    policy, reference = (
        torch.tensor([0.9, 0.1], dtype=torch.float64),
        torch.tensor([0.5, 0.5], dtype=torch.float64),
    )
    means = {name: mean(name, policy, reference) for name in ESTIMATORS}
    assert means == pytest.approx({"k1": 0.3681, "k2": 0.2850, "k3": 0.3681}, abs=5e-5)
    assert mean("k1", reference, policy) == pytest.approx(0.5108, abs=5e-5)
    assert means["k1"] == pytest.approx(means["k3"], abs=1e-12)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=5), st.data())
def test_any_two_distributions(weights: list[float], data: st.DataObject) -> None:
    others = data.draw(
        st.lists(st.floats(0.01, 1), min_size=len(weights), max_size=len(weights))
    )
    policy, reference = (
        torch.tensor(w, dtype=torch.float64) / math.fsum(w) for w in (weights, others)
    )
    true = float((policy * (policy / reference).log()).sum())
    assert mean("k1", policy, reference) == pytest.approx(true, abs=1e-9)
    assert mean("k3", policy, reference) == pytest.approx(true, abs=1e-9)
    for estimator in (k2, k3):
        assert (estimator(policy.log(), reference.log()) >= 0).all()


def test_near_the_reference_all_is_small() -> None:
    """k3 of a log-ratio of 1e-4 is 5e-9: it must not drown in rounding."""
    estimate = k3(torch.tensor(0.0), torch.tensor(1e-4))
    assert float(estimate) == pytest.approx(5e-9, rel=0.05)
    assert [float(f(torch.tensor(-3.0), torch.tensor(-3.0))) for f in (k1, k2, k3)] == [
        0,
        0,
        0,
    ]


def test_whose_gradient_is_that_of_the_kl() -> None:
    """k1's is 0 on average, k2's is the gradient of KL(π ‖ ref), k3's that of KL(ref ‖ π)."""
    reference = torch.tensor([0.2, 0.5, 0.3]).double()
    logits = torch.tensor([1.0, 0.0, -1.0]).double().requires_grad_()
    every = torch.log_softmax(logits, -1)
    policy = every.exp()

    def slope(cost: Tensor) -> list[float]:
        return [
            float(x) for x in torch.autograd.grad(cost, logits, retain_graph=True)[0]
        ]

    slopes = {
        n: slope((policy.detach() * estimator(every, reference.log())).sum())
        for n, estimator in ESTIMATORS.items()
    }
    assert slopes["k1"] == pytest.approx([0, 0, 0], abs=1e-12)
    assert slopes["k2"] == pytest.approx(
        slope((policy * (policy / reference).log()).sum())
    )
    assert slopes["k3"] == pytest.approx(
        slope((reference * (reference / policy).log()).sum())
    )
