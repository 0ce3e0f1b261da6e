"""What is measured of judgements about one text: labels, grades and ratings."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tastemaker.evaluate.measures import Judged, Predictions, Yardstick, amount
from tastemaker.maths.statistics import (
    Floats,
    Statistic,
    auroc_of,
    ece,
    kendall,
    log_loss,
    mean_of,
    pearson_of,
    spearman_of,
)


class OfOneText(Yardstick):
    """What labels, grades and ratings have in common: a mistake can be too high or too low."""

    def is_mistake(self, said: Floats, predicted: Floats) -> NDArray[np.bool_]:
        """Return True [m] where what was predicted [m] is not what was said [m]."""
        return np.not_equal(predicted, said)

    def in_words(self, value: float) -> str:
        """Return a judgement or a prediction as people read it."""
        return f"{value:,.0f}" if value.is_integer() else amount(value)


class LabelYardstick(OfOneText):
    """Labels: the right side of one half, the order of unlike pairs, calibration."""

    headline = "accuracy"
    against_constant = "accuracy"
    constant_in_words = "always giving the more frequent label"

    def said(self, judgements: Sequence[Any]) -> Floats:
        """Return 1 for positive and 0 for negative [m]."""
        return np.array([float(judgement.positive) for judgement in judgements], dtype=np.float64)

    def is_mistake(self, said: Floats, predicted: Floats) -> NDArray[np.bool_]:
        """Return True [m] where P(positive) lies on the other side of ½."""
        return np.not_equal(predicted > 0.5, said > 0.5)

    def in_words(self, value: float) -> str:
        """Return "positive", "negative", or a probability."""
        return {1.0: "positive", 0.0: "negative"}.get(value, f"{value:.1%} positive")

    def statistics(self, judged: Judged, made: Predictions) -> dict[str, Statistic]:
        """Return accuracy, AUROC and log-loss."""
        return {
            "accuracy": mean_of(~self.is_mistake(judged.said, made.predicted)),
            "auroc": auroc_of(made.scores, judged.said > 0.5),
            "log_loss": mean_of(made.loss),
        }

    def points(self, judged: Judged, made: Predictions) -> dict[str, float]:
        """Return the expected calibration error."""
        return {"ece": ece(made.predicted, judged.said)}

    def constant(self, judged: Judged) -> dict[str, float]:
        """Return the figures of always saying the share of positives, known in hindsight."""
        share = float(judged.said.mean())
        return {
            "accuracy": max(share, 1 - share),
            "auroc": 0.5 if 0 < share < 1 else math.nan,
            "log_loss": log_loss(np.full(len(judged), share), judged.said > 0.5),
        }


class _NumberYardstick(OfOneText):
    """Grades and ratings: how far off, and how alike the order."""

    headline = "pearson"
    against_constant = "mae"
    constant_in_words = "always giving the median"

    def statistics(self, judged: Judged, made: Predictions) -> dict[str, Statistic]:
        """Return the mean absolute error and two correlations."""
        return {
            "mae": mean_of(np.abs(made.predicted - judged.said)),
            "pearson": pearson_of(made.predicted, judged.said),
            "spearman": spearman_of(made.predicted, judged.said),
        }

    def points(self, judged: Judged, made: Predictions) -> dict[str, float]:
        """Return Kendall's τ."""
        return {"kendall_tau": kendall(made.predicted, judged.said)}

    def constant(self, judged: Judged) -> dict[str, float]:
        """Return the figure of always saying the median, in hindsight: no constant has a smaller absolute error."""
        return {"mae": float(np.abs(judged.said - np.median(judged.said)).mean())}


class GradeYardstick(_NumberYardstick):
    """Grades: the expected grade against the one given."""

    def said(self, judgements: Sequence[Any]) -> Floats:
        """Return the grades [m]."""
        return np.array([float(judgement.grade) for judgement in judgements], dtype=np.float64)


class RatingYardstick(_NumberYardstick):
    """Ratings: the expected rating against the one given, in the judges' unit."""

    def said(self, judgements: Sequence[Any]) -> Floats:
        """Return the ratings [m]."""
        return np.array([judgement.rating for judgement in judgements], dtype=np.float64)
