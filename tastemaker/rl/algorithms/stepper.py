"""One optimiser step over rows of experience: in parts that fit, cut to a norm, and never along a number that is not.

Parts change nothing: what is summed over them is weighed before.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from tastemaker.errors import TrainingError
from tastemaker.fast.processor import like_parts, side_by_side
from tastemaker.rl.algorithms.base import Actor, Evaluation, Experience

E = TypeVar("E", bound=Experience)

Costs = dict[str, Tensor]
"""Numbers of each action [b, T], by name: what is minimised under "cost", the others are only measured."""


class NotFinite(TrainingError):
    """A loss or a gradient is no number: the step was not taken."""


def no_penalty(experience: Experience, now: Evaluation) -> Tensor:
    """Cost nothing."""
    return torch.zeros_like(now.log_probs)


class Stepper:
    """Takes steps of an optimiser for an algorithm.

    rate: the learning rate; a group's `factor` is what its own is of it. clip: largest gradient norm. at_once: tokens
    or steps that are computed at once. penalty: a cost of each action [b, T] beside the algorithm's own, such as KL.
    generator: draws the order of minibatches.
    """

    def __init__(
        self,
        actor: Actor,
        optimizer: torch.optim.Optimizer,
        *,
        rate: float,
        clip: float,
        generator: torch.Generator,
        at_once: int = 8192,
        penalty: Callable[[Experience, Evaluation], Tensor] = no_penalty,
    ) -> None:
        self.actor, self.optimizer, self.rate, self.clip = actor, optimizer, rate, clip
        self.generator, self.at_once, self.penalty = generator, at_once, penalty

    def step(
        self,
        experience: E,
        objective: Callable[[E, Evaluation], Costs],
        *,
        share: float = 1.0,
        train: Sequence[nn.Parameter] | None = None,
    ) -> dict[str, float]:
        """Step along the gradient of the weighed sum of an objective's cost; return it and what it measured.

        share: what part of all rows these are, so that minibatches step as far as the whole. train: parameters that
        change; None: all. Raises NotFinite, with nothing changed, where the cost or its gradient is no number.
        """
        self.optimizer.zero_grad(set_to_none=True)
        found = self.gradients(experience, objective, share=share, train=train)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(parameters, self.clip))
        if not (math.isfinite(norm) and math.isfinite(found["cost"])):
            raise NotFinite(
                f"the loss is {found['cost']} and the gradient norm {norm}. Try a lower --lr."
            )
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group.get("factor", 1.0)
        self.optimizer.step()
        return found | {"gradient_norm": norm}

    def gradients(
        self,
        experience: E,
        objective: Callable[[E, Evaluation], Costs],
        *,
        share: float = 1.0,
        train: Sequence[nn.Parameter] | None = None,
    ) -> dict[str, float]:
        """Add up the gradients of an objective over parts of the rows; return its cost and what it measured.

        train: parameters whose gradients are wanted; None: all.
        """
        sums: dict[str, float] = {}
        every = (
            (*self.actor.policy_parameters(), *self.actor.critic_parameters())
            if train is None
            else train
        )
        parameters = [p for p in every if p.requires_grad]
        how = partial(self._taught, objective, parameters, share, learns=torch.is_grad_enabled())
        for gradients, found in side_by_side(
            [partial(how, p) for p in self.parts(experience)], self.actor.threads
        ):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.grad = (
                        gradient if parameter.grad is None else parameter.grad.add_(gradient)
                    )
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + value
        total = float(experience.weights.sum()) / share
        return {name: value if name == "cost" else value / total for name, value in sums.items()}

    def _taught(
        self,
        objective: Callable[[E, Evaluation], Costs],
        parameters: Sequence[nn.Parameter],
        share: float,
        part: E,
        *,
        learns: bool,
    ) -> tuple[Sequence[Tensor | None], dict[str, float]]:
        """Return the gradients of a part's cost, None where there is none, and the weighed sums of what it measured."""
        with torch.set_grad_enabled(learns):  # a thread of its own does not know
            now = self.actor.evaluate(part.did, part.is_action)
            costs = objective(part, now)
            costs["cost"] = costs["cost"] + self.penalty(part, now)
            weighed = {
                name: (part.weights * values).sum() / share for name, values in costs.items()
            }
        found = {name: float(value.detach()) for name, value in weighed.items()}
        if not weighed["cost"].requires_grad:
            return [None] * len(parameters), found
        return torch.autograd.grad(weighed["cost"], parameters, allow_unused=True), found

    def parts(self, experience: E) -> Iterator[E]:
        """Yield the rows in parts of like sizes that are computed at once."""
        rows = self.row_parts(experience)
        yield from (experience.select(part) for part in rows) if len(rows) > 1 else [experience]

    def row_parts(self, experience: Experience) -> list[Tensor]:
        """Return which rows are computed at once, int64 [b] each, of like sizes together."""
        return like_parts(experience.did.sizes(), self.at_once, self.actor.threads)

    def minibatches(self, experience: E, parts: int) -> Iterator[tuple[E, float]]:
        """Yield random parts of the rows, each once, and what share of all rows they are."""
        count = len(experience.is_action)
        if parts == 1:
            yield experience, 1.0
            return
        for rows in torch.randperm(count, generator=self.generator).tensor_split(min(parts, count)):
            yield experience.select(rows), len(rows) / count
