"""RLOO: each completion is compared with the others of its prompt; no critic (Kool et al. 2019; Ahmadian et al. 2024).

A whole completion is one action: its return is its score, KL included, and its log-probability is that of all its
tokens. Left out: a critic, discounts, anything that a single token deserves.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from tastemaker.maths.rl import leave_one_out
from tastemaker.rl.algorithms.base import (
    Actor,
    Algorithm,
    Evaluation,
    Experience,
    Metrics,
    Rollout,
    per_row,
)
from tastemaker.rl.algorithms.common import (
    bonus_weight,
    clipped_costs,
    group_experience,
    minibatch_epochs,
)
from tastemaker.rl.algorithms.stepper import Costs, Stepper
from tastemaker.settings import check_at_least, check_limit, check_not_negative, check_positive


@dataclass(frozen=True)
class RLOO(Algorithm[Experience]):
    """REINFORCE leave one out.

    samples: completions of one prompt. clip: of each action's ratio, where there is more than one step a rollout.
    epochs, minibatches, target_kl: as in PPO. entropy, target_entropy: as in A2C.
    """

    name: ClassVar[str] = "rloo"

    samples: int = 4
    lr: float = 1e-3
    epochs: int = 1
    minibatches: int = 1
    clip: float = 0.2
    target_kl: float = math.inf
    entropy: float = 0.01
    target_entropy: float = math.inf

    def __post_init__(self) -> None:
        check_at_least(self, 2, "samples")
        check_positive(self, "clip", "lr")
        check_limit(self, "target_kl", "target_entropy")
        check_at_least(self, 1, "epochs", "minibatches")
        check_not_negative(self, "entropy")

    def credit(self, actor: Actor, rollout: Rollout) -> Experience:
        """Return each completion's score minus the mean of the others of its prompt."""
        return group_experience(
            rollout, leave_one_out(rollout.scores, rollout.groups), per_row(rollout.is_action)
        )

    def update(self, actor: Actor, experience: Experience, stepper: Stepper) -> Metrics:
        """Sweep over the experience; one pass in one step is REINFORCE."""
        return minibatch_epochs(
            self, stepper, experience, partial(self._costs, bonus_weight(self, experience))
        )

    def _costs(self, bonus: float, experience: Experience, now: Evaluation) -> Costs:
        return clipped_costs(experience, now, clip=self.clip, entropy=bonus)
