"""How scores become rewards.

Scores are scaled to mean 0 and standard deviation 1, so that one KL coefficient and one learning
rate fit any reward. Rare scores far outside do not count in full: they would set the scale alone.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from tastemaker.settings import LIMIT, check, setting, settings_class


@settings_class
@dataclass(frozen=True)
class Scaling:
    """How scores become rewards."""

    name: ClassVar[str] = "scaling"
    group: ClassVar[str] = "Scaling of rewards"

    by: Literal["reference", "running", "none"] = setting(
        "reference",
        "Mean and standard deviation that scores are set against: those of what the reference "
        "writes (Ziegler et al. 2019), of all scores so far, or none.",
        option="--scale-by",
    )
    clip: float | None = setting(
        None,
        "Rewards are cut to this in both directions; inf for no limit.",
        LIMIT,
        option="--reward-clip",
        shown="10 where rewards are scaled",
    )

    def __post_init__(self) -> None:
        check(self)

    @property
    def limit(self) -> float:
        """The largest reward. By default unscaled rewards have none: their unit is the user's."""
        if self.clip is not None:
            return self.clip
        return math.inf if self.by == "none" else _LARGEST_REWARD


_LARGEST_REWARD = 10.0
"""Standard deviations of the score."""
_FARTHEST = 10.0
"""Robust standard deviations from the median beyond which a score may be an outlier."""
_RARE = 0.05
"""The largest share of a set of scores that are outliers, and not a part of their shape."""
_QUARTILES = 1.349
"""The distance of the quartiles of a normal distribution, in standard deviations."""


def without_outliers(scores: Sequence[float]) -> Sequence[float]:
    """Return the scores; where few are far outside, these are moved to the border."""
    if not scores:
        return scores
    low, median, high = np.quantile(scores, (0.25, 0.5, 0.75))
    border = _FARTHEST * (high - low) / _QUARTILES
    is_outside = np.abs(np.asarray(scores) - median) > border
    if not 0 < is_outside.mean() <= _RARE or border == 0:
        return scores
    inside: list[float] = np.clip(
        scores, median - border, median + border
    ).tolist()
    return inside


@dataclass
class Scale:
    """A scaling with running statistics of the scores: count, mean, squares (Welford 1962)."""

    scaling: Scaling
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def include(self, scores: Sequence[float]) -> None:
        """Update the statistics with scores, without rare ones far outside."""
        for score in without_outliers(scores):
            self.count += 1
            difference = score - self.mean
            self.mean += difference / self.count
            self.squares += difference * (score - self.mean)

    @property
    def deviation(self) -> float:
        """The standard deviation of the scores so far; 1 where they do not vary."""
        if not self.count:
            return 1.0
        deviation = math.sqrt(self.squares / self.count)
        return deviation if deviation > 1e-8 else 1.0

    @property
    def unit(self) -> float:
        """The score difference that is a reward of 1."""
        return 1.0 if self.scaling.by == "none" else self.deviation

    def applied(self, scores: Sequence[float]) -> list[float]:
        """Return scores as rewards; a running scale includes these scores first."""
        if self.scaling.by == "running":
            self.include(scores)
        shift = 0.0 if self.scaling.by == "none" else self.mean
        rewards = (np.asarray(scores) - shift) / self.unit
        limit = self.scaling.limit
        clipped: list[float] = np.clip(rewards, -limit, limit).tolist()
        return clipped

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        state = asdict(self)
        del state["scaling"]
        return state
