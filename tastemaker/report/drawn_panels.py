"""The report's figures for labels, grades and ratings.

The report's figures for comparisons and rankings: promises kept, rivals, parts, and the part that length has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from tastemaker.evaluate.findings import NAMES, PARTS, Evaluation, KindFindings
from tastemaker.evaluate.measures import Estimate, MeasuredPart, Measures
from tastemaker.kinds.comparison import favourites
from tastemaker.kinds.metrics import amount
from tastemaker.maths.ranks import kendall_by_list
from tastemaker.maths.statistics import Floats
from tastemaker.plotting import CONSTANT, LINEAR, MODEL, NEGATIVE, POSITIVE, Panel
from tastemaker.report.drawing import (
    by_tenth,
    draw_errors,
    draw_predictions,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_slices,
    draw_tenths,
)

# --- labels -----------------------------------------------------------------------------------------------------------


def label_panels(found: KindFindings) -> Iterator[Panel]:
    """Yield the panels of labels: promises kept, the ROC curve where there are both labels, the scores."""
    positive = found.answers > 0.5
    model, linear = found.measured.model, found.linear_predictions
    promised = (found.predictions.predicted, found.answers)
    linear_promised = None if linear is None else (linear.predicted, found.answers)
    yield Panel(
        "reliability",
        f"Its probabilities are off by {100 * model['ece'].value:.1f} points on average",
        "A probability is a promise: of the texts that were given a probability of about 80 %, were 80 % positive? "
        "Dots on the diagonal keep their promise; below it the model claims too much, above it too little. The bars "
        "at the foot show where the texts are; whiskers are 95 % intervals. ECE is the mean distance from the "
        "diagonal, in 15 bins of equal width.",
        lambda axes: draw_reliability(axes, promised, linear_promised, "positive"),
    )
    if 0 < positive.sum() < len(positive):
        yield Panel(
            "roc",
            f"It orders {100 * model['auroc'].value:.1f} of 100 unlike pairs rightly",
            "Each point is a threshold on the score: how many positives it catches against how many negatives it takes "
            "for positive. The nearer to the top left corner the better; the diagonal is guessing. The area under the "
            "curve is the chance that a positive text scores higher than a negative one.",
            lambda axes: draw_roc(axes, found, positive),
        )
    yield Panel(
        "scores",
        f"{model['accuracy'].value:.1%} of the texts lie on their own side",
        "How the scores of positive and negative texts are spread. The less the two hills overlap, the surer the "
        "verdicts; the dashed line is where the probability is one half.",
        lambda axes: draw_scores(axes, found, positive),
    )


# --- grades and ratings -----------------------------------------------------------------------------------------------


def number_panels(found: KindFindings) -> Iterator[Panel]:
    """Yield the panels of grades or ratings: predictions, errors, and tenths."""
    model, word = found.measured.model, found.kind
    yield Panel(
        "predictions",
        f"The predicted {word} is off by {amount(model['mae'].value)} on average",
        f"What the model predicts of the texts that people gave each {word}. A perfect model lies on the dotted line. "
        "A box holds the middle half of the predictions, its bar the median, the whiskers 90 % of them.",
        lambda axes: draw_predictions(axes, found),
    )
    errors = np.abs(found.predictions.predicted - found.answers)
    yield Panel(
        "errors",
        f"Half of the predictions are off by less than {amount(float(np.median(errors)))}",
        "How far the predictions lie from what people said, and on which side: right of zero the model was too kind. "
        "The narrower and the more centred on zero, the better.",
        lambda axes: draw_errors(axes, found),
    )
    predicted, given, _ = by_tenth(found.predictions, found.answers)
    gap = float(np.abs(predicted - given).max())
    yield Panel(
        "tenths",
        f"No tenth is off by more than {amount(gap)} on average",
        f"The texts in ten equal groups, from the lowest predicted {word} to the highest: the mean prediction of a "
        "group against the mean that people gave it. On the dotted line predictions mean what they say; a flat curve "
        "claims too much difference between texts, a steep one too little.",
        lambda axes: draw_tenths(axes, found),
    )


# --- slices -----------------------------------------------------------------------------------------------------------


def slices_panel(evaluation: Evaluation, found: KindFindings) -> Panel:
    """Return the panel of the headline figure by length of the text."""
    name = found.kind_metrics.headline
    figures = [
        s.measures[name] for s in evaluation.slices if not math.isnan(s.measures[name].value)
    ]
    values = [estimate.value for estimate in figures]
    apart = values and max(e.low for e in figures) > min(e.high for e in figures)
    spread = f"{min(values):.3f}–{max(values):.3f}" if values else "undefined"
    verdict = "differs with length" if apart else "is much the same at every length"
    return Panel(
        "slices",
        f"{NAMES[name][:1].upper()}{NAMES[name][1:]} {verdict} ({spread})",
        "The texts in four groups by length, the shortest first, with 95 % intervals; the line is the figure over all "
        "texts. A model that is good on short texts only, or that counts words, shows here.",
        lambda axes: draw_slices(axes, evaluation, found),
    )


LONGER, PEOPLE = NEGATIVE, POSITIVE

_LIST_FIGURES = ("kendall_tau", "ndcg", "top1", "accuracy")


def comparison_panels(found: KindFindings) -> Iterator[Panel]:
    """Yield the panels of comparisons."""
    model, linear = favourites(found.judged, found.predictions), None
    if found.linear_predictions is not None:
        linear = favourites(found.judged, found.linear_predictions)
    yield Panel(
        "reliability",
        f"Its win chances are off by {100 * found.measured.model['ece'].value:.1f} points on average",
        "Of the pairs whose favourite was given a chance of about 80 %, did 80 % win? Dots on the diagonal keep their "
        "promise; below it the model claims too much, above it too little. A tie counts as half a win. The bars at the "
        "foot show where the pairs are; whiskers are 95 % intervals.",
        lambda axes: draw_reliability(axes, model, linear, "favourite wins"),
    )
    rivals = _rivals(found, "accuracy")
    if rivals:
        yield Panel(
            "rivals",
            _against_longer(found),
            "The share of pairs in which the chosen text scores higher, beside what needs no learning: a coin, and "
            "always the longer text. Where several people judged the same two texts, the ceiling is how often one of "
            "them agrees with the majority of the others: about what a perfect score could reach. Whiskers are 95 % "
            "intervals.",
            lambda axes: _draw_rivals(axes, rivals, "share of pairs ordered as people did"),
        )
    for table, title, caption in (
        (
            "by_margin",
            "margin",
            "Pairs by how much better people found the chosen text: clear cases are easier.",
        ),
        (
            "by_length_difference",
            "difference in length",
            "Pairs by how unlike their lengths are, in characters, the most alike first. Where the model falls to the "
            "line of the longer text, or follows it, it may be counting words.",
        ),
    ):
        yield from _part_panels(found, table, title, caption)
    yield from _length_panel(found)


def ranking_panels(found: KindFindings) -> Iterator[Panel]:
    """Yield the panels of rankings."""
    by_list = kendall_by_list(found.predictions.scores, found.answers)
    tau = by_list[~np.isnan(by_list)]
    if len(tau):
        yield from _list_panels(found, tau)
    yield from _part_panels(
        found,
        "by_distance",
        "how far apart two answers are",
        "Pairs within lists by how many tiers apart people put them: neighbours are hard to tell apart, the best "
        "from the worst should be easy.",
    )
    yield from _length_panel(found)


def _list_panels(found: KindFindings, tau: Floats) -> Iterator[Panel]:
    """Yield the panels of what is measured list by list, of lists that people ordered."""
    yield Panel(
        "lists",
        f"{np.mean(tau > 0):.0%} of the lists are ordered more as people did than against them",
        "Kendall's τ of each list: 1 where the scores order it as people did, −1 where the other way round, 0 where "
        "they know nothing of it. The dashed line is the mean over lists.",
        lambda axes: _draw_tau(axes, tau),
    )
    columns = {name: _rivals(found, name) for name in _LIST_FIGURES}
    yield Panel(
        "rivals",
        f"Its first choice is among people's best in {found.measured.model['top1'].value:.0%} of the lists",
        "The same lists ordered by the model, by simpler rivals and by chance. NDCG: how much of the good stands at "
        "the top, 1 for the perfect order; top-1: how often the highest score is in people's best tier; accuracy: the "
        "share of pairs within lists in the right order. Whiskers are 95 % intervals.",
        lambda axes: _draw_columns(axes, columns),
    )


def _rivals(found: KindFindings, name: str) -> dict[str, tuple[Estimate, str]]:
    """Return one figure, with its colour, of the model and of everything that stands beside it."""
    measured, title = found.measured, found.kind_metrics.constant_title
    sources: list[tuple[str, Measures | None, str, str]] = [
        ("model", measured.model, name, MODEL),
        ("linear baseline", measured.linear, name, LINEAR),
        ("the longer", measured.longer, name, LONGER),
        (title, measured.constant, name, CONSTANT),
        ("human ceiling", measured.people, "human_ceiling" if name == "accuracy" else "", PEOPLE),
    ]
    return {
        title: (measures[key], colour)
        for title, measures, key, colour in sources
        if measures is not None and key in measures and not np.isnan(measures[key].value)
    }


def _against_longer(found: KindFindings) -> str:
    by = found.measured.over_longer["accuracy"]
    if by.low > 0 or by.high < 0:
        return f"{abs(100 * by.value):.1f} points {'better' if by.value > 0 else 'worse'} than always the longer text"
    return "It cannot be told apart from always taking the longer text"


def _part_panels(found: KindFindings, table: str, title: str, caption: str) -> Iterator[Panel]:
    parts = [
        part
        for part in found.measured.parts[table]
        if not np.isnan(part.measures["accuracy"].value)
    ]
    if len(parts) > 1:
        values = [part.measures["accuracy"].value for part in parts]
        yield Panel(
            table,
            f"Accuracy by {title}: {min(values):.0%} to {max(values):.0%}",
            caption + " Whiskers are 95 % intervals.",
            lambda axes: _draw_parts(axes, parts, PARTS[table]),
        )


def _length_panel(found: KindFindings) -> Iterator[Panel]:
    measured = found.measured
    shares: dict[str, tuple[Estimate, str]] = {
        "people": (measured.people["people_prefer_longer"], PEOPLE),
        "model": (measured.model["prefers_longer"], MODEL),
    }
    if measured.linear is not None:
        shares["linear baseline"] = (measured.linear["prefers_longer"], LINEAR)
    more = 100 * (
        measured.model["prefers_longer"].value - measured.people["people_prefer_longer"].value
    )
    if np.isnan(more):
        return  # all texts that were compared are equally long
    if abs(more) < 0.05:
        finding = "It prefers the longer text as often as people do"
    else:
        finding = f"It prefers the longer text {abs(more):.1f} points {'more' if more > 0 else 'less'} often than people"
    yield Panel(
        "length",
        finding,
        "Of pairs of unlike length, the share in which the longer text was preferred by people (ties half) and scores "
        "higher. Far right of people, the score rewards length for its own sake. Whiskers are 95 % intervals.",
        lambda axes: _draw_rivals(
            axes, shares, "share in which the longer text is preferred", half=True
        ),
    )


# --- drawing ----------------------------------------------------------------------------------------------------------


def _whiskers(estimates: Sequence[Estimate]) -> Floats:
    """Return how far the intervals reach below and above [2, k]; NaN where there is none."""
    ends = [
        (e.value - e.low, e.high - e.value) if e.has_interval else (np.nan, np.nan)
        for e in estimates
    ]
    reach: Floats = np.clip(np.array(ends).reshape(-1, 2).T, 0, None)
    return reach


def _draw_rivals(
    axes: Axes, rivals: Mapping[str, tuple[Estimate, str]], label: str, *, half: bool = False
) -> None:
    """Draw a bar for each, the figure at its end; with a line at one half where that means something."""
    names, estimates = list(rivals), [estimate for estimate, _ in rivals.values()]
    places = np.arange(len(names))[::-1]
    values = np.array([e.value for e in estimates])
    axes.barh(
        places, values, color=[colour for _, colour in rivals.values()], alpha=0.8, height=0.62
    )
    look: Any = {"color": "#333333", "linestyle": "none", "capsize": 3, "linewidth": 1.3}
    axes.errorbar(values, places, xerr=_whiskers(estimates), **look)
    for place, e in zip(places, estimates, strict=True):
        end = e.high if e.has_interval else e.value
        axes.text(end + 0.012, place, f"{e.value:.1%}", va="center", fontsize=9)
    if half:
        axes.axvline(0.5, color="#333333", linestyle=":", linewidth=1.2)
    axes.set_yticks(places, names)
    axes.set(xlim=(0, max([1.0, *(1.15 * v for v in values)])), xlabel=label)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", visible=False)


def _draw_columns(axes: Axes, columns: Mapping[str, Mapping[str, tuple[Estimate, str]]]) -> None:
    """Draw groups of columns: one group for each figure, one column in it for each rival."""
    rivals = list(dict.fromkeys(rival for found in columns.values() for rival in found))
    width = 0.8 / max(len(rivals), 1)
    for i, rival in enumerate(rivals):
        has = [
            (place, found[rival]) for place, found in enumerate(columns.values()) if rival in found
        ]
        places = [place + (i - (len(rivals) - 1) / 2) * width for place, _ in has]
        estimates = [estimate for _, (estimate, _) in has]
        values = [e.value for e in estimates]
        axes.bar(places, values, width=0.92 * width, color=has[0][1][1], alpha=0.8, label=rival)
        look: Any = {"color": "#333333", "linestyle": "none", "capsize": 2, "linewidth": 1.1}
        axes.errorbar(places, values, yerr=_whiskers(estimates), **look)
    axes.axhline(0, color="#666666", linewidth=0.8)
    axes.set_xticks(range(len(columns)), [NAMES[name] for name in columns])
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(1.0, high) + 0.32)
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 1.01])
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left", ncols=2)


def _draw_tau(axes: Axes, tau: Floats) -> None:
    axes.hist(tau, bins=list(np.linspace(-1, 1, 22)), color=MODEL, alpha=0.55)
    axes.axvline(
        tau.mean(), color="#333333", linestyle="--", linewidth=1.4, label=f"mean {tau.mean():+.3f}"
    )
    axes.axvline(0, color=CONSTANT, linestyle=":", linewidth=1.4, label="chance")
    axes.set(xlim=(-1.03, 1.03), xlabel="Kendall's τ of a list", ylabel="number of lists")
    axes.grid(axis="x", visible=False)
    axes.legend(loc="upper left")


def _draw_parts(axes: Axes, parts: Sequence[MeasuredPart], label: str) -> None:
    """Draw accuracy and the longer text's by part."""
    places = np.arange(len(parts))
    for name, title, colour, shift in (
        ("longer_baseline", "the longer", LONGER, 0.06),
        ("accuracy", "model", MODEL, -0.06),
    ):
        estimates = [part.measures[name] for part in parts]
        axes.errorbar(
            places + shift,
            [e.value for e in estimates],
            _whiskers(estimates),
            color=colour,
            marker="o",
            markersize=5,
            linewidth=1.5,
            capsize=3,
            label=title,
        )
    axes.axhline(0.5, color=CONSTANT, linestyle=":", linewidth=1.4, label="coin")
    axes.set_xticks(
        places,
        [f"{part.name}\n{part.n:,} pairs" for part in parts],
        fontsize=8 if len(parts) > 5 else 9,
    )
    low, high = axes.get_ylim()
    axes.set(
        xlabel=label, ylabel="accuracy", ylim=(max(0.0, min(low, 0.4)), min(1.05, max(high, 0.9)))
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="x", visible=False)
    axes.legend(loc="best")
