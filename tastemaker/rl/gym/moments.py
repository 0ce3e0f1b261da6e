"""Running means and standard deviations, to standardise observations and rewards.

Gymnasium's RunningMeanStd updates in the same way, but it starts from a count of 1e-4, sums
float32 rows in float32, and neither clips nor saves: using it would save five lines of this file.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        own = self.variance * self.count
        self.variance = (
            own + variance * count + apart**2 * self.count * count / total
        ) / total
        self.mean = self.mean + apart * count / total
        self.count = total

    def normalised(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Return rows [n, d] standardised and clipped to ±10, float32."""
        found = (rows - self.mean) / np.sqrt(self.variance + _TINY)
        return np.clip(found, -_FURTHEST, _FURTHEST).astype(np.float32)

    @property
    def deviation(self) -> Floats:
        """The standard deviation [d]."""
        found: Floats = np.sqrt(self.variance + _TINY)
        return found

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
