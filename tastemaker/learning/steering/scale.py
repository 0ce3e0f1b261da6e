"""How scores become rewards: around 0 with spread 1, so that one weight of drift and one lr fit any reward."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tastemaker.errors import UsageError


@dataclass(frozen=True)
class Scaling:
    """How scores become rewards.

    by: "reference" subtracts the mean and divides by the standard deviation of the scores of what the reference writes
    (Ziegler et al. 2019); "running" does so with all scores so far; "none" leaves them. clip: rewards are cut to ±clip.
    """

    by: Literal["reference", "running", "none"] = "reference"
    clip: float = math.inf

    def __post_init__(self) -> None:
        if self.by not in ("reference", "running", "none"):
            raise UsageError(f"scaling {self.by!r}: choose reference, running or none.")
        if not self.clip > 0:
            raise UsageError(f"scaling clip {self.clip}: must be above 0.")


@dataclass
class Scale:
    """A scaling with what it has seen: so many scores, their mean, and the sum of squares around it (Welford 1962)."""

    scaling: Scaling
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def see(self, scores: Sequence[float]) -> None:
        """Take scores into account."""
        for score in scores:
            self.count += 1
            gap = score - self.mean
            self.mean += gap / self.count
            self.squares += gap * (score - self.mean)

    @property
    def deviation(self) -> float:
        """The standard deviation of what was seen; 1 where there is no spread to speak of."""
        found = math.sqrt(self.squares / self.count) if self.count else 0.0
        return found if found > 1e-8 else 1.0

    @property
    def unit(self) -> float:
        """What one reward is in scores."""
        return 1.0 if self.scaling.by == "none" else self.deviation

    def applied(self, scores: Sequence[float]) -> list[float]:
        """Return scores as rewards; where the scale is a running one, they are taken into account first."""
        if self.scaling.by == "running":
            self.see(scores)
        shift = 0.0 if self.scaling.by == "none" else self.mean
        rewards = (np.asarray(scores) - shift) / self.unit
        found: list[float] = np.clip(rewards, -self.scaling.clip, self.scaling.clip).tolist()
        return found

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {name: value for name, value in asdict(self).items() if name != "scaling"}
