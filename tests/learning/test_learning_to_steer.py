"""Every algorithm learns: on a bandit whose optimum is known, and to write one letter."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from nano import nano
from tabular import Chosen, Table, stepper_of

from tastemaker.gpt import Sampling
from tastemaker.rl import (
    A2C,
    DPO,
    GRPO,
    KL,
    PPO,
    RLOO,
    TRPO,
    Limits,
    Reinforce,
    Rollout,
    Steering,
    Winners,
    steer,
)

PLAIN = [
    Reinforce(baseline="none"),
    Reinforce(baseline="mean"),
    Reinforce(baseline="value"),
    A2C(whiten=False),
]
ALL = [
    *PLAIN,
    *(
        A2C(),
        TRPO(target_kl=3e-4, critic_epochs=1, critic_minibatches=1),
        PPO(),
        RLOO(),
        GRPO(),
        GRPO(normalise="dr"),
    ),
    *(DPO(), Winners()),
]


def name_of(algorithm: Any) -> str:
    variant = getattr(algorithm, "baseline", getattr(algorithm, "normalise", ""))
    return f"{algorithm.name}-{variant}".rstrip("-")


def gathered(
    table: Table, count: int, samples: int, price: float, generator: torch.Generator
) -> Rollout:
    """Answers that bring 1 (the first) and 0 (the second), less the price of each one's log-ratio
    to ½.
    """
    every = torch.log_softmax(table.logits.detach()[0], -1)
    answers = torch.multinomial(
        every.exp(), count, replacement=True, generator=generator
    )[:, None]
    log_probs = every[answers]
    reference = torch.full_like(log_probs, math.log(0.5))
    rewards = (answers == 0).double() - price * (log_probs - reference)
    ones = torch.ones(count, dtype=torch.bool)
    trajectories, groups = (
        Chosen(torch.zeros_like(answers), answers),
        torch.arange(count) // samples,
    )
    foreseen = table.critic_values(trajectories, ones[:, None])
    return Rollout(
        trajectories,
        ones[:, None],
        log_probs,
        reference,
        rewards,
        ones,
        groups,
        *foreseen,
    )


def settled(algorithm: Any, kl: KL, *, steps: int = 160, count: int = 512) -> float:
    """How likely the first answer is once it has settled, with Adam and a rate that falls to 0."""
    table, generator = Table(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam([table.logits, table.values])
    price = kl.coef if kl.where == "reward" else 0.0
    for step in range(steps):
        rate = 0.1 * (1 - step / steps)
        penalty = kl.penalty(kl.coef)
        stepper = stepper_of(
            table, rate=rate, optimizer=optimizer, penalty=penalty, generator=generator
        )
        rollout = gathered(table, count, algorithm.samples, price, generator)
        algorithm.update(table, algorithm.credit(table, rollout), stepper)
    return table.likely


@pytest.mark.parametrize(("beta", "optimum"), [(0.5, 0.8808), (2.0, 0.6225)])
@pytest.mark.parametrize("algorithm", ALL, ids=name_of)
def test_kl_in_the_reward_leads_to_the_regularised_optimum(
    algorithm: Any, beta: float, optimum: float
) -> None:
    """π* ∝ π_ref · exp(r/β): of two answers with ½ each and rewards 1 and 0, 1/(1 + e^(−1/β)) for
    the first.
    """
    assert optimum == pytest.approx(1 / (1 + math.exp(-1 / beta)), abs=5e-5)
    assert settled(algorithm, KL(beta)) == pytest.approx(optimum, abs=0.02)


@pytest.mark.parametrize("algorithm", [*PLAIN, PPO(whiten=False), RLOO()], ids=name_of)
def test_kl_in_the_loss_leads_there_too(algorithm: Any) -> None:
    """By k2, whose gradient is that of KL(π ‖ ref), where advantages keep the rewards' scale."""
    assert settled(algorithm, KL(0.5, "loss", "k2")) == pytest.approx(0.8808, abs=0.02)


def test_dr_grpo_takes_the_reward_for_less_than_it_is() -> None:
    """A score against its group's mean, itself included, is (k − 1)/k of what it is against the
    others: k = 8, β ½.

    So the optimum is 1/(1 + e^(−(7/8)/½)) = 0.852 and not 0.8808. In the reward, KL shrinks alike.
    """
    assert settled(GRPO(normalise="dr"), KL(0.5, "loss", "k2")) == pytest.approx(
        0.852, abs=0.01
    )


def test_k3_in_the_loss_leads_elsewhere() -> None:
    """Its gradient is that of KL(ref ‖ π): p(1 − p) = β(p − ½), so p = (½ + √1.25)/2 = 0.809 for β
    ½.
    """
    likely = settled(Reinforce(), KL(0.5, "loss", "k3"))
    assert likely == pytest.approx(0.8090, abs=0.02)


@pytest.mark.parametrize("algorithm", ALL, ids=name_of)
def test_without_kl_the_better_answer_takes_all(algorithm: Any) -> None:
    algorithm = (
        replace(algorithm, target_kl=0.01) if algorithm.name == "trpo" else algorithm
    )
    assert settled(algorithm, KL(0.0), steps=60) > 0.93


def share(prompts: Any, texts: list[str]) -> list[float]:
    """The share of the letter e."""
    return [text.count("e") / max(len(text), 1) for text in texts]


@pytest.mark.parametrize(
    "seed",
    [
        0,
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(2, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("algorithm", ALL, ids=name_of)
def test_it_learns_to_write_a_letter(algorithm: Any, seed: int) -> None:
    """A GPT that knows nothing writes it 2 % of the time; 24 rollouts of 64 texts later several
    times as often.
    """
    algorithm = (
        replace(algorithm, target_kl=0.05)
        if algorithm.name == "trpo"
        else replace(algorithm, lr=1e-2)
    )
    result = steer(
        nano(seed=seed),
        share,
        algorithm=algorithm,
        kl=KL(0.0),
        sampling=Sampling(max_tokens=6),
        steering=Steering(steps=24, batch=64, measured=64, windows=6),
        limits=Limits(kl=1e9, distinct=0.0, pairs=0.0),
        seed=seed,
    )
    assert result.figures["score_before"] < 0.06
    assert result.figures["score_after"] > 0.12
