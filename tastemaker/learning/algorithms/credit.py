"""Parts that algorithms with a critic share: what it expects, who deserves what by its word, and how it learns."""

import math

import torch
from torch import Tensor

from tastemaker.learning.algorithms.experience import Actor, Evaluation, Rollout, ValuedExperience, per_action
from tastemaker.learning.algorithms.stepper import Costs
from tastemaker.maths.advantages import gae
from tastemaker.maths.masked import standardise
from tastemaker.maths.objectives import value_error


def foreseen(actor: Actor, rollout: Rollout, *, wanted: bool = True) -> tuple[Tensor, Tensor]:
    """Return the critic's values [B, T] and that of what follows each row [B], 0 where nothing does; all 0 unwanted."""
    if not wanted:
        return torch.zeros_like(rollout.rewards), torch.zeros_like(rollout.rewards[:, 0])
    values, after = actor.expected(rollout)
    return values, torch.where(rollout.terminated, 0, after)


def advantages_of(actor: Actor, rollout: Rollout, *, gamma: float, lam: float, whiten: bool) -> ValuedExperience:
    """Return generalised advantages and the returns that they add up to with the values.

    Raw advantages make the returns, so whitening changes what the policy learns and nothing that the critic does.
    """
    values, after = foreseen(actor, rollout)
    advantages = gae(rollout.rewards, values, after, rollout.is_action, gamma=gamma, lam=lam)
    return ValuedExperience(
        did=rollout.did,
        is_action=rollout.is_action,
        log_probs=rollout.log_probs,
        reference=rollout.reference,
        advantages=standardise(advantages, rollout.is_action) if whiten else advantages,
        weights=per_action(rollout.is_action),
        values=values,
        returns=torch.where(rollout.is_action, advantages + values, 0),
    )


def critic_costs(experience: ValuedExperience, now: Evaluation, clip: float = math.inf) -> Costs:
    """Return the critic's error of each action."""
    return {"value_loss": value_error(now.values, experience.returns, experience.values, clip=clip)}
