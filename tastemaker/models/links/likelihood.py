"""How judgements are believed: the settings of the likelihoods, checked where they are made."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tastemaker.errors import UsageError

KINDS = ("label", "grade", "rating", "comparison", "ranking")


@dataclass(frozen=True)
class Likelihood:
    """How judgements are believed. The defaults believe everybody alike and every kind as it is.

    weights: by kind, how much each of its judgements counts (1 unless said). judges: learn how reliable each judge is;
    None: where the data names two judges or more. ties: whether there can be ties; False refuses them.
    ranking: "plackett-luce", or "pairs", the mean over a ranking's pairs (Ouyang et al. 2022). rating: "normal", or
    "huber", which outliers pull less. margin: by how much a margin of 1 raises the log-odds that a chosen text has to
    reach (Touvron et al. 2023): subtracted behind the link's slope, so its unit is not the score's. smoothing: the
    share of answers taken for slips in labels and comparisons, 0 … 0.5.
    centring: how strongly the mean score of texts that were judged together is drawn to 0 (Eisenstein et al. 2023).
    length_control: explain by the texts' length what their length explains, so that the score does not carry it.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    judges: bool | None = None
    ties: bool = True
    ranking: Literal["plackett-luce", "pairs"] = "plackett-luce"
    rating: Literal["normal", "huber"] = "normal"
    margin: float = 1.0
    smoothing: float = 0.0
    centring: float = 0.0
    length_control: bool = False

    def __post_init__(self) -> None:
        for kind, weight in self.weights.items():
            if kind not in KINDS:
                raise UsageError(f"a weight for {kind!r}: the kinds of judgements are {', '.join(KINDS)}.")
            if not (math.isfinite(weight) and weight >= 0):
                raise UsageError(f"the weight of {kind}s is {weight}; a weight is a finite number of 0 or more.")
        if self.ranking not in ("plackett-luce", "pairs"):
            raise UsageError(f"ranking {self.ranking!r}: choose plackett-luce or pairs.")
        if self.rating not in ("normal", "huber"):
            raise UsageError(f"rating {self.rating!r}: choose normal or huber.")
        for name in ("margin", "centring"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise UsageError(f"{name} {getattr(self, name)}: must be a finite number of 0 or more.")
        if not 0 <= self.smoothing < 0.5:
            raise UsageError(f"smoothing {self.smoothing}: must be at least 0 and below 0.5, a coin's share.")
