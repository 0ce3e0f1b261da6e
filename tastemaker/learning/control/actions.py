"""What an action is: one of several choices, or some amounts. All that differs between the two is here.

Letters: N environments, T steps, d numbers an observation, a numbers an action. `outputs` [..., width] are the policy
network's.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class Actions(Protocol):
    """How outputs of a network become actions, and how likely each was."""

    @property
    def width(self) -> int:
        """How many outputs the network has."""
        ...

    @property
    def spreads(self) -> int:
        """How many standard deviations are learned beside the network."""
        ...

    def noise(self, generator: np.random.Generator, steps: int, envs: int) -> Tensor:
        """Return the random numbers that choose the actions of a rollout, float32 [T, N, width]."""
        ...

    def drawn(self, outputs: Tensor, log_sd: Tensor, noise: Tensor) -> Tensor:
        """Return actions drawn from the policy, by one step's noise."""
        ...

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the likeliest actions."""
        ...

    def measured(self, outputs: Tensor, log_sd: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-probabilities of actions, and entropies of what they were drawn from, in nats."""
        ...

    def handed(self, actions: Array) -> Array:
        """Return actions as the environment takes them."""
        ...

    def described(self) -> dict[str, Any]:
        """Return what makes the same again, JSON-ready."""
        ...


@dataclass(frozen=True)
class Choices:
    """One of `count` choices, of which the environment calls the first `start`."""

    count: int
    start: int = 0

    @property
    def width(self) -> int:
        """One logit a choice."""
        return self.count

    @property
    def spreads(self) -> int:
        """None."""
        return 0

    def noise(self, generator: np.random.Generator, steps: int, envs: int) -> Tensor:
        """Return Gumbel numbers: the largest of logits + noise is a draw from their softmax (Gumbel 1954)."""
        uniform = generator.random((steps, envs, self.count)).clip(1e-300)  # 0 has no logarithm
        return torch.from_numpy((-np.log(-np.log(uniform))).astype(np.float32))

    def drawn(self, outputs: Tensor, log_sd: Tensor, noise: Tensor) -> Tensor:
        """Return choices, int64."""
        del log_sd
        return (outputs + noise).argmax(-1)

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the choices with the largest logits, int64."""
        return outputs.argmax(-1)

    def measured(self, outputs: Tensor, log_sd: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return log π(a) and −Σ π log π."""
        del log_sd
        every = torch.log_softmax(outputs, -1)
        return every.gather(-1, actions[..., None])[..., 0], -(every.exp() * every).sum(-1)

    def handed(self, actions: Array) -> Array:
        """Return the choices as the environment numbers them."""
        return actions + self.start if self.start else actions

    def described(self) -> dict[str, Any]:
        """Return what makes the same again, JSON-ready."""
        return {"choices": asdict(self)}


_LOG_TAU = math.log(2 * math.pi)


@dataclass(frozen=True)
class Amounts:
    """Some amounts, each drawn from a normal distribution of its own.

    The network works in half-widths around the middle of each amount's bounds, in the amounts themselves where it has
    none. What leaves the bounds is cut only when it is handed to the environment: the policy remembers what it drew.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def width(self) -> int:
        """One mean an amount."""
        return len(self.low)

    @property
    def spreads(self) -> int:
        """One standard deviation an amount, the same whatever is observed."""
        return len(self.low)

    def noise(self, generator: np.random.Generator, steps: int, envs: int) -> Tensor:
        """Return standard normal numbers."""
        return torch.from_numpy(generator.standard_normal((steps, envs, self.width), dtype=np.float32))

    def drawn(self, outputs: Tensor, log_sd: Tensor, noise: Tensor) -> Tensor:
        """Return mean + standard deviation · noise."""
        return outputs + log_sd.exp() * noise

    def likeliest(self, outputs: Tensor) -> Tensor:
        """Return the means."""
        return outputs

    def measured(self, outputs: Tensor, log_sd: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-density of what was drawn, before it is cut, and Σ(log σ + ½ ln 2πe)."""
        distance = (actions - outputs) * torch.exp(-log_sd)
        log_probs = -(0.5 * distance**2 + log_sd + 0.5 * _LOG_TAU).sum(-1)
        return log_probs, (log_sd + 0.5 * (_LOG_TAU + 1)).sum().expand_as(log_probs)

    def handed(self, actions: Array) -> Array:
        """Return the amounts in the environment's unit, within its bounds."""
        middle, half = self._scale
        found: Array = np.clip(middle + half * actions, self.low, self.high).astype(np.float32)
        return found

    def described(self) -> dict[str, Any]:
        """Return what makes the same again, JSON-ready."""
        return {"amounts": {name: list(values) for name, values in asdict(self).items()}}

    @property
    def _scale(self) -> tuple[Array, Array]:
        low, high = np.array(self.low), np.array(self.high)
        is_bounded = np.isfinite(low) & np.isfinite(high)
        low, high = np.where(is_bounded, low, -1.0), np.where(is_bounded, high, 1.0)
        return (low + high) / 2, (high - low) / 2


def actions_from(described: dict[str, Any]) -> Actions:
    """Return what `described` told of. Raises KeyError, TypeError for what it cannot have told."""
    if "amounts" in described:
        return Amounts(*(tuple(float(x) for x in described["amounts"][side]) for side in ("low", "high")))
    return Choices(**described["choices"])
