"""DPO: the better of two completions becomes likelier, the worse one less likely.

The loss needs no reward and no critic: the policy's own log-ratio to its reference is the reward
that it implies (Rafailov et al. 2023). What is compared are the best and the worst of each prompt's
completions by the score, or texts that people judged.

The loss is −log σ(βm), where m is the margin between the two log-ratios. Its gradient is
−βσ(−βm)·(∇log π(chosen) − ∇log π(rejected)): a policy gradient with the advantages ±βσ(−βm). It is
computed so; a test compares it with the gradient of the loss itself. A ranking of K texts is K rows
and not K(K − 1): the terms of a text's pairs add up to one advantage.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from tastemaker import processes
from tastemaker.fast.processor import side_by_side
from tastemaker.maths.rl import dpo, masked_sum, policy_gradient
from tastemaker.rl.algorithms.base import (
    ActionEvaluation,
    Actor,
    Algorithm,
    Compared,
    Costs,
    Metrics,
    Rollout,
    Stepper,
)
from tastemaker.rl.algorithms.common import (
    EPOCHS,
    LR,
    MINIBATCHES,
    SAMPLES,
    Pairs,
    pairs_of,
    ranks_in_group,
)
from tastemaker.settings import POSITIVE, setting, settings_class


@settings_class
@dataclass(frozen=True)
class DPO(Algorithm[Compared]):
    """Direct preference optimisation."""

    name: ClassVar[str] = "dpo"
    takes_shares: ClassVar[bool] = True

    samples: int = setting(4, *SAMPLES)
    beta: float = setting(
        0.1,
        "Implied reward of a nat of log-ratio; the smaller, the farther from the reference.",
        POSITIVE,
    )
    lr: float = setting(1e-4, *LR)
    epochs: int = setting(2, *EPOCHS)
    minibatches: int = setting(2, *MINIBATCHES)

    def credit(self, actor: Actor, rollout: Rollout) -> Compared:
        """Return the best and the worst row of each group, one after the other.

        A group whose scores are all equal is left out.
        """
        rows = _best_and_worst(rollout.scores, rollout.groups)
        pairs = rollout.select(rows.flatten())
        count = len(rows)
        numbers = torch.arange(2 * count, device=rows.device)
        return Compared.of(
            pairs,
            advantages=torch.zeros_like(pairs.log_probs),
            weights=pairs.is_action.float() / max(count, 1),
            groups=numbers // 2,
            tiers=numbers % 2,
        )

    def update(
        self, actor: Actor, experience: Compared, stepper: Stepper
    ) -> Metrics:
        """Sweep over the groups."""
        pairs = pairs_of(experience.groups, experience.tiers)
        metrics: Metrics = {"pairs_told": float(len(pairs.better))}
        if not len(experience.is_action):
            return metrics
        for _ in range(self.epochs):
            means: Metrics = {}
            for part, share in _minibatches(
                experience, self.minibatches, stepper.generator
            ):
                for name, value in self._step(part, stepper, share).items():
                    means[name] = means.get(name, 0.0) + share * value
            metrics |= means
        return metrics

    def agreement(self, compared: Compared, log_probs: Tensor) -> Metrics:
        """Return the mean loss, the share of margins above 0, and the mean margin.

        A margin of 0 counts as half. All pairs of a group together count as the group's weight. All
        three are 0 where nothing is compared.
        """
        pairs, now, reference = _row_log_probs(compared, log_probs)
        better, worse, shares = pairs
        loss = dpo(
            now[better],
            now[worse],
            reference[better],
            reference[worse],
            beta=self.beta,
        )
        margin = _margins(pairs, now - reference)
        values = {
            "preference_loss": loss,
            "preference_accuracy": 0.5 + 0.5 * torch.sign(margin),
            "preference_margin": self.beta * margin,
        }
        weights = shares * compared.weights.amax(1)[better]
        total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        return {
            name: float((weights * x).sum() / total)
            for name, x in values.items()
        }

    def _step(self, part: Compared, stepper: Stepper, share: float) -> Metrics:
        """Take one step along the gradient of the mean loss of some groups.

        A row's advantage depends on the other rows of its group. If all rows are computed at once,
        the advantages come from the same pass; otherwise from an extra pass before.
        """
        if not stepper.computes_at_once(part):
            log_probs = _current_log_probs(stepper, part)
            metrics = self.agreement(part, log_probs)
            part = self._with_advantages(part, log_probs)
            step_metrics = stepper.step(part, _costs, share=share)
        else:
            metrics = {}

            def costs(rows: Compared, now: ActionEvaluation) -> Costs:
                log_probs = now.log_probs.detach()
                metrics.update(self.agreement(rows, log_probs))
                return _costs(self._with_advantages(rows, log_probs), now)

            step_metrics = stepper.step(part, costs, share=share)
        for name in ("gradient_norm", "entropy"):
            metrics[name] = step_metrics[name]
        return metrics

    def _with_advantages(
        self, compared: Compared, log_probs: Tensor
    ) -> Compared:
        """Return the rows with advantages: the sum of ±βσ(−βm) over a row's pairs."""
        pairs, now, reference = _row_log_probs(compared, log_probs)
        margins = _margins(pairs, now - reference)
        slopes = self.beta * torch.sigmoid(-self.beta * margins) * pairs.shares
        advantages = torch.zeros_like(now)
        advantages = advantages.index_add(0, pairs.better, slopes)
        advantages = advantages.index_add(0, pairs.worse, -slopes)
        of_actions = torch.where(compared.is_action, advantages[:, None], 0)
        return replace(compared, advantages=of_actions)


def _costs(experience: Compared, now: ActionEvaluation) -> Costs:
    return {
        "cost": policy_gradient(now.log_probs, experience.advantages),
        "entropy": now.entropy,
    }


def _row_log_probs(
    compared: Compared, log_probs: Tensor
) -> tuple[Pairs, Tensor, Tensor]:
    """Return the pairs, and the log-probabilities of whole rows now and under the reference [B]."""
    now = masked_sum(log_probs, compared.is_action, 1)
    reference = masked_sum(compared.reference, compared.is_action, 1)
    return pairs_of(compared.groups, compared.tiers), now, reference


def _margins(pairs: Pairs, ratios: Tensor) -> Tensor:
    """Return the better row's log-ratio minus the worse one's [p], from those of all rows [B]."""
    return ratios[pairs.better] - ratios[pairs.worse]


def _best_and_worst(scores: Tensor, groups: Tensor) -> Tensor:
    """Return the best and the worst row of each group, int64 [g, 2]; none for equal scores."""
    order = torch.argsort(groups, stable=True)
    best = order[ranks_in_group(scores, groups)[order] == 0]
    worst = order[ranks_in_group(-scores, groups)[order] == 0]
    differs = scores[best] > scores[worst]
    return torch.stack([best, worst], 1)[differs]


def _minibatches(
    experience: Compared, parts: int, generator: torch.Generator
) -> Iterator[tuple[Compared, float]]:
    """Yield minibatches of whole groups, and the share of all groups that each is."""
    _, group = torch.unique(experience.groups, return_inverse=True)
    count = int(group.max()) + 1
    order = torch.randperm(count, generator=generator)
    for chosen in order.tensor_split(min(parts, count)):
        rows = torch.isin(group, chosen.to(group.device)).nonzero()[:, 0]
        yield experience.select(rows), len(chosen) / count


def _current_log_probs(stepper: Stepper, experience: Compared) -> Tensor:
    """Return the actions' log-probabilities under the policy as it is now [B, T]."""

    @torch.no_grad()
    def compute(rows: Tensor) -> Tensor:
        part = experience.select(rows)
        return stepper.actor.evaluate(
            part.trajectories, part.is_action
        ).log_probs

    log_probs = torch.zeros_like(experience.log_probs)
    parts = stepper.row_parts(experience)
    calls = [partial(compute, rows) for rows in parts]
    with stepper.whole():
        results = side_by_side(calls, stepper.actor.threads)
        for rows, values in zip(parts, results, strict=True):
            log_probs[rows] = values
    return processes.summed(log_probs)
