"""Draw the results of an evaluation on axes: one function for each figure of the report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from tastemaker.evaluate.estimates import NAMES, Estimate, Measures
from tastemaker.evaluate.findings import Evaluation, KindFindings, MeasuredPart
from tastemaker.kinds.metrics import Predictions
from tastemaker.maths.calibration import reliability
from tastemaker.maths.statistics import Floats, roc_curve, wilson_interval
from tastemaker.plotting import CONSTANT, LINEAR, MODEL, NEGATIVE, POSITIVE

Bars = Mapping[str, tuple[Estimate, str]]
"""By title, a measure and its colour."""

Outcomes = tuple[Floats, Floats, Floats]
"""Predicted probabilities [n], outcomes [n] (1, 0, or ½ for a tie), and weights [n]."""

_FEW_VALUES = 21  # with at most 21 distinct judgements, each gets a box
_TENTHS = 10
_HEXBIN_CELLS = 40
_CURVE_POINTS = 400
_DARK = "#333333"
_WHISKERS: Any = {"color": _DARK, "ls": "none", "capsize": 2, "lw": 1.1}
_LINE: Any = {"linestyle": ":", "linewidth": 1.2}


# --- labels -----------------------------------------------------------------------------------


def draw_reliability(
    axes: Axes, model: Outcomes, linear: Outcomes | None, event: str
) -> None:
    """Draw the share of outcomes against the predicted probability, by bin."""
    axes.plot([0, 1], [0, 1], color=CONSTANT, **_LINE, label="calibrated")
    if linear is not None:
        predicted, outcomes, weights = linear
        bins = reliability(predicted, outcomes, weights=weights)
        label = "linear baseline"
        axes.plot(
            bins.predicted,
            bins.observed,
            color=LINEAR,
            linewidth=1.3,
            label=label,
        )
    predicted, outcomes, weights = model
    bins = reliability(predicted, outcomes, weights=weights)
    heights = 0.25 * bins.count / bins.count.max()
    axes.bar(
        bins.predicted,
        heights,
        width=0.045,
        color=MODEL,
        alpha=0.18,
        label="how many",
    )
    low, high = wilson_interval(bins.observed * bins.count, bins.count)
    axes.errorbar(
        bins.predicted,
        bins.observed,
        np.clip([bins.observed - low, high - bins.observed], 0, None),
        color=MODEL,
        marker="o",
        markersize=5,
        linewidth=1.6,
        label="model",
    )
    # the win probability of a favourite is at least one half
    lowest = 0.0 if predicted.min(initial=1.0) < 0.5 else 0.5
    axes.set(xlim=(lowest - 0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel=f"predicted P({event})", ylabel=f"observed share: {event}")
    _percent(axes)
    axes.legend(loc="upper left")


def _percent(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def draw_roc(
    axes: Axes, findings: KindFindings, positive: NDArray[np.bool_]
) -> None:
    """Draw the ROC curves. There must be both labels."""
    axes.plot(
        [0, 1],
        [0, 1],
        color=CONSTANT,
        **_LINE,
        label="guessing, AUROC 0.500",
    )

    def draw(
        name: str, predictions: Predictions, measures: Measures, **look: Any
    ) -> None:
        false, true = _thinned(
            *roc_curve(predictions.scores, positive, findings.judged.weights)
        )
        axes.plot(
            false,
            true,
            label=f"{name}, AUROC {measures['auroc'].value:.3f}",
            **look,
        )

    linear, measured = findings.linear_predictions, findings.measured
    if linear is not None and measured.linear is not None:
        draw(
            "linear baseline",
            linear,
            measured.linear,
            color=LINEAR,
            linewidth=1.4,
        )
    draw(
        "model",
        findings.predictions,
        measured.model,
        color=MODEL,
        linewidth=2.2,
    )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    _percent(axes)
    axes.legend(loc="lower right")


def _thinned(false: Floats, true: Floats) -> tuple[Floats, Floats]:
    """Return the curve at equal steps along it: thousands of points look the same."""
    last = len(false) - 1
    if last < _CURVE_POINTS:
        return false, true
    steps = np.searchsorted(false + true, np.linspace(0, 2, _CURVE_POINTS))
    chosen = np.unique(np.concatenate([[0], np.minimum(steps, last), [last]]))
    return false[chosen], true[chosen]


def draw_scores(
    axes: Axes, findings: KindFindings, positive: NDArray[np.bool_]
) -> None:
    """Draw the histogram of the scores of each label."""
    scores = findings.predictions.scores
    bins = min(50, max(5, int(math.sqrt(len(scores)))))
    edges = list(np.histogram_bin_edges(scores, bins=bins))
    for is_shown, colour, name in (
        (~positive, NEGATIVE, "negative"),
        (positive, POSITIVE, "positive"),
    ):
        label = f"{name} ({int(is_shown.sum()):,})"
        axes.hist(
            scores[is_shown],
            bins=edges,
            color=colour,
            alpha=0.45,
            label=label,
        )
        axes.hist(
            scores[is_shown],
            bins=edges,
            histtype="step",
            color=colour,
            linewidth=1.2,
        )
    above = findings.predictions.predicted > 0.5
    if 0 < above.sum() < len(above):
        border = (scores[above].min() + scores[~above].max()) / 2
        axes.axvline(
            border,
            color=_DARK,
            linestyle="--",
            linewidth=1.2,
            label="P(positive) = 50 %",
        )
    axes.set_xlabel("score (0: the mean of the reference texts)")
    axes.set_ylabel("number of texts")
    axes.grid(axis="x", visible=False)
    axes.legend()


# --- grades and ratings -----------------------------------------------------------------------


def draw_predictions(axes: Axes, findings: KindFindings) -> None:
    """Draw predictions against answers: a box for each value, or a density if there are many."""
    predicted, answers = findings.predictions.predicted, findings.answers
    values = np.unique(answers)
    ends = [float(values[0]), float(values[-1])]
    axes.plot(ends, ends, color=_DARK, **_LINE, label="perfect", zorder=3)
    if len(values) <= _FEW_VALUES:
        gap = float(np.diff(values).min()) if len(values) > 1 else 1.0
        boxes = axes.boxplot(
            [predicted[answers == value] for value in values],
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
        boxes["boxes"][0].set_label("model, middle half")
        axes.set_xticks(values)
    else:
        cells = axes.hexbin(
            answers,
            predicted,
            gridsize=_HEXBIN_CELLS,
            mincnt=1,
            cmap="Blues",
            bins="log",
            linewidths=0,
        )
        axes.figure.colorbar(
            cells, ax=axes, label="number of texts (log scale)"
        )
    axes.set(
        xlabel=f"{findings.kind} given", ylabel=f"{findings.kind} predicted"
    )
    axes.legend(loc="upper left")


def draw_errors(axes: Axes, findings: KindFindings) -> None:
    """Draw the histogram of predictions minus answers."""
    errors = findings.predictions.predicted - findings.answers
    linear = np.zeros(0)
    if findings.linear_predictions is not None:
        linear = findings.linear_predictions.predicted - findings.answers
    edges = list(np.histogram_bin_edges(np.append(errors, linear), bins=41))
    axes.hist(errors, bins=edges, color=MODEL, alpha=0.5, label="model")
    if len(linear):
        look: dict[str, Any] = {
            "histtype": "step",
            "color": LINEAR,
            "linewidth": 1.6,
        }
        axes.hist(linear, bins=edges, label="linear baseline", **look)
    axes.axvline(0, color=_DARK, linestyle="--", linewidth=1.2)
    axes.set(
        xlabel=f"{findings.kind}: predicted minus given",
        ylabel="number of texts",
    )
    axes.grid(axis="x", visible=False)
    axes.legend()


def by_tenth(
    predictions: Predictions, answers: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return by tenth of the predictions: mean prediction, mean judgement, its standard error."""
    order = np.argsort(predictions.predicted, kind="stable")
    predicted, judged, error = [], [], []
    for tenth in np.array_split(order, _TENTHS):
        if len(tenth):
            predicted.append(predictions.predicted[tenth].mean())
            judged.append(answers[tenth].mean())
            error.append(answers[tenth].std() / math.sqrt(len(tenth)))
    return np.array(predicted), np.array(judged), np.array(error)


def draw_tenths(axes: Axes, findings: KindFindings) -> None:
    """Draw the mean judgement against the mean prediction, by tenth of the predictions."""
    ends = [findings.answers.min(), findings.answers.max()]
    axes.plot(ends, ends, color=CONSTANT, **_LINE, label="calibrated")
    for name, predictions, colour, width in (
        ("linear baseline", findings.linear_predictions, LINEAR, 1.3),
        ("model", findings.predictions, MODEL, 1.8),
    ):
        if predictions is not None:
            predicted, judged, error = by_tenth(predictions, findings.answers)
            axes.errorbar(
                predicted,
                judged,
                1.96 * error,
                color=colour,
                marker="o",
                markersize=4.5,
                linewidth=width,
                label=name,
            )
    axes.set(
        xlabel=f"mean {findings.kind} predicted",
        ylabel=f"mean {findings.kind} given",
    )
    axes.legend(loc="upper left")


# --- parts ------------------------------------------------------------------------------------


def draw_slices(
    axes: Axes, evaluation: Evaluation, findings: KindFindings
) -> None:
    """Draw the headline measure by quarter of text length."""
    name = findings.kind_metrics.headline
    estimates = [part.measures[name] for part in evaluation.slices]
    overall = findings.measured.model[name].value
    axes.axhline(
        overall,
        color=MODEL,
        linestyle="--",
        linewidth=1,
        label=f"all, {overall:.3f}",
    )
    if name in findings.measured.constant:
        constant = findings.measured.constant[name].value
        axes.axhline(
            constant,
            color=CONSTANT,
            **_LINE,
            label=f"constant, {constant:.3f}",
        )
    places = range(len(estimates))
    axes.errorbar(
        places,
        [estimate.value for estimate in estimates],
        _whiskers(estimates),
        color=MODEL,
        marker="o",
        markersize=7,
        linestyle="none",
        linewidth=1.6,
        capsize=4,
        label="model",
    )
    ticks = [
        f"{s.shortest:,}–{s.longest:,}\n{s.n:,} texts"
        for s in evaluation.slices
    ]
    axes.set_xticks(places, ticks)
    axes.set(
        xlabel="length in characters",
        ylabel=NAMES[name],
        xlim=(-0.5, len(estimates) - 0.5),
    )
    _widen(axes)
    axes.grid(axis="x", visible=False)
    axes.legend(loc="best")


def _widen(axes: Axes) -> None:
    """Show at least a fifth of the scale, so that small differences look small."""
    low, high = axes.get_ylim()
    top = min(1.02, high + max(0.0, 0.2 - (high - low)) / 2)
    axes.set_ylim(min(low, top - 0.2), top)


def draw_parts(axes: Axes, parts: Sequence[MeasuredPart], label: str) -> None:
    """Draw the accuracy of the model and of the longer text, by part."""
    places = np.arange(len(parts))
    for name, title, colour, shift in (
        ("longer_baseline", "longer text", NEGATIVE, 0.06),
        ("accuracy", "model", MODEL, -0.06),
    ):
        estimates = [part.measures[name] for part in parts]
        axes.errorbar(
            places + shift,
            [estimate.value for estimate in estimates],
            _whiskers(estimates),
            color=colour,
            marker="o",
            markersize=5,
            linewidth=1.5,
            capsize=3,
            label=title,
        )
    axes.axhline(0.5, color=CONSTANT, **_LINE, label="coin")
    ticks = [f"{part.name}\n{part.n:,} pairs" for part in parts]
    axes.set_xticks(places, ticks, fontsize=8 if len(parts) > 5 else 9)
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, min(low, 0.4)), min(1.05, max(high, 0.9)))
    axes.set(xlabel=label, ylabel="accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="x", visible=False)
    axes.legend(loc="best")


# --- bars and lists ---------------------------------------------------------------------------


def _whiskers(estimates: Sequence[Estimate]) -> Floats:
    """Return how far the intervals reach below and above [2, k]; NaN without an interval."""
    reach = np.full((2, len(estimates)), np.nan)
    for column, estimate in enumerate(estimates):
        if estimate.has_interval:
            reach[0, column] = estimate.value - estimate.low
            reach[1, column] = estimate.high - estimate.value
    whiskers: Floats = np.clip(reach, 0, None)
    return whiskers


def draw_bars(
    axes: Axes, bars: Bars, label: str, *, half: bool = False
) -> None:
    """Draw one measure as bars. half: with a line at one half."""
    estimates = [estimate for estimate, _ in bars.values()]
    colours = [colour for _, colour in bars.values()]
    values = [estimate.value for estimate in estimates]
    places = np.arange(len(bars))[::-1]
    axes.barh(places, values, color=colours, alpha=0.8, height=0.62)
    axes.errorbar(values, places, xerr=_whiskers(estimates), **_WHISKERS)
    for place, estimate in zip(places, estimates, strict=True):
        end = estimate.high if estimate.has_interval else estimate.value
        axes.text(
            end + 0.012,
            place,
            f"{estimate.value:.1%}",
            va="center",
            fontsize=9,
        )
    if half:
        axes.axvline(0.5, color=_DARK, **_LINE)
    axes.set_yticks(places, list(bars))
    axes.set(xlim=(0, max(1.0, 1.15 * max(values))), xlabel=label)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", visible=False)


def draw_columns(axes: Axes, columns: Mapping[str, Bars]) -> None:
    """Draw a group of columns for each measure, with a column for each model."""
    titles = list(
        dict.fromkeys(title for bars in columns.values() for title in bars)
    )
    width = 0.8 / max(len(titles), 1)
    for i, title in enumerate(titles):
        shift = (i - (len(titles) - 1) / 2) * width
        places, estimates, colour = [], [], ""
        for place, bars in enumerate(columns.values()):
            if title in bars:
                estimate, colour = bars[title]
                places.append(place + shift)
                estimates.append(estimate)
        values = [estimate.value for estimate in estimates]
        axes.bar(
            places,
            values,
            width=0.92 * width,
            color=colour,
            alpha=0.8,
            label=title,
        )
        axes.errorbar(places, values, yerr=_whiskers(estimates), **_WHISKERS)
    axes.axhline(0, color="#666666", linewidth=0.8)
    axes.set_xticks(range(len(columns)), [NAMES[name] for name in columns])
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(1.0, high) + 0.32)  # room for the legend
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 1.01])
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left", ncols=2)


def draw_tau(axes: Axes, tau: Floats) -> None:
    """Draw the histogram of Kendall's τ over lists."""
    mean = tau.mean()
    axes.hist(
        tau,
        bins=list(np.linspace(-1, 1, 22)),
        color=MODEL,
        alpha=0.55,
    )
    axes.axvline(
        mean,
        color=_DARK,
        linestyle="--",
        linewidth=1.4,
        label=f"mean {mean:+.3f}",
    )
    axes.axvline(0, color=CONSTANT, **_LINE, label="chance")
    axes.set(
        xlim=(-1.03, 1.03),
        xlabel="Kendall's τ of a list",
        ylabel="number of lists",
    )
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left")
