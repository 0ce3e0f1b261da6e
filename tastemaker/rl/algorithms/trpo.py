"""TRPO: the largest step that stays within a given KL (Schulman et al. 2015).

What it adds to A2C: the natural gradient. Conjugate gradients solve F x = g without ever holding
the Fisher matrix F, the step √(2δ/xᵀFx)·x is the largest that the quadratic model allows, and a
line search shortens it until the surrogate falls and the KL stays within δ. F is the mean of ∇log π
∇log πᵀ over the actions that were drawn; the paper takes the expectation over actions in closed
form where it can, which asks a policy for more than log-probabilities. F is only a measure of
length, so a part of the rows will do (the paper's appendix C takes a tenth): products with it are
most of a step's time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tastemaker.fast.processor import side_by_side
from tastemaker.maths.rl import k2, k3, surrogate
from tastemaker.rl.algorithms.base import (
    ANY,
    Actor,
    Algorithm,
    Costs,
    Evaluation,
    Metrics,
    PlaySettings,
    Rollout,
    Stepper,
    ValuedExperience,
    apart,
)
from tastemaker.rl.algorithms.common import GAMMA, LAM, LR, advantages_of, critic_costs
from tastemaker.settings import (
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_SHARE,
    at_least,
    check,
    setting,
)

_SHORTER = 0.7
"""What the line search leaves of a step that went too far."""


@dataclass(frozen=True)
class TRPO(Algorithm[ValuedExperience]):
    """Trust region policy optimisation. `lr` is that of the critic."""

    name: ClassVar[str] = "trpo"
    needs_critic: ClassVar[bool] = True
    takes_kl_in_loss: ClassVar[bool] = False
    play_settings: ClassVar[PlaySettings] = {
        ANY: (
            {"lr": 1e-3, "gamma": 0.99, "critic_epochs": 10, "critic_minibatches": 4},
            {"steps": 500_000, "envs": 16, "rollout": 128},
        ),
        "CartPole-v1": (
            {"lr": 2e-3, "gamma": 0.99, "critic_epochs": 10},
            {
                "steps": 80_000,
                "envs": 32,
                "rollout": 32,
                "normalise_observations": False,
            },
        ),
    }

    target_kl: float = setting(
        0.01, "KL that a step may reach, nats an action.", POSITIVE
    )
    cg_iterations: int = setting(
        10, "Iterations of the conjugate gradient.", at_least(1)
    )
    damping: float = setting(
        0.1, "Added to the diagonal of the Fisher matrix.", NOT_NEGATIVE
    )
    tries: int = setting(10, "Most steps of the line search.", at_least(1))
    fisher_share: float = setting(
        0.2,
        "Share of the rows, drawn at random, that the Fisher matrix is measured on.",
        POSITIVE_SHARE,
    )
    lr: float = setting(1e-3, *LR)
    critic_epochs: int = setting(5, "Sweeps of the critic over a rollout.", at_least(1))
    critic_minibatches: int = setting(
        4, "Optimiser steps of the critic in a sweep.", at_least(1)
    )
    gamma: float = setting(1.0, *GAMMA)
    lam: float = setting(0.95, *LAM)

    def __post_init__(self) -> None:
        check(self)

    def credit(self, actor: Actor, rollout: Rollout) -> ValuedExperience:
        """Return generalised advantages, whitened."""
        return advantages_of(
            actor, rollout, gamma=self.gamma, lam=self.lam, whiten=True
        )

    def update(
        self, actor: Actor, experience: ValuedExperience, stepper: Stepper
    ) -> Metrics:
        """Step within the trust region; then let the critic learn."""
        experience = apart(experience)
        parameters = actor.policy_parameters()
        with sdpa_kernel(
            SDPBackend.MATH
        ):  # the only attention that can be differentiated twice
            before, gradient = self._measured(experience, stepper, parameters)
            fisher = self._fisher(
                actor, self._some(experience, stepper), stepper, parameters
            )
            direction = conjugate_gradient(fisher, -gradient, self.cg_iterations)
            curvature = float(direction @ fisher(direction))
        step = (
            direction * (2 * self.target_kl / curvature) ** 0.5
            if curvature > 0
            else torch.zeros_like(direction)
        )
        found = self._searched(experience, stepper, parameters, step, before["cost"])
        for _ in range(self.critic_epochs):
            for part, share in stepper.minibatches(experience, self.critic_minibatches):
                found |= stepper.step(
                    part,
                    self._critic_costs,
                    share=share,
                    train=actor.critic_parameters(),
                )
        found.pop("cost")
        return found | {"policy_loss": before["cost"], "entropy": before["entropy"]}

    def _measured(
        self,
        experience: ValuedExperience,
        stepper: Stepper,
        parameters: Sequence[nn.Parameter],
    ) -> tuple[Metrics, Tensor]:
        """Return the surrogate's cost where the policy is now, and its gradient [p]."""
        for parameter in parameters:
            parameter.grad = None
        found = stepper.gradients(experience, _surrogate_costs)
        return found, _flat(
            [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        )

    def _some(self, experience: ValuedExperience, stepper: Stepper) -> ValuedExperience:
        """Return rows that stand for all, whose weights come to those of all."""
        count = len(experience.is_action)
        chosen = max(1, round(self.fisher_share * count))
        if chosen == count:
            return experience
        some = experience.select(
            torch.randperm(count, generator=stepper.generator)[:chosen]
        )
        return replace(
            some, weights=some.weights * (experience.weights.sum() / some.weights.sum())
        )

    def _fisher(
        self,
        actor: Actor,
        experience: ValuedExperience,
        stepper: Stepper,
        parameters: Sequence[nn.Parameter],
    ) -> Callable[[Tensor], Tensor]:
        """Return v → (F + damping)v; F is the Hessian of the mean k2 at the policy that acted."""

        def slope(part: ValuedExperience) -> Tensor:
            now = actor.evaluate(part.did, part.is_action)
            moved = (part.weights * k2(now.log_probs, now.log_probs.detach())).sum()
            return _flat(
                torch.autograd.grad(
                    moved, list(parameters), create_graph=True, materialize_grads=True
                )
            )

        def bend(first: Tensor, v: Tensor) -> Tensor:
            found = torch.autograd.grad(
                first @ v, list(parameters), retain_graph=True, materialize_grads=True
            )
            return _flat(found)

        slopes = list(
            side_by_side(
                [partial(slope, part) for part in stepper.parts(experience)],
                actor.threads,
            )
        )

        def product(v: Tensor) -> Tensor:
            found = self.damping * v
            for second in side_by_side(
                [partial(bend, first, v) for first in slopes], actor.threads
            ):
                found = found + second
            return found

        return product

    @torch.no_grad()
    def _searched(
        self,
        experience: ValuedExperience,
        stepper: Stepper,
        parameters: Sequence[nn.Parameter],
        step: Tensor,
        before: float,
    ) -> Metrics:
        """Take the longest step that lowers the cost within the KL; none if no try does."""
        start = nn.utils.parameters_to_vector(parameters)
        for tried in range(self.tries):
            length = _SHORTER**tried
            nn.utils.vector_to_parameters(start + length * step, parameters)
            found = stepper.gradients(experience, _surrogate_costs)
            if found["cost"] < before and found["moved"] <= self.target_kl:
                return {"moved": found["moved"], "step_length": length}
        nn.utils.vector_to_parameters(start, parameters)
        return {"moved": 0.0, "step_length": 0.0}

    @staticmethod
    def _critic_costs(experience: ValuedExperience, now: Evaluation) -> Costs:
        found = critic_costs(experience, now)
        return found | {"cost": found["value_loss"]}


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int
) -> Tensor:
    """Return x with A x ≈ b, A symmetric and positive (Hestenes & Stiefel 1952)."""
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    squared = residual @ residual
    for _ in range(iterations):
        if float(squared) < 1e-20:
            break
        applied = product(direction)
        length = squared / (direction @ applied)
        x = x + length * direction
        residual = residual - length * applied
        squared, last = residual @ residual, squared
        direction = residual + squared / last * direction
    return x


def _surrogate_costs(experience: ValuedExperience, now: Evaluation) -> Costs:
    cost = surrogate(now.log_probs, experience.log_probs, experience.advantages)
    return {
        "cost": cost,
        "entropy": now.entropy,
        "moved": k3(experience.log_probs, now.log_probs),
    }


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
