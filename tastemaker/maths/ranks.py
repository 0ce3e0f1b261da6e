"""Measures of order in lists: pairwise agreement, Kendall's τ-b, NDCG, top-1.

m lists of up to K answers are arrays [m, K]. Tiers say how people ordered a list: 0 for the best,
equal for equally good, NaN where a shorter list has no answer. Scores: higher is better; what
stands at a place without an answer is not read. Every figure is one number a list, NaN for a list
in which all answers are equally good: it orders nothing.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemaker.maths.statistics import Floats

_CHUNK = 2_000_000  # pairs held at once


def _chunks(m: int, each: int) -> Iterator[slice]:
    """Yield slices of the m lists, of which each one needs `each` numbers, that fit into memory."""
    step = max(1, _CHUNK // max(each, 1))
    return (slice(start, min(start + step, m)) for start in range(0, m, step))


def _signs(values: Floats) -> Floats:
    """Return the sign of v_i − v_j for every pair i < j, [m, K(K−1)/2]; NaN where one is absent."""
    i, j = np.triu_indices(values.shape[1], 1)
    # compared, not subtracted: the difference of two unlike numbers may round to 0
    first, second = values[:, i], values[:, j]
    signs = np.greater(first, second).astype(np.float64) - np.less(first, second)
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
        said = np.nan_to_num(_signs(b[part]))
        made = np.nan_to_num(_signs(a[part]))
        pairs[part] = np.abs(said).sum(axis=1)
        won[part] = (
            pairs[part] + (made * said).sum(axis=1)
        ) / 2  # +1 if alike, 0 if x ties, −1 if opposite
    return won, pairs


def agreement_by_distance(
    scores: ArrayLike, tiers: ArrayLike, furthest: int
) -> tuple[Floats, Floats]:
    """Return the agreement by the number of tiers between two answers, [m, furthest] each.

    Column d − 1 holds pairs d tiers apart, the last column those `furthest` or more apart.
    """
    a, b = np.asarray(scores, dtype=np.float64), np.asarray(tiers, dtype=np.float64)
    won, pairs = np.zeros((len(b), furthest)), np.zeros((len(b), furthest))
    i, j = np.triu_indices(b.shape[1], 1)
    for part in _chunks(len(b), b.shape[1] ** 2 // 2):
        distance = np.minimum(
            np.nan_to_num(np.abs(b[part][:, i] - b[part][:, j])), furthest
        )
        credit = (
            1 - np.nan_to_num(_signs(b[part]) * _signs(a[part]))
        ) / 2  # a lower tier is better
        for d in range(1, furthest + 1):
            pairs[part, d - 1] = (distance == d).sum(axis=1)
            won[part, d - 1] = np.where(distance == d, credit, 0.0).sum(axis=1)
    return won, pairs


def kendall_by_list(scores: ArrayLike, tiers: ArrayLike) -> Floats:
    """Return Kendall's τ-b of each list [m]; 0 where all its scores are equal."""
    a, b = np.asarray(scores, dtype=np.float64), np.asarray(tiers, dtype=np.float64)
    tau = np.full(len(b), np.nan)
    for part in _chunks(len(b), b.shape[1] ** 2 // 2):
        said = -_signs(b[part])
        made = np.where(np.isnan(said), 0.0, np.nan_to_num(_signs(a[part])))
        said = np.nan_to_num(said)
        ordered, scored = np.abs(said).sum(axis=1), np.abs(made).sum(axis=1)
        agreed = (said * made).sum(axis=1) / np.sqrt(np.maximum(ordered * scored, 1.0))
        tau[part] = np.where(ordered > 0, agreed, np.nan)
    return tau


def ndcg_by_list(scores: ArrayLike, tiers: ArrayLike) -> Floats:
    """Return the normalised discounted cumulative gain [m] (Järvelin and Kekäläinen 2002).

    An answer's gain is the number of tiers below its own, its discount 1/log₂(1 + place) by score.
    Equal scores share the mean discount of their places (McSherry and Najork 2008), so the order of
    the data does not matter.
    """
    a, b = np.asarray(scores, dtype=np.float64), np.asarray(tiers, dtype=np.float64)
    places = np.arange(b.shape[1])
    discounts = np.append(0.0, np.cumsum(1 / np.log2(places + 2.0)))
    answers = np.full(len(b), np.nan)
    for part in _chunks(len(b), b.shape[1] ** 2):
        present = ~np.isnan(b[part])
        gains = np.where(present, _largest(b[part])[:, None] - b[part], 0.0)
        s = np.where(present, a[part], -np.inf)
        above = (s[:, None, :] > s[:, :, None]).sum(axis=2)
        tied = np.maximum(
            ((s[:, None, :] == s[:, :, None]) & present[:, None, :]).sum(axis=2), 1
        )
        discount = (
            discounts[np.minimum(above + tied, len(places))] - discounts[above]
        ) / tied
        ideal = (-np.sort(-gains, axis=1) * np.diff(discounts)).sum(axis=1)
        reached = (gains * discount).sum(axis=1)
        answers[part] = np.where(
            ideal > 0, reached / np.where(ideal > 0, ideal, 1.0), np.nan
        )
    return answers


def top_one_by_list(scores: ArrayLike, tiers: ArrayLike) -> Floats:
    """Return whether the top-scored answer is in the best tier [m]; n ties at the top: 1/n."""
    a, b = np.asarray(scores, dtype=np.float64), np.asarray(tiers, dtype=np.float64)
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
    last: Floats = np.where(np.isnan(tiers), -1.0, tiers).max(axis=1, initial=-1.0)
    return last
