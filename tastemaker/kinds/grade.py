"""Grades: a step of an ordered scale. A cumulative logit with ordered thresholds."""

from collections.abc import Sequence
from typing import Any, Self

import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.functional import softplus

from tastemaker.data.judgements import Grade
from tastemaker.errors import DataError
from tastemaker.kinds.base import (
    NO_AIDS,
    Likelihood,
    Link,
    four_digits,
    scalar,
)
from tastemaker.kinds.metrics import NumberMetrics
from tastemaker.maths.likelihoods import (
    grade_information,
    grade_log_likelihood,
    grade_probabilities,
)

_PINCH = 1e-3


def share_of_ranks(targets: Tensor) -> Tensor:
    """Return each target's rank among them, the lowest 0 and the highest 1."""
    ranks = torch.from_numpy(rankdata(targets.double().numpy()))
    return (ranks - ranks.min()) / (ranks.max() - ranks.min()).clamp(min=1e-12)


def correlation(predicted: Tensor, targets: Tensor) -> dict[str, float]:
    """Return Pearson's correlation of predictions with targets; nothing for fewer than two."""
    if len(targets) < 2:
        return {}
    both = torch.stack([predicted, targets.to(predicted.dtype)])
    return {"correlation": float(torch.corrcoef(both)[0, 1])}


class GradeLink(Link):
    """P(grade > j) = σ(slope · s − θ_j) with ordered θ, one for each step of the scale."""

    record = Grade
    kind_metrics = NumberMetrics()
    predicts = "ratings"

    def __init__(
        self,
        lowest: int,
        highest: int,
        slope: float,
        thresholds: Sequence[float],
    ) -> None:
        super().__init__()
        self.lowest, self.highest = lowest, highest
        self.slope = scalar(slope)
        ordered = torch.tensor(list(thresholds), dtype=torch.float64)
        gaps = (ordered[1:] - ordered[:-1]).clamp(min=1e-6)
        self.first = nn.Parameter(ordered[0].float())
        # softplus⁻¹
        self.raw_gaps = nn.Parameter(
            (gaps + torch.log(-torch.expm1(-gaps))).float()
        )

    @property
    def thresholds(self) -> Tensor:
        """The ordered thresholds θ [highest − lowest]."""
        return self.first + torch.cat(
            [self.first.new_zeros(1), softplus(self.raw_gaps).cumsum(0)]
        )

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[Grade], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Start at the cumulative shares. Raises DataError for two scales."""
        scales = {(j.lowest, j.highest) for j in judgements}
        if len(scales) > 1:
            raise DataError(
                f"grades on unlike scales in one fit: {sorted(scales)}. Convert them to one scale."
            )
        lowest, highest = scales.pop()
        steps = torch.tensor([j.grade - lowest for j in judgements])
        shares = torch.stack(
            [(steps == k).double().mean() for k in range(highest - lowest + 1)]
        )
        # a pinch of every grade keeps the thresholds apart where a grade is rare or was never given
        shares = (1 - _PINCH) * shares + _PINCH / len(shares)
        thresholds = torch.logit(shares.cumsum(0)[:-1])
        return cls(lowest, highest, 1.0, thresholds.tolist())

    @classmethod
    def why_no_order(cls, judgements: Sequence[Grade]) -> str:
        """Return a sentence where all grades are equal."""
        if len({j.grade for j in judgements}) > 1:
            return ""
        return (
            f"all {len(judgements)} grades are {judgements[0].grade}: "
            "one grade does not order texts."
        )

    def targets(self, judgements: Sequence[Grade]) -> Tensor:
        for j in judgements:
            if (j.lowest, j.highest) != (self.lowest, self.highest):
                raise DataError(
                    f"{j.where or 'a grade'}: a scale of {j.lowest} to {j.highest}, but this model "
                    f"learned grades from {self.lowest} to {self.highest}. Convert "
                    "them to that scale."
                )
            if not self.lowest <= j.grade <= self.highest:
                raise DataError(
                    f"{j.where or 'a grade'}: {j.grade} is outside its scale of "
                    f"{self.lowest} to {self.highest}."
                )
        return torch.tensor(
            [j.grade - self.lowest for j in judgements], dtype=torch.long
        )

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        return grade_log_likelihood(
            self.slope * scores, targets, self.thresholds
        )

    def neutral(self) -> Tensor:
        return self.thresholds.median() / self.slope

    def information(self, scores: Tensor) -> Tensor:
        logits = (self.slope * scores).flatten()
        return grade_information(logits, self.thresholds).reshape(scores.shape)

    def leaning(self, targets: Tensor) -> Tensor:
        return share_of_ranks(targets)

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        return correlation(self.predict(scores), targets)

    def predict(self, scores: Tensor) -> Tensor:
        """Return the expected grade."""
        shares = grade_probabilities(self.slope * scores, self.thresholds)
        grades = torch.arange(
            self.lowest,
            self.highest + 1,
            dtype=shares.dtype,
            device=shares.device,
        )
        return shares @ grades

    def rescaled(self, offset: float, scale: float) -> Self:
        slope = self.slope.item()
        thresholds = (
            self.thresholds.detach().double() - slope * offset
        ).tolist()
        return type(self)(self.lowest, self.highest, slope * scale, thresholds)

    def as_dict(self) -> dict[str, Any]:
        return {
            "lowest": self.lowest,
            "highest": self.highest,
            "slope": self.slope.item(),
            "thresholds": [float(t) for t in self.thresholds.detach()],
        }

    def formula(self) -> str:
        slope = four_digits(self.slope.item())
        thresholds = ", ".join(
            four_digits(float(t)) for t in self.thresholds.detach()
        )
        steps = f"{self.lowest} … {self.highest - 1}"
        return (
            f"Grade, {self.lowest} to {self.highest}: `P(grade > j) = σ({slope} · s − θ_j)` "
            f"with θ for j = {steps}: {thresholds}"
        )
