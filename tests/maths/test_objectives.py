"""What an update minimises, number by number."""

import math

import pytest
import torch
from torch import Tensor

from tastemaker.maths import rl as objectives

LN2 = math.log(2)


def t(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_policy_gradient_and_surrogate() -> None:
    """Where the policy has not moved both have the gradient −A."""
    log_probs, advantages = t(-1.0, -2.0).requires_grad_(), t(3.0, -0.5)
    assert objectives.policy_gradient(log_probs, advantages).tolist() == [3.0, -1.0]
    assert objectives.surrogate(
        log_probs, log_probs.detach() - LN2, advantages
    ).tolist() == pytest.approx([-6.0, 1.0])
    for cost in (
        objectives.policy_gradient(log_probs, advantages),
        objectives.surrogate(log_probs, log_probs.detach(), advantages),
        objectives.clipped(log_probs, log_probs.detach(), advantages, clip=0.2),
    ):
        assert torch.autograd.grad(cost.sum(), log_probs)[0].tolist() == [-3.0, 0.5]


@pytest.mark.parametrize(
    ("ratio", "advantage", "cost", "slope"),
    [
        (1.5, 1.0, -1.2, 0.0),
        (1.5, -1.0, 1.5, 1.5),
        (0.5, 1.0, -0.5, -0.5),
        (0.5, -1.0, 0.8, 0.0),
        (1.1, 2.0, -2.2, -2.2),
    ],
)
def test_the_clip(ratio: float, advantage: float, cost: float, slope: float) -> None:
    """min(ρA, clip(ρ)A): a ratio that has gone where the advantage wants it no longer pulls."""
    log_probs = t(math.log(ratio)).requires_grad_()
    objective = objectives.clipped(log_probs, t(0.0), t(advantage), clip=0.2)
    assert objective.tolist() == pytest.approx([cost])
    assert torch.autograd.grad(objective.sum(), log_probs)[0].tolist() == pytest.approx(
        [slope]
    )


def test_what_is_clipped() -> None:
    ratios = t(0.79, 0.81, 1.0, 1.19, 1.21)
    assert objectives.is_clipped(ratios.log() - 3, t(-3.0), 0.2).tolist() == [
        1,
        0,
        0,
        0,
        1,
    ]


def test_the_critics_error() -> None:
    """½·(3 − 1)² = 2; kept within 0.5 of 0: ½·(0.5 − 1)² = 0.125, the larger counts."""
    assert objectives.value_error(t(3.0), t(1.0), t(0.0)).tolist() == [2.0]
    assert objectives.value_error(t(3.0), t(1.0), t(0.0), clip=0.5).tolist() == [2.0]
    assert objectives.value_error(t(1.0), t(1.0), t(0.0), clip=0.5).tolist() == [0.125]
    assert objectives.value_error(t(-1.0), t(-1.0), t(0.0), clip=0.5).tolist() == [
        0.125
    ]


def test_explained_variance() -> None:
    returns, counted = t(1.0, 2.0, 3.0, 50.0), torch.tensor([True, True, True, False])
    explained = [
        float(objectives.explained_variance(values, returns, counted))
        for values in (
            returns,
            returns + 7,
            t(2, 2, 2, 9),
            t(3, 2, 1, 0),
            t(1.5, 2, 2.5, 0),
        )
    ]
    assert explained == pytest.approx([1, 1, 0, 1 - 4, 1 - 1 / 4])
    assert float(objectives.explained_variance(returns, t(4, 4, 4, 1), counted)) == 0, (
        "returns without variance"
    )


def test_dpo() -> None:
    """−ln σ(0.1·((−12 + c) − (−10 + c))) = ln(1 + e^0.2) = 0.798, (−9, −10): ln(1 + e^−0.1) =
    0.644; ln 2 at ref.
    """
    same = t(-11.0)
    assert float(
        objectives.dpo(t(-12.0), t(-10.0), same, same, beta=0.1)
    ) == pytest.approx(0.798, abs=5e-4)
    assert float(
        objectives.dpo(t(-9.0), t(-10.0), same, same, beta=0.1)
    ) == pytest.approx(0.644, abs=5e-4)
    assert float(
        objectives.dpo(t(-12.0), t(-3.0), t(-12.0), t(-3.0), beta=0.7)
    ) == pytest.approx(LN2)
    moved = objectives.dpo(t(-12.0), t(-10.0), t(-14.0), t(-10.0), beta=0.5)
    assert float(moved) == pytest.approx(math.log1p(math.exp(-1))), (
        "chosen 2 nats likelier than under the reference"
    )
    other = objectives.dpo(t(-12.0), t(-10.0), t(-12.0), t(-12.0), beta=0.5)
    assert float(other) == pytest.approx(math.log1p(math.exp(1))), (
        "rejected 2 nats likelier"
    )
