"""How an environment is played: settings, checked where they are made.

Environments with settings of their own, and what those reached when they were measured.

The settings began as those of RL Baselines3 Zoo (Raffin 2020), with more environments at once and larger minibatches:
a small network's step costs about the same for 64 rows as for 512. They were chosen by hand in a few tries, on some of
the very seeds below, so other seeds may do worse. Return: the mean of 100 episodes, each action the likeliest one. CPU
seconds: the evaluation included, one thread of a shared machine (`benchmarks/play.py --seeds 0 1 2 3 4`).

    environment               algorithm   steps    seeds 0 to 4                             CPU seconds
    CartPole-v1               ppo         100,000  500.0   500.0   500.0   500.0   500.0    6 to 9
    CartPole-v1               trpo         80,000  500.0   500.0   500.0   500.0   500.0    6
    CartPole-v1               a2c         800,000  500.0   500.0   500.0   500.0   500.0    9 to 10
    CartPole-v1               reinforce   500,000  500.0   500.0   500.0   500.0   500.0    5
    Acrobot-v1                ppo         400,000  -83.6   -79.9   -81.9   -86.0   -82.3    26 to 27
    Pendulum-v1               ppo         200,000  -185.2  -168.9  -189.0  -183.9  -172.4   21
    MountainCarContinuous-v0  ppo         100,000  92.4    92.1    91.7    92.1    92.1     9 to 10
    LunarLander-v3            ppo         500,000  247.5   254.4   255.2   253.3   138.1    40 to 44

A2C on CartPole was also run on seeds 5 to 7, on which nothing was chosen: 500. With λ 0.9 instead of 1, two of five
seeds ended at 120 to 430.

The goal of MountainCarContinuous-v0 is found by chance, so its actions are spread wide at first; with half as many
steps its seeds reached 91.3, 90.2 and -1.8.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from tastemaker.errors import UsageError
from tastemaker.rl.algorithms import A2C, ALGORITHMS, PPO, TRPO, Algorithm, Reinforce
from tastemaker.settings import FINITE, MAIN, POSITIVE, Check, at_least, check, setting

MEASURED = "measured for the environment, if it was"


@dataclass(frozen=True)
class Playing:
    """How an environment is played, whatever the algorithm."""

    group: ClassVar[str] = "Playing"

    steps: int = setting(
        300_000, "Environment steps in all.", at_least(1), group=MAIN, shown=MEASURED
    )
    envs: int = setting(16, "Environments that are played at once.", at_least(1), shown=MEASURED)
    rollout: int = setting(
        128,
        "Steps of each environment between two updates.",
        Check(lambda value: value >= 2, "at least 2, for a step may only begin an episode"),
        shown=MEASURED,
    )
    hidden: tuple[int, ...] = setting(
        (64, 64),
        "Units of each hidden layer of the policy and of the critic.",
        Check(lambda value: value and min(value) >= 1, "layers of at least 1 unit: (64, 64)"),
    )
    log_sd: float = setting(
        0.0,
        "Log standard deviation of continuous actions at first, in half-widths of their bounds.",
        FINITE,
        shown=MEASURED,
    )
    decay: bool = setting(True, "Lower the learning rate in a line to 0 over the steps.")
    gradient_clip: float = setting(0.5, "Largest gradient norm.", POSITIVE)
    adam_epsilon: float = setting(1e-5, "Added to the root of Adam's second moment.", POSITIVE)
    critic_factor: float = setting(
        1.0, "Learning rate of the critic, as a multiple of --lr.", POSITIVE
    )
    normalise_observations: bool = setting(
        True,
        "Standardise observations by all observations so far.",
        shown=MEASURED,
    )
    normalise_returns: bool = setting(
        True, "Divide rewards by the standard deviation of their discounted sums."
    )
    # a killed run can go on where all episodes begin
    anew: int = setting(
        0,
        "Rollouts between two beginnings of all episodes; 0: about eight times the longest episode.",
        Check(lambda value: value >= 0, "at least 1, or 0 to choose by the longest episode"),
    )
    windows: int = setting(100, "How often the run is logged.", at_least(1))

    def __post_init__(self) -> None:
        check(self)


Known = tuple[Algorithm[Any], Playing]

_DEFAULT: dict[str, Known] = {
    "reinforce": (
        Reinforce("value", lr=3e-3, gamma=0.99, whiten=True),
        Playing(steps=1_000_000, envs=16, rollout=128),
    ),
    "a2c": (
        A2C(lr=2e-3, gamma=0.99, lam=0.9, entropy=0.0),
        Playing(steps=1_000_000, envs=32, rollout=16),
    ),
    "trpo": (
        TRPO(lr=1e-3, gamma=0.99, lam=0.95, critic_epochs=10, critic_minibatches=4),
        Playing(steps=500_000, envs=16, rollout=128),
    ),
    "ppo": (
        PPO(lr=1e-3, gamma=0.99, lam=0.95, epochs=10, minibatches=8, target_kl=0.05),
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
            A2C(lr=3e-3, gamma=0.99, lam=1.0, entropy=0.0),
            Playing(steps=800_000, envs=32, rollout=32, normalise_observations=False),
        ),
        "trpo": (
            TRPO(lr=2e-3, gamma=0.99, lam=0.95, critic_epochs=10),
            Playing(steps=80_000, envs=32, rollout=32, normalise_observations=False),
        ),
        "ppo": (
            PPO(lr=2e-3, gamma=0.99, lam=0.95, epochs=10, minibatches=1),
            Playing(steps=100_000, envs=16, rollout=32, normalise_observations=False),
        ),
    },
    "Acrobot-v1": {
        "ppo": (
            PPO(lr=1e-3, gamma=0.99, lam=0.94, epochs=4, minibatches=4),
            Playing(steps=400_000, envs=16, rollout=256),
        ),
    },
    "LunarLander-v3": {
        "ppo": (
            PPO(lr=1e-3, gamma=0.999, lam=0.98, epochs=4, minibatches=16, entropy=0.01),
            Playing(steps=500_000, envs=16, rollout=512),
        ),
    },
    "Pendulum-v1": {
        "ppo": (
            PPO(lr=1e-3, gamma=0.9, lam=0.95, epochs=10, minibatches=16),
            Playing(steps=200_000, envs=8, rollout=512),
        ),
    },
    "MountainCarContinuous-v0": {
        "ppo": (
            PPO(lr=3e-4, gamma=0.9999, lam=0.9, epochs=10, minibatches=8),
            Playing(steps=100_000, envs=8, rollout=256, log_sd=1.0),
        ),
    },
}


PLAYABLE = tuple(_DEFAULT)
"""The algorithms that need no prompts, by name."""


def known(environment: str, algorithm: str) -> Known:
    """Return what to play an environment with: the settings measured on it, or a default that was measured on none.

    Raises UsageError for an algorithm that does not exist, or that compares completions of one prompt.
    """
    if algorithm not in _DEFAULT:
        why = (
            "there is no algorithm"
            if algorithm not in ALGORITHMS
            else "an environment has no prompts to compare by:"
        )
        raise UsageError(f"{why} {algorithm!r}; choose among {', '.join(_DEFAULT)}.")
    return _KNOWN.get(environment, {}).get(algorithm, _DEFAULT[algorithm])
