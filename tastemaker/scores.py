"""The result of scoring: a number for each text, and whether the text was cut to fit."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tastemaker.errors import UsageError

Caution = float | Literal["minimum"]


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

    @property
    def uncertainty(self) -> NDArray[np.float64] | None:
        """The sample standard deviation of the members [n]; None for a single model."""
        return None if self.members is None else self.members.std(axis=0, ddof=1)

    def cautious(self, caution: Caution) -> "Scores":
        """Return the scores, lower where the members disagree (Coste et al. 2023).

        caution: λ of mean − λ · standard deviation, or "minimum" for the lowest member. Raises
        UsageError for a single model, unless λ is 0, and for a λ that is no finite number.
        """
        if caution == 0:
            return self
        if self.members is None or self.uncertainty is None:
            raise UsageError(
                "caution needs an ensemble, and this is a single model. Fit one with --members 5."
            )
        if caution == "minimum":
            return replace(self, values=self.members.min(axis=0))
        if not math.isfinite(caution):
            raise UsageError(f"caution {caution!r}: a finite number, or minimum.")
        return replace(self, values=self.values - caution * self.uncertainty)

    def as_list(self) -> list[Any]:
        """Return the values as plain floats."""
        return [float(v) for v in self.values]
