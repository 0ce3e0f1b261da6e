"""Agreement between judges: Krippendorff's α and pairwise agreement.

Judgements are two arrays [n]: `values` (NaN where there is none) and `units` (any numbers). A unit
has at most one value from each judge; these measures do not use which judge it was. A unit with a
single value is left out. Undefined measures are NaN, never an exception.

The krippendorff package builds tables of units × values², which do not fit in memory for 100,000
ratings, and it has no distances by judge; moments give the same α here in O(n log n).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemaker.maths.statistics import Floats, wilson_interval

Level = Literal["nominal", "ordinal", "interval"]
"""The distance δ: unequal or equal; the number of judgements between; the difference."""


def krippendorff_alpha(values: ArrayLike, units: ArrayLike, level: Level) -> float:
    """Return Krippendorff's α: 1 is agreement, 0 is chance, below 0 is worse than chance.

    NaN where no unit has two values, or where all values are equal: nothing varies, so nothing can
    be agreed on.
    """
    expected = expected_distance(values, units, level)
    if not expected > 0:
        return float("nan")
    return float(1 - np.nanmean(distances_to_others(values, units, level)) / expected)


def distances_to_others(values: ArrayLike, units: ArrayLike, level: Level) -> Floats:
    """Return each value's mean δ² to the other values of its unit, float64 [n]; NaN if none.

    Their mean is α's observed disagreement D_o; the mean over one judge's values is how far that
    judge is from others.
    """
    said, unit, held = _pairable(values, units)
    found: Floats = np.full(held.shape, np.nan)
    if not len(said):
        return found
    others = np.bincount(unit)[unit] - 1.0
    if level == "nominal":
        _, pair, count = np.unique(
            _within(unit, said), return_inverse=True, return_counts=True
        )
        found[held] = 1 - (count[pair] - 1) / others
    else:
        place = _places(said, level)
        centred = place - (np.bincount(unit, place) / np.bincount(unit))[unit]
        squares = np.bincount(unit, centred**2)[unit]
        found[held] = (
            (others + 1) * centred**2 + squares
        ) / others  # Σ over others of (x − y)² when the mean is 0
    return found


def expected_distance(values: ArrayLike, units: ArrayLike, level: Level) -> float:
    """Return α's expected disagreement D_e: the mean δ² between all values; NaN for none."""
    said, _, _ = _pairable(values, units)
    n = len(said)
    if not n:
        return float("nan")
    if level == "nominal":
        count = np.bincount(_numbered(said)).astype(np.float64)
        return float((count * (n - count)).sum() / (n * (n - 1)))
    if np.ptp(said) == 0:
        return 0.0
    return float(2 * np.var(_places(said, level), ddof=1))


@dataclass(frozen=True, slots=True)
class PairwiseAgreement:
    """The share of pairs of judgements of one unit that are equal.

    A tie agrees with a tie and with nothing else.

    share, low, high: the share and its 95 % interval. pairs: how many pairs of judgements. units:
    of how many units.
    """

    share: float
    low: float
    high: float
    pairs: int
    units: int


def pairwise_agreement(values: ArrayLike, units: ArrayLike) -> PairwiseAgreement:
    """Return how often two judgements of the same unit are equal, with Wilson's interval.

    The pairs of a unit are not independent: for the interval, m judgements of a unit count as m − 1
    observations.
    """
    said, unit, _ = _pairable(values, units)
    if not len(said):
        return PairwiseAgreement(float("nan"), float("nan"), float("nan"), 0, 0)
    size = np.bincount(unit)
    _, count = np.unique(_within(unit, said), return_counts=True)
    pairs, equal = (
        int((size * (size - 1)).sum()) // 2,
        int((count * (count - 1)).sum()) // 2,
    )
    n = int((size - 1).sum())
    low, high = wilson_interval(equal / pairs * n, n)
    return PairwiseAgreement(equal / pairs, float(low), float(high), pairs, len(size))


def _pairable(
    values: ArrayLike, units: ArrayLike
) -> tuple[Floats, NDArray[np.intp], NDArray[np.bool_]]:
    """Return the values [m] of units with two or more, their unit numbers [m], and a mask [n]."""
    said = np.asarray(values, dtype=np.float64)
    given = ~np.isnan(said)
    _, unit, size = np.unique(
        np.asarray(units)[given], return_inverse=True, return_counts=True
    )
    held = given.copy()
    held[given] = size[unit] > 1
    return said[held], np.unique(unit[size[unit] > 1], return_inverse=True)[1], held


def _numbered(values: Floats) -> NDArray[np.intp]:
    """Return equal numbers, from 0, for equal values."""
    number: NDArray[np.intp] = np.unique(values, return_inverse=True)[1]
    return number


def _within(unit: NDArray[np.intp], values: Floats) -> NDArray[np.intp]:
    """Return equal numbers for equal values of the same unit, and unequal ones for all others."""
    number = _numbered(values)
    return unit * (int(number.max()) + 1) + number


def _places(values: Floats, level: Level) -> Floats:
    """Return the positions whose squared differences are δ²: the values, or their mean ranks.

    Krippendorff's ordinal δ counts the values from one category to another, half of both ends: a
    difference of ranks.
    """
    if level == "interval":
        return values - float(values.mean())
    _, number, count = np.unique(values, return_inverse=True, return_counts=True)
    middle: Floats = np.cumsum(count) - count / 2
    places: Floats = middle[number]
    return places
