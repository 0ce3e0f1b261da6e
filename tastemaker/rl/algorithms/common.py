"""Parts that algorithms share.

Settings that several algorithms have, advantages from a critic, the entropy bonus, epochs of
minibatches with the clipped ratio, and comparison of the completions of one prompt.
"""

import math
from collections.abc import Callable
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
    Actor,
    Costs,
    Evaluation,
    Experience,
    Rollout,
    Stepper,
    ValuedExperience,
    per_action,
)
from tastemaker.settings import LIMIT, NOT_NEGATIVE, POSITIVE, SHARE, at_least

# help and check of the settings that several algorithms have
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
EPOCHS = ("Sweeps over one rollout.", at_least(1))
MINIBATCHES = ("Optimiser steps in a sweep.", at_least(1))
CLIP = (
    "How far an action's ratio may move from 1 before it stops mattering.",
    POSITIVE,
)
TARGET_KL = (
    "Sweeps end once the policy is this far from the one that acted, nats an action.",
    LIMIT,
)


def foreseen(actor: Actor, rollout: Rollout) -> tuple[Tensor, Tensor]:
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
    """Return generalised advantages and the returns that they add up to with the values.

    Raw advantages make the returns, so whitening changes what the policy learns and nothing that
    the critic does.
    """
    values, after = foreseen(actor, rollout)
    advantages = gae(
        rollout.rewards, values, after, rollout.is_action, gamma=gamma, lam=lam
    )
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


def critic_costs(
    experience: ValuedExperience, now: Evaluation, clip: float = math.inf
) -> Costs:
    """Return the critic's error of each action."""
    return {
        "value_loss": value_error(
            now.values, experience.returns, experience.values, clip=clip
        )
    }


class Undecided(Protocol):
    """How an algorithm pays for entropy: its settings of these names."""

    @property
    def entropy(self) -> float:
        """What a nat of an action's entropy is worth."""
        ...

    @property
    def target_entropy(self) -> float:
        """Where the bonus has faded to nothing, nats an action; infinite where it never fades."""
        ...


def bonus_weight(how: Undecided, experience: Experience) -> float:
    """Return the weight of the entropy bonus in this update; it falls with the entropy.

    w · max(0, 1 − H / enough), with H the mean of −log π over the actions taken, whose expectation
    is the entropy. So a policy may become sure quickly and is held where it is sure enough, as a
    target entropy holds it (Haarnoja et al. 2018, section 5), but with no state that a run would
    have to keep.
    """
    acted = -float(masked_mean(experience.log_probs, experience.is_action))
    return how.entropy * max(0.0, 1 - acted / how.target_entropy)


E = TypeVar("E", bound=Experience)


class Sweeping(Protocol):
    """How an algorithm sweeps: its settings of these names."""

    @property
    def epochs(self) -> int:
        """The most sweeps over one rollout."""
        ...

    @property
    def minibatches(self) -> int:
        """Steps a pass."""
        ...

    @property
    def target_kl(self) -> float:
        """How far the policy may be from the one that acted when a pass begins, nats an action."""
        ...


def minibatch_epochs(
    how: Sweeping,
    stepper: Stepper,
    experience: E,
    costs: Callable[[E, Evaluation], Costs],
) -> dict[str, float]:
    """Take one step a minibatch for some epochs; return the mean metrics of the last epoch.

    The costs hold "moved": how far each action's policy is from the one that acted. A pass over
    which its mean is more than `target_kl` is the last.
    """
    done, sums = 0, {"moved": 0.0}
    while done < how.epochs and sums["moved"] <= how.target_kl:
        done, sums = done + 1, {}
        for part, share in stepper.minibatches(experience, how.minibatches):
            for name, value in stepper.step(part, costs, share=share).items():
                sums[name] = sums.get(name, 0.0) + share * value
    return sums | {"epochs": float(done)}


def clipped_costs(
    experience: Experience, now: Evaluation, *, clip: float, entropy: float
) -> Costs:
    """Return the clipped cost of each action minus the entropy bonus, and the KL from before."""
    before = experience.log_probs
    policy_cost = clipped(now.log_probs, before, experience.advantages, clip=clip)
    return {
        "cost": policy_cost - entropy * now.entropy,
        "policy_loss": policy_cost,
        "entropy": now.entropy,
        "moved": k3(before, now.log_probs),
        "clip_fraction": is_clipped(now.log_probs, before, clip),
    }


def group_experience(
    rollout: Rollout, advantages: Tensor, weights: Tensor
) -> Experience:
    """Return what every action of a row deserves: its row's advantage [B].

    Raises UsageError for a row that has nothing to be compared with.
    """
    _, counts = torch.unique(rollout.groups, return_counts=True)
    if int(counts.min()) < 2:
        raise UsageError(
            "an algorithm that compares completions of one prompt needs 2 or more of each."
        )
    return Experience(
        did=rollout.did,
        is_action=rollout.is_action,
        log_probs=rollout.log_probs,
        reference=rollout.reference,
        advantages=torch.where(rollout.is_action, advantages[:, None], 0),
        weights=weights,
    )


def places_in_group(scores: Tensor, groups: Tensor) -> Tensor:
    """Return each row's rank in its group by score [B]: 0 is the best; equals keep their order."""
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[torch.argsort(groups[order], stable=True)]
    _, counts = torch.unique_consecutive(groups[order], return_counts=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device) - starts
    return places


class Pairs(NamedTuple):
    """Pairs of rows: better and worse row, int64 [p], and the share of the group's pairs [p]."""

    better: Tensor
    worse: Tensor
    shares: Tensor


def pairs_of(groups: Tensor, tiers: Tensor) -> Pairs:
    """Return every pair of rows of one group and of different tiers [B].

    The shares of a group's pairs sum to 1.
    """
    is_pair = (groups[:, None] == groups[None]) & (tiers[:, None] < tiers[None])
    better, worse = is_pair.nonzero(as_tuple=True)
    _, group, counts = torch.unique(
        groups[better], return_inverse=True, return_counts=True
    )
    return Pairs(better, worse, 1 / counts[group])
