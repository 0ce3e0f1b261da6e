"""Links: from a score to what people said.

A link holds the few parameters of one kind of judgement's likelihood. They are learned beside the backbone, saved in
the score contract, and turn a score back into a probability, a grade or a rating. To add a kind of judgement: a record
in `data/judgements.py`, a log-likelihood in `maths/evidence.py`, a link here, and a row in `LINKS`.

| method | takes | returns |
|---|---|---|
| `from_judgements` | the training judgements of its kind | a link that starts near their statistics |
| `targets` | judgements [n] | tensor [n], what `log_likelihood` wants |
| `log_likelihood` | scores [n], targets [n] | ln P(judgement \\| score) [n] |
| `predict` | scores [n] | what a judge would say on average [n] |
| `rescaled` | offset, scale | the link of the scores (s − offset)/scale: same likelihoods |
| `as_dict`, `from_dict` | | JSON |
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from tastemaker.data.judgements import Grade, Judgement, Label, Rating
from tastemaker.errors import DataError
from tastemaker.maths.evidence import (
    grade_log_likelihood,
    grade_probabilities,
    label_log_likelihood,
    rating_log_likelihood,
)

_PINCH = 1e-3


def _scalar(value: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(float(value)))


def _ratings(judgements: Sequence[Rating]) -> Tensor:
    for j in judgements:
        if not math.isfinite(j.rating):
            raise DataError(f"{j.where or 'a rating'}: {j.rating} is not a finite number.")
    return torch.tensor([j.rating for j in judgements], dtype=torch.float64)


class Link(nn.Module, ABC):
    """The likelihood of one kind of judgement given the score. See the table at the top of this file."""

    kind: str
    slope: nn.Parameter

    @classmethod
    @abstractmethod
    def from_judgements(cls, judgements: Sequence[Any]) -> Self:
        """Return a link that starts near the judgements' own statistics; DataError when they cannot teach anything."""

    @abstractmethod
    def targets(self, judgements: Sequence[Any]) -> Tensor:
        """Return the judgements as one tensor; DataError when one does not fit what this link learned."""

    @abstractmethod
    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return ln P(judgement | score), one number a judgement."""

    @abstractmethod
    def predict(self, scores: Tensor) -> Tensor:
        """Return what a judge would say on average of a text with this score."""

    @abstractmethod
    def rescaled(self, offset: float, scale: float) -> Self:
        """Return the link that gives (s − offset)/scale the likelihoods that this one gives s."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Return the parameters as plain numbers."""

    @classmethod
    @abstractmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the link that `as_dict` described."""


class LabelLink(Link):
    """P(positive) = σ(slope · s + intercept)."""

    kind = "label"

    def __init__(self, slope: float = 1.0, intercept: float = 0.0) -> None:
        super().__init__()
        self.slope, self.intercept = _scalar(slope), _scalar(intercept)

    @classmethod
    def from_judgements(cls, judgements: Sequence[Label]) -> Self:
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
        return label_log_likelihood(self.slope * scores + self.intercept, targets)

    def predict(self, scores: Tensor) -> Tensor:
        """Return P(positive)."""
        return torch.sigmoid(self.slope * scores + self.intercept)

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

    def __init__(self, lowest: int, highest: int, slope: float, thresholds: Sequence[float]) -> None:
        super().__init__()
        self.lowest, self.highest = lowest, highest
        self.slope = _scalar(slope)
        ordered = torch.tensor(list(thresholds), dtype=torch.float64)
        gaps = (ordered[1:] - ordered[:-1]).clamp(min=1e-6)
        self.first = nn.Parameter(ordered[0].float())
        self.raw_gaps = nn.Parameter((gaps + torch.log(-torch.expm1(-gaps))).float())  # softplus⁻¹

    @property
    def thresholds(self) -> Tensor:
        """The ordered thresholds θ [highest − lowest]."""
        return self.first + torch.cat([self.first.new_zeros(1), softplus(self.raw_gaps).cumsum(0)])

    @classmethod
    def from_judgements(cls, judgements: Sequence[Grade]) -> Self:
        """Start at the grades' own cumulative shares. Raises DataError for one grade only or two scales."""
        scales = {(j.lowest, j.highest) for j in judgements}
        if len(scales) > 1:
            raise DataError(f"grades on unlike scales in one fit: {sorted(scales)}. Convert them to one scale.")
        lowest, highest = scales.pop()
        if len({j.grade for j in judgements}) < 2:
            raise DataError(f"all {len(judgements)} grades are {judgements[0].grade}: nothing to learn from.")
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

    def predict(self, scores: Tensor) -> Tensor:
        """Return the expected grade."""
        shares = grade_probabilities(self.slope * scores, self.thresholds)
        return shares @ torch.arange(self.lowest, self.highest + 1, dtype=shares.dtype, device=shares.device)

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
    """rating ~ Normal(centre + spread · (slope · s + intercept), (spread · sd)²).

    `centre` and `spread` are the training ratings' mean and standard deviation, fixed, so that any unit fits.
    """

    kind = "rating"

    def __init__(
        self, centre: float, spread: float, slope: float = 1.0, intercept: float = 0.0, log_sd: float = 0.0
    ) -> None:
        super().__init__()
        self.centre, self.spread = centre, spread
        self.slope, self.intercept, self.log_sd = _scalar(slope), _scalar(intercept), _scalar(log_sd)

    @classmethod
    def from_judgements(cls, judgements: Sequence[Rating]) -> Self:
        """Start at the ratings' mean and standard deviation. Raises DataError when all ratings are equal."""
        ratings = _ratings(judgements)
        spread = ratings.std(unbiased=False).item()
        if (ratings == ratings[0]).all():  # the spread of equal numbers may be a rounding error, not 0
            raise DataError(f"all {len(judgements)} ratings are {judgements[0].rating:g}: nothing to learn from.")
        return cls(ratings.mean().item(), spread)

    def targets(self, judgements: Sequence[Rating]) -> Tensor:
        """Return the ratings standardised by the training ratings' centre and spread."""
        return ((_ratings(judgements) - self.centre) / self.spread).float()

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Return ln p(standardised rating | score)."""
        return rating_log_likelihood(self.slope * scores + self.intercept, targets, self.log_sd)

    def predict(self, scores: Tensor) -> Tensor:
        """Return the expected rating in the unit that people used."""
        return self.centre + self.spread * (self.slope * scores + self.intercept)

    def rescaled(self, offset: float, scale: float) -> Self:
        slope = self.slope.item()
        intercept = self.intercept.item() + slope * offset
        return type(self)(self.centre, self.spread, slope * scale, intercept, self.log_sd.item())

    def as_dict(self) -> dict[str, Any]:
        return {
            "centre": self.centre,
            "spread": self.spread,
            "slope": self.slope.item(),
            "intercept": self.intercept.item(),
            "log_sd": self.log_sd.item(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        return cls(**values)


LINKS: dict[type[Judgement], type[Link]] = {Label: LabelLink, Grade: GradeLink, Rating: RatingLink}
"""Which link each kind of judgement has: the one place to add a row for a new kind."""


def links_from(judgements: Sequence[Judgement]) -> dict[type[Judgement], Link]:
    """Return a fresh link for every kind among the judgements, in the order of `LINKS`.

    The first link's slope is fixed at 1: it says how large a score of 1 is while the backbone learns, or else slopes
    could grow while weights shrink and no penalty on the weights would mean anything.
    """
    by_kind = {kind: [j for j in judgements if type(j) is kind] for kind in LINKS}
    links = {kind: LINKS[kind].from_judgements(found) for kind, found in by_kind.items() if found}
    for first in list(links.values())[:1]:
        first.slope.requires_grad_(False)
    return links
