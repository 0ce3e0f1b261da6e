"""Winners: supervised fine-tuning on the best of n completions.

No ratio, no baseline, no critic (expert iteration: Anthony et al. 2017; RAFT: Dong et al. 2023).
Left out: winners of earlier rollouts, which are not kept.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from tastemaker.maths.rl import k3, policy_gradient
from tastemaker.rl.algorithms.base import (
    ActionEvaluation,
    Actor,
    Algorithm,
    Costs,
    Experience,
    Metrics,
    Rollout,
    Stepper,
    per_action,
)
from tastemaker.rl.algorithms.common import (
    EPOCHS,
    LR,
    MINIBATCHES,
    SAMPLES,
    minibatch_epochs,
    ranks_in_group,
)
from tastemaker.settings import setting, settings_class


@settings_class
@dataclass(frozen=True)
class Winners(Algorithm[Experience]):
    """Fine-tuning on the best of n completions of a prompt."""

    name: ClassVar[str] = "winners"
    takes_shares: ClassVar[bool] = True
    target_kl: ClassVar[float] = math.inf

    samples: int = setting(8, *SAMPLES)
    lr: float = setting(1e-3, *LR)
    epochs: int = setting(1, *EPOCHS)
    minibatches: int = setting(1, *MINIBATCHES)

    def credit(self, actor: Actor, rollout: Rollout) -> Experience:
        """Return the best of each group; every token has advantage 1."""
        is_best = ranks_in_group(rollout.scores, rollout.groups) == 0
        winners = rollout.select(is_best.nonzero()[:, 0])
        ones = torch.ones_like(winners.scores)
        advantages = torch.where(winners.is_action, ones[:, None], 0)
        return Experience.of(
            winners, advantages, per_action(winners.is_action)
        )

    def update(
        self, actor: Actor, experience: Experience, stepper: Stepper
    ) -> Metrics:
        """Make the winners likelier."""
        return minibatch_epochs(self, stepper, experience, self._costs)

    @staticmethod
    def _costs(experience: Experience, now: ActionEvaluation) -> Costs:
        cost = policy_gradient(now.log_probs, experience.advantages)
        moved = k3(experience.log_probs, now.log_probs)
        return {
            "cost": cost,
            "policy_loss": cost,
            "entropy": now.entropy,
            "moved": moved,
        }
