"""What is done to a score before it teaches: the cost of KL, and the scale of rewards.

KL is measured from the reference. In the reward, every token pays for its log-ratio to the
reference, and the algorithm learns from it as from any reward (Ziegler et al. 2019). In the loss,
an estimator of the KL is minimised beside the algorithm's own cost (Shao et al. 2024). A run uses
one of the two.

Scores are scaled to mean 0 and standard deviation 1, so that one KL coefficient and one learning
rate fit any reward. Rare scores far outside do not count in full: they would set the scale alone.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from tastemaker.errors import UsageError
from tastemaker.maths.rl import ESTIMATORS
from tastemaker.rl.algorithms.base import ActionEvaluation, Experience
from tastemaker.settings import (
    LIMIT,
    NOT_NEGATIVE,
    POSITIVE,
    check,
    setting,
    settings_class,
)


@settings_class
@dataclass(frozen=True)
class KL:
    """What the KL from the reference costs."""

    name: ClassVar[str] = "KL"
    group: ClassVar[str] = "KL"

    coef: float = setting(
        0.1,
        "Cost of a nat of KL, in rewards.",
        NOT_NEGATIVE,
        option="--kl-coef",
        shown="0.1, with --judgements 0",
    )
    where: Literal["reward", "loss"] = setting(
        "reward", "Where KL is paid.", option="--kl-in"
    )
    # in the loss, k2 has the gradient of each token's KL(π ‖ ref), k3 that of KL(ref ‖ π); neither
    # has that of the KL of whole texts, which also depends on where earlier tokens lead
    estimator: Literal["k1", "k2", "k3"] = setting(
        "k1",
        "Estimator of a token's KL.",
        option="--kl-estimator",
        shown="k1, in the loss k2",
    )
    target: float | None = setting(
        None,
        "Adapt the cost so that a completion's KL reaches this number of nats.",
        POSITIVE,
        option="--kl-target",
    )
    horizon: float = setting(
        5.0,
        "Steps in which the cost grows e-fold where the KL is e times the target.",
        POSITIVE,
        option="--kl-horizon",
    )

    def __post_init__(self) -> None:
        check(self)
        if self.where == "loss" and self.estimator == "k1":
            raise UsageError(
                "KL k1 in the loss has a mean gradient of 0 and teaches nothing: choose k2 or k3."
            )
        if self.target is not None and self.coef == 0:
            raise UsageError(
                f"KL target {self.target:g}: there is no cost to adapt, for coef is 0. Raise coef."
            )

    def costs(self, log_probs: Tensor, reference: Tensor) -> Tensor:
        """Return the estimated KL of each token, nats [B, T]."""
        return ESTIMATORS[self.estimator](log_probs, reference)

    def share_of_rewards(self, coef: float, kl: float) -> float:
        """Return what rewards are multiplied by, KL included: 1 where the cost is not adapted.

        kl: of the completions that are rewarded, nats each.

        A cost that grows must not make rewards large: a critic's loss would grow with their square,
        and its gradient through the shared network would move the policy.
        """
        if self.target is None:
            return 1.0
        return 1 / (1 + coef * max(self.target, kl))

    def penalty(self, coef: float) -> "Penalty":
        """Return what KL in the loss costs each action; nothing where it is in the reward."""
        return Penalty(self, coef if self.where == "loss" else 0.0)


@dataclass(frozen=True)
class Penalty:
    """The cost of each action beside an algorithm's own."""

    kl: KL
    coef: float

    def __call__(
        self, experience: Experience, now: ActionEvaluation
    ) -> Tensor:
        """Return the costs [b, T]."""
        if self.coef == 0:
            return torch.zeros_like(now.log_probs)
        return self.coef * self.kl.costs(now.log_probs, experience.reference)


_LEAST_ERROR = -0.5
_MOST_ERROR = 3.0
"""Log-ratios of the KL to its target, at which an error counts no more.

Far below the target an error says only that the policy is slow: a cost that fell for long would
take as long to come back, while the KL goes far beyond the target.
"""
_REACTION = 2.0
"""How strongly the coefficient follows a change of the error.

A policy whose steps are all as long as a trust region allows goes on in its direction for a while.
At 1 its KL swung to three times the target.
"""


@dataclass
class Controller:
    """The coefficient of the KL cost, adapted to a target.

    It is a proportional–integral controller of the logarithms: after a step with the error e =
    ln(KL / target), ln coef changes by e / horizon and by twice the change of e since the step
    before, so that it already resists a KL on its way up (as Stooke et al. 2020 do for a
    constraint). Below the target it falls slowly. While the KL comes nearer to the target, e /
    horizon counts a quarter: a coefficient that went on growing would take as long to come back.

    error: of the last step; None before the first.
    """

    kl: KL
    coef: float
    error: float | None = None

    def observe(self, kl: float) -> None:
        """Adapt the coefficient after a step with this mean KL, nats a completion."""
        target = self.kl.target
        if target is None:
            return
        ratio = max(kl / target, math.exp(_LEAST_ERROR))
        error = min(math.log(ratio), _MOST_ERROR)
        before = error if self.error is None else self.error
        rise = error - before
        change = error / self.kl.horizon
        if error * rise < 0:
            change /= 4
        self.coef *= math.exp(change + _REACTION * rise)
        self.error = error

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"coef": self.coef, "error": self.error}


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
