"""Intervals and tests of figures over clusters of dependent observations.

A figure that rests on up to 200 clusters is computed without each of them in turn (jackknife), and
its interval takes Student's t. A figure that rests on more is computed over bootstrap resamples of
the clusters. Observations can have weights: one of weight 2 counts as two. The clusters stay the
same, so weights alone never make an interval narrower.

Two figures of the same observations are compared by flipping the signs of clusters, and a part with
the rest by a test whose error assumes that they are alike.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr, stdtrit

from tastemaker.maths.statistics import (
    Floats,
    Ratio,
    Statistic,
    support,
    weighted_value,
)

FEW_CLUSTERS = 200
"""With more, a percentile bootstrap covers as it should."""

Bounds = tuple[float, float]
"""The smallest and the largest value that a figure can have; the largest may be infinite."""
Mask = NDArray[np.bool_]

_CHUNK = 1_000_000  # weights held at once: 8 MB an array
# with at most 12 clusters that are not 0, all 2^12 flips are counted
_EXACT_FLIPS = 12
_RANDOM_FLIPS = 5_000
_LARGEST_POWER = 100.0  # of e; beyond, a figure is unknown anyway
# of 5 clusters, 2 of 32 flips are as extreme as all alike: p = 0.06
_FEWEST_TO_DIFFER = 6


@dataclass(frozen=True, eq=False, slots=True)
class Clusters:
    """n observations in G clusters. number: [n], the cluster of each; weights: [n]."""

    number: NDArray[np.intp]
    count: int
    weights: Floats

    @classmethod
    def of(
        cls, groups: NDArray[Any], weights: Floats | None = None
    ) -> "Clusters":
        """Return the clusters of observations by the name of each one's group, [n]."""
        names, number = np.unique(groups, return_inverse=True)
        if weights is None:
            weights = np.ones(len(number))
        return cls(number, len(names), weights)

    def __len__(self) -> int:
        return len(self.number)

    def sums(self, values: Floats) -> Floats:
        """Return the weighted sum of values [n] in each cluster [G]."""
        weighted = self.weights * values
        sums: Floats = np.bincount(self.number, weighted, self.count).astype(
            np.float64
        )
        return sums

    def holding(self, is_counted: Mask) -> Mask:
        """Return the clusters that hold an observation that counts, True [G] for each."""
        is_counted = is_counted & (self.weights > 0)
        counts: NDArray[np.intp] = np.bincount(
            self.number[is_counted], minlength=self.count
        )
        return np.greater(counts, 0)


@dataclass(frozen=True, eq=False, slots=True)
class Replicates:
    """A figure and what shows its error.

    samples: the figure without each cluster [G] if `are_few`, else over bootstrap resamples.
    rests_on: True [G] for the clusters that the figure rests on.
    """

    value: float
    samples: Floats
    rests_on: Mask
    are_few: bool

    @property
    def clusters(self) -> int:
        """The number of clusters that the figure rests on."""
        return int(self.rests_on.sum())

    def minus(self, other: "Replicates") -> "Replicates":
        """Return the difference from a figure of the same observations."""
        value = self.value - other.value
        rests_on = self.rests_on | other.rests_on
        if self.are_few != other.are_few:
            nothing = np.full(len(rests_on), np.nan)
            return Replicates(value, nothing, rests_on, are_few=True)
        samples = self.samples - other.samples
        return Replicates(value, samples, rests_on, self.are_few)

    def interval(self, bounds: Bounds | None = None) -> tuple[float, float]:
        """Return the 95 % interval; (NaN, NaN) where the replicates tell of no error."""
        if self.are_few:
            return jackknife_interval(
                self.value, self.samples[self.rests_on], bounds
            )
        defined = self.samples[~np.isnan(self.samples)]
        if math.isnan(self.value) or not len(defined):
            return math.nan, math.nan
        if np.ptp(defined) <= _ROUNDING:
            return _where_all_agree(self.value, self.clusters, bounds)
        return percentile_interval(defined)

    def p_value(self) -> float:
        """Return the two-sided p of the figure 0, by Student's t or a normal distribution."""
        samples = self.samples[self.rests_on] if self.are_few else self.samples
        samples = samples[~np.isnan(samples)]
        if len(samples) < 2 or math.isnan(self.value):
            return math.nan
        error = (
            _jackknife_error(samples) if self.are_few else float(samples.std())
        )
        if error <= _ROUNDING:
            return 1.0
        size = abs(self.value) / error
        if self.are_few:
            return 2 * float(stdtr(len(samples) - 1, -size))
        return 2 * float(ndtr(-size))


_ROUNDING = 1e-12


def replicated(
    statistics: Mapping[str, Statistic],
    clusters: Clusters,
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Replicates]:
    """Return each statistic with its replicates. seed, resamples: of the bootstrap."""
    rests_on, many = {}, {}
    for name, statistic in statistics.items():
        rests_on[name] = clusters.holding(support(statistic, len(clusters)))
        if rests_on[name].sum() > FEW_CLUSTERS:
            many[name] = statistic
    samples = _bootstrap(many, clusters, seed, resamples) if many else {}
    answers = {}
    for name, statistic in statistics.items():
        value = weighted_value(statistic, clusters.weights)
        are_few = name not in many
        if are_few:
            samples[name] = _without_each(
                statistic, clusters, rests_on[name], value
            )
        answers[name] = Replicates(
            value, samples[name], rests_on[name], are_few
        )
    return answers


# --- replicates ---


def bootstrap(
    statistics: Mapping[str, Statistic],
    groups: NDArray[Any],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Floats]:
    """Return each statistic over bootstrap resamples, [resamples] each.

    groups: [n], which text each observation is about. Whole groups are drawn with replacement,
    because two judgements of one text are not independent. All statistics see the same resamples,
    so that the difference of two of them is a paired bootstrap. The same seed gives the same
    numbers, in whatever order the observations come.
    """
    return _bootstrap(statistics, Clusters.of(groups), seed, resamples)


def _bootstrap(
    statistics: Mapping[str, Statistic],
    clusters: Clusters,
    seed: int,
    resamples: int,
) -> dict[str, Floats]:
    ratios, columns = [], []
    for name, statistic in statistics.items():
        if isinstance(statistic, Ratio):
            # a resample of a ratio needs only the clusters' sums
            ratios.append(name)
            columns.append(clusters.sums(statistic.numerators))
            columns.append(clusters.sums(statistic.denominators))
    sums = np.array(columns).T  # [G, 2 · ratios]
    parts: dict[str, list[Floats]] = {name: [] for name in statistics}
    for counts in _draws(clusters, seed, resamples):
        if ratios:
            drawn = counts @ sums
            values = _ratio(drawn[:, 0::2], drawn[:, 1::2])
            for column, name in enumerate(ratios):
                parts[name].append(values[:, column])
        if len(ratios) < len(statistics):
            weights = counts[:, clusters.number] * clusters.weights
        for name, statistic in statistics.items():
            if not isinstance(statistic, Ratio):
                parts[name].append(statistic(weights))
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def _draws(clusters: Clusters, seed: int, resamples: int) -> Iterator[Floats]:
    """Yield counts [r, G] in chunks: how often each cluster is drawn."""
    m, generator = clusters.count, np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(m, len(clusters), 1))
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = generator.integers(m, size=(rows, m))
        flat = (drawn + m * np.arange(rows)[:, None]).ravel()
        counts = np.bincount(flat, minlength=rows * m).reshape(rows, m)
        yield counts.astype(np.float64)


def _without_each(
    statistic: Statistic, clusters: Clusters, rests_on: Mask, value: float
) -> Floats:
    """Return the statistic without each cluster [G]; its value where it does not rest on it."""
    samples = np.full(clusters.count, value)
    left_out = np.flatnonzero(rests_on)
    if isinstance(statistic, Ratio):
        above = clusters.sums(statistic.numerators)
        below = clusters.sums(statistic.denominators)
        left = below.sum() - below
        # nothing is left but rounding
        left[left <= _ROUNDING * below.sum()] = 0
        samples[left_out] = _ratio(above.sum() - above, left)[left_out]
        return samples
    step = max(1, _CHUNK // max(len(clusters), 1))
    for start in range(0, len(left_out), step):
        some = left_out[start : start + step]
        is_in = clusters.number[None, :] != some[:, None]
        samples[some] = statistic(is_in * clusters.weights)
    return samples


def _ratio(numerators: Floats, denominators: Floats) -> Floats:
    answer: Floats = np.full(numerators.shape, np.nan)
    np.divide(numerators, denominators, out=answer, where=denominators > 0)
    return answer


# --- intervals ---


def percentile_interval(
    samples: Floats, level: float = 0.95
) -> tuple[float, float]:
    """Return the middle `level` of bootstrap samples without NaN; (NaN, NaN) if all are NaN."""
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def jackknife_interval(
    value: float, replicates: Floats, bounds: Bounds | None = None
) -> tuple[float, float]:
    """Return the 95 % interval of a figure from its values without each of G clusters.

    The standard error is the jackknife's (Efron 1982), with Student's t of G − 1 degrees of
    freedom: of few clusters, a percentile bootstrap is too narrow (Cameron et al. 2008).
    bounds: then the interval is taken on the log-odds of (share · G + ½) / (G + 1), so it stays
    inside, or on the logarithm of a figure that has no largest value. Where all clusters agree, see
    `_where_all_agree`. (NaN, NaN) where fewer than two clusters leave a figure.
    """
    replicates = replicates[~np.isnan(replicates)]
    count = len(replicates)
    if count < 2 or math.isnan(value):
        return math.nan, math.nan
    error = _jackknife_error(replicates)
    if error <= _ROUNDING:
        return _where_all_agree(value, count, bounds)
    quantile = float(stdtrit(count - 1, 0.975))
    if bounds is None:
        return value - quantile * error, value + quantile * error
    low, high = bounds
    if math.isinf(high):
        if value <= low or replicates.min() <= low:
            return max(low, value - quantile * error), value + quantile * error
        half = quantile * _jackknife_error(np.log(replicates - low))
        half = min(half, _LARGEST_POWER)
        distance = value - low
        return low + distance * math.exp(-half), low + distance * math.exp(
            half
        )

    def log_odds(figures: Floats) -> Floats:
        shares = np.clip((figures - low) / (high - low), 0.0, 1.0)
        smooth = (shares * count + 0.5) / (count + 1)
        return np.log(smooth / (1 - smooth))

    centre = float(log_odds(np.array([value]))[0])
    half = quantile * _jackknife_error(log_odds(replicates))
    ends = []
    for end in (centre - half, centre + half):
        share = ((count + 1) / (1 + math.exp(-end)) - 0.5) / count
        ends.append(low + (high - low) * min(max(share, 0.0), 1.0))
    return ends[0], ends[1]


def _where_all_agree(
    value: float, count: int, bounds: Bounds | None
) -> tuple[float, float]:
    """Return the 95 % interval of a figure that is the same without any one of the clusters.

    The next cluster differs with a chance of at most 1 − 0.025^(1/G), and then it may have any
    value. Of G clusters that are right or wrong it is Clopper and Pearson's interval (1934).
    """
    if bounds is None or math.isinf(bounds[1]) or count < 1:
        return math.nan, math.nan
    chance = 1 - 0.025 ** (1 / count)
    low, high = bounds
    return value - chance * (value - low), value + chance * (high - value)


def _jackknife_error(replicates: Floats) -> float:
    count = len(replicates)
    squares = float(((replicates - replicates.mean()) ** 2).sum())
    return math.sqrt((count - 1) / count * squares)


def detectable_difference(low: float, high: float, clusters: int) -> float:
    """Return the true difference that four of five such evaluations would find to differ from 0.

    low, high: the 95 % interval of the difference. NaN for fewer clusters than can differ at all.
    """
    if clusters < _FEWEST_TO_DIFFER:
        return math.nan
    power = float(stdtrit(clusters - 1, 0.8) / stdtrit(clusters - 1, 0.975))
    return (high - low) / 2 * (1 + power)


# --- tests ---


def sign_flip_p_values(sums: Floats, seed: int = 0) -> Floats:
    """Return the two-sided p of each row of cluster sums [k, G]: [k].

    If nothing differs, each sum is as likely to be its opposite. p is the share of all flips of
    signs whose total is at least as far from 0: exact up to 12 clusters that are not 0 (one
    judgement each: McNemar's exact test), of 5,000 random flips up to 200, and the normal limit of
    more.
    """
    is_drawn = np.zeros(len(sums), dtype=bool)
    p_values = np.ones(len(sums))
    for number, row in enumerate(sums):
        flipped = row[np.abs(row) > _ROUNDING]
        if len(flipped) > FEW_CLUSTERS:
            size = abs(flipped.sum()) / math.sqrt(float((flipped**2).sum()))
            p_values[number] = 2 * ndtr(-size)
        elif len(flipped) > _EXACT_FLIPS:
            is_drawn[number] = True
        elif len(flipped):
            bits = np.arange(2 ** len(flipped))[:, None] >> np.arange(
                len(flipped)
            )
            totals = (2.0 * (bits & 1) - 1) @ flipped
            p_values[number] = _at_least(totals, flipped.sum()).mean()
    if is_drawn.any():
        generator = np.random.default_rng(seed)
        shape = (_RANDOM_FLIPS, sums.shape[1])
        signs = 2.0 * generator.integers(0, 2, size=shape, dtype=np.int8) - 1
        drawn = sums[is_drawn]
        as_far = _at_least(signs @ drawn.T, drawn.sum(axis=1)).sum(axis=0)
        p_values[is_drawn] = (1 + as_far) / (1 + _RANDOM_FLIPS)
    return p_values


def _at_least(totals: Floats, total: Floats) -> Mask:
    """Return which totals are as far from 0 as `total`, up to rounding."""
    return np.greater_equal(
        np.abs(totals), np.abs(total) * (1 - 1e-9) - _ROUNDING
    )


def rest_p_value(part: Ratio, whole: Ratio, clusters: Clusters) -> float:
    """Return the two-sided p of "the part does not differ from the rest of the whole".

    The error comes from the clusters' distances to the figure of the whole, so that a small part
    that happens to agree with itself is not taken for certain. Student's t has one degree of
    freedom fewer than the smaller side has clusters; p is 1 if that leaves none.
    """
    rest_above = whole.numerators - part.numerators
    rest_below = whole.denominators - part.denominators
    total, of_rest = (
        clusters.sums(part.denominators).sum(),
        clusters.sums(rest_below),
    )
    sides = (clusters.holding(part.denominators > 0), of_rest > _ROUNDING)
    freedom = int(min(side.sum() for side in sides)) - 1
    if freedom < 1:
        return 1.0
    common = weighted_value(whole, clusters.weights)
    of_part = part.numerators - common * part.denominators
    of_others = rest_above - common * rest_below
    distances = clusters.sums(of_part) / total
    distances = distances - clusters.sums(of_others) / of_rest.sum()
    squares = float((distances**2).sum())
    if squares <= _ROUNDING**2:
        return 1.0
    either = int((sides[0] | sides[1]).sum())
    error = math.sqrt(squares * either / (either - 1))
    return 2 * float(stdtr(freedom, -abs(float(distances.sum())) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values for several comparisons at once (Holm 1979).

    The chance that any comparison of equals has one of 0.05 or less is at most 5 %.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, number in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[number])
        adjusted[number] = min(largest, 1.0)
    return adjusted
