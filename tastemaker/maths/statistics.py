"""Measures of predictions, and measures of order in lists.

A *statistic* is a function of weights: float64 [r, n] (r weightings of the same n observations) →
float64 [r]. All ones give the plain figure, the counts of a bootstrap resample give that resample's
figure, zeros and ones the figure of a slice. So one definition serves the figure, its interval
(`resampling`) and its slices. Undefined figures are NaN, never an exception.

The measures of order are pairwise agreement, Kendall's τ-b, NDCG and top-1. m lists of up to K
answers are arrays [m, K]. Tiers are the order that people gave: 0 for the best, equal numbers for
equally good answers, NaN where a shorter list has no answer. Higher scores are better; scores
without an answer are not read. A figure is one number a list. It is NaN for a list whose answers
are all equally good, because such a list has no order.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]


def _floats(values: ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return numerator / denominator, NaN where the denominator is not positive."""
    result: Floats = np.full(
        np.broadcast_shapes(numerator.shape, denominator.shape), np.nan
    )
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


# --- statistics: functions of weights ---


@dataclass(frozen=True, eq=False, slots=True)
class Ratio:
    """The statistic Σ w·a / Σ w·b of numerators a [n] and denominators b [n], b ≥ 0."""

    numerators: Floats
    denominators: Floats

    def __call__(self, weights: Floats) -> Floats:
        """Return the ratio of each weighting [r, n]: [r]."""
        return _ratio(weights @ self.numerators, weights @ self.denominators)


@dataclass(frozen=True, eq=False, slots=True)
class Restricted:
    """A statistic of those of the n observations where `where` [n] is True."""

    statistic: Statistic
    where: NDArray[np.bool_]

    def __call__(self, weights: Floats) -> Floats:
        """Return the figure of each weighting [r, n] of all observations: [r]."""
        if not self.where.any():
            return np.full(len(weights), np.nan)
        return self.statistic(weights[:, self.where])


@dataclass(frozen=True, eq=False, slots=True)
class Transformed:
    """An increasing function of a statistic; its interval is that of the statistic, transformed."""

    statistic: Statistic
    function: Statistic

    def __call__(self, weights: Floats) -> Floats:
        """Return the figure of each weighting [r, n]: [r]."""
        return self.function(self.statistic(weights))


def mean_of(values: ArrayLike) -> Ratio:
    """Return the statistic Σ w·v / Σ w of values [n].

    With 1 for right and 0 for wrong it is the accuracy.
    """
    column = _floats(values)
    return Ratio(column, np.ones_like(column))


def ratio_of(numerators: ArrayLike, denominators: ArrayLike) -> Ratio:
    """Return the statistic Σ w·a / Σ w·b of a [n] and b [n], such as a share of pairs."""
    return Ratio(_floats(numerators), _floats(denominators))


def mean_of_defined(values: ArrayLike) -> Ratio:
    """Return the mean of those of the values [n] that are not NaN."""
    column = _floats(values)
    defined = ~np.isnan(column)
    return ratio_of(np.where(defined, column, 0.0), defined)


def auroc_of(scores: ArrayLike, positive: ArrayLike) -> Statistic:
    """Return the area under the ROC curve of scores [n].

    This is P(s⁺ > s⁻) + ½ P(s⁺ = s⁻) over pairs with different labels [n].

    NaN where only one class has weight. Sorted once; a weighting then costs O(n).
    """
    order, starts, _ = _tied_groups(_floats(scores))
    is_positive = np.asarray(positive, dtype=bool)[order]

    def statistic(weights: Floats) -> Floats:
        ordered = weights[:, order]
        positives = np.add.reduceat(ordered * is_positive, starts, axis=1)
        negatives = np.add.reduceat(ordered * ~is_positive, starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        won = (positives * below).sum(axis=1)
        return _ratio(won, positives.sum(axis=1) * negatives.sum(axis=1))

    return statistic


def pearson_of(x: ArrayLike, y: ArrayLike) -> Statistic:
    """Return Pearson's correlation of x [n] and y [n]; NaN where either does not vary."""
    scaled_x, scaled_y = _to_unit_range(_floats(x)), _to_unit_range(_floats(y))
    return lambda weights: _correlation(scaled_x, scaled_y, weights)


def spearman_of(x: ArrayLike, y: ArrayLike) -> Statistic:
    """Return Spearman's correlation of x [n] and y [n]; ties get their mean rank.

    Each weighting is ranked afresh, as a resample would be: a weight of 2 stands for the
    observation twice.
    """
    ranks_x, ranks_y = _ranks_of(_floats(x)), _ranks_of(_floats(y))
    return lambda weights: _correlation(
        ranks_x(weights), ranks_y(weights), weights
    )


def restricted(statistic: Statistic, where: NDArray[np.bool_]) -> Statistic:
    """Return, as a statistic of all n observations, one of only those where `where` [n] is True."""
    if not isinstance(statistic, Ratio):
        return Restricted(statistic, where)
    above, below = np.zeros(len(where)), np.zeros(len(where))
    above[where], below[where] = statistic.numerators, statistic.denominators
    return Ratio(above, below)


def support(statistic: Statistic, n: int) -> NDArray[np.bool_]:
    """Return which of the n observations a statistic rests on, True [n] for each."""
    if isinstance(statistic, Ratio):
        return np.greater(statistic.denominators, 0)
    if isinstance(statistic, Restricted):
        return statistic.where
    if isinstance(statistic, Transformed):
        return support(statistic.statistic, n)
    return np.ones(n, dtype=bool)


def value_of(statistic: Statistic, n: int) -> float:
    """Return the statistic's plain figure over all n observations; NaN for none."""
    return weighted_value(statistic, np.ones(n))


def weighted_value(statistic: Statistic, weights: Floats) -> float:
    """Return the statistic's figure for weights [n]; NaN for no observations."""
    return float(statistic(weights[None])[0]) if len(weights) else float("nan")


def _to_unit_range(values: Floats) -> Floats:
    """Shift and scale to [0, 1]: correlations stay the same, and a constant becomes exactly 0."""
    if not len(values):
        return values
    low, high = values.min(), values.max()
    return (
        (values - low) / (high - low) if high > low else np.zeros_like(values)
    )


def _correlation(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Return the weighted correlation [r] of x and y, each [n] or [r, n].

    Differences below 1e-12 count as 0, so the unit of x and y must not be smaller.
    """
    total = weights.sum(axis=1)

    def centred(values: Floats) -> Floats:
        product = (
            weights @ values
            if values.ndim == 1
            else np.einsum("rn,rn->r", weights, values)
        )
        return values - _ratio(product, total)[:, None]

    def moment(a: Floats, b: Floats) -> Floats:
        return _floats(np.einsum("rn,rn,rn->r", weights, a, b))

    dx, dy = centred(x), centred(y)
    variance_x, variance_y = moment(dx, dx), moment(dy, dy)
    varies = np.minimum(variance_x, variance_y) > 1e-24 * total
    spread = np.where(varies, np.sqrt(variance_x) * np.sqrt(variance_y), 0.0)
    return np.clip(_ratio(moment(dx, dy), spread), -1.0, 1.0)


def _tied_groups(
    values: Floats,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the sorting order [n], the starts of runs of equal values, and the runs [n]."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    is_start = np.concatenate([[True], ordered[1:] != ordered[:-1]])[
        : len(values)
    ]
    run = np.empty(len(values), dtype=np.intp)
    run[order] = np.cumsum(is_start) - 1
    return order, np.flatnonzero(is_start), run


def _ranks_of(values: Floats) -> Statistic:
    """Return the function weights [r, n] → mid-ranks [r, n] as shares of the total weight."""
    order, starts, run = _tied_groups(values)

    def ranks(weights: Floats) -> Floats:
        tied = np.add.reduceat(weights[:, order], starts, axis=1)
        middle = np.cumsum(tied, axis=1) - tied / 2
        return _ratio(middle, tied.sum(axis=1, keepdims=True))[:, run]

    return ranks


# --- plain figures ---


def accuracy(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of predicted [n] that equal truth [n]."""
    right = np.asarray(predicted) == np.asarray(truth)
    return value_of(mean_of(right), right.size)


def auroc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the ROC curve (see `auroc_of`); NaN when only one class is there."""
    return value_of(auroc_of(scores, positive), np.size(scores))


def log_loss(probability: ArrayLike, positive: ArrayLike) -> float:
    """Return the mean of −ln P(label) in nats, for P(positive) [n] and labels [n].

    Nothing is clipped: a label whose probability was 0 costs infinity. ln(1 − p) keeps its
    digits for small p.
    """
    p, is_positive = _floats(probability), np.asarray(positive, dtype=bool)
    with np.errstate(divide="ignore"):
        loss = -np.where(is_positive, np.log(p), np.log1p(-p))
    return value_of(mean_of(loss), len(loss))


def mae(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean absolute error of predicted [n], in the unit of truth [n]."""
    errors = np.abs(_floats(predicted) - _floats(truth))
    return value_of(mean_of(errors), len(errors))


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Return Pearson's correlation; NaN when x or y does not vary."""
    return value_of(pearson_of(x, y), np.size(x))


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Return Spearman's rank correlation; NaN when x or y does not vary."""
    return value_of(spearman_of(x, y), np.size(x))


def kendall(
    x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None
) -> float:
    """Return Kendall's τ_b, which allows for ties; NaN when x or y does not vary.

    weights: [n]; an observation of weight 2 counts as two.
    """
    from scipy.stats import kendalltau

    a, b = _floats(x), _floats(y)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    w = np.ones(len(a)) if weights is None else _floats(weights)
    if np.ptp(w) > 0:
        return _weighted_kendall(a, b, w)
    return float(kendalltau(a, b).statistic)


def _weighted_kendall(a: Floats, b: Floats, weights: Floats) -> float:
    """Return τ_b over pairs that weigh the product of their observations' weights."""
    agreed = ordered_a = ordered_b = 0.0
    for part in _chunks(len(a), len(a)):
        w = weights[part, None] * weights
        signs_a = np.sign(a[part, None] - a)
        signs_b = np.sign(b[part, None] - b)
        agreed += float((w * signs_a * signs_b).sum())
        ordered_a += float((w * np.abs(signs_a)).sum())
        ordered_b += float((w * np.abs(signs_b)).sum())
    spread = np.sqrt(ordered_a * ordered_b)
    return agreed / float(spread) if spread > 0 else float("nan")


def weighted_median(values: ArrayLike, weights: ArrayLike) -> float:
    """Return the median of values [n], each repeated as often as its weight [n] says."""
    x, w = _floats(values), _floats(weights)
    order = np.argsort(x, kind="stable")
    x, below = x[order], np.cumsum(w[order])
    half = below[-1] / 2
    lower = int(np.searchsorted(below, half * (1 - 1e-12)))
    upper = int(np.searchsorted(below, half * (1 + 1e-12), side="right"))
    return float(x[lower] + x[upper]) / 2


def wilson_interval(
    count: ArrayLike, n: ArrayLike, z: float = 1.96
) -> tuple[Floats, Floats]:
    """Return the 95 % interval of a share `count`/`n` (Wilson 1927), within [0, 1]; arrays [k]."""
    k, total = _floats(count), _floats(n)
    centre = (k + z**2 / 2) / (total + z**2)
    half = z / (total + z**2) * np.sqrt(k * (total - k) / total + z**2 / 4)
    return centre - half, centre + half


def roc_curve(
    scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Return the false- and true-positive rates [t] of every threshold, from (0, 0) to (1, 1).

    weights: [n], of the observations; 1 each by default.
    """
    is_positive = np.asarray(positive, dtype=bool)
    order, starts, _ = _tied_groups(-_floats(scores))
    w = np.ones(len(order)) if weights is None else _floats(weights)
    right = np.cumsum(np.add.reduceat((w * is_positive)[order], starts))
    wrong = np.cumsum(np.add.reduceat((w * ~is_positive)[order], starts))
    false_positive_rate = np.append(0.0, _ratio(wrong, wrong[-1:]))
    true_positive_rate = np.append(0.0, _ratio(right, right[-1:]))
    return false_positive_rate, true_positive_rate


_RANKS_CHUNK = 2_000_000  # pairs held at once


def _chunks(m: int, each: int) -> Iterator[slice]:
    """Yield slices of the m lists, of which each one needs `each` numbers, that fit into memory."""
    step = max(1, _RANKS_CHUNK // max(each, 1))
    return (slice(start, min(start + step, m)) for start in range(0, m, step))


def _signs(values: Floats) -> Floats:
    """Return the sign of v_i − v_j for every pair i < j, [m, K(K−1)/2]; NaN where one is absent."""
    i, j = np.triu_indices(values.shape[1], 1)
    # compared, not subtracted: the difference of two unlike numbers may round to 0
    first, second = values[:, i], values[:, j]
    signs = np.greater(first, second).astype(np.float64) - np.less(
        first, second
    )
    signs[np.isnan(first) | np.isnan(second)] = np.nan
    return signs


def agreement(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Return how many pairs x [m, K] orders as y [m, K] does, and how many pairs y orders.

    A pair that y orders and x does not counts ½. Places where y is NaN are absent. Both answers are
    [m].
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    won, pairs = np.zeros(len(b)), np.zeros(len(b))
    for part in _chunks(len(b), b.shape[1] ** 2 // 2):
        signs_y = np.nan_to_num(_signs(b[part]))
        signs_x = np.nan_to_num(_signs(a[part]))
        pairs[part] = np.abs(signs_y).sum(axis=1)
        # +1 where the orders agree, 0 where x ties, −1 where they are opposite
        balance = (signs_x * signs_y).sum(axis=1)
        won[part] = (pairs[part] + balance) / 2
    return won, pairs


def agreement_by_distance(
    scores: ArrayLike, tiers: ArrayLike, furthest: int
) -> tuple[Floats, Floats]:
    """Return the agreement by the number of tiers between two answers, [m, furthest] each.

    Column d − 1 holds pairs d tiers apart, the last column those `furthest` or more apart.
    """
    a, b = (
        np.asarray(scores, dtype=np.float64),
        np.asarray(tiers, dtype=np.float64),
    )
    won, pairs = np.zeros((len(b), furthest)), np.zeros((len(b), furthest))
    i, j = np.triu_indices(b.shape[1], 1)
    for part in _chunks(len(b), b.shape[1] ** 2 // 2):
        tiers_apart = np.abs(b[part][:, i] - b[part][:, j])
        distance = np.minimum(np.nan_to_num(tiers_apart), furthest)
        # a lower tier is better, so opposite signs agree
        product = np.nan_to_num(_signs(b[part]) * _signs(a[part]))
        credit = (1 - product) / 2
        for d in range(1, furthest + 1):
            is_at_distance = distance == d
            pairs[part, d - 1] = is_at_distance.sum(axis=1)
            won[part, d - 1] = np.where(is_at_distance, credit, 0.0).sum(
                axis=1
            )
    return won, pairs


def kendall_by_list(scores: ArrayLike, tiers: ArrayLike) -> Floats:
    """Return Kendall's τ-b of each list [m]; 0 where all its scores are equal."""
    a, b = (
        np.asarray(scores, dtype=np.float64),
        np.asarray(tiers, dtype=np.float64),
    )
    tau = np.full(len(b), np.nan)
    for part in _chunks(len(b), b.shape[1] ** 2 // 2):
        tier_signs = -_signs(b[part])
        score_signs = np.nan_to_num(_signs(a[part]))
        score_signs = np.where(np.isnan(tier_signs), 0.0, score_signs)
        tier_signs = np.nan_to_num(tier_signs)
        ordered = np.abs(tier_signs).sum(axis=1)
        scored = np.abs(score_signs).sum(axis=1)
        balance = (tier_signs * score_signs).sum(axis=1)
        agreed = balance / np.sqrt(np.maximum(ordered * scored, 1.0))
        tau[part] = np.where(ordered > 0, agreed, np.nan)
    return tau


def ndcg_by_list(scores: ArrayLike, tiers: ArrayLike) -> Floats:
    """Return the normalised discounted cumulative gain [m] (Järvelin and Kekäläinen 2002).

    An answer's gain is the number of tiers below its own, its discount 1/log₂(1 + place) by score.
    Equal scores share the mean discount of their places (McSherry and Najork 2008), so the order of
    the data does not matter.
    """
    a, b = (
        np.asarray(scores, dtype=np.float64),
        np.asarray(tiers, dtype=np.float64),
    )
    places = np.arange(b.shape[1])
    discounts = np.append(0.0, np.cumsum(1 / np.log2(places + 2.0)))
    answers = np.full(len(b), np.nan)
    for part in _chunks(len(b), b.shape[1] ** 2):
        present = ~np.isnan(b[part])
        gains = np.where(present, _largest(b[part])[:, None] - b[part], 0.0)
        s = np.where(present, a[part], -np.inf)
        above = (s[:, None, :] > s[:, :, None]).sum(axis=2)
        is_tied = (s[:, None, :] == s[:, :, None]) & present[:, None, :]
        tied = np.maximum(is_tied.sum(axis=2), 1)
        end = np.minimum(above + tied, len(places))
        discount = (discounts[end] - discounts[above]) / tied
        best_first = -np.sort(-gains, axis=1)
        ideal = (best_first * np.diff(discounts)).sum(axis=1)
        reached = (gains * discount).sum(axis=1)
        has_order = ideal > 0
        share = reached / np.where(has_order, ideal, 1.0)
        answers[part] = np.where(has_order, share, np.nan)
    return answers


def top_one_by_list(scores: ArrayLike, tiers: ArrayLike) -> Floats:
    """Return whether the top-scored answer is in the best tier [m]; n ties at the top: 1/n."""
    a, b = (
        np.asarray(scores, dtype=np.float64),
        np.asarray(tiers, dtype=np.float64),
    )
    present = ~np.isnan(b)
    s = np.where(present, a, -np.inf)
    at_top = present & (s == s.max(axis=1, keepdims=True, initial=-np.inf))
    best = present & (b == 0)
    share = (at_top & best).sum(axis=1) / np.maximum(at_top.sum(axis=1), 1)
    return np.where(is_ordered(b), share, np.nan)


def is_ordered(tiers: Floats) -> NDArray[np.bool_]:
    """Return whether a list has two answers in different tiers, bool [m]."""
    return np.greater(_largest(tiers), 0)


def _largest(tiers: Floats) -> Floats:
    """Return the number of each list's last tier [m]; −1 for no answers."""
    last: Floats = np.where(np.isnan(tiers), -1.0, tiers).max(
        axis=1, initial=-1.0
    )
    return last
