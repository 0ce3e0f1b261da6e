"""Ratings: a number on a continuous scale. Normal or Huber around a line in the score."""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from tastemaker.data.judgements import Rating
from tastemaker.errors import DataError
from tastemaker.kinds.base import (
    NO_AIDS,
    Likelihood,
    Link,
    four_digits,
    scalar,
    signed,
)
from tastemaker.kinds.grade import correlation, share_of_ranks
from tastemaker.kinds.metrics import NumberMetrics
from tastemaker.maths.likelihoods import (
    huber_log_likelihood,
    rating_log_likelihood,
)


def _ratings(judgements: Sequence[Rating]) -> Tensor:
    for j in judgements:
        if not math.isfinite(j.rating):
            raise DataError(
                f"{j.where or 'a rating'}: {j.rating} is not a finite number."
            )
    return torch.tensor([j.rating for j in judgements], dtype=torch.float64)


def _are_equal(ratings: Tensor) -> bool:
    # not by the spread: that of equal numbers may be a rounding error
    return bool((ratings == ratings[0]).all())


class RatingLink(Link):
    """rating ~ Normal(centre + spread · (slope · s + intercept), (spread · sd)²), or Huber.

    `centre` and `spread` are the fixed mean and standard deviation of the training ratings.
    """

    record = Rating
    kind_metrics = NumberMetrics()
    predicts = "ratings"
    is_logit = False
    scale_parameters = ("slope", "log_sd")

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
        self.slope, self.intercept, self.log_sd = (
            scalar(slope),
            scalar(intercept),
            scalar(log_sd),
        )

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[Rating], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Start at the mean and standard deviation; 1 where all ratings are equal."""
        ratings = _ratings(judgements)
        spread = ratings.std(unbiased=False).item()
        if _are_equal(ratings):
            spread = 1.0
        return cls(ratings.mean().item(), spread, tails=likelihood.rating)

    @classmethod
    def why_no_order(cls, judgements: Sequence[Rating]) -> str:
        """Return a sentence where all ratings are equal."""
        if not _are_equal(_ratings(judgements)):
            return ""
        return (
            f"all {len(judgements)} ratings are {judgements[0].rating:g}: "
            "one rating does not order texts."
        )

    def targets(self, judgements: Sequence[Rating]) -> Tensor:
        """Return the ratings standardised by the training ratings' centre and spread."""
        return ((_ratings(judgements) - self.centre) / self.spread).float()

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return ln p(standardised rating | score)."""
        likelihood = (
            huber_log_likelihood
            if self.tails == "huber"
            else rating_log_likelihood
        )
        return likelihood(
            self.slope * scores + self.intercept, targets, self.log_sd
        )

    def neutral(self) -> Tensor:
        return -self.intercept / self.slope

    def leaning(self, targets: Tensor) -> Tensor:
        return share_of_ranks(targets)

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        return correlation(self.predict(scores), targets)

    def predict(self, scores: Tensor) -> Tensor:
        """Return the expected rating in the unit that people used."""
        return self.centre + self.spread * (
            self.slope * scores + self.intercept
        )

    def rescaled(self, offset: float, scale: float) -> Self:
        slope = self.slope.item()
        intercept = self.intercept.item() + slope * offset
        return type(self)(
            self.centre,
            self.spread,
            slope * scale,
            intercept,
            self.log_sd.item(),
            tails=self.tails,
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

    def formula(self) -> str:
        slope = four_digits(self.spread * self.slope.item())
        mean = signed(self.centre + self.spread * self.intercept.item())
        sd = four_digits(self.spread * math.exp(self.log_sd.item()))
        return (
            f"Rating: `{slope} · s {mean}` on average, with a standard deviation of "
            f"{sd} around it"
        )
