"""Environments whose settings are known: what solves them, so that no flag is needed.

The settings began as those of RL Baselines3 Zoo (Raffin 2020) and were tuned on two slow CPU cores: more
environments at once and larger minibatches, since a small network's step costs about the same for 64 rows as for 512.
"""

from typing import Any

from tastemaker.errors import UsageError
from tastemaker.learning.algorithms import A2C, ALGORITHMS, PPO, TRPO, Algorithm, Reinforce
from tastemaker.learning.control.settings import Playing

Known = tuple[Algorithm[Any], Playing]

_DEFAULT: dict[str, Known] = {
    "reinforce": (
        Reinforce("value", lr=3e-3, gamma=0.99, whiten=True),
        Playing(steps=1_000_000, envs=16, rollout=128),
    ),
    "a2c": (A2C(lr=2e-3, gamma=0.99, lam=0.9), Playing(steps=1_000_000, envs=32, rollout=16)),
    "trpo": (
        TRPO(lr=1e-3, gamma=0.99, lam=0.95, critic_passes=10, critic_minibatches=4),
        Playing(steps=500_000, envs=16, rollout=128),
    ),
    "ppo": (
        PPO(lr=1e-3, gamma=0.99, lam=0.95, passes=10, minibatches=8, most_kl=0.05),
        Playing(steps=1_000_000, envs=16, rollout=128),
    ),
}

_KNOWN: dict[str, dict[str, Known]] = {
    "CartPole-v1": {
        "reinforce": (
            Reinforce("value", lr=5e-3, gamma=0.99, whiten=True),
            Playing(steps=500_000, envs=32, rollout=64, normalise_observations=False),
        ),
        "a2c": (
            A2C(lr=3e-3, gamma=0.99, lam=0.9),
            Playing(steps=500_000, envs=32, rollout=16, normalise_observations=False),
        ),
        "trpo": (
            TRPO(lr=2e-3, gamma=0.99, lam=0.95, critic_passes=10),
            Playing(steps=80_000, envs=32, rollout=32, normalise_observations=False),
        ),
        "ppo": (
            PPO(lr=2e-3, gamma=0.99, lam=0.95, passes=10, minibatches=1),
            Playing(steps=100_000, envs=16, rollout=32, normalise_observations=False),
        ),
    },
    "Acrobot-v1": {
        "ppo": (
            PPO(lr=1e-3, gamma=0.99, lam=0.94, passes=4, minibatches=4),
            Playing(steps=400_000, envs=16, rollout=256),
        ),
    },
    "LunarLander-v3": {
        "ppo": (
            PPO(lr=1e-3, gamma=0.999, lam=0.98, passes=4, minibatches=16, entropy=0.01),
            Playing(steps=500_000, envs=16, rollout=512),
        ),
    },
    "Pendulum-v1": {
        "ppo": (
            PPO(lr=1e-3, gamma=0.9, lam=0.95, passes=10, minibatches=16),
            Playing(steps=200_000, envs=8, rollout=512),
        ),
    },
    "MountainCarContinuous-v0": {
        "ppo": (
            PPO(lr=3e-4, gamma=0.9999, lam=0.9, passes=10, minibatches=8),
            Playing(steps=100_000, envs=8, rollout=256, log_sd=1.0),
        ),
    },
}


def known(environment: str, algorithm: str) -> Known:
    """Return what to play an environment with: the settings measured on it, or a default that was measured on none.

    Raises UsageError for an algorithm that does not exist, or that compares completions of one prompt.
    """
    if algorithm not in _DEFAULT:
        why = "there is no algorithm" if algorithm not in ALGORITHMS else "an environment has no prompts to compare by:"
        raise UsageError(f"{why} {algorithm!r}; choose among {', '.join(_DEFAULT)}.")
    return _KNOWN.get(environment, {}).get(algorithm, _DEFAULT[algorithm])
