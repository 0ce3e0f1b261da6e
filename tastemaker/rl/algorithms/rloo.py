"""RLOO: a completion's baseline is the mean of the others (Ahmadian et al. 2024).

A whole completion is one action: its return is its score, KL included, and its log-probability is
that of all its tokens. Left out: a critic, discounts, credit for single tokens.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from tastemaker.maths.rl import leave_one_out
from tastemaker.rl.algorithms.base import (
    Actor,
    Algorithm,
    Experience,
    Metrics,
    Rollout,
    Stepper,
    per_row,
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
class RLOO(Algorithm[Experience]):
    """REINFORCE leave one out."""

    name: ClassVar[str] = "rloo"
    takes_shares: ClassVar[bool] = True

    samples: int = setting(4, *SAMPLES)
    lr: float = setting(1e-3, *LR)
    epochs: int = setting(1, *EPOCHS)
    minibatches: int = setting(1, *MINIBATCHES)
    clip: float = setting(0.2, *CLIP)
    target_kl: float = setting(math.inf, *TARGET_KL)
    entropy: float = setting(0.01, *ENTROPY)
    target_entropy: float = setting(math.inf, *TARGET_ENTROPY)

    def credit(self, actor: Actor, rollout: Rollout) -> Experience:
        """Return each completion's score minus the mean of the others of its prompt."""
        return group_experience(
            rollout,
            leave_one_out(rollout.scores, rollout.groups),
            per_row(rollout.is_action),
        )

    def update(
        self, actor: Actor, experience: Experience, stepper: Stepper
    ) -> Metrics:
        """Sweep over the experience; one pass in one step is REINFORCE."""
        return clipped_epochs(self, stepper, experience)
