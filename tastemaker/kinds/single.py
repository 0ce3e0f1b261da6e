"""Links of the judgements about one text: labels, grades, ratings."""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.functional import softplus

from tastemaker.data.judgements import Grade, Label, Rating
from tastemaker.errors import DataError
from tastemaker.kinds.base import NO_AIDS, Likelihood, Link, scalar
from tastemaker.maths.likelihoods import (
    grade_log_likelihood,
    grade_probabilities,
    huber_log_likelihood,
    label_log_likelihood,
    rating_log_likelihood,
)

_PINCH = 1e-3


def _ratings(judgements: Sequence[Rating]) -> Tensor:
    for j in judgements:
        if not math.isfinite(j.rating):
            raise DataError(f"{j.where or 'a rating'}: {j.rating} is not a finite number.")
    return torch.tensor([j.rating for j in judgements], dtype=torch.float64)


def _share_of_ranks(targets: Tensor) -> Tensor:
    """Return each target's rank among them, the lowest 0 and the highest 1."""
    ranks = torch.from_numpy(rankdata(targets.double().numpy()))
    return (ranks - ranks.min()) / (ranks.max() - ranks.min()).clamp(min=1e-12)


def _correlation(predicted: Tensor, targets: Tensor) -> dict[str, float]:
    return {
        "correlation": float(
            torch.corrcoef(torch.stack([predicted, targets.to(predicted.dtype)]))[0, 1]
        )
    }


class LabelLink(Link):
    """P(positive) = σ(slope · s + intercept)."""

    kind = "label"

    def __init__(self, slope: float = 1.0, intercept: float = 0.0) -> None:
        super().__init__()
        self.slope, self.intercept = scalar(slope), scalar(intercept)

    @classmethod
    def from_judgements(cls, judgements: Sequence[Label], likelihood: Likelihood = NO_AIDS) -> Self:
        """Start at the share of positive labels. Raises DataError when all labels are equal."""
        share = sum(j.positive for j in judgements) / len(judgements)
        if share in (0.0, 1.0):
            only = "positive" if share else "negative"
            raise DataError(
                f"all {len(judgements)} labels are {only}: one class teaches nothing. Add texts of the other class."
            )
        return cls(1.0, math.log(share / (1 - share)))

    def targets(self, judgements: Sequence[Label]) -> Tensor:
        return torch.tensor([j.positive for j in judgements], dtype=torch.bool)

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        logit, slips = self.slope * scores + self.intercept, self.aids.smoothing
        likelihood = (1 - slips) * label_log_likelihood(logit, targets)
        return likelihood + slips * label_log_likelihood(logit, ~targets) if slips else likelihood

    def predict(self, scores: Tensor) -> Tensor:
        """Return P(positive)."""
        return torch.sigmoid(self.slope * scores + self.intercept)

    def neutral(self) -> Tensor:
        return -self.intercept / self.slope

    def leaning(self, targets: Tensor) -> Tensor:
        return targets.double()

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        return {"accuracy": float(((self.predict(scores) > 0.5) == targets).float().mean())}

    def rescaled(self, offset: float, scale: float) -> Self:
        slope = self.slope.item()
        return type(self)(slope * scale, self.intercept.item() + slope * offset)

    def as_dict(self) -> dict[str, Any]:
        return {"slope": self.slope.item(), "intercept": self.intercept.item()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


class GradeLink(Link):
    """P(grade > j) = σ(slope · s − θ_j) with ordered θ, one for each step between `lowest` and `highest`."""

    kind = "grade"

    def __init__(
        self, lowest: int, highest: int, slope: float, thresholds: Sequence[float]
    ) -> None:
        super().__init__()
        self.lowest, self.highest = lowest, highest
        self.slope = scalar(slope)
        ordered = torch.tensor(list(thresholds), dtype=torch.float64)
        gaps = (ordered[1:] - ordered[:-1]).clamp(min=1e-6)
        self.first = nn.Parameter(ordered[0].float())
        self.raw_gaps = nn.Parameter((gaps + torch.log(-torch.expm1(-gaps))).float())  # softplus⁻¹

    @property
    def thresholds(self) -> Tensor:
        """The ordered thresholds θ [highest − lowest]."""
        return self.first + torch.cat([self.first.new_zeros(1), softplus(self.raw_gaps).cumsum(0)])

    @classmethod
    def from_judgements(cls, judgements: Sequence[Grade], likelihood: Likelihood = NO_AIDS) -> Self:
        """Start at the grades' own cumulative shares. Raises DataError for one grade only or two scales."""
        scales = {(j.lowest, j.highest) for j in judgements}
        if len(scales) > 1:
            raise DataError(
                f"grades on unlike scales in one fit: {sorted(scales)}. Convert them to one scale."
            )
        lowest, highest = scales.pop()
        if len({j.grade for j in judgements}) < 2:
            raise DataError(
                f"all {len(judgements)} grades are {judgements[0].grade}: nothing to learn from."
            )
        steps = torch.tensor([j.grade - lowest for j in judgements])
        shares = torch.stack([(steps == k).double().mean() for k in range(highest - lowest + 1)])
        # a pinch of every grade keeps the thresholds apart where a grade is rare or was never given
        shares = (1 - _PINCH) * shares + _PINCH / len(shares)
        thresholds = torch.logit(shares.cumsum(0)[:-1])
        return cls(lowest, highest, 1.0, thresholds.tolist())

    def targets(self, judgements: Sequence[Grade]) -> Tensor:
        for j in judgements:
            if (j.lowest, j.highest) != (self.lowest, self.highest):
                raise DataError(
                    f"{j.where or 'a grade'}: a scale of {j.lowest} to {j.highest}, but this model learned grades "
                    f"from {self.lowest} to {self.highest}. Convert them to that scale."
                )
            if not self.lowest <= j.grade <= self.highest:
                raise DataError(
                    f"{j.where or 'a grade'}: {j.grade} is outside its scale of {self.lowest} to {self.highest}."
                )
        return torch.tensor([j.grade - self.lowest for j in judgements], dtype=torch.long)

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        return grade_log_likelihood(self.slope * scores, targets, self.thresholds)

    def neutral(self) -> Tensor:
        return self.thresholds.median() / self.slope

    def leaning(self, targets: Tensor) -> Tensor:
        return _share_of_ranks(targets)

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        return _correlation(self.predict(scores), targets)

    def predict(self, scores: Tensor) -> Tensor:
        """Return the expected grade."""
        shares = grade_probabilities(self.slope * scores, self.thresholds)
        return shares @ torch.arange(
            self.lowest, self.highest + 1, dtype=shares.dtype, device=shares.device
        )

    def rescaled(self, offset: float, scale: float) -> Self:
        slope = self.slope.item()
        thresholds = (self.thresholds.detach().double() - slope * offset).tolist()
        return type(self)(self.lowest, self.highest, slope * scale, thresholds)

    def as_dict(self) -> dict[str, Any]:
        return {
            "lowest": self.lowest,
            "highest": self.highest,
            "slope": self.slope.item(),
            "thresholds": [float(t) for t in self.thresholds.detach()],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


class RatingLink(Link):
    """rating ~ Normal(centre + spread · (slope · s + intercept), (spread · sd)²), or with Huber's tails.

    `centre` and `spread` are the training ratings' mean and standard deviation, fixed, so that any unit fits.
    """

    kind = "rating"

    def __init__(
        self,
        centre: float,
        spread: float,
        slope: float = 1.0,
        intercept: float = 0.0,
        log_sd: float = 0.0,
        *,
        tails: str = "normal",
    ) -> None:
        super().__init__()
        self.centre, self.spread, self.tails = centre, spread, tails
        self.slope, self.intercept, self.log_sd = scalar(slope), scalar(intercept), scalar(log_sd)

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[Rating], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Start at the ratings' mean and standard deviation. Raises DataError when all ratings are equal."""
        ratings = _ratings(judgements)
        spread = ratings.std(unbiased=False).item()
        if (
            ratings == ratings[0]
        ).all():  # the spread of equal numbers may be a rounding error, not 0
            raise DataError(
                f"all {len(judgements)} ratings are {judgements[0].rating:g}: nothing to learn from."
            )
        return cls(ratings.mean().item(), spread, tails=likelihood.rating)

    def targets(self, judgements: Sequence[Rating]) -> Tensor:
        """Return the ratings standardised by the training ratings' centre and spread."""
        return ((_ratings(judgements) - self.centre) / self.spread).float()

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return ln p(standardised rating | score)."""
        likelihood = huber_log_likelihood if self.tails == "huber" else rating_log_likelihood
        return likelihood(self.slope * scores + self.intercept, targets, self.log_sd)

    def neutral(self) -> Tensor:
        return -self.intercept / self.slope

    def leaning(self, targets: Tensor) -> Tensor:
        return _share_of_ranks(targets)

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        return _correlation(self.predict(scores), targets)

    def predict(self, scores: Tensor) -> Tensor:
        """Return the expected rating in the unit that people used."""
        return self.centre + self.spread * (self.slope * scores + self.intercept)

    def rescaled(self, offset: float, scale: float) -> Self:
        slope = self.slope.item()
        intercept = self.intercept.item() + slope * offset
        return type(self)(
            self.centre, self.spread, slope * scale, intercept, self.log_sd.item(), tails=self.tails
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "centre": self.centre,
            "spread": self.spread,
            "slope": self.slope.item(),
            "intercept": self.intercept.item(),
            "log_sd": self.log_sd.item(),
            "tails": self.tails,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)
