"""The settings of `play`, and which of them an environment has by default.

Each algorithm holds its settings for known environments (`Algorithm.play_settings`). They began as
those of RL Baselines3 Zoo (Raffin 2020), with more environments at once and larger minibatches: a
small network's step costs about the same for 64 rows as for 512. They were chosen by hand in a few
tries, on some of the seeds below, so other seeds may do worse. Return: the mean of 100 episodes
with the likeliest actions. Seconds: of one CPU thread, the evaluation included
(`benchmarks/play.py --seeds 0 1 2 3 4`).

    environment               algorithm  steps    return of seeds 0 to 4                 seconds
    CartPole-v1               ppo        100,000  500.0  500.0  500.0  500.0  500.0      6 to 9
    CartPole-v1               trpo        80,000  500.0  500.0  500.0  500.0  500.0      6
    CartPole-v1               a2c        800,000  500.0  500.0  500.0  500.0  500.0      9 to 10
    CartPole-v1               reinforce  500,000  500.0  500.0  500.0  500.0  500.0      5
    Acrobot-v1                ppo        400,000  -83.6  -79.9  -81.9  -86.0  -82.3      26 to 27
    Pendulum-v1               ppo        200,000  -185.2 -168.9 -189.0 -183.9 -172.4     21
    MountainCarContinuous-v0  ppo        100,000  92.4   92.1   91.7   92.1   92.1       9 to 10
    LunarLander-v3            ppo        500,000  247.5  254.4  255.2  253.3  138.1      40 to 44

A2C on CartPole was also run on seeds 5 to 7, on which nothing was chosen: 500. With λ 0.9 instead
of 1, two of five seeds ended at 120 to 430.

The goal of MountainCarContinuous-v0 is found by chance, so its actions are spread wide at first;
with half as many steps its seeds reached 91.3, 90.2 and -1.8.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from tastemaker.errors import UsageError
from tastemaker.rl.algorithms import algorithm_class
from tastemaker.rl.algorithms.base import ANY, Algorithm
from tastemaker.settings import FINITE, MAIN, POSITIVE, Check, at_least, check, setting

MEASURED = "measured for the environment, if it was"


@dataclass(frozen=True)
class Playing:
    """How an environment is played, whatever the algorithm."""

    group: ClassVar[str] = "Playing"

    steps: int = setting(
        300_000, "Environment steps in all.", at_least(1), group=MAIN, shown=MEASURED
    )
    envs: int = setting(
        16, "Environments that are played at once.", at_least(1), shown=MEASURED
    )
    rollout: int = setting(
        128,
        "Steps of each environment between two updates.",
        Check(
            lambda value: value >= 2, "at least 2, for a step may only begin an episode"
        ),
        shown=MEASURED,
    )
    hidden: tuple[int, ...] = setting(
        (64, 64),
        "Units of each hidden layer of the policy and of the critic.",
        Check(
            lambda value: value and min(value) >= 1,
            "layers of at least 1 unit: (64, 64)",
        ),
    )
    log_sd: float = setting(
        0.0,
        "Log standard deviation of continuous actions at first, in half-widths of their bounds.",
        FINITE,
        shown=MEASURED,
    )
    decay: bool = setting(
        True, "Lower the learning rate in a line to 0 over the steps."
    )
    gradient_clip: float = setting(0.5, "Largest gradient norm.", POSITIVE)
    adam_epsilon: float = setting(
        1e-5, "Added to the root of Adam's second moment.", POSITIVE
    )
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
        "Rollouts between two resets of all episodes; 0: about eight times the longest episode.",
        Check(
            lambda value: value >= 0,
            "at least 1, or 0 to choose by the longest episode",
        ),
    )
    windows: int = setting(100, "How often the run is logged.", at_least(1))

    def __post_init__(self) -> None:
        check(self)


def play_defaults(
    environment: str, algorithm: Algorithm[Any] | str
) -> tuple[Algorithm[Any], Playing]:
    """Return the algorithm and the settings to play an environment with.

    A name stands for the algorithm with its settings for the environment; an object stays as it is.
    Raises UsageError for a name that does not exist and for an algorithm that compares completions.
    """
    kind = algorithm_class(algorithm) if isinstance(algorithm, str) else type(algorithm)
    defaults = kind.play_settings.get(ANY, ({}, {}))
    of_algorithm, of_playing = kind.play_settings.get(environment, defaults)
    chosen = kind(**of_algorithm) if isinstance(algorithm, str) else algorithm
    if chosen.samples > 1:
        raise UsageError(
            f"{chosen.name} compares {chosen.samples} completions of one prompt, and an "
            "environment has no prompts: choose another algorithm, such as ppo."
        )
    return chosen, Playing(**of_playing)
