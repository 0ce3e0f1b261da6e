"""Parts that algorithms share.

Settings that several algorithms have, advantages from a critic, the entropy bonus, epochs of
minibatches with the clipped ratio, and comparison of the completions of one prompt.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from tastemaker.errors import UsageError
from tastemaker.maths.rl import (
    clipped,
    gae,
    is_clipped,
    k3,
    masked_mean,
    standardise,
    value_error,
)
from tastemaker.rl.algorithms.base import (
    ActionEvaluation,
    Actor,
    Costs,
    Experience,
    Rollout,
    Stepper,
    ValuedExperience,
    per_action,
)
from tastemaker.settings import LIMIT, NOT_NEGATIVE, POSITIVE, SHARE, at_least

# help and check of the settings of several algorithms
LR = ("Learning rate.", POSITIVE)
GAMMA = ("Discount a step.", SHARE)
LAM = ("λ of the advantages: 1 trusts the returns, 0 the critic.", SHARE)
WHITEN = "Give advantages a mean of 0 and a standard deviation of 1."
VALUE_WEIGHT = ("Weight of the critic's loss.", NOT_NEGATIVE)
ENTROPY = ("Weight of a bonus for entropy.", NOT_NEGATIVE)
TARGET_ENTROPY = (
    "Entropy at which the bonus has faded to 0, nats an action; inf: it never fades.",
    LIMIT,
)
SAMPLES = ("Completions of one prompt.", at_least(2))
EPOCHS = ("Epochs over one rollout.", at_least(1))
MINIBATCHES = ("Optimiser steps in an epoch.", at_least(1))
CLIP = (
    "How far an action's ratio may move from 1 before it stops mattering.",
    POSITIVE,
)
TARGET_KL = (
    "Sweeps end once the policy is this far from the one that acted, nats an action.",
    LIMIT,
)


def critic_values(actor: Actor, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Return the critic's values [B, T] and the value after each row [B], 0 where it terminated.

    Raises UsageError for a policy without a critic.
    """
    if not actor.has_critic:
        raise UsageError(
            "this algorithm needs a critic, and the policy has none: policy.with_value_head()."
        )
    return rollout.values, torch.where(rollout.terminated, 0, rollout.after)


def advantages_of(
    actor: Actor, rollout: Rollout, *, gamma: float, lam: float, whiten: bool
) -> ValuedExperience:
    """Return generalised advantages, and the returns: advantages plus values.

    The returns are made of the raw advantages, so whitening does not change what the critic learns.
    """
    is_action = rollout.is_action
    values, after = critic_values(actor, rollout)
    advantages = gae(
        rollout.rewards, values, after, is_action, gamma=gamma, lam=lam
    )
    returns = torch.where(is_action, advantages + values, 0)
    if whiten:
        advantages = standardise(advantages, is_action)
    return ValuedExperience.of(
        rollout,
        advantages,
        per_action(is_action),
        values=values,
        returns=returns,
    )


def critic_costs(
    experience: ValuedExperience, now: ActionEvaluation, clip: float = math.inf
) -> Costs:
    """Return the critic's error of each action."""
    return {
        "value_loss": value_error(
            now.values, experience.returns, experience.values, clip=clip
        )
    }


class HasEntropyBonus(Protocol):
    """The settings of the entropy bonus."""

    @property
    def entropy(self) -> float:
        """The bonus for a nat of an action's entropy."""
        ...

    @property
    def target_entropy(self) -> float:
        """The entropy at which the bonus is 0, nats an action; infinite: it never fades."""
        ...


def bonus_weight(algorithm: HasEntropyBonus, experience: Experience) -> float:
    """Return the weight of the entropy bonus in this update; it falls as the entropy rises.

    w · max(0, 1 − H / H*), with H* the target and H the mean of −log π over the actions, whose
    expectation is the entropy. So the bonus holds a policy near its target entropy (compare
    Haarnoja et al. 2018, section 5), without a state that a run would have to keep.
    """
    entropy = -float(masked_mean(experience.log_probs, experience.is_action))
    return algorithm.entropy * max(0.0, 1 - entropy / algorithm.target_entropy)


E = TypeVar("E", bound=Experience)


class HasEpochs(Protocol):
    """The settings of several epochs over one rollout."""

    @property
    def epochs(self) -> int:
        """The most epochs over one rollout."""
        ...

    @property
    def minibatches(self) -> int:
        """Optimiser steps an epoch."""
        ...

    @property
    def target_kl(self) -> float:
        """The KL from the policy that acted beyond which no epoch begins, nats an action."""
        ...


def minibatch_epochs(
    algorithm: HasEpochs,
    stepper: Stepper,
    experience: E,
    costs: Callable[[E, ActionEvaluation], Costs],
) -> dict[str, float]:
    """Take one step a minibatch for some epochs; return the mean metrics of the last epoch.

    The costs hold "moved", an estimate of each action's KL from the policy that acted. An epoch
    whose mean of it is more than `target_kl` is the last.
    """
    epochs = 0
    means = {"moved": 0.0}
    while epochs < algorithm.epochs and means["moved"] <= algorithm.target_kl:
        epochs = epochs + 1
        means = {}
        for part, share in stepper.minibatches(
            experience, algorithm.minibatches
        ):
            for name, value in stepper.step(part, costs, share=share).items():
                means[name] = means.get(name, 0.0) + share * value
    return means | {"epochs": float(epochs)}


def clipped_costs(
    experience: Experience,
    now: ActionEvaluation,
    *,
    clip: float,
    entropy: float,
) -> Costs:
    """Return the clipped cost of each action minus the entropy bonus, and measurements.

    entropy: the weight of the bonus.
    """
    before = experience.log_probs
    policy_cost = clipped(
        now.log_probs, before, experience.advantages, clip=clip
    )
    return {
        "cost": policy_cost - entropy * now.entropy,
        "policy_loss": policy_cost,
        "entropy": now.entropy,
        "moved": k3(before, now.log_probs),
        "clip_fraction": is_clipped(now.log_probs, before, clip),
    }


class HasClip(HasEntropyBonus, HasEpochs, Protocol):
    """The settings of epochs with a clipped ratio."""

    @property
    def clip(self) -> float:
        """How far a ratio may move from 1 before it stops mattering."""
        ...


def clipped_epochs(
    algorithm: HasClip, stepper: Stepper, experience: Experience
) -> dict[str, float]:
    """Take epochs of minibatches with the clipped ratio and the entropy bonus, without a critic.

    One epoch in one step is REINFORCE.
    """
    costs = partial(
        clipped_costs,
        clip=algorithm.clip,
        entropy=bonus_weight(algorithm, experience),
    )
    return minibatch_epochs(algorithm, stepper, experience, costs)


def group_experience(
    rollout: Rollout, advantages: Tensor, weights: Tensor
) -> Experience:
    """Return experience in which every action has its row's advantage [B].

    Raises UsageError for a row that has nothing to be compared with.
    """
    _, counts = torch.unique(rollout.groups, return_counts=True)
    if int(counts.min()) < 2:
        raise UsageError(
            "an algorithm that compares completions of one prompt needs 2 or more of each."
        )
    of_actions = torch.where(rollout.is_action, advantages[:, None], 0)
    return Experience.of(rollout, of_actions, weights)


def ranks_in_group(scores: Tensor, groups: Tensor) -> Tensor:
    """Return each row's rank in its group by score [B]: 0 is the best; equals keep their order."""
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[torch.argsort(groups[order], stable=True)]
    _, counts = torch.unique_consecutive(groups[order], return_counts=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=order.device) - starts
    return ranks


class Pairs(NamedTuple):
    """Pairs of rows: better and worse row, int64 [p], and the share of the group's pairs [p]."""

    better: Tensor
    worse: Tensor
    shares: Tensor


def pairs_of(groups: Tensor, tiers: Tensor) -> Pairs:
    """Return every pair of rows of one group and of different tiers [B].

    The shares of a group's pairs sum to 1.
    """
    is_pair = (groups[:, None] == groups[None]) & (
        tiers[:, None] < tiers[None]
    )
    better, worse = is_pair.nonzero(as_tuple=True)
    _, group, counts = torch.unique(
        groups[better], return_inverse=True, return_counts=True
    )
    return Pairs(better, worse, 1 / counts[group])
