"""Checks of judges: their agreement, judges who stand out, and whether the answers vary at all.

The measures of agreement are Krippendorff's α and pairwise agreement. They take two arrays [n]:
`values` (NaN where there is none) and `units` (any numbers). A unit has at most one value from each
judge; which judge it was does not matter. A unit with a single value is left out. Undefined
measures are NaN, never an exception.

The krippendorff package builds tables of units × values², which do not fit in memory for 100,000
ratings, and it has no distances by judge; moments give the same α here in O(n log n).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tastemaker.doctor.catalogue import (
    NOBODY,
    Catalogue,
    Ints,
    Problem,
    Severity,
    Verdicts,
)
from tastemaker.maths.statistics import Floats, wilson_interval

Level = Literal["nominal", "ordinal", "interval"]
"""The distance δ: unequal or equal; the number of judgements between; the difference."""


def krippendorff_alpha(
    values: ArrayLike, units: ArrayLike, level: Level
) -> float:
    """Return Krippendorff's α: 1 is agreement, 0 is chance, below 0 is worse than chance.

    NaN where no unit has two values, and where all values are equal.
    """
    expected = expected_distance(values, units, level)
    if not expected > 0:
        return float("nan")
    observed = np.nanmean(distances_to_others(values, units, level))
    return float(1 - observed / expected)


def distances_to_others(
    values: ArrayLike, units: ArrayLike, level: Level
) -> Floats:
    """Return each value's mean δ² to the other values of its unit, float64 [n]; NaN if none.

    Their mean is α's observed disagreement D_o; the mean over one judge's values is how far that
    judge is from others.
    """
    answers, unit, is_paired = _pairable(values, units)
    distances: Floats = np.full(is_paired.shape, np.nan)
    if not len(answers):
        return distances
    size = np.bincount(unit)
    others = size[unit] - 1.0
    if level == "nominal":
        pairs = _within(unit, answers)
        _, pair, count = np.unique(
            pairs, return_inverse=True, return_counts=True
        )
        distances[is_paired] = 1 - (count[pair] - 1) / others
        return distances
    place = _places(answers, level)
    mean = np.bincount(unit, place) / size
    centred = place - mean[unit]
    squares = np.bincount(unit, centred**2)[unit]
    # Σ over others of (x − y)² when the mean is 0
    total = (others + 1) * centred**2 + squares
    distances[is_paired] = total / others
    return distances


def expected_distance(
    values: ArrayLike, units: ArrayLike, level: Level
) -> float:
    """Return α's expected disagreement D_e: the mean δ² between all values; NaN for none."""
    answers, _, _ = _pairable(values, units)
    n = len(answers)
    if not n:
        return float("nan")
    if level == "nominal":
        count = np.bincount(_numbered(answers)).astype(np.float64)
        unequal = (count * (n - count)).sum()
        return float(unequal / (n * (n - 1)))
    if np.ptp(answers) == 0:
        return 0.0
    places = _places(answers, level)
    return float(2 * np.var(places, ddof=1))


@dataclass(frozen=True, slots=True)
class PairwiseAgreement:
    """The share of pairs of judgements of one unit that are equal; a tie equals only a tie.

    share, low, high: the share and its 95 % interval. pairs: how many pairs of judgements. units:
    of how many units.
    """

    share: float
    low: float
    high: float
    pairs: int
    units: int


def pairwise_agreement(
    values: ArrayLike, units: ArrayLike
) -> PairwiseAgreement:
    """Return how often two judgements of the same unit are equal, with Wilson's interval.

    Pairs of a unit are not independent: for the interval, m judgements are m − 1 observations.
    """
    answers, unit, _ = _pairable(values, units)
    if not len(answers):
        nan = float("nan")
        return PairwiseAgreement(nan, nan, nan, 0, 0)
    size = np.bincount(unit)
    _, count = np.unique(_within(unit, answers), return_counts=True)
    pairs = _pairs(size)
    share = _pairs(count) / pairs
    n = int((size - 1).sum())
    low, high = wilson_interval(share * n, n)
    return PairwiseAgreement(share, float(low), float(high), pairs, len(size))


def _pairs(sizes: NDArray[np.intp]) -> int:
    """Return how many pairs there are within groups of these sizes."""
    return int((sizes * (sizes - 1)).sum()) // 2


def _pairable(
    values: ArrayLike, units: ArrayLike
) -> tuple[Floats, NDArray[np.intp], NDArray[np.bool_]]:
    """Return the values [m] of units with two or more, their unit numbers [m], and a mask [n]."""
    answers = np.asarray(values, dtype=np.float64)
    has_value = ~np.isnan(answers)
    units_with_value = np.asarray(units)[has_value]
    _, unit, size = np.unique(
        units_with_value, return_inverse=True, return_counts=True
    )
    has_others = size[unit] > 1
    is_paired = has_value.copy()
    is_paired[has_value] = has_others
    _, number = np.unique(unit[has_others], return_inverse=True)
    return answers[is_paired], number, is_paired


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
    _, number, count = np.unique(
        values, return_inverse=True, return_counts=True
    )
    middle: Floats = np.cumsum(count) - count / 2
    places: Floats = middle[number]
    return places


_TENTATIVE = 0.667  # Krippendorff (2004): no conclusions at all below this α
_LOW = 0.333
_FEWEST_UNITS = 10
_FEWEST_OF_JUDGE = 5
_UNLIKELY = math.log(1e-3)
# shared verdicts from which on "not better than chance" is reported
_SHARED = 30
_RARE = 0.1  # share of the rarer label
_SHOWN_NAMES = 10


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement of named judges on one kind. A unit is a text or a pair, with its prompt.

    alpha: Krippendorff's α at `level`, NaN if nothing varies.
    pairwise: how often two judges give the same answer.
    """

    level: Level
    alpha: float
    judges: int
    pairwise: PairwiseAgreement

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "alpha": None if math.isnan(self.alpha) else self.alpha,
            "level": self.level,
            "judges": self.judges,
            "units": self.pairwise.units,
            "pairs": self.pairwise.pairs,
            "pairwise_agreement": self.pairwise.share,
            "pairwise_interval": [self.pairwise.low, self.pairwise.high],
        }


def one_each(table: Verdicts) -> Ints:
    """Return the rows with one verdict of each named judge on each unit: the median of several."""
    order = np.lexsort((table.value, table.judge, table.unit))
    is_named = table.judge[order] != NOBODY
    order = np.asarray(order[is_named], dtype=np.intp)
    if not len(order):
        return order
    unit, judge = table.unit[order], table.judge[order]
    is_new_unit = unit[1:] != unit[:-1]
    is_new_judge = judge[1:] != judge[:-1]
    is_start = np.ones(len(order), dtype=bool)
    is_start[1:] = is_new_unit | is_new_judge
    starts = np.flatnonzero(is_start)
    sizes = np.diff(np.append(starts, len(order)))
    middle: Ints = order[starts + (sizes - 1) // 2]
    return middle


def agreements(catalogue: Catalogue) -> dict[str, Agreement]:
    """Return the agreement on each kind for which two named judges judged the same unit."""
    by_kind = {}
    for kind, table in catalogue.verdicts.items():
        rows = one_each(table)
        value, unit = table.value[rows], table.unit[rows]
        pairwise = pairwise_agreement(value, unit)
        if pairwise.units:
            is_shared = np.bincount(unit)[unit] > 1
            judges = len(np.unique(table.judge[rows][is_shared]))
            level = catalogue.example_of[kind].level
            alpha = krippendorff_alpha(value, unit, level)
            by_kind[kind] = Agreement(level, alpha, judges, pairwise)
    return by_kind


def judge_problems(
    catalogue: Catalogue, by_kind: dict[str, Agreement]
) -> Iterator[Problem]:
    """Yield low agreement, and judges who stand out."""
    for kind, agreement in by_kind.items():
        if (
            agreement.alpha < _TENTATIVE
            and agreement.pairwise.units >= _FEWEST_UNITS
        ):
            yield Problem(
                f"low_agreement_{kind}",
                f"low agreement between judges on {kind}s: Krippendorff's alpha is "
                f"{agreement.alpha:.2f}",
                agreement.pairwise.units,
                "warning" if agreement.alpha < _LOW else "note",
                "Learn the reliability of judges. "
                "A model cannot agree with judges better than they agree with each other.",
            )
    at_chance = _at_chance(catalogue)
    if at_chance:
        yield _about_judges(
            catalogue,
            at_chance,
            "judges_at_chance",
            what="judges who agree with the others no better than chance",
            severity="warning",
            advice="Read some of their judgements; learn the reliability of judges, "
            "or leave these out.",
        )
    monotonous = _monotonous(catalogue)
    if monotonous:
        yield _about_judges(
            catalogue,
            monotonous,
            "monotonous_judges",
            what="judges who always give the same answer, where others vary",
            severity="warning",
            advice="Their judgements carry no information: leave them out, "
            "or learn the reliability of judges.",
        )
    is_named = catalogue.judge != NOBODY
    count = np.bincount(
        catalogue.judge[is_named], minlength=len(catalogue.judges)
    )
    few = np.flatnonzero(count < _FEWEST_OF_JUDGE).tolist()
    if few and len(count) > 1:
        yield _about_judges(
            catalogue,
            few,
            "judges_with_few_judgements",
            what=f"judges with fewer than {_FEWEST_OF_JUDGE} judgements: "
            "too few to learn their reliability",
            severity="note",
            advice="Give them one common name, or collect more.",
        )


def _at_chance(catalogue: Catalogue) -> list[int]:
    """Return the judges whose agreement with the others is not better than chance."""
    judges = len(catalogue.judges)
    suspects: set[int] = set()
    for kind, table in catalogue.verdicts.items():
        rows = one_each(table)
        value, unit, judge = (
            table.value[rows],
            table.unit[rows],
            table.judge[rows],
        )
        level = catalogue.example_of[kind].level
        distance = distances_to_others(value, unit, level)
        expected = expected_distance(value, unit, level)
        if not expected > 0:
            continue
        is_shared = ~np.isnan(distance)
        n, mean, error = _by_judge(
            judge[is_shared], distance[is_shared], judges
        )
        is_worse = (n >= _FEWEST_UNITS) & (mean >= expected)
        is_no_better = (n >= _SHARED) & (mean + error >= expected)
        suspects.update(np.flatnonzero(is_worse | is_no_better).tolist())
    return sorted(suspects)


def _by_judge(
    judge: Ints, values: Floats, judges: int
) -> tuple[Ints, Floats, Floats]:
    """Return for each judge the number of values, their mean, and half the width of its interval.

    judge: the number of the judge of each value, below `judges`. The 95 % interval is a normal one,
    too narrow for few values. A judge without values has the number 1: nothing is divided by 0.
    """
    n = np.maximum(np.bincount(judge, minlength=judges), 1)
    mean = np.bincount(judge, values, minlength=judges) / n
    mean_square = np.bincount(judge, values**2, minlength=judges) / n
    variance = np.maximum(mean_square - mean**2, 0)
    return n, mean, 1.96 * np.sqrt(variance / n)


def _monotonous(catalogue: Catalogue) -> list[int]:
    """Return the judges who always give the same answer, if that is unlikely by chance (0.1 %).

    For comparisons and rankings only a tie of all texts is such an answer. A judgement holds the
    better text first and not the order on screen, so a habit of taking the first is not visible.
    """
    monotonous: set[int] = set()
    for table in catalogue.verdicts.values():
        judge, value = _answers(table)
        is_answer = (value == 0) | (not table.is_of_pairs)
        named = np.flatnonzero(judge != NOBODY)
        if not len(named):
            continue
        _, number, count = np.unique(
            value, return_inverse=True, return_counts=True
        )
        log_share = np.log(count / len(value))
        order = named[np.argsort(judge[named], kind="stable")]
        ends = np.flatnonzero(np.diff(judge[order])) + 1
        for rows in np.split(order, ends):
            first = rows[0]
            answer = number[first]
            is_same = is_answer[first] and (number[rows] == answer).all()
            if is_same and len(rows) * log_share[answer] < _UNLIKELY:
                monotonous.add(int(judge[first]))
    return sorted(monotonous)


def _answers(table: Verdicts) -> tuple[Ints, NDArray[np.float64]]:
    """Return judge and answer of each judgement.

    The pairs of a ranking are one answer: 0 if all of them tie, else 1.
    """
    _, start, count = np.unique(
        table.row, return_index=True, return_counts=True
    )
    if (count == 1).all():
        return table.judge, table.value
    total = np.add.reduceat(np.abs(table.value), start)
    return table.judge[start], (total > 0).astype(np.float64)


def _about_judges(
    catalogue: Catalogue,
    judges: Sequence[int],
    name: str,
    *,
    what: str,
    severity: Severity,
    advice: str,
) -> Problem:
    rows = np.flatnonzero(np.isin(catalogue.judge, judges)).tolist()
    names = [catalogue.judges[judge] for judge in judges[:_SHOWN_NAMES]]
    examples = [" ".join(name.split())[:80] for name in names]
    return Problem(
        name,
        what,
        len(judges),
        severity,
        advice,
        catalogue.places(rows),
        examples,
    )


_RELIABLE = 0.5
"""A judge whose whole interval is below tells less than half of what the typical judge tells."""


def unreliable_judges(
    catalogue: Catalogue, judges: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    """Yield judges that a model of the other judgements contradicts, or can hardly predict.

    judges: by name, the `reliability` and its `interval`, as `fit` learns them.
    """
    reversed_ones, careless = [], []
    for number, name in enumerate(catalogue.judges):
        if name not in judges:
            continue
        high = judges[name]["interval"][1]
        if high < 0:
            reversed_ones.append(number)
        elif high < _RELIABLE:
            careless.append(number)
    if reversed_ones:
        yield _about_judges(
            catalogue,
            reversed_ones,
            "reversed_judges",
            what="reversed judges: they prefer what a model of all judgements calls worse",
            severity="warning",
            advice="Ask the reversed judges whether they mixed up the scale. "
            "Training reverses their answers.",
        )
    if careless:
        yield _about_judges(
            catalogue,
            careless,
            "careless_judges",
            what="careless judges: their answers hardly agree with those of the others",
            severity="warning",
            advice="Read a few answers of the careless judges. Training gives them little weight.",
        )


def balance(catalogue: Catalogue) -> dict[str, Any]:
    """Return the distribution of the answers of each kind."""
    by_kind = {}
    for kind, table in catalogue.verdicts.items():
        if len(table):
            by_kind[kind] = catalogue.example_of[kind].spread(table.value)
    return by_kind


def balance_problems(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield kinds whose answers do not vary, and labels of which one is rare."""
    for kind, table in catalogue.verdicts.items():
        value = table.value
        if len(table) < 2:
            continue
        constant = 0.0 if table.is_of_pairs else value[0]
        if (value == constant).all():
            same = "ties" if table.is_of_pairs else "equal"
            yield Problem(
                f"constant_{kind}s",
                f"all {kind}s are {same}: nothing can be learned",
                len(table),
                "error",
                "Check that the right column was read.",
                catalogue.places(table.row.tolist()),
            )
            continue
        mean = value.mean()
        share = min(mean, 1 - mean)
        is_binary = (
            not table.is_of_pairs
            and catalogue.example_of[kind].level == "nominal"
        )
        if is_binary and share < _RARE:
            is_rare = value == float(mean < 0.5)
            word = "positive" if mean < 0.5 else "negative"
            yield Problem(
                f"unbalanced_{kind}s",
                f"unbalanced {kind}s: {word} ones are {share:.1%}",
                int(is_rare.sum()),
                "note",
                "Look at AUROC: accuracy is high for a model that always predicts the same.",
                catalogue.places(table.row[is_rare].tolist()),
            )
