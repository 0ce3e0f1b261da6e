"""PPO: several epochs over one rollout with a clipped ratio (Schulman et al. 2017).

What it adds to A2C: the ratio to the policy that acted, clipped (Schulman et al. 2017), and epochs
that stop early once the policy has moved far. Clipping the value too is off: it does not help
(Andrychowicz et al. 2021). The first pass has ratio 1, so its gradient is
A2C's; a test checks this.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

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
    CLIP,
    ENTROPY,
    EPOCHS,
    GAMMA,
    LAM,
    LR,
    MINIBATCHES,
    TARGET_ENTROPY,
    TARGET_KL,
    VALUE_WEIGHT,
    WHITEN,
    advantages_of,
    bonus_weight,
    clipped_costs,
    critic_costs,
    minibatch_epochs,
)
from tastemaker.settings import LIMIT, setting, settings_class


@settings_class
@dataclass(frozen=True)
class PPO(Algorithm[ValuedExperience]):
    """Proximal policy optimisation."""

    name: ClassVar[str] = "ppo"
    takes_shares: ClassVar[bool] = True
    needs_critic: ClassVar[bool] = True
    play_settings: ClassVar[PlaySettings] = {
        ANY: (
            {
                "lr": 1e-3,
                "gamma": 0.99,
                "lam": 0.95,
                "epochs": 10,
                "minibatches": 8,
            },
            {"steps": 1_000_000, "envs": 16, "rollout": 128},
        ),
        "CartPole-v1": (
            {
                "lr": 2e-3,
                "gamma": 0.99,
                "lam": 0.95,
                "epochs": 10,
                "minibatches": 1,
            },
            {
                "steps": 100_000,
                "envs": 16,
                "rollout": 32,
                "normalise_observations": False,
            },
        ),
        "Acrobot-v1": (
            {
                "lr": 1e-3,
                "gamma": 0.99,
                "lam": 0.94,
                "epochs": 4,
                "minibatches": 4,
            },
            {"steps": 400_000, "envs": 16, "rollout": 256},
        ),
        "LunarLander-v3": (
            {
                "lr": 1e-3,
                "gamma": 0.999,
                "lam": 0.98,
                "epochs": 4,
                "minibatches": 16,
                "entropy": 0.01,
            },
            {"steps": 500_000, "envs": 16, "rollout": 512},
        ),
        "Pendulum-v1": (
            {
                "lr": 1e-3,
                "gamma": 0.9,
                "lam": 0.95,
                "epochs": 10,
                "minibatches": 16,
            },
            {"steps": 200_000, "envs": 8, "rollout": 512},
        ),
        "MountainCarContinuous-v0": (
            {
                "lr": 3e-4,
                "gamma": 0.9999,
                "lam": 0.9,
                "epochs": 10,
                "minibatches": 8,
            },
            {"steps": 100_000, "envs": 8, "rollout": 256, "log_sd": 1.0},
        ),
    }

    clip: float = setting(0.2, *CLIP)
    lr: float = setting(5e-4, *LR)
    epochs: int = setting(2, *EPOCHS)
    minibatches: int = setting(2, *MINIBATCHES)
    gamma: float = setting(1.0, *GAMMA)
    lam: float = setting(1.0, *LAM)
    target_kl: float = setting(0.05, *TARGET_KL)
    whiten: bool = setting(True, WHITEN)
    value_weight: float = setting(0.5, *VALUE_WEIGHT)
    entropy: float = setting(0.01, *ENTROPY)
    target_entropy: float = setting(math.inf, *TARGET_ENTROPY)
    value_clip: float = setting(
        math.inf,
        "How far a value may move before it stops mattering; inf: any way.",
        LIMIT,
    )

    def credit(self, actor: Actor, rollout: Rollout) -> ValuedExperience:
        """Return generalised advantages."""
        return advantages_of(
            actor, rollout, gamma=self.gamma, lam=self.lam, whiten=self.whiten
        )

    def update(
        self, actor: Actor, experience: ValuedExperience, stepper: Stepper
    ) -> Metrics:
        """Take the epochs; stop early at `target_kl`."""
        return minibatch_epochs(
            self,
            stepper,
            single_actions(experience),
            partial(self._costs, bonus_weight(self, experience)),
        )

    def _costs(
        self, bonus: float, experience: ValuedExperience, now: ActionEvaluation
    ) -> Costs:
        costs = clipped_costs(experience, now, clip=self.clip, entropy=bonus)
        costs.update(critic_costs(experience, now, self.value_clip))
        costs["cost"] = costs["cost"] + self.value_weight * costs["value_loss"]
        return costs
