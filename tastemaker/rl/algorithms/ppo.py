"""Proximal policy optimisation: several epochs over one rollout, while a clip keeps each action near where it was.

What it adds to A2C: the ratio to the policy that acted, clipped (Schulman et al. 2017), and epochs that stop early once
the policy has moved far. Clipping the value too is off: it does not help (Andrychowicz et al. 2021). The first pass has
ratio 1, so its gradient is A2C's; a test holds it to that.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from tastemaker.rl.algorithms.base import (
    Actor,
    Evaluation,
    Metrics,
    Rollout,
    ValuedExperience,
    apart,
)
from tastemaker.rl.algorithms.common import (
    advantages_of,
    bonus_weight,
    clipped_costs,
    critic_costs,
    minibatch_epochs,
)
from tastemaker.rl.algorithms.stepper import Costs, Stepper
from tastemaker.settings import (
    check_at_least,
    check_limit,
    check_not_negative,
    check_positive,
    check_share,
)


@dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation.

    clip: how far an action's ratio may move before it stops mattering. epochs: sweeps over one rollout. minibatches:
    steps a pass. target_kl: epochs end once the policy is this far from the one that acted, in nats an action.
    value_clip: as clip, for values; infinite for none. gamma, lam, whiten, value_weight, entropy,
    target_entropy: as in A2C.
    """

    name: ClassVar[str] = "ppo"
    needs_critic: ClassVar[bool] = True
    samples: ClassVar[int] = 1

    clip: float = 0.2
    lr: float = 5e-4
    epochs: int = 2
    minibatches: int = 2
    gamma: float = 1.0
    lam: float = 1.0
    target_kl: float = 0.05
    whiten: bool = True
    value_weight: float = 0.5
    entropy: float = 0.01
    target_entropy: float = math.inf
    value_clip: float = math.inf

    def __post_init__(self) -> None:
        check_positive(self, "clip", "lr")
        check_at_least(self, 1, "epochs", "minibatches")
        check_share(self, "gamma", "lam")
        check_not_negative(self, "entropy", "value_weight")
        check_limit(self, "target_kl", "value_clip", "target_entropy")

    def credit(self, actor: Actor, rollout: Rollout) -> ValuedExperience:
        """Return generalised advantages."""
        return advantages_of(actor, rollout, gamma=self.gamma, lam=self.lam, whiten=self.whiten)

    def update(self, actor: Actor, experience: ValuedExperience, stepper: Stepper) -> Metrics:
        """Sweep over the experience until the epochs are done or the policy has moved far enough."""
        return minibatch_epochs(
            self, stepper, apart(experience), partial(self._costs, bonus_weight(self, experience))
        )

    def _costs(self, bonus: float, experience: ValuedExperience, now: Evaluation) -> Costs:
        found = clipped_costs(experience, now, clip=self.clip, entropy=bonus)
        found |= critic_costs(experience, now, self.value_clip)
        return found | {"cost": found["cost"] + self.value_weight * found["value_loss"]}
