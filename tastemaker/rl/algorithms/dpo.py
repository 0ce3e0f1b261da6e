"""DPO: the better of two completions becomes likelier, the worse one less likely.

No reward in the loss and no critic: the policy's own log-ratio to its reference is the reward that
it implies (Rafailov et al. 2023). What is compared are the best and the worst of each prompt's
completions by the score, or texts that people judged. The loss −log σ(βm), m the margin between the
two log-ratios, has the gradient −βσ(−βm)·(∇log π(chosen) − ∇log π(rejected)), which is a policy
gradient with ±βσ(−βm) for advantages; so it is computed, and a test holds it to the loss itself. A
ranking of K texts is K rows, never K(K − 1): its pairs' slopes add up to one advantage a text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from tastemaker.fast.processor import side_by_side
from tastemaker.maths.rl import dpo, masked_sum, policy_gradient
from tastemaker.rl.algorithms.base import (
    Actor,
    Algorithm,
    Compared,
    Costs,
    Evaluation,
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
    places_in_group,
)
from tastemaker.settings import POSITIVE, check, setting


@dataclass(frozen=True)
class DPO(Algorithm[Compared]):
    """Direct preference optimisation."""

    name: ClassVar[str] = "dpo"

    samples: int = setting(4, *SAMPLES)
    beta: float = setting(
        0.1,
        "Implied reward of a nat of log-ratio; the smaller, the farther from the reference.",
        POSITIVE,
    )
    lr: float = setting(1e-4, *LR)
    epochs: int = setting(2, *EPOCHS)
    minibatches: int = setting(2, *MINIBATCHES)

    def __post_init__(self) -> None:
        check(self)

    def credit(self, actor: Actor, rollout: Rollout) -> Compared:
        """Return the best and the worst of each group, one behind the other.

        A group whose scores are all equal has nothing to tell and is left out.
        """
        rows = _extremes(rollout.scores, rollout.groups)
        chosen, count = rollout.select(rows.flatten()), len(rows)
        numbers = torch.arange(2 * count, device=rows.device)
        return Compared(
            did=chosen.did,
            is_action=chosen.is_action,
            log_probs=chosen.log_probs,
            reference=chosen.reference,
            advantages=torch.zeros_like(chosen.log_probs),
            weights=chosen.is_action.float() / max(count, 1),
            groups=numbers // 2,
            tiers=numbers % 2,
        )

    def update(self, actor: Actor, experience: Compared, stepper: Stepper) -> Metrics:
        """Sweep over the groups."""
        found: Metrics = {
            "pairs_told": float(
                len(pairs_of(experience.groups, experience.tiers).better)
            )
        }
        for _ in range(self.epochs * (len(experience.is_action) > 0)):
            sums: dict[str, float] = {}
            for part, share in _minibatches(
                experience, self.minibatches, stepper.generator
            ):
                for name, value in self._told(part, stepper, share).items():
                    sums[name] = sums.get(name, 0.0) + share * value
            found |= sums
        return found

    def agreement(self, compared: Compared, log_probs: Tensor) -> Metrics:
        """Return the mean loss, the share of margins above 0, and the mean margin.

        A margin of 0 counts as half.

        The pairs of a group count like one, times the group's weight. All are 0 where nothing is
        compared.
        """
        pairs, now, reference = _sums(compared, log_probs)
        better, worse, shares = pairs
        loss = dpo(
            now[better], now[worse], reference[better], reference[worse], beta=self.beta
        )
        margin = _margin(pairs, now - reference)
        weights = shares * compared.weights.amax(1)[better]
        found = {
            "loss": loss,
            "accuracy": 0.5 + 0.5 * torch.sign(margin),
            "margin": self.beta * margin,
        }
        total = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        return {
            f"preference_{name}": float((weights * x).sum() / total)
            for name, x in found.items()
        }

    def _told(self, part: Compared, stepper: Stepper, share: float) -> Metrics:
        """Take one step along the gradient of the mean loss of some groups.

        What a row deserves hangs on its rivals: it is worked out on the way where all rows are
        computed at once, and by a pass of its own before where they are not.
        """
        if len(stepper.row_parts(part)) > 1:
            known = _log_probs(stepper, part)
            told = self.agreement(part, known)
            taken = stepper.step(self._deserving(part, known), _costs, share=share)
        else:
            told = {}

            def costs(rows: Compared, now: Evaluation) -> Costs:
                known = now.log_probs.detach()
                told.update(self.agreement(rows, known))
                return _costs(self._deserving(rows, known), now)

            taken = stepper.step(part, costs, share=share)
        return told | {name: taken[name] for name in ("gradient_norm", "entropy")}

    def _deserving(self, compared: Compared, log_probs: Tensor) -> Compared:
        """Return the rows with advantages: the sum of ±βσ(−βm) over a row's pairs."""
        pairs, now, reference = _sums(compared, log_probs)
        slope = (
            self.beta
            * torch.sigmoid(-self.beta * _margin(pairs, now - reference))
            * pairs.shares
        )
        deserved = (
            torch.zeros_like(now)
            .index_add(0, pairs.better, slope)
            .index_add(0, pairs.worse, -slope)
        )
        return replace(
            compared, advantages=torch.where(compared.is_action, deserved[:, None], 0)
        )


def _costs(experience: Compared, now: Evaluation) -> Costs:
    return {
        "cost": policy_gradient(now.log_probs, experience.advantages),
        "entropy": now.entropy,
    }


def _sums(compared: Compared, log_probs: Tensor) -> tuple[Pairs, Tensor, Tensor]:
    """Return the pairs, and the log-probabilities of whole rows now and under the reference [B]."""
    now, reference = (
        masked_sum(x, compared.is_action, 1) for x in (log_probs, compared.reference)
    )
    return pairs_of(compared.groups, compared.tiers), now, reference


def _margin(pairs: Pairs, ratio: Tensor) -> Tensor:
    """Return the better row's log-ratio minus the worse one's [p], from those of all rows [B]."""
    return ratio[pairs.better] - ratio[pairs.worse]


def _extremes(scores: Tensor, groups: Tensor) -> Tensor:
    """Return the best and the worst row of each group, int64 [g, 2]; none for equal scores."""
    first, last = places_in_group(scores, groups), places_in_group(-scores, groups)
    order = torch.argsort(groups, stable=True)
    best, worst = (order[(places[order] == 0)] for places in (first, last))
    differs = scores[best] > scores[worst]
    return torch.stack([best, worst], 1)[differs]


def _minibatches(
    experience: Compared, parts: int, generator: torch.Generator
) -> Iterator[tuple[Compared, float]]:
    """Yield minibatches of whole groups, and the share of all groups that each is."""
    _, group = torch.unique(experience.groups, return_inverse=True)
    count = int(group.max()) + 1
    for chosen in torch.randperm(count, generator=generator).tensor_split(
        min(parts, count)
    ):
        rows = torch.isin(group, chosen.to(group.device)).nonzero()[:, 0]
        yield experience.select(rows), len(chosen) / count


def _log_probs(stepper: Stepper, experience: Compared) -> Tensor:
    """Return the actions' log-probabilities under the policy as it is now [B, T]."""

    @torch.no_grad()
    def compute(rows: Tensor) -> Tensor:
        part = experience.select(rows)
        return stepper.actor.evaluate(part.did, part.is_action).log_probs

    log_probs = torch.zeros_like(experience.log_probs)
    parts = stepper.row_parts(experience)
    jobs = [partial(compute, rows) for rows in parts]
    results = side_by_side(jobs, stepper.actor.threads)
    for rows, values in zip(parts, results, strict=True):
        log_probs[rows] = values
    return log_probs
