"""The result of scoring: a number for each text, and whether the text was cut to fit."""

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tastemaker.errors import UsageError

Caution: TypeAlias = float | str
"""How the scores of an ensemble's members become one score of a text.

A number λ: mean − λ · standard deviation (Coste et al. 2023). "minimum": the lowest member.
"pessimistic=β": −β ln E[exp(−score/β)], the expectation over the members (arXiv 2606.09073). It is
the worst mean over all weights of the members, where weights of KL divergence d from equal ones
cost β · d. A large β gives the mean, a small one the minimum.
"""

MINIMUM, PESSIMISTIC = "minimum", "pessimistic"


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n texts, in the order they were given.

    values: float64 [n], anchored: 0 is the mean of the reference texts, 1 their standard deviation.
    truncated: bool [n], True where the text was longer than the model's limit and was cut to fit.
    members: float64 [M, n], the scores of each member of an ensemble, whose mean is `values`; None
    for a single model.
    """

    values: NDArray[np.float64]
    truncated: NDArray[np.bool_]
    members: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @staticmethod
    def cat(parts: "list[Scores]") -> "Scores":
        """Join scores of consecutive texts."""
        if not parts:
            return Scores(np.zeros(0), np.zeros(0, dtype=bool))
        members = [p.members for p in parts if p.members is not None]
        return Scores(
            np.concatenate([p.values for p in parts]),
            np.concatenate([p.truncated for p in parts]),
            np.concatenate(members, axis=1) if members else None,
        )

    def part(self, start: int, end: int) -> "Scores":
        """Return the scores of the texts from `start` to before `end`."""
        members = self.members
        return Scores(
            self.values[start:end],
            self.truncated[start:end],
            None if members is None else members[:, start:end],
        )

    @property
    def uncertainty(self) -> NDArray[np.float64] | None:
        """The sample standard deviation of the members [n]; None for a single model."""
        return (
            None if self.members is None else self.members.std(axis=0, ddof=1)
        )

    def cautious(self, caution: Caution) -> "Scores":
        """Return the scores, lower where the members disagree (see `Caution`).

        Raises UsageError for a single model, unless λ is 0, and for an invalid caution.
        """
        if caution == 0:
            return self
        if self.members is None or self.uncertainty is None:
            raise UsageError(
                "caution needs an ensemble, and this is a single model. Fit one with --members 5."
            )
        if isinstance(caution, str):
            beta = beta_of(caution)
            return replace(self, values=soft_minimum(self.members, beta))
        if not math.isfinite(caution):
            raise UsageError(
                f"caution {caution!r}: a finite number, minimum or pessimistic=NUMBER."
            )
        return replace(self, values=self.values - caution * self.uncertainty)

    def as_list(self) -> list[Any]:
        """Return the values as plain floats."""
        return [float(v) for v in self.values]


def soft_minimum(
    members: NDArray[np.float64], beta: float
) -> NDArray[np.float64]:
    """Return −β ln E[exp(−score/β)] of the members [M, n] of an ensemble; the minimum for β = 0."""
    lowest: NDArray[np.float64] = members.min(axis=0)
    if beta == 0:
        return lowest
    # of the distances from the lowest member, for exp(−score/β) can be infinite
    weights = np.exp(-(members - lowest) / beta)
    values: NDArray[np.float64] = lowest - beta * np.log(weights.mean(axis=0))
    return values


def beta_of(caution: str) -> float:
    """Return the β of "pessimistic=β", and 0 of "minimum". Raises UsageError for anything else."""
    if caution == MINIMUM:
        return 0.0
    name, _, number = caution.partition("=")
    try:
        beta = float(number)
    except ValueError:
        beta = math.nan
    if name != PESSIMISTIC or not 0 < beta < math.inf:
        raise UsageError(
            f"caution {caution!r}: a finite number, minimum, or pessimistic=β with a positive "
            "number for β, such as pessimistic=0.1."
        )
    return beta


def with_beta(caution: Caution, coefficient: float) -> Caution:
    """Return a caution whose β, where none is given, is the coefficient of KL.

    Both are the price of a nat of KL in units of the score: one for the policy, one for the weights
    of the members. Without a price, only the lowest member counts.
    """
    if caution != PESSIMISTIC:
        return caution
    return f"{PESSIMISTIC}={coefficient!r}" if coefficient > 0 else MINIMUM
