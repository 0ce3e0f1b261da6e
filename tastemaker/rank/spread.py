"""Intervals of what the lead sees: of Krippendorff's alpha, and of a judge's leniency."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tastemaker.data.judgements import Judgement
from tastemaker.doctor.catalogue import catalogue_of
from tastemaker.doctor.judges import agreements, krippendorff_alpha, one_each

_GROUPS = 20
_NORMAL = 1.96
_FEWEST = 10


def agreement_lines(
    judgements: Sequence[Judgement], items: Sequence[int]
) -> dict[str, str]:
    """Return Krippendorff's alpha and pairwise agreement of each kind, in words.

    items: the item of each judgement; the pairs of one ranking are not independent. The interval of
    alpha is that of a jackknife over 20 groups of items.
    """
    if not judgements:
        return {"all": "undefined: nobody has judged anything yet"}
    lines = {}
    catalogue = catalogue_of(judgements)
    by_kind = agreements(catalogue)
    of_row = np.asarray(items)
    for kind in sorted({judgement.kind for judgement in judgements}):
        if kind not in by_kind:
            lines[kind] = (
                "undefined: no two judges have judged the same item yet"
            )
            continue
        figures = by_kind[kind]
        table = catalogue.verdicts[kind]
        rows = one_each(table)
        alpha = _alpha_in_words(
            figures.alpha,
            table.value[rows],
            table.unit[rows],
            of_row[table.row[rows]],
            figures.level,
        )
        pairwise = figures.pairwise
        low = max(0.0, pairwise.low)
        lines[kind] = (
            f"{alpha}; two judges agree on {pairwise.share:.0%} "
            f"({low:.0%}–{pairwise.high:.0%}) of {pairwise.pairs:,} pairs of verdicts"
        )
    return lines


def _alpha_in_words(
    alpha: float, values: Any, units: Any, items: Any, level: Any
) -> str:
    if math.isnan(alpha):
        return "Krippendorff's α is undefined: all answers are equal"
    words = f"Krippendorff's α = {alpha:.2f}"
    is_shared = np.bincount(units)[units] > 1
    shared = np.unique(items[is_shared])
    if len(shared) < _FEWEST:
        return f"{words} (no interval: it takes {_FEWEST} items that two judges judged)"
    place = np.searchsorted(shared, items).clip(0, len(shared) - 1)
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
    low, high = alpha - _NORMAL * error, min(1.0, alpha + _NORMAL * error)
    return f"{words} ({low:.2f}–{high:.2f})"


def leniency(rows: Sequence[Any]) -> dict[int, str]:
    """Return by how much each judge's grades and ratings lie above others', by the judge's number.

    The 95 % interval is that of a mean of differences on shared items. Repeats are left out.
    """
    values: dict[int, dict[int, float]] = defaultdict(dict)
    for row in rows:
        if row.ask in ("grade", "rate") and row.reason != "repeat":
            value = json.loads(row.answer)["value"]
            values[row.item_id][row.judge_id] = float(value)
    differences: dict[int, list[float]] = defaultdict(list)
    for judges in values.values():
        total, count = sum(judges.values()), len(judges)
        for judge, value in judges.items() if count > 1 else ():
            others = (total - value) / (count - 1)
            differences[judge].append(value - others)
    lines = {}
    for judge, each in differences.items():
        mean = float(np.mean(each))
        lines[judge] = f"{mean:+.2f} (n = {len(each)}: too few)"
        if len(each) > 2:
            error = float(np.std(each, ddof=1)) / math.sqrt(len(each))
            low, high = mean - _NORMAL * error, mean + _NORMAL * error
            lines[judge] = (
                f"{mean:+.2f} ({low:+.2f} to {high:+.2f}, n = {len(each)})"
            )
    return lines
