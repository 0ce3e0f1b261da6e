"""Labels: a text is positive or negative. P(positive) is a sigmoid of the score."""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.judgements import Label
from tastemaker.kinds.base import (
    NO_AIDS,
    Likelihood,
    Link,
    four_digits,
    odds_of_counts,
    scalar,
    signed,
)
from tastemaker.kinds.metrics import (
    Judged,
    Mask,
    MetricsOfOneText,
    Predictions,
)
from tastemaker.maths.likelihoods import label_log_likelihood
from tastemaker.maths.statistics import (
    Floats,
    Statistic,
    auroc_of,
    mean_of,
)


class LabelMetrics(MetricsOfOneText):
    """Labels: the right side of one half, the order of unlike pairs, calibration."""

    headline = "accuracy"
    against_constant = "accuracy"
    constant_in_words = "always giving the more frequent label"
    drawn_as = "label"
    has_base_rate = True

    def is_mistake(self, answers: Floats, predicted: Floats) -> Mask:
        """Return True [m] where P(positive) lies on the other side of ½."""
        return np.not_equal(predicted > 0.5, answers > 0.5)

    def in_words(self, value: float) -> str:
        """Return "positive", "negative", or a probability."""
        return {1.0: "positive", 0.0: "negative"}.get(
            value, f"{value:.1%} positive"
        )

    def statistics(
        self, judged: Judged, predictions: Predictions
    ) -> dict[str, Statistic]:
        """Return accuracy, AUROC and log-loss."""
        return {
            "accuracy": mean_of(
                ~self.is_mistake(judged.answers, predictions.predicted)
            ),
            "auroc": auroc_of(predictions.scores, judged.answers > 0.5),
            "log_loss": mean_of(predictions.loss),
        }

    def chances(
        self, judged: Judged, predictions: Predictions
    ) -> tuple[Floats, Floats]:
        """Return P(positive) and the labels."""
        return predictions.predicted, judged.answers

    def constant(self, judged: Judged) -> dict[str, float]:
        """Return the figures of a model that gives one probability to all texts.

        The probability is the share of positives in the same judgements: no other constant has a
        lower log loss.
        """
        share = float(np.average(judged.answers, weights=judged.weights))
        given = np.where(judged.answers > 0.5, share, 1 - share)
        return {
            "accuracy": max(share, 1 - share),
            "auroc": 0.5 if 0 < share < 1 else math.nan,
            "log_loss": float(
                np.average(-np.log(given), weights=judged.weights)
            ),
        }

    def of_constant(self, judged: Judged) -> Statistic:
        """Return the accuracy of the more frequent label."""
        share = float(np.average(judged.answers, weights=judged.weights))
        return mean_of((judged.answers > 0.5) == (share >= 0.5))


class LabelLink(Link):
    """P(positive) = σ(slope · s + intercept)."""

    record = Label
    kind_metrics = LabelMetrics()
    predicts = "probabilities"

    def __init__(self, slope: float = 1.0, intercept: float = 0.0) -> None:
        super().__init__()
        self.slope, self.intercept = scalar(slope), scalar(intercept)

    @classmethod
    def from_judgements(
        cls, judgements: Sequence[Label], likelihood: Likelihood = NO_AIDS
    ) -> Self:
        """Start at the share of positive labels."""
        positive = sum(j.positive for j in judgements)
        odds = odds_of_counts(positive, len(judgements) - positive)
        return cls(1.0, math.log(odds))

    @classmethod
    def why_no_order(cls, judgements: Sequence[Label]) -> str:
        """Return a sentence where all labels are equal."""
        if len({j.positive for j in judgements}) > 1:
            return ""
        only = "positive" if judgements[0].positive else "negative"
        return (
            f"all {len(judgements)} labels are {only}: one class does not order texts. "
            "Add texts of the other class."
        )

    def targets(self, judgements: Sequence[Label]) -> Tensor:
        return torch.tensor([j.positive for j in judgements], dtype=torch.bool)

    def log_likelihood(self, scores: Tensor, targets: Tensor) -> Tensor:
        logit = self.slope * scores + self.intercept
        slips = self.aids.smoothing
        likelihood = (1 - slips) * label_log_likelihood(logit, targets)
        if slips:
            likelihood = likelihood + slips * label_log_likelihood(
                logit, ~targets
            )
        return likelihood

    def predict(self, scores: Tensor) -> Tensor:
        """Return P(positive)."""
        return torch.sigmoid(self.slope * scores + self.intercept)

    def neutral(self) -> Tensor:
        return -self.intercept / self.slope

    def information(self, scores: Tensor) -> Tensor:
        chance = self.predict(scores)
        return chance * (1 - chance)

    def leaning(self, targets: Tensor) -> Tensor:
        return targets.double()

    def metrics(self, scores: Tensor, targets: Tensor) -> dict[str, float]:
        is_right = (self.predict(scores) > 0.5) == targets
        return {"accuracy": float(is_right.float().mean())}

    def rescaled(self, offset: float, scale: float) -> Self:
        slope = self.slope.item()
        return type(self)(
            slope * scale, self.intercept.item() + slope * offset
        )

    def as_dict(self) -> dict[str, Any]:
        return {"slope": self.slope.item(), "intercept": self.intercept.item()}

    def formula(self) -> str:
        slope, intercept = (
            four_digits(self.slope.item()),
            signed(self.intercept.item()),
        )
        return f"Label: `P(positive) = σ({slope} · s {intercept})`"
