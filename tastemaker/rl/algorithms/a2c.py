"""Advantage actor–critic: the critic also stands in for what has not come yet (Mnih et al. 2016).

What it adds to REINFORCE with a critic: generalised advantages, which mix the critic's expectation into the return, so
that spread falls and some bias comes in (Schulman et al. 2016). Left out: workers that run apart.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from tastemaker.maths.rl import policy_gradient
from tastemaker.rl.algorithms.base import (
    ANY,
    Actor,
    Algorithm,
    Evaluation,
    Metrics,
    PlaySettings,
    Rollout,
    ValuedExperience,
    apart,
)
from tastemaker.rl.algorithms.common import advantages_of, bonus_weight, critic_costs
from tastemaker.rl.algorithms.stepper import Costs, Stepper
from tastemaker.settings import check_limit, check_not_negative, check_positive, check_share


@dataclass(frozen=True)
class A2C(Algorithm[ValuedExperience]):
    """Advantage actor–critic.

    gamma: discount a step. lam: λ of the advantages; 1 trusts what came, 0 what the critic expects. whiten: advantages
    with mean 0 and standard deviation 1. value_weight: of the critic's error beside the policy's cost. entropy: weight
    of a bonus for staying undecided. target_entropy: where the bonus has faded to nothing, nats an action; infinite
    where it never fades.
    """

    name: ClassVar[str] = "a2c"
    needs_critic: ClassVar[bool] = True
    play_settings: ClassVar[PlaySettings] = {
        ANY: (
            {"lr": 2e-3, "gamma": 0.99, "lam": 0.9, "entropy": 0.0},
            {"steps": 1_000_000, "envs": 32, "rollout": 16},
        ),
        "CartPole-v1": (
            {"lr": 3e-3, "gamma": 0.99, "lam": 1.0, "entropy": 0.0},
            {"steps": 800_000, "envs": 32, "rollout": 32, "normalise_observations": False},
        ),
    }

    lr: float = 1e-3
    gamma: float = 1.0
    lam: float = 1.0
    whiten: bool = True
    value_weight: float = 0.5
    entropy: float = 0.01
    target_entropy: float = math.inf

    def __post_init__(self) -> None:
        check_positive(self, "lr")
        check_share(self, "gamma", "lam")
        check_not_negative(self, "entropy", "value_weight")
        check_limit(self, "target_entropy")

    def credit(self, actor: Actor, rollout: Rollout) -> ValuedExperience:
        """Return generalised advantages."""
        return advantages_of(actor, rollout, gamma=self.gamma, lam=self.lam, whiten=self.whiten)

    def update(self, actor: Actor, experience: ValuedExperience, stepper: Stepper) -> Metrics:
        """Take one step along the policy gradient and the critic's."""
        return stepper.step(apart(experience), partial(self._costs, bonus_weight(self, experience)))

    def _costs(self, bonus: float, experience: ValuedExperience, now: Evaluation) -> Costs:
        policy_cost = policy_gradient(now.log_probs, experience.advantages)
        found = {"policy_loss": policy_cost, "entropy": now.entropy} | critic_costs(experience, now)
        return found | {
            "cost": policy_cost + self.value_weight * found["value_loss"] - bonus * now.entropy
        }
