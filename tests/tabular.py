"""A policy that is a table of logits and values, so that updates can be worked out by hand."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tastemaker.rl import ActionEvaluation, Algorithm, Rollout, Stepper

LENGTHS = (3, 1, 2, 3, 2, 1, 3, 2)


@dataclass(frozen=True)
class Chosen:
    """In which state what was chosen, int64 [B, T] both. whole: each row's actions need one
    another.
    """

    states: Tensor
    actions: Tensor
    whole: bool = False

    def select(self, rows: Tensor) -> "Chosen":
        return Chosen(self.states[rows], self.actions[rows], self.whole)

    def sizes(self) -> Tensor:
        return torch.full((len(self.states),), self.states.shape[1])

    def single_actions(self, is_action: Tensor) -> "Chosen | None":
        return (
            None
            if self.whole
            else Chosen(
                self.states[is_action][:, None], self.actions[is_action][:, None]
            )
        )


class Table:
    """Logits [S, A] and values [S]; the critic expects nothing of what comes behind a row that was
    cut.
    """

    def __init__(
        self, states: int = 1, actions: int = 2, *, seed: int | None = None
    ) -> None:
        generator = torch.Generator().manual_seed(seed or 0)
        shape = (states, actions)
        drawn = (
            torch.zeros(shape)
            if seed is None
            else torch.randn(shape, generator=generator)
        )
        values = (
            torch.zeros(states)
            if seed is None
            else torch.randn(states, generator=generator)
        )
        self.logits, self.values = (
            nn.Parameter(drawn.double()),
            nn.Parameter(values.double()),
        )
        self.has_critic = True
        self.threads = 1

    def evaluate(self, trajectories: Chosen, is_action: Tensor) -> ActionEvaluation:
        every = torch.log_softmax(self.logits, -1)[trajectories.states]
        log_probs = every.gather(-1, trajectories.actions[..., None])[..., 0]
        parts = (
            log_probs,
            -(every.exp() * every).sum(-1),
            self.values[trajectories.states],
        )
        return ActionEvaluation(
            *(x.where(is_action, torch.zeros_like(x)) for x in parts)
        )

    def critic_values(
        self, trajectories: Chosen, is_action: Tensor
    ) -> tuple[Tensor, Tensor]:
        values = self.evaluate(trajectories, is_action).values.detach()
        return values, torch.zeros_like(values[:, 0])

    def policy_parameters(self) -> list[nn.Parameter]:
        return [self.logits]

    def critic_parameters(self) -> list[nn.Parameter]:
        return [self.values]

    @property
    def likely(self) -> float:
        """How likely the first answer is in the first state."""
        return float(torch.softmax(self.logits.detach(), -1)[0, 0])


def rollout_of(
    table: Table, *, seed: int = 1, samples: int = 4, whole: bool = False
) -> Rollout:
    """Return eight rows of one to three steps with random rewards; two groups of four."""
    generator = torch.Generator().manual_seed(seed)
    states, actions = table.logits.shape
    shape = (len(LENGTHS), max(LENGTHS))
    trajectories = Chosen(
        *(torch.randint(n, shape, generator=generator) for n in (states, actions)),
        whole,
    )
    is_action = torch.arange(shape[1]) < torch.tensor(LENGTHS)[:, None]
    now = table.evaluate(trajectories, is_action).log_probs.detach()
    values, after = table.critic_values(trajectories, is_action)
    return Rollout(
        trajectories=trajectories,
        is_action=is_action,
        log_probs=now,
        reference=torch.full_like(now, -1.0).where(is_action, torch.zeros_like(now)),
        rewards=torch.randn(shape, generator=generator)
        .double()
        .where(is_action, torch.zeros_like(now)),
        terminated=torch.ones(len(LENGTHS), dtype=torch.bool),
        groups=torch.arange(len(LENGTHS)) // samples,
        values=values,
        after=after,
    )


def raised(rollout: Rollout, by: float) -> Rollout:
    """Return the rollout with every row's score so much larger."""
    rewards = rollout.rewards.clone()
    rewards[:, 0] += by
    return replace(rollout, rewards=rewards)


def stepper_of(
    table: Any, *, rate: float = 0.1, at_once: int = 8192, **options: Any
) -> Stepper:
    """Return a stepper that takes plain gradient steps of any length."""
    parameters = [*table.policy_parameters(), *table.critic_parameters()]
    optimizer = options.pop("optimizer", None) or torch.optim.SGD(parameters, lr=rate)
    settings = {"clip": 1e9, "generator": torch.Generator().manual_seed(0)} | options
    return Stepper(table, optimizer, rate=rate, at_once=at_once, **settings)


def slopes(
    table: Table, algorithm: Algorithm[Any], rollout: Rollout, **options: Any
) -> tuple[Tensor, Tensor]:
    """Return by what one update of rate 1 moves logits and values: the sum of minus the gradients
    of its steps.
    """
    before = [table.logits.detach().clone(), table.values.detach().clone()]
    algorithm.update(
        table, algorithm.credit(table, rollout), stepper_of(table, rate=1.0, **options)
    )
    logits, values = (
        now.detach() - then
        for now, then in zip((table.logits, table.values), before, strict=True)
    )
    return logits, values
