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
from tastemaker.readable import notebook_html
from tastemaker.rl.gym.actor import (
    Actions,
    Array,
    Networks,
    PlayingActor,
    actions_from,
)
from tastemaker.rl.gym.environment import Environments

Floats = NDArray[np.float64]

_FURTHEST = 10.0
"""Standard deviations to which normalised observations are clipped."""
_TINY = 1e-8


class Normaliser(Protocol):
    """What makes a network's inputs of observations."""

    def include(self, rows: NDArray[Any]) -> None:
        """Include rows [n, d]."""
        ...

    def normalised(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows [n, d] as the network gets them."""
        ...

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return the statistics as tensors, by names that begin with `name`."""
        ...

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned. Raises KeyError where it is not there."""
        ...


class Unchanged:
    """Leaves observations as they are."""

    def include(self, rows: NDArray[Any]) -> None:
        """Do nothing: there are no statistics."""

    def normalised(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return the same numbers in float32."""
        return np.asarray(rows, np.float32)

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Return none."""
        return {}

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Load nothing."""


class Moments:
    """The running mean and variance of rows [n, d]; 0 and 1 before the first."""

    def __init__(self, size: int) -> None:
        self.mean: Floats = np.zeros(size)
        self.variance: Floats = np.ones(size)
        self.count = 0

    def include(self, rows: NDArray[Any]) -> None:
        """Include rows [n, d]: means and variances of two sets, combined (Chan et al. 1983)."""
        count = len(rows)
        if not count:
            return
        mean = rows.mean(0, dtype=np.float64)
        variance = rows.var(0, dtype=np.float64)
        total = self.count + count
        difference = mean - self.mean
        squares = self.variance * self.count
        squares = squares + variance * count
        squares = squares + difference**2 * self.count * count / total
        self.variance = squares / total
        self.mean = self.mean + difference * count / total
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
        """Return the statistics as tensors, by names that begin with `name`."""
        return {
            f"{name}.mean": torch.from_numpy(self.mean.copy()),
            f"{name}.variance": torch.from_numpy(self.variance.copy()),
            f"{name}.count": torch.tensor(self.count, dtype=torch.int64),
        }

    def restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned. Raises KeyError where it is not there."""
        self.mean = tensors[f"{name}.mean"].numpy().copy()
        self.variance = tensors[f"{name}.variance"].numpy().copy()
        self.count = int(tensors[f"{name}.count"])


PLAYER = "player.json"
_WEIGHTS = "player.safetensors"
_STATISTICS = "shown"
"""How the names of the observations' statistics begin among the tensors."""


@dataclass(frozen=True)
class Shapes:
    """The shapes of a player's networks: observation size, actions, hidden units."""

    size: int
    actions: Actions
    hidden: tuple[int, ...]
    is_normalised: bool

    def described(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {
            "observations": self.size,
            "actions": self.actions.described(),
            "hidden": list(self.hidden),
            "normalise_observations": self.is_normalised,
        }

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Self:
        """Return the shapes of a description. Raises KeyError, TypeError for anything else."""
        return cls(
            size=int(description["observations"]),
            actions=actions_from(description["actions"]),
            hidden=tuple(description["hidden"]),
            is_normalised=bool(description["normalise_observations"]),
        )


@dataclass
class Player:
    """A policy that plays one environment.

    environment: its name. options: the environment's own. figures: of the training, as saved.
    """

    environment: str
    options: dict[str, Any]
    shapes: Shapes
    networks: Networks
    figures: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.shapes.size
        is_normalised = self.shapes.is_normalised
        self.normaliser: Normaliser = (
            Moments(size) if is_normalised else Unchanged()
        )
        self.actor = PlayingActor(self.networks)

    def _repr_html_(self) -> str:
        """Return what it plays and the figures of its training, for a notebook."""
        options = [f"{name}={value}" for name, value in self.options.items()]
        sentences = [f"Player: {' '.join([self.environment, *options])}"]
        for name, value in self.figures.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                sentences.append(f"{name.replace('_', ' ')}: {value:,.4g}")
        return notebook_html(sentences)

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
    def drawn(self, normalised: Array, noise: Tensor) -> Array:
        """Return actions drawn for normalised observations [N, d], by one step's noise."""
        networks = self.networks
        outputs = networks.policy(torch.from_numpy(normalised))
        actions: Array = self.shapes.actions.drawn(
            outputs, networks.log_deviations, noise
        ).numpy()
        return actions

    @torch.inference_mode()
    def likeliest(self, observations: Array) -> Array:
        """Return the likeliest actions (continuous: the means) for observations [N, d]."""
        normalised = self.normaliser.normalised(observations)
        outputs = self.networks.policy(torch.from_numpy(normalised))
        actions: Array = self.shapes.actions.likeliest(outputs).numpy()
        return actions

    def act(self, observation: Array) -> Array:
        """Return the likeliest action for one observation [d], as the environment takes it."""
        # [1] or [1, a]
        actions = self.likeliest(np.asarray(observation)[None])
        action: Array = self.shapes.actions.for_environment(actions)[0]
        return action

    def environments(self, count: int) -> Environments:
        """Open several copies of the environment.

        Raises ModelError where its spaces are not those that the policy learned with.
        """
        opened = Environments(self.environment, count, self.options)
        if (opened.size, opened.actions) != (
            self.shapes.size,
            self.shapes.actions,
        ):
            raise ModelError(
                f"{self.environment}: shows {opened.size} numbers and takes {opened.actions}, "
                f"and this policy learned to play with {self.shapes.size} and "
                f"{self.shapes.actions}. Learn again with `tastemaker play`."
            )
        return opened

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights and the statistics of observations, by name."""
        weights = self.networks.state_dict()
        tensors = {
            f"networks.{name}": tensor for name, tensor in weights.items()
        }
        return tensors | self.normaliser.tensors(_STATISTICS)

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned. Raises KeyError, RuntimeError for anything else."""
        names = self.networks.state_dict()
        weights = {name: tensors[f"networks.{name}"] for name in names}
        self.networks.load_state_dict(weights)
        self.normaliser.restore(_STATISTICS, tensors)

    def save(self, folder: Path) -> None:
        """Save into a folder; `player.json` comes last, so a folder that has it is whole."""
        (folder / PLAYER).unlink(missing_ok=True)
        tensors = {}
        for name, tensor in self.tensors().items():
            tensors[name] = tensor.detach().contiguous().clone()
        with writing_file(folder / _WEIGHTS) as temporary:
            save_file(tensors, temporary)
        content = {
            "environment": self.environment,
            "options": self.options,
            "shapes": self.shapes.described(),
            **self.figures,
        }
        text = json.dumps(content, indent=2, ensure_ascii=False)
        with writing_file(folder / PLAYER) as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")

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
            content = json.loads((path / PLAYER).read_text(encoding="utf-8"))
            environment = content.pop("environment")
            options = content.pop("options")
            player = cls.fresh(
                environment, options, Shapes.of(content.pop("shapes"))
            )
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
            message = " ".join(str(error).split())[:200]
            raise ModelError(
                f"{path}: {PLAYER} and {_WEIGHTS} do not belong together or are damaged "
                f"({type(error).__name__}: {message}). Copy both again, or learn again."
            ) from error
        player.figures = content
        return player
