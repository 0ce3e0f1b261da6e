"""Completions of one prompt compared with each other: one advantage for all tokens of a completion."""

from typing import NamedTuple

import torch
from torch import Tensor

from tastemaker.errors import UsageError
from tastemaker.learning.algorithms.experience import Experience, Rollout


def group_experience(rollout: Rollout, advantages: Tensor, weights: Tensor) -> Experience:
    """Return what every action of a row deserves: its row's advantage [B].

    Raises UsageError for a row that has nothing to be compared with.
    """
    _, counts = torch.unique(rollout.groups, return_counts=True)
    if int(counts.min()) < 2:
        raise UsageError("an algorithm that compares completions of one prompt needs 2 or more of each.")
    return Experience(
        did=rollout.did,
        is_action=rollout.is_action,
        log_probs=rollout.log_probs,
        reference=rollout.reference,
        advantages=torch.where(rollout.is_action, advantages[:, None], 0),
        weights=weights,
    )


def places_in_group(scores: Tensor, groups: Tensor) -> Tensor:
    """Return each row's place among the scores of its group [B], 0 for the best; the first of equals stands first."""
    order = torch.argsort(scores, descending=True, stable=True)
    order = order[torch.argsort(groups[order], stable=True)]
    _, counts = torch.unique_consecutive(groups[order], return_counts=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    found = torch.empty_like(order)
    found[order] = torch.arange(len(order), device=order.device) - starts
    return found


class Pairs(NamedTuple):
    """Which row is better than which, int64 [p] both, and what part of its group's pairs each is, float [p]."""

    better: Tensor
    worse: Tensor
    shares: Tensor


def pairs_of(groups: Tensor, tiers: Tensor) -> Pairs:
    """Return every pair of rows of one group and of different tiers [B]; the shares of a group's pairs sum to 1."""
    is_pair = (groups[:, None] == groups[None]) & (tiers[:, None] < tiers[None])
    better, worse = is_pair.nonzero(as_tuple=True)
    _, group, counts = torch.unique(groups[better], return_inverse=True, return_counts=True)
    return Pairs(better, worse, 1 / counts[group])
