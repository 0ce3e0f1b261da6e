"""Intervals of what the lead sees: of Krippendorff's alpha, and of a judge's leniency.

A reason why there is no figure is a key of `whys` in `words.yaml`.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tastemaker.data.judgements import Grade, Label, Ranking, Rating
from tastemaker.doctor.catalogue import Ints
from tastemaker.doctor.catalogue import Verdicts as VerdictTable
from tastemaker.doctor.judges import (
    Level,
    krippendorff_alpha,
    one_each,
    pairwise_agreement,
)
from tastemaker.rank.sample import Sample

_GROUPS = 20
_NORMAL = 1.96
FEWEST = 10
"""Items that two judges judged, for an interval of alpha."""
_LEVELS: Mapping[str, Level] = {
    "label": Label.level,
    "grade": Grade.level,
    "rating": Rating.level,
    "comparison": Ranking.level,
    "ranking": Ranking.level,
}


@dataclass(frozen=True)
class KindAgreement:
    """How far judges agree on one kind. why: nothing of it is defined. alpha_why: alpha is not.

    alpha: Krippendorff's, with the interval of a jackknife over 20 groups of items (the pairs of
    one ranking are not independent), None where there are too few items. share: of the pairs of
    verdicts, with its interval.
    """

    why: str = ""
    alpha_why: str = ""
    alpha: float = math.nan
    interval: tuple[float, float] | None = None
    share: float = math.nan
    low: float = math.nan
    high: float = math.nan
    pairs: int = 0


@dataclass(frozen=True)
class Leniency:
    """By how much grades lie above those of others on n shared items. interval: from 3 items on."""

    mean: float
    n: int
    interval: tuple[float, float] | None = None


def agreement_of(sample: Sample) -> dict[str, KindAgreement]:
    """Return the agreement of judges on each kind."""
    if not sample.rows:
        return {"all": KindAgreement("no_judgement")}
    figures = {}
    for kind, table in sample.tables.items():
        figures[kind] = _agreement(table, sample.item, _LEVELS[kind])
    return figures


def _agreement(table: VerdictTable, item: Ints, level: Level) -> KindAgreement:
    rows = one_each(table)
    values, units = table.value[rows], table.unit[rows]
    pairwise = pairwise_agreement(values, units)
    if not pairwise.units:
        return KindAgreement("no_shared")
    alpha = krippendorff_alpha(values, units, level)
    is_shared = np.bincount(units)[units] > 1
    items = item[table.row[rows]]
    interval, why = None, ""
    if math.isnan(alpha):
        why = "all_equal"
    elif len(np.unique(items[is_shared])) < FEWEST:
        why = "few_items"
    else:
        # verdicts that nobody shares change nothing, and take half of the time
        interval = _interval(
            alpha, values[is_shared], units[is_shared], items[is_shared], level
        )
    return KindAgreement(
        alpha_why=why,
        alpha=alpha,
        interval=interval,
        share=pairwise.share,
        low=max(0.0, pairwise.low),
        high=pairwise.high,
        pairs=pairwise.pairs,
    )


def _interval(
    alpha: float, values: Any, units: Any, items: Any, level: Level
) -> tuple[float, float]:
    """Return the 95 % interval of alpha, by a jackknife over groups of items."""
    shared, place = np.unique(items, return_inverse=True)
    groups = min(_GROUPS, len(shared))
    without = []
    for group in range(groups):
        stays = place % groups != group
        part = krippendorff_alpha(values[stays], units[stays], level)
        if not math.isnan(part):
            without.append(part)
    deviations = np.asarray(without) - np.mean(without)
    share = (len(without) - 1) / len(without)
    error = math.sqrt(share * float((deviations**2).sum()))
    return alpha - _NORMAL * error, min(1.0, alpha + _NORMAL * error)


def leniency(sample: Sample) -> dict[int, Leniency]:
    """Return by how much each judge's grades and ratings lie above others', by the judge's number.

    The 95 % interval is that of a mean of differences on shared items. Repeats are left out.
    """
    values: dict[int, dict[int, float]] = defaultdict(dict)
    rows = sample.row.tolist()
    for row, value in zip(rows, sample.value.tolist(), strict=True):
        judged = sample.rows[row]
        is_graded = sample.items[judged.item_id].ask in ("grade", "rate")
        if is_graded and judged.reason != "repeat":
            values[judged.item_id][judged.judge_id] = value
    differences: dict[int, list[float]] = defaultdict(list)
    for judges in values.values():
        total, count = sum(judges.values()), len(judges)
        for judge, value in judges.items() if count > 1 else ():
            others = (total - value) / (count - 1)
            differences[judge].append(value - others)
    figures = {}
    for judge, each in differences.items():
        mean = float(np.mean(each))
        interval = None
        if len(each) > 2:
            error = float(np.std(each, ddof=1)) / math.sqrt(len(each))
            interval = mean - _NORMAL * error, mean + _NORMAL * error
        figures[judge] = Leniency(mean, len(each), interval)
    return figures
