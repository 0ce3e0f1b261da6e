"""Optimiser steps over rows of experience, computed in parts.

The step itself is `tastemaker.train.TrainStep`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from tastemaker.fast.processor import like_parts
from tastemaker.rl.algorithms.base import Actor, Evaluation, Experience
from tastemaker.train.step import Metrics, TrainStep, gradient_strategy

E = TypeVar("E", bound=Experience)

Costs = dict[str, Tensor]
"""Numbers of each action [b, T], by name: "cost" is minimised, the others are only measured."""


def no_penalty(experience: Experience, now: Evaluation) -> Tensor:
    """Return 0 for each action."""
    return torch.zeros_like(now.log_probs)


class Stepper:
    """Takes optimiser steps for an algorithm.

    rate: learning rate; a group's `factor` multiplies it. clip: largest gradient norm. at_once:
    tokens or environment steps that are computed at once. penalty: a cost of each action [b, T]
    beside the algorithm's own, such as a KL penalty. generator: draws the order of minibatches.
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

    def _train_step(self) -> TrainStep:
        """Return what takes the step; made anew, because dropout allows one thread only."""
        parameters = [*self.actor.policy_parameters(), *self.actor.critic_parameters()]
        strategy = gradient_strategy(self.actor.threads)
        return TrainStep(self.optimizer, parameters, clip=self.clip, strategy=strategy)

    def step(
        self,
        experience: E,
        objective: Callable[[E, Evaluation], Costs],
        *,
        share: float = 1.0,
        train: Sequence[nn.Parameter] | None = None,
    ) -> Metrics:
        """Step along the gradient of an objective's weighted cost; return its measurements.

        share: these rows' share of all rows, so that minibatches step as far as the whole. train:
        the parameters that change; None: all. Raises NotFinite, with nothing changed, where the
        cost or its gradient is not finite.
        """
        parts = self._computations(experience, objective, share)
        sums = self._train_step().take(parts, rate=self.rate, parameters=train)
        norm = sums.pop("gradient_norm")
        metrics = _means(sums, experience, share)
        metrics["gradient_norm"] = norm
        return metrics

    def gradients(
        self,
        experience: E,
        objective: Callable[[E, Evaluation], Costs],
        *,
        share: float = 1.0,
    ) -> Metrics:
        """Add the gradient of an objective to `.grad`; return its cost and measurements."""
        parts = self._computations(experience, objective, share)
        return _means(self._train_step().add_gradients(parts), experience, share)

    def _computations(
        self, experience: E, objective: Callable[[E, Evaluation], Costs], share: float
    ) -> list[Callable[[], tuple[Tensor, Mapping[str, float]]]]:
        """Return what computes each part of the rows."""
        return [
            partial(self._compute, objective, share, part)
            for part in self.parts(experience)
        ]

    def _compute(
        self, objective: Callable[[E, Evaluation], Costs], share: float, part: E
    ) -> tuple[Tensor, Metrics]:
        """Return the weighted cost of some rows, and the weighted sums of its measurements."""
        now = self.actor.evaluate(part.did, part.is_action)
        costs = objective(part, now)
        costs["cost"] = costs["cost"] + self.penalty(part, now)
        weighted = {
            name: (part.weights * values).sum() / share
            for name, values in costs.items()
        }
        cost = weighted.pop("cost")
        numbers = {name: float(value.detach()) for name, value in weighted.items()}
        numbers["loss"] = float(cost.detach())
        return cost, numbers

    def parts(self, experience: E) -> Iterator[E]:
        """Yield the rows in parts of similar sizes that are computed at once."""
        rows = self.row_parts(experience)
        if len(rows) == 1:
            yield experience
            return
        for part in rows:
            yield experience.select(part)

    def row_parts(self, experience: Experience) -> list[Tensor]:
        """Return the row numbers of each part, int64 [b]; rows of similar sizes are together."""
        return like_parts(experience.did.sizes(), self.at_once, self.actor.threads)

    def minibatches(self, experience: E, parts: int) -> Iterator[tuple[E, float]]:
        """Yield the rows in random minibatches, each with its share of all rows."""
        count = len(experience.is_action)
        if parts == 1:
            yield experience, 1.0
            return
        for rows in torch.randperm(count, generator=self.generator).tensor_split(
            min(parts, count)
        ):
            yield experience.select(rows), len(rows) / count


def _means(sums: Mapping[str, float], experience: Experience, share: float) -> Metrics:
    """Return the cost as it is, and of every measurement the mean over the rows' weights."""
    total = float(experience.weights.sum()) / share
    metrics = {name: value / total for name, value in sums.items() if name != "loss"}
    metrics["cost"] = sums["loss"]
    return metrics
