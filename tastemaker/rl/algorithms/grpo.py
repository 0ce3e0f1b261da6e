"""GRPO: scores standardised within the completions of one prompt, PPO's clip, no critic (Shao et al. 2024).

`normalise="group"` is the paper's: a completion weighs the same however long it is, and a group's standard deviation
divides. "dr" is Dr. GRPO (Liu et al. 2025): neither; a completion's sum is divided by the longest there can be, so that
long wrong answers are not spared. Left out here: KL in the loss, which is a part of its own (`KL(where="loss")`).
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from tastemaker.maths.rl import group_centred, group_standardised
from tastemaker.rl.algorithms.base import (
    Actor,
    Algorithm,
    Evaluation,
    Experience,
    Metrics,
    Rollout,
    per_row,
    per_row_mean,
)
from tastemaker.rl.algorithms.common import (
    bonus_weight,
    clipped_costs,
    group_experience,
    minibatch_epochs,
)
from tastemaker.rl.algorithms.stepper import Costs, Stepper
from tastemaker.settings import (
    check_at_least,
    check_limit,
    check_not_negative,
    check_positive,
    check_word,
)


@dataclass(frozen=True)
class GRPO(Algorithm[Experience]):
    """Group-relative policy optimisation.

    samples: completions of one prompt. normalise: "group" as the paper, "dr" as Dr. GRPO. clip, epochs, minibatches,
    target_kl, entropy, target_entropy: as in PPO.
    """

    name: ClassVar[str] = "grpo"

    samples: int = 8
    normalise: Literal["group", "dr"] = "group"
    clip: float = 0.2
    lr: float = 5e-4
    epochs: int = 2
    minibatches: int = 2
    target_kl: float = 0.05
    entropy: float = 0.01
    target_entropy: float = math.inf

    def __post_init__(self) -> None:
        check_at_least(self, 2, "samples")
        check_positive(self, "clip", "lr")
        check_limit(self, "target_kl", "target_entropy")
        check_word(self, "normalise", "group", "dr")
        check_at_least(self, 1, "epochs", "minibatches")
        check_not_negative(self, "entropy")

    def credit(self, actor: Actor, rollout: Rollout) -> Experience:
        """Return each completion's score against the others of its prompt."""
        if self.normalise == "dr":
            weights = per_row(rollout.is_action) / rollout.is_action.shape[1]
            return group_experience(rollout, group_centred(rollout.scores, rollout.groups), weights)
        advantages = group_standardised(rollout.scores, rollout.groups)
        return group_experience(rollout, advantages, per_row_mean(rollout.is_action))

    def update(self, actor: Actor, experience: Experience, stepper: Stepper) -> Metrics:
        """Sweep over the experience."""
        return minibatch_epochs(
            self, stepper, experience, partial(self._costs, bonus_weight(self, experience))
        )

    def _costs(self, bonus: float, experience: Experience, now: Evaluation) -> Costs:
        return clipped_costs(experience, now, clip=self.clip, entropy=bonus)
