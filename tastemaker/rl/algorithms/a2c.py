"""Advantage actor–critic: the critic also stands in for what has not come yet (Mnih et al. 2016).

What it adds to REINFORCE with a critic: generalised advantages, which mix the critic's expectation
into the return, so that its variance falls and some bias comes in (Schulman et al. 2016). Left
out: asynchronous workers.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from tastemaker.maths.rl import policy_gradient
from tastemaker.rl.algorithms.base import (
    ANY,
    ActionEvaluation,
    Actor,
    Algorithm,
    Costs,
    Metrics,
    PlaySettings,
    Rollout,
    Stepper,
    ValuedExperience,
    single_actions,
)
from tastemaker.rl.algorithms.common import (
    ENTROPY,
    GAMMA,
    LAM,
    LR,
    TARGET_ENTROPY,
    VALUE_WEIGHT,
    WHITEN,
    advantages_of,
    bonus_weight,
    critic_costs,
)
from tastemaker.settings import setting, settings_class


@settings_class
@dataclass(frozen=True)
class A2C(Algorithm[ValuedExperience]):
    """Advantage actor–critic."""

    name: ClassVar[str] = "a2c"
    takes_shares: ClassVar[bool] = True
    needs_critic: ClassVar[bool] = True
    play_settings: ClassVar[PlaySettings] = {
        ANY: (
            {"lr": 2e-3, "gamma": 0.99, "lam": 0.9, "entropy": 0.0},
            {"steps": 1_000_000, "envs": 32, "rollout": 16},
        ),
        "CartPole-v1": (
            {"lr": 3e-3, "gamma": 0.99, "lam": 1.0, "entropy": 0.0},
            {
                "steps": 800_000,
                "envs": 32,
                "rollout": 32,
                "normalise_observations": False,
            },
        ),
    }

    lr: float = setting(1e-3, *LR)
    gamma: float = setting(1.0, *GAMMA)
    lam: float = setting(1.0, *LAM)
    whiten: bool = setting(True, WHITEN)
    value_weight: float = setting(0.5, *VALUE_WEIGHT)
    entropy: float = setting(0.01, *ENTROPY)
    target_entropy: float = setting(math.inf, *TARGET_ENTROPY)

    def credit(self, actor: Actor, rollout: Rollout) -> ValuedExperience:
        """Return generalised advantages."""
        return advantages_of(
            actor, rollout, gamma=self.gamma, lam=self.lam, whiten=self.whiten
        )

    def update(
        self, actor: Actor, experience: ValuedExperience, stepper: Stepper
    ) -> Metrics:
        """Take one step along the policy gradient and the critic's."""
        return stepper.step(
            single_actions(experience),
            partial(self._costs, bonus_weight(self, experience)),
        )

    def _costs(
        self, bonus: float, experience: ValuedExperience, now: ActionEvaluation
    ) -> Costs:
        policy_cost = policy_gradient(now.log_probs, experience.advantages)
        costs = critic_costs(experience, now)
        value_cost = self.value_weight * costs["value_loss"]
        costs["cost"] = policy_cost + value_cost - bonus * now.entropy
        costs["policy_loss"] = policy_cost
        costs["entropy"] = now.entropy
        return costs
