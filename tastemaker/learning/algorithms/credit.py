"""Parts that algorithms with a critic share: what it expects, who deserves what by its word, and how it learns."""

import math

import torch
from torch import Tensor

from tastemaker.errors import UsageError
from tastemaker.learning.algorithms.experience import Actor, Evaluation, Rollout, ValuedExperience, per_action
from tastemaker.learning.algorithms.stepper import Costs
from tastemaker.maths.advantages import gae
from tastemaker.maths.masked import standardise
from tastemaker.maths.objectives import value_error


def foreseen(actor: Actor, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Return the critic's values [B, T] and that of what follows each row [B], 0 where nothing does.

    Raises UsageError for a policy without a critic.
    """
    if not actor.has_critic:
        raise UsageError("this algorithm needs a critic, and the policy has none: policy.with_value_head().")
    return rollout.values, torch.where(rollout.terminated, 0, rollout.after)


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
