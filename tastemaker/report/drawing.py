"""The drawings of the report: each function draws the numbers of one kind of judgement on axes."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from tastemaker.evaluate.findings import NAMES, Evaluation, KindFindings
from tastemaker.kinds.metrics import Predictions
from tastemaker.maths.statistics import Floats, reliability, roc_curve, wilson_interval
from tastemaker.plotting import CONSTANT, LINEAR, MODEL, NEGATIVE, POSITIVE

_FEW_VALUES = 21  # up to so many distinct judgements get a box each
_TENTHS = 10
_HEXBIN_CELLS = 40
_CURVE_POINTS = 400


Promises = tuple[Floats, Floats]
"""Probabilities [n] and what came true [n]: 1, 0, or ½ for a tie."""


def draw_reliability(axes: Axes, model: Promises, linear: Promises | None, what: str) -> None:
    """Draw the share that came true against the probability that was promised, by bin. what: was promised."""
    axes.plot([0, 1], [0, 1], color=CONSTANT, linestyle=":", linewidth=1.2, label="a promise kept")
    if linear is not None:
        bins = reliability(*linear)
        axes.plot(
            bins.predicted,
            bins.observed,
            color=LINEAR,
            linewidth=1.3,
            alpha=0.9,
            label="linear baseline",
        )
    bins = reliability(*model)
    axes.bar(
        bins.predicted,
        0.25 * bins.count / bins.count.max(),
        width=0.045,
        color=MODEL,
        alpha=0.18,
        label="where they are",
    )
    low, high = wilson_interval(bins.observed * bins.count, bins.count)
    whiskers = np.clip([bins.observed - low, high - bins.observed], 0, None)
    axes.errorbar(
        bins.predicted,
        bins.observed,
        whiskers,
        color=MODEL,
        marker="o",
        markersize=5,
        linewidth=1.6,
        label="model",
    )
    lowest = (
        0.0 if model[0].min(initial=1.0) < 0.5 else 0.5
    )  # a favourite's chance begins at one half
    axes.set(xlim=(lowest - 0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel=f"promised: P({what})", ylabel=f"came true: share {what}")
    _percent(axes)
    axes.legend(loc="upper left")


def _percent(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def draw_roc(axes: Axes, found: KindFindings, positive: NDArray[np.bool_]) -> None:
    """Draw the ROC curves; both classes must be there."""
    axes.plot(
        [0, 1], [0, 1], color=CONSTANT, linestyle=":", linewidth=1.2, label="guessing, AUROC 0.500"
    )
    sources = [("linear baseline", found.linear_predictions, found.measured.linear, LINEAR, 1.4)]
    sources.append(("model", found.predictions, found.measured.model, MODEL, 2.2))
    for name, made, measures, colour, width in sources:
        if made is not None and measures is not None:
            wrong, right = _thinned(*roc_curve(made.scores, positive))
            label = f"{name}, AUROC {measures['auroc'].value:.3f}"
            axes.plot(wrong, right, color=colour, linewidth=width, label=label)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel="negatives taken for positive", ylabel="positives caught")
    _percent(axes)
    axes.legend(loc="lower right")


def _thinned(wrong: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Keep the curve's points at equal steps along it: thousands look no different and weigh more."""
    if len(wrong) <= _CURVE_POINTS:
        return wrong, right
    steps = np.searchsorted(wrong + right, np.linspace(0, 2, _CURVE_POINTS))
    kept = np.unique(np.concatenate([[0], np.minimum(steps, len(wrong) - 1), [len(wrong) - 1]]))
    return wrong[kept], right[kept]


def draw_scores(axes: Axes, found: KindFindings, positive: NDArray[np.bool_]) -> None:
    """Draw the scores' histogram of each label."""
    scores = found.predictions.scores
    edges = np.histogram_bin_edges(scores, bins=min(50, max(5, int(math.sqrt(len(scores))))))
    for chosen, colour, name in (
        (~positive, NEGATIVE, "negative"),
        (positive, POSITIVE, "positive"),
    ):
        label = f"{name} ({int(chosen.sum()):,})"
        axes.hist(scores[chosen], bins=list(edges), color=colour, alpha=0.45, label=label)
        axes.hist(scores[chosen], bins=list(edges), histtype="step", color=colour, linewidth=1.2)
    above = found.predictions.predicted > 0.5
    if 0 < above.sum() < len(above):
        border = (scores[above].min() + scores[~above].max()) / 2
        axes.axvline(
            border, color="#333333", linestyle="--", linewidth=1.2, label="P(positive) = 50 %"
        )
    axes.set(
        xlabel="score (0: mean of the reference texts, 1: one standard deviation)",
        ylabel="number of texts",
    )
    axes.grid(axis="x", visible=False)
    axes.legend()


def draw_predictions(axes: Axes, found: KindFindings) -> None:
    """Draw predicted against given: a box for each value where these are few, a density otherwise."""
    predicted, said = found.predictions.predicted, found.answers
    values = np.unique(said)
    low, high = float(said.min()), float(said.max())
    axes.plot(
        [low, high],
        [low, high],
        color="#333333",
        linestyle=":",
        linewidth=1.4,
        label="as given",
        zorder=3,
    )
    if len(values) <= _FEW_VALUES:
        gap = float(np.diff(values).min()) if len(values) > 1 else 1.0
        boxes = axes.boxplot(
            [predicted[said == value] for value in values],
            positions=values,
            widths=0.6 * gap,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": "white", "linewidth": 2},
            whiskerprops={"color": MODEL},
            capprops={"color": MODEL},
        )
        for box in boxes["boxes"]:
            box.set(facecolor=MODEL, edgecolor=MODEL, alpha=0.75)
        boxes["boxes"][0].set_label("model, the middle half")
        axes.set_xticks(values)
    else:
        cells = axes.hexbin(
            said,
            predicted,
            gridsize=_HEXBIN_CELLS,
            mincnt=1,
            cmap="Blues",
            bins="log",
            linewidths=0,
        )
        axes.figure.colorbar(cells, ax=axes, label="number of texts (log scale)")
    axes.set(xlabel=f"{found.kind} that people gave", ylabel=f"{found.kind} predicted")
    axes.legend(loc="upper left")


def draw_errors(axes: Axes, found: KindFindings) -> None:
    """Draw the histogram of predicted minus given."""
    errors = found.predictions.predicted - found.answers
    linear = (
        None
        if found.linear_predictions is None
        else found.linear_predictions.predicted - found.answers
    )
    edges = np.histogram_bin_edges(errors if linear is None else np.append(errors, linear), bins=41)
    axes.hist(errors, bins=list(edges), color=MODEL, alpha=0.5, label="model")
    if linear is not None:
        axes.hist(
            linear,
            bins=list(edges),
            histtype="step",
            color=LINEAR,
            linewidth=1.6,
            label="linear baseline",
        )
    axes.axvline(0, color="#333333", linestyle="--", linewidth=1.2)
    axes.set(xlabel=f"predicted minus given {found.kind}", ylabel="number of texts")
    axes.grid(axis="x", visible=False)
    axes.legend()


def by_tenth(made: Predictions, said: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the mean prediction, the mean judgement and the latter's standard error of each tenth by prediction."""
    order = np.argsort(made.predicted, kind="stable")
    tenths = [part for part in np.array_split(order, _TENTHS) if len(part)]
    error = [said[part].std() / math.sqrt(len(part)) for part in tenths]
    return (
        np.array([made.predicted[part].mean() for part in tenths]),
        np.array([said[part].mean() for part in tenths]),
        np.array(error),
    )


def draw_tenths(axes: Axes, found: KindFindings) -> None:
    """Draw the mean judgement against the mean prediction, by tenth of the predictions."""
    ends = [found.answers.min(), found.answers.max()]
    axes.plot(ends, ends, color=CONSTANT, linestyle=":", linewidth=1.2, label="as promised")
    sources = (
        ("linear baseline", found.linear_predictions, LINEAR, 1.3),
        ("model", found.predictions, MODEL, 1.8),
    )
    for name, made, colour, width in sources:
        if made is not None:
            predicted, given, error = by_tenth(made, found.answers)
            axes.errorbar(
                predicted,
                given,
                1.96 * error,
                color=colour,
                marker="o",
                markersize=4.5,
                linewidth=width,
                label=name,
            )
    axes.set(xlabel=f"mean {found.kind} predicted", ylabel=f"mean {found.kind} given")
    axes.legend(loc="upper left")


def _widen(axes: Axes) -> None:
    """Show at least a fifth of the scale, which ends just above 1: small differences must look small."""
    low, high = axes.get_ylim()
    top = min(1.02, high + max(0.0, 0.2 - (high - low)) / 2)
    axes.set_ylim(min(low, top - 0.2), top)


def draw_slices(axes: Axes, evaluation: Evaluation, found: KindFindings) -> None:
    """Draw the headline figure by quarter of text length."""
    name = found.kind_metrics.headline
    figures = [s.measures[name] for s in evaluation.slices]
    overall = found.measured.model[name].value
    axes.axhline(
        overall,
        color=MODEL,
        linestyle="--",
        linewidth=1,
        alpha=0.7,
        label=f"all texts, {overall:.3f}",
    )
    if name in found.measured.constant:
        constant = found.measured.constant[name].value
        axes.axhline(
            constant,
            color=CONSTANT,
            linestyle=":",
            linewidth=1.4,
            label=f"constant, {constant:.3f}",
        )
    values = np.array([e.value for e in figures])
    whiskers = np.array([[e.value - e.low for e in figures], [e.high - e.value for e in figures]])
    positions = range(len(figures))
    look: dict[str, Any] = {
        "color": MODEL,
        "marker": "o",
        "markersize": 7,
        "linestyle": "none",
        "capsize": 4,
    }
    axes.errorbar(
        positions, values, np.clip(whiskers, 0, None), label="model", linewidth=1.6, **look
    )
    ticks = [f"{s.shortest:,}–{s.longest:,}\n{s.n:,} texts" for s in evaluation.slices]
    axes.set_xticks(range(len(figures)), ticks)
    axes.set(xlabel="length in characters", ylabel=NAMES[name], xlim=(-0.5, len(figures) - 0.5))
    _widen(axes)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="best")
