"""Action spaces, and policy and critic networks as algorithms use them.

Sizes: N environments, B rows, T steps, d numbers an observation, a numbers an action. `outputs`
[..., width] are the policy network's.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tastemaker.rl.algorithms.base import ActionEvaluation, Rows

Array = NDArray[Any]


class Actions(Protocol):
    """How the outputs of a network become actions, and how likely each action is."""

    @property
    def width(self) -> int:
        """How many outputs the network has."""
        ...

    @property
    def deviations(self) -> int:
        """How many standard deviations are learned beside the network."""
        ...

    def noise(
        self, generator: np.random.Generator, steps: int, envs: int
    ) -> Tensor:
        """Return the random numbers that choose the actions of a rollout, float32 [T, N, width]."""
        ...

    def drawn(self, outputs: Tensor, log_sd: Tensor, noise: Tensor) -> Tensor:
        """Return actions drawn from the policy, by one step's noise."""
        ...

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the likeliest actions."""
        ...

    def log_probs_and_entropy(
        self, outputs: Tensor, log_sd: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities of actions, and entropies of their distributions, nats."""
        ...

    def for_environment(self, actions: Array) -> Array:
        """Return actions as the environment takes them."""
        ...

    def described(self) -> dict[str, Any]:
        """Return a JSON-ready description, which `actions_from` reads."""
        ...


@dataclass(frozen=True)
class Choices:
    """One of `count` choices, which the environment numbers from `start` on."""

    count: int
    start: int = 0

    @property
    def width(self) -> int:
        """One logit a choice."""
        return self.count

    @property
    def deviations(self) -> int:
        """None."""
        return 0

    def noise(
        self, generator: np.random.Generator, steps: int, envs: int
    ) -> Tensor:
        """Return Gumbel noise: the argmax of logits + noise is a draw from their softmax."""
        # 0 has no logarithm
        uniform = generator.random((steps, envs, self.count)).clip(1e-300)
        return torch.from_numpy((-np.log(-np.log(uniform))).astype(np.float32))

    def drawn(self, outputs: Tensor, log_sd: Tensor, noise: Tensor) -> Tensor:
        """Return choices, int64."""
        del log_sd
        return (outputs + noise).argmax(-1)

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the choices with the largest logits, int64."""
        return outputs.argmax(-1)

    def log_probs_and_entropy(
        self, outputs: Tensor, log_sd: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log π(a) and −Σ π log π."""
        del log_sd
        choices = torch.log_softmax(outputs, -1)
        log_probs = choices.gather(-1, actions[..., None])[..., 0]
        return log_probs, -(choices.exp() * choices).sum(-1)

    def for_environment(self, actions: Array) -> Array:
        """Return the choices as the environment numbers them."""
        return actions + self.start if self.start else actions

    def described(self) -> dict[str, Any]:
        """Return a JSON-ready description, which `actions_from` reads."""
        return {"choices": asdict(self)}


@dataclass(frozen=True)
class Several:
    """Several choices at once: one of `counts[i]` for each i, numbered from `starts[i]` on.

    The choices are independent of each other, given what is observed.
    """

    counts: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def width(self) -> int:
        """One logit for each choice of each."""
        return sum(self.counts)

    @property
    def deviations(self) -> int:
        """None."""
        return 0

    def noise(
        self, generator: np.random.Generator, steps: int, envs: int
    ) -> Tensor:
        """Return Gumbel noise, as `Choices` does."""
        return Choices(self.width).noise(generator, steps, envs)

    def drawn(self, outputs: Tensor, log_sd: Tensor, noise: Tensor) -> Tensor:
        """Return choices [..., a], int64."""
        del log_sd
        return self.likeliest(outputs + noise)

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the choices with the largest logits [..., a], int64."""
        parts = torch.split(outputs, list(self.counts), -1)
        return torch.stack([part.argmax(-1) for part in parts], -1)

    def log_probs_and_entropy(
        self, outputs: Tensor, log_sd: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the sums of the choices' log-probabilities and entropies."""
        log_probs: Tensor | float = 0.0
        entropy: Tensor | float = 0.0
        parts = torch.split(outputs, list(self.counts), -1)
        for count, part, choice in zip(
            self.counts, parts, actions.unbind(-1), strict=True
        ):
            one = Choices(count).log_probs_and_entropy(part, log_sd, choice)
            log_probs = log_probs + one[0]
            entropy = entropy + one[1]
        return torch.as_tensor(log_probs), torch.as_tensor(entropy)

    def for_environment(self, actions: Array) -> Array:
        """Return the choices as the environment numbers them."""
        numbers: Array = actions + np.array(self.starts)
        return numbers

    def described(self) -> dict[str, Any]:
        """Return a JSON-ready description, which `actions_from` reads."""
        return {
            "several": {
                name: list(values) for name, values in asdict(self).items()
            }
        }


_LOG_TAU = math.log(2 * math.pi)


@dataclass(frozen=True)
class Amounts:
    """Some amounts, each drawn from a normal distribution of its own.

    The network's unit is half the width of an amount's bounds, counted from their middle; an amount
    without bounds is its own unit. Amounts are clipped to the bounds only for the environment: the
    log-probability is that of the amount before it was clipped. dtype: of the numbers that the
    environment takes; for whole ones an amount is rounded.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    dtype: str = "float32"

    @property
    def width(self) -> int:
        """One mean an amount."""
        return len(self.low)

    @property
    def deviations(self) -> int:
        """One standard deviation an amount, the same whatever is observed."""
        return len(self.low)

    def noise(
        self, generator: np.random.Generator, steps: int, envs: int
    ) -> Tensor:
        """Return standard normal numbers."""
        return torch.from_numpy(
            generator.standard_normal(
                (steps, envs, self.width), dtype=np.float32
            )
        )

    def drawn(self, outputs: Tensor, log_sd: Tensor, noise: Tensor) -> Tensor:
        """Return mean + standard deviation · noise."""
        return outputs + log_sd.exp() * noise

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the means."""
        return outputs

    def log_probs_and_entropy(
        self, outputs: Tensor, log_sd: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the log-density of amounts before they are clipped, and Σ(log σ + ½ ln 2πe)."""
        distance = (actions - outputs) * torch.exp(-log_sd)
        log_probs = -(0.5 * distance**2 + log_sd + 0.5 * _LOG_TAU).sum(-1)
        return log_probs, (log_sd + 0.5 * (_LOG_TAU + 1)).sum().expand_as(
            log_probs
        )

    def for_environment(self, actions: Array) -> Array:
        """Return the amounts in the environment's unit, within its bounds."""
        middle, half = self._scale
        amounts: Array = np.clip(middle + half * actions, self.low, self.high)
        if np.issubdtype(np.dtype(self.dtype), np.integer):
            amounts = np.rint(amounts)
        return amounts.astype(self.dtype)

    def described(self) -> dict[str, Any]:
        """Return a JSON-ready description, which `actions_from` reads."""
        description = asdict(self)
        for name in ("low", "high"):
            description[name] = list(description[name])
        return {"amounts": description}

    @property
    def _scale(self) -> tuple[Array, Array]:
        low = np.array(self.low)
        high = np.array(self.high)
        is_bounded = np.isfinite(low) & np.isfinite(high)
        low = np.where(is_bounded, low, -1.0)
        high = np.where(is_bounded, high, 1.0)
        return (low + high) / 2, (high - low) / 2


def actions_from(description: dict[str, Any]) -> Actions:
    """Return the actions of a description. Raises KeyError, TypeError for anything else."""
    if "amounts" in description:
        bounds = description["amounts"]
        low = map(float, bounds["low"])
        high = map(float, bounds["high"])
        # players of older versions have none
        dtype = str(bounds.get("dtype", "float32"))
        return Amounts(tuple(low), tuple(high), dtype)
    if "several" in description:
        numbers = description["several"]
        counts = tuple(map(int, numbers["counts"]))
        return Several(counts, tuple(map(int, numbers["starts"])))
    return Choices(**description["choices"])


@dataclass(frozen=True)
class Single(Rows):
    """Single actions as rows of one step: observations [n, 1, d], actions [n, 1] or [n, 1, a]."""

    observations: Tensor
    actions: Tensor

    def sizes(self) -> Tensor:
        """Return 1 for each."""
        return torch.ones(len(self.observations), dtype=torch.int64)

    def single_actions(self, is_action: Tensor) -> None:
        """Return None: they are single already."""


@dataclass(frozen=True)
class Steps(Rows):
    """Stretches of episodes.

    observations [B, T, d], actions [B, T] or [B, T, a], the observation after each row [B, d].
    """

    observations: Tensor
    actions: Tensor
    after: Tensor

    def sizes(self) -> Tensor:
        """Return the cost of each row: the longest one's steps, since rows are padded."""
        return torch.full((len(self.actions),), self.actions.shape[1])

    def single_actions(self, is_action: Tensor) -> Single:
        """Return each action as its own row: the policy sees only the current observation."""
        return Single(
            self.observations[is_action][:, None],
            self.actions[is_action][:, None],
        )


class Networks(nn.Module):
    """A policy and a critic that share nothing.

    Layers are orthogonal with gain √2. The last layer of the policy has gain 0.01, so that all
    actions are about equally likely at first (Andrychowicz et al. 2021); that of the critic has 1.
    """

    def __init__(
        self,
        size: int,
        actions: Actions,
        hidden: Sequence[int],
        *,
        log_sd: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.actions = actions
        self.policy = _layers([size, *hidden, actions.width], 0.01, generator)
        self.critic = _layers([size, *hidden, 1], 1.0, generator)
        self.log_sd = (
            nn.Parameter(torch.full((actions.deviations,), log_sd))
            if actions.deviations
            else None
        )

    @property
    def log_deviations(self) -> Tensor:
        """The logarithms of the actions' standard deviations [a]; none for choices."""
        return torch.zeros(0) if self.log_sd is None else self.log_sd


class PlayingActor:
    """Networks as an algorithm sees them."""

    has_critic = True
    threads = 1  # networks this small gain nothing by a second thread

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    def evaluate(
        self, trajectories: Any, is_action: Tensor
    ) -> ActionEvaluation:
        """Return the `ActionEvaluation` [b, T] of `Steps` or `Single`, with gradients."""
        networks = self.networks
        outputs = networks.policy(trajectories.observations)
        log_probs, entropy = networks.actions.log_probs_and_entropy(
            outputs, networks.log_deviations, trajectories.actions
        )
        values = networks.critic(trajectories.observations)[..., 0]
        return ActionEvaluation(
            *(
                torch.where(is_action, numbers, 0)
                for numbers in (log_probs, entropy, values)
            )
        )

    @torch.no_grad()
    def critic_values(
        self, trajectories: Steps, is_action: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the critic's values [B, T], and of the observation after each row [B]."""
        critic = self.networks.critic
        values = critic(trajectories.observations)[..., 0]
        return torch.where(is_action, values, 0), critic(trajectories.after)[
            ..., 0
        ]

    @torch.no_grad()
    def log_probs(self, trajectories: Any, is_action: Tensor) -> Tensor:
        """Return the log-probabilities of the actions [B, T]."""
        networks = self.networks
        outputs = networks.policy(trajectories.observations)
        log_probs, _ = networks.actions.log_probs_and_entropy(
            outputs, networks.log_deviations, trajectories.actions
        )
        return torch.where(is_action, log_probs, 0)

    def policy_parameters(self) -> list[nn.Parameter]:
        """Return the policy's network and its standard deviations."""
        spread = [] if self.networks.log_sd is None else [self.networks.log_sd]
        return [*self.networks.policy.parameters(), *spread]

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the critic's network."""
        return list(self.networks.critic.parameters())


def _layers(
    sizes: Sequence[int], last_gain: float, generator: torch.Generator
) -> nn.Sequential:
    """Return linear layers with tanh between. last_gain: the gain of the last layer."""
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(before, after, device="meta").to_empty(device="cpu")
        is_last = number == len(sizes) - 2
        gain = last_gain if is_last else math.sqrt(2)
        nn.init.orthogonal_(layer.weight, gain, generator)
        nn.init.zeros_(layer.bias)
        layers += [layer] if is_last else [layer, nn.Tanh()]
    return nn.Sequential(*layers)
