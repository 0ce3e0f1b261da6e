"""An algorithm in one file: imitate the best rows of each rollout.

The cross-entropy method does the same with whole sets of parameters (Rubinstein 1999).
"""

from dataclasses import dataclass
from typing import ClassVar

from tastemaker.maths import policy_gradient
from tastemaker.rl import (
    ALGORITHMS,
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
from tastemaker.settings import POSITIVE, POSITIVE_SHARE, setting


@dataclass(frozen=True)
class TopShare(Algorithm[Experience]):
    """Imitation of the best rows."""

    name: ClassVar[str] = "top-share"

    share: float = setting(
        0.25, "The share of the rows that is imitated.", POSITIVE_SHARE
    )
    lr: float = setting(1e-3, "Learning rate.", POSITIVE)

    def credit(self, actor: Actor, rollout: Rollout) -> Experience:
        """Return the rows with the highest scores; each of their actions has advantage 1."""
        count = max(1, round(self.share * len(rollout.scores)))
        best = rollout.select(rollout.scores.topk(count).indices)
        advantages = best.is_action.float()  # [B, T]
        return Experience.of(best, advantages, per_action(best.is_action))

    def update(self, actor: Actor, experience: Experience, stepper: Stepper) -> Metrics:
        """Take one step that makes these actions likelier."""
        return stepper.step(experience, self._costs)

    @staticmethod
    def _costs(experience: Experience, now: ActionEvaluation) -> Costs:
        cost = policy_gradient(now.log_probs, experience.advantages)  # [b, T]
        return {"cost": cost, "policy_loss": cost, "entropy": now.entropy}


ALGORITHMS["top-share"] = "own_algorithm:TopShare"
