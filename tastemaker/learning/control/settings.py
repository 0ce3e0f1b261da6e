"""How an environment is played: settings, checked where they are made."""

import math
from dataclasses import dataclass

from tastemaker.checks import check_at_least, check_positive
from tastemaker.errors import UsageError


@dataclass(frozen=True)
class Playing:
    """How an environment is played, whatever the algorithm.

    steps: environment steps in all. envs: environments played at once. rollout: steps of each between two updates.
    hidden: units of each hidden layer, of the policy and of the critic. log_sd: of continuous actions at first, in
    half-widths of their bounds. decay: the learning rate falls in a line to 0 over the steps. gradient_clip: largest
    gradient norm. adam_epsilon: added to the root of Adam's second moment. critic_factor: the critic's learning rate,
    as a multiple. normalise_observations: with the mean and standard deviation of all that was seen. normalise_returns:
    rewards are divided by the standard deviation of their discounted sums. anew: rollouts between two beginnings of all
    episodes, where a run can go on after a kill; 0: about eight times as long as the longest episode. windows: how
    often the run is logged.
    """

    steps: int = 300_000
    envs: int = 16
    rollout: int = 128
    hidden: tuple[int, ...] = (64, 64)
    log_sd: float = 0.0
    decay: bool = True
    gradient_clip: float = 0.5
    adam_epsilon: float = 1e-5
    critic_factor: float = 1.0
    normalise_observations: bool = True
    normalise_returns: bool = True
    anew: int = 0
    windows: int = 100

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps", "envs", "windows")
        check_positive(self, "gradient_clip", "adam_epsilon", "critic_factor")
        if self.rollout < 2:
            raise UsageError(f"rollout {self.rollout}: must be at least 2: a step may only begin an episode.")
        if not math.isfinite(self.log_sd):
            raise UsageError(f"log_sd {self.log_sd}: must be a number.")
        if self.anew < 0:
            raise UsageError(f"anew {self.anew}: must be at least 1, or 0 to choose by the longest episode.")
        if not self.hidden or min(self.hidden) < 1:
            raise UsageError(f"hidden {self.hidden}: name one or more layers of at least 1 unit, such as (64, 64).")
