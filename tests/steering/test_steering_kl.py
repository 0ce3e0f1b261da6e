"""What KL costs, where it is paid, and how its coefficient adapts."""

import math
from typing import Any

import pytest
import torch

from tastemaker.errors import UsageError
from tastemaker.rl import KL, ActionEvaluation, Controller, Experience


def test_what_a_token_costs() -> None:
    """π = 0.5 against 0.4: 0.2231, 0.0249 and 0.0231."""
    logs = torch.tensor([[0.5]]).log(), torch.tensor([[0.4]]).log()
    for estimator, expected in (("k1", 0.2231), ("k2", 0.0249), ("k3", 0.0231)):
        cost = KL(estimator=estimator).costs(*logs)  # type: ignore[arg-type]
        assert float(cost) == pytest.approx(expected, abs=5e-5)


def test_in_the_loss_it_is_a_penalty_and_in_the_reward_none() -> None:
    logs = torch.tensor([[0.5]]).log(), torch.tensor([[0.4]]).log()
    zeros = torch.zeros(1, 1)
    experience = Experience(None, zeros == 0, zeros, logs[1], zeros, zeros)
    now = ActionEvaluation(logs[0], zeros, zeros)
    penalties = [
        float(KL(where=w, estimator="k3").penalty(0.6)(experience, now))
        for w in ("loss", "reward")
    ]  # type: ignore[arg-type]
    assert penalties == pytest.approx([0.6 * 0.0231, 0], abs=1e-4)


def test_the_coefficient_adapts_to_its_target() -> None:
    """A KL of e times the target, then of the target, over a horizon of 5 steps: e^0.2 at once, and
    e^-2 as the error goes from 1 to 0. An error below the target counts as -0.5 at most. The
    error over the horizon counts a quarter while the KL comes nearer to the target.
    """
    controller = Controller(KL(coef=0.2, target=6.0), 0.2)
    changes = []
    for ratio in (math.e, 1.0, 0.0, math.exp(-0.25)):
        before = controller.coef
        controller.observe(6.0 * ratio)
        changes.append(math.log(controller.coef / before))
    assert changes == pytest.approx([0.2, -2, -1 - 0.1, 0.5 - 0.0125])
    falling = Controller(KL(coef=0.2, target=6.0), 0.2, error=2.0)
    falling.observe(6.0 * math.e)
    assert math.log(falling.coef / 0.2) == pytest.approx(1 / 5 / 4 - 2)
    slow = Controller(KL(coef=0.2, target=6.0, horizon=100.0), 0.2)
    slow.observe(6.0 * math.e)
    assert slow.coef == pytest.approx(0.2 * math.exp(0.01))
    fixed = Controller(KL(coef=0.2), 0.2)
    fixed.observe(60.0)
    assert fixed.coef == 0.2


@pytest.mark.parametrize("delay", [1, 4])
def test_the_coefficient_brings_a_kl_that_follows_it_to_the_target(delay: int) -> None:
    """A policy whose KL moves each step by a share of its way to 1/coef."""
    controller = Controller(KL(coef=0.1, target=8.0), 0.1)
    course = [0.0]
    for _ in range(100):
        course.append(course[-1] + (1 / controller.coef - course[-1]) / (5 * delay))
        controller.observe(course[-1])
    assert max(abs(kl / 8 - 1) for kl in course[-30:]) < 0.3


@pytest.mark.parametrize("target", [4.0, 12.0])
@pytest.mark.parametrize("gain", [0.5, 1.0, 2.0])
def test_a_policy_that_steps_as_far_as_it_may_does_not_swing_around_the_target(
    gain: float, target: float
) -> None:
    """As TRPO: steps of one length, in a direction that changes slowly. gain: the reward for a unit
    of the way, whose KL is half its square.
    """
    controller = Controller(KL(coef=0.1, target=target), 0.1)
    way = direction = 0.0
    course = []
    for _ in range(90):
        course.append(way**2 / 2 + 1e-3)
        push = (gain - controller.coef * way) / 0.3
        direction = 0.8 * direction + 0.2 * min(max(push, -1.0), 1.0)
        way = max(0.0, way + 0.25 * direction)
        controller.observe(course[-1])
    assert max(course) < 3 * target
    assert sum(course[60:]) / 30 == pytest.approx(target, rel=0.15)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        *(({"coef": coef}, f"KL: coef {coef}") for coef in (-0.1, math.nan, math.inf)),
        ({"where": "moon"}, r"where 'moon'.*reward, loss"),
        ({"estimator": "k4"}, r"estimator 'k4'.*k1, k2, k3"),
        ({"where": "loss"}, "k1 in the loss"),
        ({"target": 0.0}, r"target 0\.0"),
        ({"target": 6.0, "coef": 0.0}, r"target 6.*coef is 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        KL(**settings)
