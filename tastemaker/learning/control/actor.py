"""A policy and a critic as small networks, and what they saw and did, as an algorithm sees them.

Letters: B rows in time, T steps, d numbers an observation, a numbers an action.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tastemaker.learning.algorithms.experience import Evaluation, Rows
from tastemaker.learning.control.actions import Actions


@dataclass(frozen=True)
class Single(Rows):
    """Single actions, each a row of its own: what was seen [n, 1, d], what was done [n, 1] or [n, 1, a]."""

    observations: Tensor
    actions: Tensor

    def sizes(self) -> Tensor:
        """Return 1 for each."""
        return torch.ones(len(self.observations), dtype=torch.int64)

    def apart(self, is_action: Tensor) -> None:
        """Return None: they are apart."""


@dataclass(frozen=True)
class Steps(Rows):
    """Stretches of episodes: what was seen [B, T, d] and done [B, T] or [B, T, a], and what was seen after [B, d]."""

    observations: Tensor
    actions: Tensor
    after: Tensor

    def sizes(self) -> Tensor:
        """Return what each row costs: as many steps as the longest, since they are computed padded."""
        return torch.full((len(self.actions),), self.actions.shape[1])

    def apart(self, is_action: Tensor) -> Single:
        """Return each action as a row of its own: the policy chooses by what it sees and nothing before."""
        return Single(self.observations[is_action][:, None], self.actions[is_action][:, None])


class Networks(nn.Module):
    """A policy and a critic that share nothing.

    Layers are orthogonal with gain √2, the policy's last one 0.01, so that at first all actions are about as likely
    (Andrychowicz et al. 2021), the critic's last one 1.
    """

    def __init__(
        self, size: int, actions: Actions, hidden: Sequence[int], *, log_sd: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.actions = actions
        self.policy = _layers([size, *hidden, actions.width], 0.01, generator)
        self.critic = _layers([size, *hidden, 1], 1.0, generator)
        self.log_sd = nn.Parameter(torch.full((actions.spreads,), log_sd)) if actions.spreads else None

    @property
    def spread(self) -> Tensor:
        """The logarithms of the actions' standard deviations [a]; none for choices."""
        return torch.zeros(0) if self.log_sd is None else self.log_sd


class PlayingActor:
    """Networks as an algorithm sees them."""

    has_critic = True
    threads = 1  # what is so small gains nothing by a second one

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    def evaluate(self, did: Any, is_action: Tensor) -> Evaluation:
        """Return log-probabilities, entropies and values [b, T] of `Steps` or `Single`, with gradients."""
        networks = self.networks
        outputs = networks.policy(did.observations)
        log_probs, entropy = networks.actions.measured(outputs, networks.spread, did.actions)
        values = networks.critic(did.observations)[..., 0]
        return Evaluation(*(torch.where(is_action, found, 0) for found in (log_probs, entropy, values)))

    @torch.no_grad()
    def expected(self, did: Steps, is_action: Tensor) -> tuple[Tensor, Tensor]:
        """Return the critic's values [B, T], and of what was seen after each row [B]."""
        critic = self.networks.critic
        values = critic(did.observations)[..., 0]
        return torch.where(is_action, values, 0), critic(did.after)[..., 0]

    @torch.no_grad()
    def log_probs(self, did: Any, is_action: Tensor) -> Tensor:
        """Return the log-probabilities of the actions [B, T]."""
        outputs = self.networks.policy(did.observations)
        return torch.where(is_action, self.networks.actions.measured(outputs, self.networks.spread, did.actions)[0], 0)

    def policy_parameters(self) -> list[nn.Parameter]:
        """Return the policy's network and its standard deviations."""
        own = [] if self.networks.log_sd is None else [self.networks.log_sd]
        return [*self.networks.policy.parameters(), *own]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critic's network."""
        return list(self.networks.critic.parameters())


def _layers(sizes: Sequence[int], last: float, generator: torch.Generator) -> nn.Sequential:
    """Return linear layers with tanh between; their own weights drawn by the generator, `last` the last one's gain."""
    found: list[nn.Module] = []
    for number, (before, after) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(before, after, device="meta").to_empty(device="cpu")
        is_last = number == len(sizes) - 2
        nn.init.orthogonal_(layer.weight, last if is_last else math.sqrt(2), generator)
        nn.init.zeros_(layer.bias)
        found += [layer] if is_last else [layer, nn.Tanh()]
    return nn.Sequential(*found)
