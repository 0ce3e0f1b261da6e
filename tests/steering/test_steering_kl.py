"""What KL costs, where it is paid, and how its coefficient adapts."""

import math
from typing import Any

import pytest
import torch

from tastemaker.errors import UsageError
from tastemaker.rl import KL, Evaluation, Experience


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
    now = Evaluation(logs[0], zeros, zeros)
    penalties = [
        float(KL(where=w, estimator="k3").penalty(0.6)(experience, now))
        for w in ("loss", "reward")
    ]  # type: ignore[arg-type]
    assert penalties == pytest.approx([0.6 * 0.0231, 0], abs=1e-4)


def test_the_coefficient_adapts() -> None:
    """6.6 nats of 6 are 10 % too much; a miss counts as 20 % at most: 0.2·(1 + 0.1·256/10,000)."""
    kl = KL(coef=0.2, target=6.0)
    coefficients = [kl.adapted(0.2, nats, 256) for nats in (6.6, 6.0, 5.4, 60.0, 0.0)]
    assert coefficients == pytest.approx(
        [0.2 * (1 + e * 0.0256) for e in (0.1, 0, -0.1, 0.2, -0.2)]
    )
    assert KL(coef=0.2, target=6.0, horizon=100.0).adapted(
        0.2, 6.6, 10
    ) == pytest.approx(0.2 * 1.01)
    assert KL(coef=0.2).adapted(0.2, 60.0, 256) == 0.2


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
