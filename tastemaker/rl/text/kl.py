"""The cost of the KL of the policy from its reference, and how scores become rewards.

In the reward, every token pays for its log-ratio to the reference, and the algorithm learns from
it as from any reward (Ziegler et al. 2019). In the loss, an estimator of the KL is minimised beside
the algorithm's own cost (Shao et al. 2024). A run uses one of the two.

Scores are scaled to mean 0 and standard deviation 1, so that one KL coefficient and one learning
rate fit any reward.
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
from tastemaker.rl.algorithms.base import Evaluation, Experience
from tastemaker.settings import LIMIT, NOT_NEGATIVE, POSITIVE, check, setting

_STEEPEST = 0.2


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
    # in the loss k2 has the gradient of KL(π ‖ ref), k3 that of KL(ref ‖ π), which leads elsewhere
    estimator: Literal["k1", "k2", "k3"] = setting(
        "k1",
        "Estimator of a token's KL.",
        option="--kl-estimator",
        shown="k1, in the loss k2",
    )
    target: float | None = setting(
        None,
        "Adapt the cost to so many nats a completion (Ziegler et al. 2019, section 2.2).",
        POSITIVE,
        option="--kl-target",
    )
    horizon: float = setting(
        10_000.0,
        "Completions over which the cost adapts.",
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

    def adapted(self, coef: float, kl: float, completions: int) -> float:
        """Return the coefficient after a rollout of so many completions with this mean KL, nats."""
        if self.target is None:
            return coef
        error = min(max(kl / self.target - 1, -_STEEPEST), _STEEPEST)
        return coef * (1 + error * completions / self.horizon)

    def penalty(self, coef: float) -> "Penalty":
        """Return what KL in the loss costs each action; nothing where it is in the reward."""
        return Penalty(self, coef if self.where == "loss" else 0.0)


@dataclass(frozen=True)
class Penalty:
    """The cost of each action beside an algorithm's own."""

    kl: KL
    coef: float

    def __call__(self, experience: Experience, now: Evaluation) -> Tensor:
        """Return the costs [b, T]."""
        if self.coef == 0:
            return torch.zeros_like(now.log_probs)
        return self.coef * self.kl.costs(now.log_probs, experience.reference)


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
    clip: float = setting(
        math.inf,
        "Rewards are cut to this in both directions.",
        LIMIT,
        option="--reward-clip",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass
class Scale:
    """A scaling with running statistics of the scores: count, mean, squares (Welford 1962)."""

    scaling: Scaling
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def see(self, scores: Sequence[float]) -> None:
        """Update the statistics with scores."""
        for score in scores:
            self.count += 1
            gap = score - self.mean
            self.mean += gap / self.count
            self.squares += gap * (score - self.mean)

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
            self.see(scores)
        shift = 0.0 if self.scaling.by == "none" else self.mean
        rewards = (np.asarray(scores) - shift) / self.unit
        clipped: list[float] = np.clip(
            rewards, -self.scaling.clip, self.scaling.clip
        ).tolist()
        return clipped

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            name: value for name, value in asdict(self).items() if name != "scaling"
        }
