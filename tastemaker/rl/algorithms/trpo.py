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

from tastemaker import processes
from tastemaker.fast.processor import side_by_side
from tastemaker.maths.rl import k2, k3, surrogate
from tastemaker.rl.algorithms.base import (
    ANY,
    ActionEvaluation,
    Actor,
    Algorithm,
    Costs,
    Metrics,
    PlaySettings,
    Rollout,
    Stepper,
    ValuedExperience,
    single_actions,
)
from tastemaker.rl.algorithms.common import (
    GAMMA,
    LAM,
    LR,
    advantages_of,
    critic_costs,
)
from tastemaker.settings import (
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_SHARE,
    at_least,
    setting,
    settings_class,
)

_SHORTER = 0.7
"""What the line search leaves of a step that went too far."""


@settings_class
@dataclass(frozen=True)
class TRPO(Algorithm[ValuedExperience]):
    """Trust region policy optimisation. `lr` is that of the critic."""

    name: ClassVar[str] = "trpo"
    needs_critic: ClassVar[bool] = True
    takes_kl_in_loss: ClassVar[bool] = False
    takes_shares: ClassVar[bool] = False
    play_settings: ClassVar[PlaySettings] = {
        ANY: (
            {
                "lr": 1e-3,
                "gamma": 0.99,
                "critic_epochs": 10,
                "critic_minibatches": 4,
            },
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
    critic_epochs: int = setting(
        5, "Epochs of the critic over a rollout.", at_least(1)
    )
    critic_minibatches: int = setting(
        4, "Optimiser steps of the critic in an epoch.", at_least(1)
    )
    gamma: float = setting(1.0, *GAMMA)
    lam: float = setting(0.95, *LAM)

    def credit(self, actor: Actor, rollout: Rollout) -> ValuedExperience:
        """Return generalised advantages, whitened."""
        return advantages_of(
            actor, rollout, gamma=self.gamma, lam=self.lam, whiten=True
        )

    def update(
        self, actor: Actor, experience: ValuedExperience, stepper: Stepper
    ) -> Metrics:
        """Step within the trust region; then let the critic learn."""
        experience = single_actions(experience)
        parameters = actor.policy_parameters()
        # the only attention that can be differentiated twice
        with sdpa_kernel(SDPBackend.MATH):
            before, gradient = self._cost_and_gradient(
                experience, stepper, parameters
            )
            fisher_rows = self._fisher_rows(experience, stepper)
            fisher = self._fisher(actor, fisher_rows, stepper, parameters)
            direction = conjugate_gradient(
                fisher, -gradient, self.cg_iterations
            )
            curvature = float(direction @ fisher(direction))
        if curvature > 0:
            step = direction * (2 * self.target_kl / curvature) ** 0.5
        else:
            step = torch.zeros_like(direction)
        metrics = self._line_search(
            experience, stepper, parameters, step, before["cost"]
        )
        metrics |= self._train_critic(actor, experience, stepper)
        metrics["policy_loss"] = before["cost"]
        metrics["entropy"] = before["entropy"]
        return metrics

    @staticmethod
    def _cost_and_gradient(
        experience: ValuedExperience,
        stepper: Stepper,
        parameters: Sequence[nn.Parameter],
    ) -> tuple[Metrics, Tensor]:
        """Return the surrogate's metrics at the present policy, and its gradient [p]."""
        for parameter in parameters:
            parameter.grad = None
        metrics = stepper.gradients(experience, _surrogate_costs)
        gradients = []
        for parameter in parameters:
            gradient = parameter.grad
            if gradient is None:
                gradient = torch.zeros_like(parameter)
            gradients.append(gradient)
        return metrics, _flat(gradients)

    def _train_critic(
        self, actor: Actor, experience: ValuedExperience, stepper: Stepper
    ) -> Metrics:
        """Take the critic's steps; return the metrics of the last one, without the cost."""
        metrics: Metrics = {}
        for _ in range(self.critic_epochs):
            for part, share in stepper.minibatches(
                experience, self.critic_minibatches
            ):
                metrics |= stepper.step(
                    part,
                    _value_costs,
                    share=share,
                    train=actor.critic_parameters(),
                )
        metrics.pop("cost")
        return metrics

    def _fisher_rows(
        self, experience: ValuedExperience, stepper: Stepper
    ) -> ValuedExperience:
        """Return a random part of the rows, whose weights have the sum of all rows' weights."""
        count = len(experience.is_action)
        part = max(1, round(self.fisher_share * count))
        if part == count:
            return experience
        order = torch.randperm(count, generator=stepper.generator)
        rows = experience.select(order[:part])
        scale = experience.weights.sum() / rows.weights.sum()
        return replace(rows, weights=rows.weights * scale)

    def _fisher(
        self,
        actor: Actor,
        experience: ValuedExperience,
        stepper: Stepper,
        parameters: Sequence[nn.Parameter],
    ) -> Callable[[Tensor], Tensor]:
        """Return v → (F + damping)v; F is the Hessian of the mean k2 at the policy that acted."""

        def kl_gradient(part: ValuedExperience) -> Tensor:
            now = actor.evaluate(part.trajectories, part.is_action)
            kl = (
                part.weights * k2(now.log_probs, now.log_probs.detach())
            ).sum()
            gradients = torch.autograd.grad(
                kl, list(parameters), create_graph=True, materialize_grads=True
            )
            return _flat(gradients)

        def hessian_product(gradient: Tensor, v: Tensor) -> Tensor:
            products = torch.autograd.grad(
                gradient @ v,
                list(parameters),
                retain_graph=True,
                materialize_grads=True,
            )
            return _flat(products)

        calls = [
            partial(kl_gradient, part) for part in stepper.parts(experience)
        ]
        gradients = list(side_by_side(calls, actor.threads))

        def product(v: Tensor) -> Tensor:
            total = self.damping * v
            if not processes.is_first():
                total = torch.zeros_like(total)
            calls = [
                partial(hessian_product, gradient, v) for gradient in gradients
            ]
            for part in side_by_side(calls, actor.threads):
                total = total + part
            return processes.summed(total)

        return product

    @torch.no_grad()
    def _line_search(
        self,
        experience: ValuedExperience,
        stepper: Stepper,
        parameters: Sequence[nn.Parameter],
        step: Tensor,
        cost_before: float,
    ) -> Metrics:
        """Take the longest step that lowers the cost within the KL; none if no try does."""
        start = nn.utils.parameters_to_vector(parameters)
        for number in range(self.tries):
            length = _SHORTER**number
            nn.utils.vector_to_parameters(start + length * step, parameters)
            metrics = stepper.gradients(experience, _surrogate_costs)
            if (
                metrics["cost"] < cost_before
                and metrics["moved"] <= self.target_kl
            ):
                return {"moved": metrics["moved"], "step_length": length}
        nn.utils.vector_to_parameters(start, parameters)
        return {"moved": 0.0, "step_length": 0.0}


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int
) -> Tensor:
    """Return x with A x ≈ b, A symmetric and positive (Hestenes & Stiefel 1952)."""
    x = torch.zeros_like(b)
    residual = b.clone()
    direction = b.clone()
    squared = residual @ residual
    for _ in range(iterations):
        if float(squared) < 1e-20:
            break
        applied = product(direction)
        length = squared / (direction @ applied)
        x = x + length * direction
        residual = residual - length * applied
        squared, squared_before = residual @ residual, squared
        direction = residual + squared / squared_before * direction
    return x


def _surrogate_costs(
    experience: ValuedExperience, now: ActionEvaluation
) -> Costs:
    return {
        "cost": surrogate(
            now.log_probs, experience.log_probs, experience.advantages
        ),
        "entropy": now.entropy,
        "moved": k3(experience.log_probs, now.log_probs),
    }


def _value_costs(experience: ValuedExperience, now: ActionEvaluation) -> Costs:
    costs = critic_costs(experience, now)
    costs["cost"] = costs["value_loss"]
    return costs


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
