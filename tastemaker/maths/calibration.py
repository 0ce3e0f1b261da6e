"""Whether predicted probabilities come true: calibration error, its noise, calibration slope.

Probabilities are P(positive) [n], or the predicted credit of a comparison's favourite. What came
true is 1 or 0, or ½ for a tie.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemaker.maths.resampling import FEW_CLUSTERS, Clusters
from tastemaker.maths.statistics import Floats

BINS = 15

_DRAWS = 1000  # of the noise, for an interval
_CALIBRATED_DRAWS = 200
_MOST_NUMBERS = 5_000_000  # drawn for the noise of a calibrated model
# the observed gaps times these are tried as the truth
_TIMES = np.arange(0, 3.001, 0.05)
_EDGE = 1e-9  # probabilities are kept this far from 0 and 1 before their log-odds are taken
_MOST_STEPS = 30
_ROUNDING = 1e-9
_SEPARATED = 30.0  # log-odds beyond any that data without separation reach


@dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted and observed probabilities of the bins that are not empty.

    predicted: mean P(positive) of a bin [k]. observed: its share of positives [k]. count: its
    number of observations [k]. weight: the sum of their weights [k].
    """

    predicted: Floats
    observed: Floats
    count: NDArray[np.intp]
    weight: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error: Σ share of the bin · |observed − predicted| (Guo 2017)."""
        gaps = np.abs(self.observed - self.predicted)
        return (
            float(np.average(gaps, weights=self.weight))
            if len(gaps)
            else float("nan")
        )


def reliability(
    probability: ArrayLike,
    positive: ArrayLike,
    bins: int = BINS,
    weights: ArrayLike | None = None,
) -> Reliability:
    """Sort P(positive) [n] into `bins` bins of equal width.

    Bin k is [k/bins, (k+1)/bins); the last one is closed.

    positive: [n], what came true. weights: [n], of the observations; 1 each by default.
    """
    p, came_true = np.asarray(probability, float), np.asarray(positive, float)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, float)
    index = _bin_of(p, bins)
    weight: Floats = np.bincount(index, w, bins).astype(np.float64)
    is_used = weight > 0
    weight = weight[is_used]
    count = np.bincount(index, minlength=bins)[is_used]
    predicted = np.bincount(index, w * p, minlength=bins)[is_used]
    observed = np.bincount(index, w * came_true, minlength=bins)[is_used]
    return Reliability(predicted / weight, observed / weight, count, weight)


def _bin_of(probability: Floats, bins: int) -> NDArray[np.intp]:
    """Return the bin of each probability [n]."""
    return np.minimum((probability * bins).astype(np.intp), bins - 1)


def ece(
    probability: ArrayLike,
    positive: ArrayLike,
    bins: int = BINS,
    weights: ArrayLike | None = None,
) -> float:
    """Return the expected calibration error over bins of equal width (see `reliability`)."""
    return reliability(probability, positive, bins, weights).ece


def ece_interval(
    probability: Floats,
    came_true: Floats,
    clusters: Clusters,
    *,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % interval of the expected calibration error; (NaN, NaN) for one cluster.

    The error is a mean of distances, so noise alone makes it positive, and resamples of the data
    make it larger still. Here the true gaps of the bins are taken to be the observed ones times a
    factor. The interval holds the errors of all factors under which the observed error is not
    extreme. Noise is what remains if each cluster's gaps get a random sign (a wild bootstrap); of
    many clusters, its normal limit.
    """
    if clusters.count < 2:
        return math.nan, math.nan
    by_cluster = _gaps(probability, came_true, clusters)  # [G, bins]
    gaps = by_cluster.sum(axis=0)
    observed = float(np.abs(gaps).sum())
    if observed == 0:
        return 0.0, 1 - 0.025 ** (1 / clusters.count)
    generator = np.random.default_rng(seed)
    if clusters.count <= FEW_CLUSTERS:
        shape = (_DRAWS, clusters.count)
        signs = 2.0 * generator.integers(0, 2, size=shape, dtype=np.int8) - 1
        noise = signs @ by_cluster
    else:
        covariance = by_cluster.T @ by_cluster
        noise = generator.multivariate_normal(
            np.zeros(BINS), covariance, _DRAWS, method="eigh"
        )
    errors = np.empty((len(_TIMES), _DRAWS))
    for row, times in zip(errors, _TIMES, strict=True):
        row[:] = np.abs(times * gaps + noise).sum(axis=1)
    smallest, largest = np.quantile(errors, [0.025, 0.975], axis=1)
    # both rise with the factor; draws are few, so they may do it in waves
    largest = np.maximum.accumulate(largest)
    smallest = np.minimum.accumulate(smallest[::-1])[::-1]
    low = np.interp(observed * (1 - _ROUNDING), largest, _TIMES)
    high = np.interp(observed * (1 + _ROUNDING), smallest, _TIMES)
    return float(low) * observed, min(float(high) * observed, 1.0)


def _gaps(
    probability: Floats, came_true: Floats, clusters: Clusters
) -> Floats:
    """Return each cluster's part of each bin's gap [G, bins]: their sum is that of the data."""
    cell = clusters.number * BINS + _bin_of(probability, BINS)
    differences = clusters.weights * (came_true - probability)
    sums = np.bincount(cell, differences, clusters.count * BINS)
    gaps: Floats = sums.reshape(clusters.count, BINS) / clusters.weights.sum()
    return gaps


def ece_if_calibrated(
    probability: Floats, clusters: Clusters, *, seed: int = 0
) -> float:
    """Return the mean error that a perfectly calibrated model of these probabilities would show.

    What comes true is drawn from the probabilities, 200 times. Observations of one cluster with the
    same probability are about the same texts, so they share a draw.
    """
    if not len(probability):
        return math.nan
    order = np.lexsort((probability, clusters.number))
    p, number = probability[order], clusters.number[order]
    is_new = np.ones(len(p), dtype=bool)
    is_new[1:] = (p[1:] != p[:-1]) | (number[1:] != number[:-1])
    starts = np.flatnonzero(is_new)
    weight = np.add.reduceat(clusters.weights[order], starts)
    p = p[starts]
    index = _bin_of(p, BINS)
    by_bin = np.argsort(index, kind="stable")
    p, weight, index = p[by_bin], weight[by_bin], index[by_bin]
    edges = np.flatnonzero(np.diff(index, prepend=-1))
    draws = min(_CALIBRATED_DRAWS, max(20, _MOST_NUMBERS // len(p)))
    generator = np.random.default_rng(seed)
    errors = np.zeros(draws)
    for row in range(draws):
        came_true = generator.random(len(p)) < p
        gaps = np.add.reduceat(weight * (came_true - p), edges)
        errors[row] = np.abs(gaps).sum()
    return float(errors.mean() / weight.sum())


class CalibrationSlope:
    """The statistic: the slope of a logistic regression of what came true on the log-odds.

    1 is right, below 1 the probabilities are too sure, above 1 too cautious. NaN where the
    probabilities separate what came true from what did not, because the slope has no limit there.

    has_intercept: whether the regression has a base rate of its own; not for favourites, which are
    favourites from either side.

    Another weighting is one Newton step away from the fit to all observations.
    """

    def __init__(
        self,
        probability: Floats,
        came_true: Floats,
        weights: Floats,
        *,
        has_intercept: bool,
    ) -> None:
        p = np.clip(probability, _EDGE, 1 - _EDGE)
        odds = np.log(p / (1 - p))
        self._unit = (
            max(float(np.sqrt(np.mean(odds**2))), _EDGE) if len(p) else 1.0
        )
        columns = [odds / self._unit]
        if has_intercept:
            columns.append(np.ones(len(p)))
        x = np.array(columns).T  # [n, k]
        self._point = _logistic_fit(x, came_true, weights)
        chance = 1 / (
            1 + np.exp(-np.clip(x @ self._point, -_SEPARATED, _SEPARATED))
        )
        first, second = np.triu_indices(x.shape[1])
        slopes = x * (came_true - chance)[:, None]
        curvatures = (
            (chance * (1 - chance))[:, None] * x[:, first] * x[:, second]
        )
        self._terms = np.hstack([slopes, curvatures])

    def __call__(self, weights: Floats) -> Floats:
        """Return the slope of each weighting [r, n]: [r]."""
        if np.isnan(self._point).any():
            return np.full(len(weights), np.nan)
        sums = weights @ self._terms
        if len(self._point) == 1:
            gradient, a = sums.T
            step = np.divide(
                gradient, a, out=np.full(len(a), np.nan), where=a > 0
            )
        else:
            first, second, a, b, c = sums.T
            determinant = a * c - b * b
            step = np.full(len(a), np.nan)
            is_regular = determinant > 1e-9 * a * c
            np.divide(
                c * first - b * second, determinant, out=step, where=is_regular
            )
        slopes: Floats = (self._point[0] + step) / self._unit
        return slopes


def _logistic_fit(x: Floats, came_true: Floats, weights: Floats) -> Floats:
    """Return the coefficients [k] by Newton's method; NaN where they have no limit."""
    point = np.zeros(x.shape[1])
    nothing = np.full(x.shape[1], np.nan)
    for _ in range(_MOST_STEPS):
        logits = x @ point
        if not len(x) or np.abs(logits).max() > _SEPARATED * max(
            1, np.abs(x).max()
        ):
            return nothing
        chance = 1 / (1 + np.exp(-logits))
        gradient = x.T @ (weights * (came_true - chance))
        curvature = (x.T * (weights * chance * (1 - chance))) @ x
        if np.linalg.cond(curvature) > 1e10:
            return nothing
        step = np.linalg.solve(curvature, gradient)
        point = point + step
        if np.abs(step).max() < 1e-9 * (1 + np.abs(point).max()):
            return point
    return nothing
