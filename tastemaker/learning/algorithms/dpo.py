"""Direct preference optimisation: of two completions the better one becomes likelier, the worse one less so.

No reward in the loss and no critic: the policy's own log-ratio to its reference is the reward that it implies
(Rafailov et al. 2023). The pairs are the best and the worst of each prompt's completions by the score, or pairs that
people judged. The loss −log σ(βm), m the margin between the two log-ratios, has the gradient
−βσ(−βm)·(∇log π(chosen) − ∇log π(rejected)), which is a policy gradient with ±βσ(−βm) for advantages; so it is
computed, and a test holds it to the loss itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from tastemaker.learning.algorithms.checks import check_at_least, check_positive
from tastemaker.learning.algorithms.contract import Metrics
from tastemaker.learning.algorithms.experience import Actor, Evaluation, Experience, Rollout
from tastemaker.learning.algorithms.groups import places_in_group
from tastemaker.learning.algorithms.stepper import Costs, Stepper
from tastemaker.maths.masked import masked_sum
from tastemaker.maths.objectives import dpo, policy_gradient


@dataclass(frozen=True)
class DPO:
    """Direct preference optimisation.

    samples: completions of one prompt, whose best and worst are a pair. beta: how many units of implied reward a nat of
    log-ratio is worth; the smaller, the farther from the reference. passes, minibatches: over the pairs.
    """

    name: ClassVar[str] = "dpo"
    needs_critic: ClassVar[bool] = False

    samples: int = 4
    beta: float = 0.1
    lr: float = 1e-4
    passes: int = 2
    minibatches: int = 2

    def __post_init__(self) -> None:
        check_at_least(self, 2, "samples")
        check_positive(self, "beta", "lr")
        check_at_least(self, 1, "passes", "minibatches")

    def credit(self, actor: Actor, rollout: Rollout) -> Experience:
        """Return the best and the worst of each group, one behind the other: +1 is chosen, −1 rejected.

        A group whose scores are all equal has nothing to tell and is left out.
        """
        pairs = _pairs(rollout.scores, rollout.groups)
        chosen = rollout.select(pairs.flatten())
        sign = torch.tensor([1.0, -1.0], device=pairs.device).repeat(len(pairs))
        return Experience(
            did=chosen.did,
            is_action=chosen.is_action,
            log_probs=chosen.log_probs,
            reference=chosen.reference,
            advantages=torch.where(chosen.is_action, sign[:, None], 0),
            weights=chosen.is_action.float() / max(len(pairs), 1),
        )

    def update(self, actor: Actor, experience: Experience, stepper: Stepper) -> Metrics:
        """Sweep over the pairs."""
        found: Metrics = {"pairs_told": float(len(experience.is_action) // 2)}
        for number in range(self.passes * (len(experience.is_action) > 0)):
            sums: dict[str, float] = {}
            for part, share in _minibatches(experience, self.minibatches, stepper.generator):
                now = part.log_probs if number == 0 and self.minibatches == 1 else _log_probs(stepper, part)
                told = self._told(part, now, stepper, share)
                for name, value in told.items():
                    sums[name] = sums.get(name, 0.0) + share * value
            found |= sums
        return found

    def _told(self, part: Experience, now: Tensor, stepper: Stepper, share: float) -> Metrics:
        """Take one step along the gradient of the mean loss of some pairs."""
        sums, reference = (masked_sum(x, part.is_action, 1).view(-1, 2) for x in (now, part.reference))
        loss = dpo(sums[:, 0], sums[:, 1], reference[:, 0], reference[:, 1], beta=self.beta)
        ratio = sums - reference
        margin = ratio[:, 0] - ratio[:, 1]
        slope = self.beta * torch.sigmoid(-self.beta * margin)
        advantages = part.advantages * slope.repeat_interleave(2)[:, None]
        taken = stepper.step(replace(part, advantages=advantages), _costs, share=share)
        right = float((margin > 0).float().mean())
        return {"preference_loss": float(loss.mean()), "preference_accuracy": right} | {
            name: taken[name] for name in ("gradient_norm", "entropy")
        }


def _costs(experience: Experience, now: Evaluation) -> Costs:
    return {"cost": policy_gradient(now.log_probs, experience.advantages), "entropy": now.entropy}


def _pairs(scores: Tensor, groups: Tensor) -> Tensor:
    """Return the rows of each group's best and worst, int64 [pairs, 2]; groups of equal scores have none."""
    first, last = places_in_group(scores, groups), places_in_group(-scores, groups)
    order = torch.argsort(groups, stable=True)
    best, worst = (order[(places[order] == 0)] for places in (first, last))
    is_told = scores[best] > scores[worst]
    return torch.stack([best, worst], 1)[is_told]


def _minibatches(experience: Experience, parts: int, generator: torch.Generator) -> Iterator[tuple[Experience, float]]:
    """Yield random parts of the pairs, both rows of each together, and what share of all they are."""
    count = len(experience.is_action) // 2
    for pairs in torch.randperm(count, generator=generator).tensor_split(min(parts, count)):
        rows = torch.stack([2 * pairs, 2 * pairs + 1], 1).flatten()
        yield experience.select(rows.to(experience.is_action.device)), len(pairs) / count


@torch.no_grad()
def _log_probs(stepper: Stepper, experience: Experience) -> Tensor:
    """Return what the policy says now of the actions [B, T]."""
    found = torch.zeros_like(experience.log_probs)
    rows = torch.arange(len(found), device=found.device)
    for part in stepper.row_parts(experience):
        own = experience.select(rows[part])
        found[part] = stepper.actor.evaluate(own.did, own.is_action).log_probs
    return found
