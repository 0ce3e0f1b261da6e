"""REINFORCE: the policy gradient with returns (Williams 1992).

A baseline, which is an expected return, is subtracted. The gradient's mean stays the same and its
variance falls. Left out: several epochs over one rollout, which need a ratio (PPO).
`tests/learning/test_learning_to_steer.py` shows that it learns.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tastemaker.maths.rl import (
    masked_mean,
    policy_gradient,
    returns_to_go,
    standardise,
)
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
    per_action,
    single_actions,
)
from tastemaker.rl.algorithms.common import (
    ENTROPY,
    GAMMA,
    LR,
    TARGET_ENTROPY,
    VALUE_WEIGHT,
    WHITEN,
    bonus_weight,
    critic_costs,
    critic_values,
)
from tastemaker.settings import setting, settings_class


@settings_class
@dataclass(frozen=True)
class Reinforce(Algorithm[ValuedExperience]):
    """REINFORCE."""

    name: ClassVar[str] = "reinforce"
    takes_shares: ClassVar[bool] = True
    play_settings: ClassVar[PlaySettings] = {
        ANY: (
            {"baseline": "value", "lr": 3e-3, "gamma": 0.99, "whiten": True},
            {"steps": 1_000_000, "envs": 16, "rollout": 128},
        ),
        "CartPole-v1": (
            {"baseline": "value", "lr": 5e-3, "gamma": 0.99, "whiten": True},
            {
                "steps": 500_000,
                "envs": 32,
                "rollout": 64,
                "normalise_observations": False,
            },
        ),
    }

    baseline: Literal["none", "mean", "value"] = setting(
        "mean",
        "What a return is compared with: nothing, the mean of the rollout, or a critic's value.",
    )
    lr: float = setting(1e-3, *LR)
    gamma: float = setting(1.0, *GAMMA)
    entropy: float = setting(0.01, *ENTROPY)
    target_entropy: float = setting(math.inf, *TARGET_ENTROPY)
    whiten: bool = setting(False, WHITEN)
    value_weight: float = setting(0.5, *VALUE_WEIGHT)

    @property
    def needs_critic(self) -> bool:
        """Whether the baseline is a critic's."""
        return self.baseline == "value"

    def credit(self, actor: Actor, rollout: Rollout) -> ValuedExperience:
        """Return the returns to go, minus the baseline."""
        is_action = rollout.is_action
        values = torch.zeros_like(rollout.values)
        after = torch.zeros_like(rollout.after)
        if self.needs_critic:
            values, after = critic_values(actor, rollout)
        returns = returns_to_go(rollout.rewards, is_action, self.gamma, after)
        if self.baseline == "mean":
            baseline = masked_mean(returns, is_action).expand_as(returns)
        else:  # without a critic the values are 0
            baseline = values
        advantages = torch.where(is_action, returns - baseline, 0)
        if self.whiten:
            advantages = standardise(advantages, is_action)
        return ValuedExperience.of(
            rollout,
            advantages,
            per_action(is_action),
            values=values,
            returns=returns,
        )

    def update(
        self, actor: Actor, experience: ValuedExperience, stepper: Stepper
    ) -> Metrics:
        """Take one step along the policy gradient, and the critic's where there is one."""
        return stepper.step(
            single_actions(experience),
            partial(self._costs, bonus_weight(self, experience)),
        )

    def _costs(
        self, bonus: float, experience: ValuedExperience, now: ActionEvaluation
    ) -> Costs:
        policy_cost: Tensor = policy_gradient(
            now.log_probs, experience.advantages
        )
        costs = {"policy_loss": policy_cost, "entropy": now.entropy}
        costs["cost"] = policy_cost - bonus * now.entropy
        if self.needs_critic:
            costs.update(critic_costs(experience, now))
            costs["cost"] = (
                costs["cost"] + self.value_weight * costs["value_loss"]
            )
        return costs
