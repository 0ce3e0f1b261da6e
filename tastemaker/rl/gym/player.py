"""The player: the networks and the observation statistics, with saving and loading.

    DIR/player.json          the environment, its options, the networks' shapes, the training
    DIR/player.safetensors   the weights, and the mean and standard deviation of observations

Observations and rewards are standardised by running means and standard deviations. Gymnasium's
RunningMeanStd updates in the same way, but it starts from a count of 1e-4, sums float32 rows in
float32, and neither clips nor saves.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tastemaker.errors import ModelError
from tastemaker.files import writing_file
from tastemaker.rl.gym.actor import Actions, Array, Networks, PlayingActor, actions_from
from tastemaker.rl.gym.environment import Environments

Floats = NDArray[np.float64]

_FURTHEST = 10.0
"""Standard deviations at which what is normalised is cut."""
_TINY = 1e-8


class Shown(Protocol):
    """How observations are shown to a network."""

    def see(self, rows: NDArray[Any]) -> None:
        """Include rows [n, d]."""
        ...

    def normalised(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows [n, d] as the network gets them."""
        ...

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return what was learned as tensors, by names that begin with `name`."""
        ...

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` returned. Raises KeyError where it is not there."""
        ...


class Unchanged:
    """Observations as they are."""

    def see(self, rows: NDArray[Any]) -> None:
        """Learn nothing."""

    def normalised(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return the same numbers in float32."""
        return np.asarray(rows, np.float32)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return none."""
        return {}

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Take back nothing."""


class Moments:
    """The mean and variance of all rows [n, d] that were seen; 0 and 1 before any was."""

    def __init__(self, size: int) -> None:
        self.mean: Floats = np.zeros(size)
        self.variance: Floats = np.ones(size)
        self.count = 0

    def see(self, rows: NDArray[Any]) -> None:
        """Include rows [n, d] (Chan et al. 1983: means and variances of two sets combined)."""
        count = len(rows)
        if not count:
            return
        mean, variance = rows.mean(0, dtype=np.float64), rows.var(0, dtype=np.float64)
        total, apart = self.count + count, mean - self.mean
        squares = self.variance * self.count
        squares = squares + variance * count + apart**2 * self.count * count / total
        self.variance = squares / total
        self.mean = self.mean + apart * count / total
        self.count = total

    def normalised(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows [n, d] standardised and clipped to ±10, float32."""
        standardised = (rows - self.mean) / np.sqrt(self.variance + _TINY)
        return np.clip(standardised, -_FURTHEST, _FURTHEST).astype(np.float32)

    @property
    def deviation(self) -> Floats:
        """The standard deviation [d]."""
        deviation: Floats = np.sqrt(self.variance + _TINY)
        return deviation

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return what was seen as tensors, by names that begin with `name`."""
        count = torch.tensor(self.count, dtype=torch.int64)
        mean, variance = (
            torch.from_numpy(self.mean.copy()),
            torch.from_numpy(self.variance.copy()),
        )
        return {
            f"{name}.mean": mean,
            f"{name}.variance": variance,
            f"{name}.count": count,
        }

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` returned. Raises KeyError where it is not there."""
        self.mean, self.variance = (
            tensors[f"{name}.{part}"].numpy().copy() for part in ("mean", "variance")
        )
        self.count = int(tensors[f"{name}.count"])


PLAYER = "player.json"
_WEIGHTS = "player.safetensors"


@dataclass(frozen=True)
class Shapes:
    """The shapes of a player's networks: observation size, actions, hidden units."""

    size: int
    actions: Actions
    hidden: tuple[int, ...]
    is_normalised: bool

    def described(self) -> dict[str, Any]:
        """Return the same, JSON-ready."""
        return {
            "observations": self.size,
            "actions": self.actions.described(),
            "hidden": list(self.hidden),
            "normalise_observations": self.is_normalised,
        }

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Return what `described` told of.

        Raises KeyError, TypeError for what it cannot have told.
        """
        is_normalised = bool(said["normalise_observations"])
        return cls(
            int(said["observations"]),
            actions_from(said["actions"]),
            tuple(said["hidden"]),
            is_normalised,
        )


@dataclass
class Player:
    """A policy that plays one environment.

    environment: its name, options: its own. figures: how it was learned, as saved.
    """

    environment: str
    options: dict[str, Any]
    shapes: Shapes
    networks: Networks
    figures: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shown: Shown = (
            Moments(self.shapes.size) if self.shapes.is_normalised else Unchanged()
        )
        self.actor = PlayingActor(self.networks)

    @classmethod
    def fresh(
        cls,
        environment: str,
        options: Mapping[str, Any],
        shapes: Shapes,
        *,
        log_sd: float = 0.0,
        seed: int = 0,
    ) -> Self:
        """Return a player that has learned nothing, its weights drawn by the seed."""
        generator = torch.Generator().manual_seed(seed)
        networks = Networks(
            shapes.size,
            shapes.actions,
            shapes.hidden,
            log_sd=log_sd,
            generator=generator,
        )
        return cls(environment, dict(options), shapes, networks)

    @torch.inference_mode()
    def drawn(self, shown: Array, noise: Tensor) -> Array:
        """Return actions drawn for what was shown [N, d], by one step's noise."""
        outputs = self.networks.policy(torch.from_numpy(shown))
        actions: Array = self.shapes.actions.drawn(
            outputs, self.networks.spread, noise
        ).numpy()
        return actions

    @torch.inference_mode()
    def likeliest(self, seen: Array) -> Array:
        """Return the likeliest actions (continuous: the means) for observations [N, d]."""
        outputs = self.networks.policy(torch.from_numpy(self.shown.normalised(seen)))
        actions: Array = self.shapes.actions.likeliest(outputs).numpy()
        return actions

    def act(self, observation: Array) -> Array:
        """Return the likeliest action for one observation [d], as the environment takes it."""
        actions = self.likeliest(np.asarray(observation)[None])  # [1] or [1, a]
        action: Array = self.shapes.actions.handed(actions)[0]
        return action

    def environments(self, count: int) -> Environments:
        """Open the environment so many times.

        Raises ModelError where it is not as it was when this learned.
        """
        opened = Environments(self.environment, count, self.options)
        if (opened.size, opened.actions) != (self.shapes.size, self.shapes.actions):
            raise ModelError(
                f"{self.environment}: shows {opened.size} numbers and takes {opened.actions}, "
                f"and this policy learned to play with {self.shapes.size} and "
                f"{self.shapes.actions}. Learn anew with `tastemaker play`."
            )
        return opened

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights and what observations are normalised by, by name."""
        return {
            f"networks.{n}": t for n, t in self.networks.state_dict().items()
        } | self.shown.tensors("shown")

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` returned. Raises KeyError, RuntimeError where it is not that."""
        names = self.networks.state_dict()
        weights = {name: tensors[f"networks.{name}"] for name in names}
        self.networks.load_state_dict(weights)
        self.shown.restore("shown", tensors)

    def save(self, folder: Path) -> None:
        """Save into a folder; `player.json` comes last, so a folder that has it is whole."""
        (folder / PLAYER).unlink(missing_ok=True)
        with writing_file(folder / _WEIGHTS) as temporary:
            save_file(
                {n: t.detach().contiguous().clone() for n, t in self.tensors().items()},
                temporary,
            )
        shapes = self.shapes.described()
        kept = {
            "environment": self.environment,
            "options": self.options,
            "shapes": shapes,
        } | self.figures
        with writing_file(folder / PLAYER) as temporary:
            temporary.write_text(
                json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
            )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the player that a folder holds. Raises ModelError for anything else."""
        path = Path(folder)
        if not (path / PLAYER).is_file():
            raise ModelError(
                f"{path}: holds no {PLAYER}. "
                f"Learn to play one: tastemaker play CartPole-v1 --out {path}"
            )
        try:
            said = json.loads((path / PLAYER).read_text(encoding="utf-8"))
            environment, options = said.pop("environment"), said.pop("options")
            player = cls.fresh(environment, options, Shapes.of(said.pop("shapes")))
            player.restore(load_file(path / _WEIGHTS))
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            SafetensorError,
            RuntimeError,
        ) as error:
            told = " ".join(str(error).split())[:200]
            raise ModelError(
                f"{path}: {PLAYER} and {_WEIGHTS} do not belong together or are damaged "
                f"({type(error).__name__}: {told}). Copy both again, or learn anew."
            ) from error
        player.figures = said
        return player
