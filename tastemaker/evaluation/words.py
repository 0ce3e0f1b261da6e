"""Figures in words: how they are called, how they are written, and what they say in plain sentences."""

import math
from collections.abc import Iterable, Iterator, Sequence

from tastemaker.evaluation.measures import LOWER_IS_BETTER, Estimate, Measured, Yardstick, amount
from tastemaker.models.contract import FIGURES

NAMES = {**FIGURES, "longer_baseline": "the longer"}
"""How each figure is called on screen."""


def shown(name: str, estimate: Estimate | None) -> str:
    """Return a figure as people read it: "0.931 [0.927, 0.935]", a dash where it is undefined."""
    if estimate is None or math.isnan(estimate.value):
        return "–"
    form = amount if name == "mae" else "{:.3f}".format
    text = form(estimate.value)
    return f"{text} [{form(estimate.low)}, {form(estimate.high)}]" if estimate.has_interval else text


def listed(items: Iterable[str]) -> str:
    """Return things as a sentence names them: "a", "a and b", "a, b and c"."""
    *first, last = [*items] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as columns of plain text, a rule under the heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])


def verdicts_of(yardstick: Yardstick, measured: Measured, kind: str) -> Iterator[str]:
    """Yield what the figures of one kind say, one plain sentence each."""
    name = yardstick.headline
    if measured.difference is not None:
        yield _against(name, measured.difference[name], "the linear baseline")
    if name in measured.over_longer:
        yield _against(
            name, measured.over_longer[name], f"always the longer text ({shown(name, measured.longer[name])})"
        )
    name = yardstick.against_constant
    model, constant = measured.model[name], measured.constant[name]
    better = model.high < constant.value if name in LOWER_IS_BETTER else model.low > constant.value
    verdict = "beats" if better else "cannot be told apart from, or is worse than,"
    yield f"The model {verdict} {yardstick.constant_in_words} ({NAMES[name]} {shown(name, constant)})."
    yield from _on_people(measured, kind)


def _on_people(measured: Measured, kind: str) -> Iterator[str]:
    """Yield what is known of the people who judged: their leaning to length, their ties, how far they agree."""
    people, counts = measured.people, measured.counts
    if "people_prefer_longer" in people:
        theirs, ours = people["people_prefer_longer"], measured.model["prefers_longer"]
        if not math.isnan(theirs.value):
            yield f"People prefer the longer of two in {theirs.value:.1%} of pairs, the model in {ours.value:.1%}."
    ceiling = people.get("human_ceiling")
    if ceiling is not None and not math.isnan(ceiling.value):
        yield (
            f"A judge agrees with the majority of the others in {shown('human_ceiling', ceiling)} of "
            f"{counts['human_ceiling_n']:,} comparisons: about what a perfect score could reach."
        )
    if counts.get("ties"):
        yield f"{counts['ties']:,} ties have no right side: accuracy leaves them out, the log-loss counts them."
    if counts.get("unordered_lists"):
        yield f"{counts['unordered_lists']:,} {kind}s hold one tier only: they order nothing and are left out."


def _against(name: str, difference: Estimate, rival: str) -> str:
    """Return whether the model's figure and a rival's can be told apart, by a paired interval of their difference."""
    if math.isnan(difference.value):
        return f"{NAMES[name]} is undefined here, so the model and {rival} cannot be compared by it."
    scale, unit, form = (100, "points of accuracy", "{:.1f}") if name == "accuracy" else (1, NAMES[name], "{:.3f}")
    by, low, high = (scale * v for v in (difference.value, difference.low, difference.high))
    if not (low > 0 or high < 0):  # also where the interval is undefined
        signed = form.replace(":", ":+").format(by)
        verdict = f"The model and {rival} cannot be told apart: {signed} {unit}"
    else:
        verdict = f"The model {'beats' if by > 0 else 'loses to'} {rival} by {form.format(abs(by))} {unit}"
        low, high = sorted((math.copysign(1, by) * low, math.copysign(1, by) * high))
    return f"{verdict}, interval [{form.format(low)}, {form.format(high)}] (paired bootstrap)."


def on_length(correlation: float) -> str:
    """Return what the correlation of score and length says."""
    if math.isnan(correlation):
        return "Score and length cannot be correlated: one of them does not vary."
    towards = "longer" if correlation > 0 else "shorter"
    if abs(correlation) < 0.1:
        verdict = "The score hardly depends on length"
    elif abs(correlation) < 0.3:
        verdict = f"The score leans towards {towards} texts"
    else:
        verdict = f"The score depends on length, towards {towards} texts: look at the slices"
    return f"{verdict} (Spearman {correlation:+.2f})."
