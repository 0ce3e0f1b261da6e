"""What scoring returns: a number a text, and whether the text was longer than the model reads."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of n texts, in the order they were given.

    values: float64 [n], anchored: 0 is the mean of the reference texts, 1 their standard deviation.
    truncated: bool [n], True where the text was longer than the model's limit and was cut to fit.
    """

    values: NDArray[np.float64]
    truncated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)

    @staticmethod
    def cat(parts: "list[Scores]") -> "Scores":
        """Join scores of consecutive texts."""
        if not parts:
            return Scores(np.zeros(0), np.zeros(0, dtype=bool))
        return Scores(np.concatenate([p.values for p in parts]), np.concatenate([p.truncated for p in parts]))

    def as_list(self) -> list[Any]:
        """Return the values as plain floats."""
        return [float(v) for v in self.values]
