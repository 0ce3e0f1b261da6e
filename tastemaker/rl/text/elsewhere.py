"""What another engine wrote, as the policy itself would have written it.

A writer draws tokens by probabilities that differ a little from the policy's own, because it
computes in another format and order. The policy's own pass gives the old log-probabilities that
algorithms compare with; each token counts by the ratio of both probabilities, cut at a limit
(truncated importance sampling, Yao et al. 2025).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tastemaker.data.judgements import Prompt
from tastemaker.fast.processor import like_parts
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.writers import Writer, written_by
from tastemaker.gpt.writing import Completion
from tastemaker.maths.rl import k3, masked_mean
from tastemaker.rl.algorithms.base import (
    ActionEvaluation,
    Actor,
    Metrics,
    Trajectories,
)

_AT_ONCE = 8192
"""Tokens that go through the network at once."""


@dataclass(frozen=True)
class Mismatch:
    """How far a writer's probabilities are from the policy's. ratios: of each token, cut [B, T]."""

    ratios: Tensor
    metrics: Metrics


def mismatch_of(
    policy: Tensor, writer: Tensor, is_action: Tensor, limit: float
) -> Mismatch:
    """Compare log-probabilities of the same tokens [B, T].

    limit: the largest ratio. The metrics are means over tokens: the distance of log-probabilities,
    the KL of the writer from the policy (`k3`), and the share of ratios that were cut.
    """
    difference = (policy - writer).where(is_action, torch.zeros_like(policy))
    ratios = difference.exp()
    is_cut = (ratios > limit).float()
    metrics = {
        "mismatch": float(masked_mean(difference.abs(), is_action)),
        "mismatch_kl": float(masked_mean(k3(writer, policy), is_action)),
        "mismatch_cut": float(masked_mean(is_cut, is_action)),
    }
    return Mismatch(ratios.clamp(max=limit), metrics)


@dataclass(frozen=True)
class Elsewhere:
    """A writer as a world of text uses it. ratio_limit: the largest weight of a token it wrote."""

    writer: Writer
    ratio_limit: float

    def complete(
        self, policy: Policy, prompts: Sequence[Prompt], **settings: Any
    ) -> list[Completion]:
        """Write completions with the weights as they are now."""
        # always sent: the optimiser's writes leave no trace that could be asked
        self.writer.take(policy.module)
        return written_by(self.writer, policy, prompts, **settings)

    def compare(
        self,
        actor: Actor,
        trajectories: Trajectories,
        is_action: Tensor,
        log_probs: Tensor,
    ) -> tuple[ActionEvaluation, Mismatch]:
        """Return the policy's own pass over what was written, and how far the writer is from it.

        log_probs: the writer's [B, T], on the CPU as all that is returned.
        """
        policy = evaluated(actor, trajectories, is_action)
        mismatch = mismatch_of(
            policy.log_probs, log_probs, is_action, self.ratio_limit
        )
        return policy, mismatch


@torch.no_grad()
def evaluated(
    actor: Actor, trajectories: Trajectories, is_action: Tensor
) -> ActionEvaluation:
    """Return log-probabilities, entropies and values of all rows' tokens [B, T], on the CPU."""
    device = actor.policy_parameters()[0].device
    parts = like_parts(trajectories.sizes(), _AT_ONCE, actor.threads)
    each = []
    for rows in parts:
        chosen = is_action[rows].to(device)
        each.append(actor.evaluate(trajectories.select(rows), chosen))
    order = torch.argsort(torch.cat(parts))
    columns = [torch.cat(one).cpu()[order] for one in zip(*each, strict=True)]
    return ActionEvaluation(*columns)
