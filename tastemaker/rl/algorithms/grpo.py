"""GRPO: scores standardised within the group of a prompt, no critic (Shao et al. 2024).

`normalise="group"` is the paper's: all completions have the same weight, whatever their length, and
scores are divided by the group's standard deviation. "dr" is Dr. GRPO (Liu et al. 2025): no
division by the standard deviation, and each token has the same weight, so that long wrong answers
are not penalised less. Left out here: KL in the loss, a setting of steering (`KL(where="loss")`).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from tastemaker.maths.rl import group_centred, group_standardised
from tastemaker.rl.algorithms.base import (
    Actor,
    Algorithm,
    Experience,
    Metrics,
    Rollout,
    Stepper,
    per_row,
    per_row_mean,
)
from tastemaker.rl.algorithms.common import (
    CLIP,
    ENTROPY,
    EPOCHS,
    LR,
    MINIBATCHES,
    SAMPLES,
    TARGET_ENTROPY,
    TARGET_KL,
    clipped_epochs,
    group_experience,
)
from tastemaker.settings import setting, settings_class


@settings_class
@dataclass(frozen=True)
class GRPO(Algorithm[Experience]):
    """Group-relative policy optimisation."""

    name: ClassVar[str] = "grpo"
    takes_shares: ClassVar[bool] = True

    samples: int = setting(8, *SAMPLES)
    normalise: Literal["group", "dr"] = setting(
        "group",
        "group: divide by the standard deviation of the group; dr: as Dr. GRPO.",
    )
    clip: float = setting(0.2, *CLIP)
    lr: float = setting(5e-4, *LR)
    epochs: int = setting(2, *EPOCHS)
    minibatches: int = setting(2, *MINIBATCHES)
    target_kl: float = setting(0.05, *TARGET_KL)
    entropy: float = setting(0.01, *ENTROPY)
    target_entropy: float = setting(math.inf, *TARGET_ENTROPY)

    @property
    def divides_by_group(self) -> bool:
        """Whether scores are divided by the deviation of their group."""
        return self.normalise == "group"

    def credit(self, actor: Actor, rollout: Rollout) -> Experience:
        """Return each completion's score against the others of its prompt."""
        if self.normalise == "dr":
            weights = per_row(rollout.is_action) / rollout.is_action.shape[1]
            return group_experience(
                rollout, group_centred(rollout.scores, rollout.groups), weights
            )
        advantages = group_standardised(rollout.scores, rollout.groups)
        return group_experience(
            rollout, advantages, per_row_mean(rollout.is_action)
        )

    def update(
        self, actor: Actor, experience: Experience, stepper: Stepper
    ) -> Metrics:
        """Sweep over the experience."""
        return clipped_epochs(self, stepper, experience)
