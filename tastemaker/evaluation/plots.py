"""The report's figures: each panel has a title that says the finding and a caption that says how to read it.

Only matplotlib's Figure objects, never pyplot: nothing global is touched, no window can open.
"""

import io
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tastemaker.evaluation.drawing import (
    by_tenth,
    draw_errors,
    draw_predictions,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_slices,
    draw_tenths,
)
from tastemaker.evaluation.findings import NAMES, Evaluation, KindFindings, shown
from tastemaker.evaluation.measures import amount

# Any: matplotlib's types want every key to be one of its literals
_STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "svg.hashsalt": "tastemaker",  # the same figure is the same file
}

_TITLE_WIDTH = 52  # characters that fit above one panel
_HEADING_WIDTH = 96  # characters that fit above all of them


@dataclass(frozen=True)
class Panel:
    """One figure: `draw` puts it on axes. title: the finding. caption: how to read it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Axes], None]


def panels(evaluation: Evaluation) -> list[Panel]:
    """Return the panels of every kind of judgement that was evaluated."""
    return [panel for found in evaluation.kinds for panel in _panels_of(evaluation, found)]


def panel_svg(panel: Panel) -> bytes:
    """Return one panel as an SVG file."""
    return _rendered([panel], columns=1, heading=None, form="svg")


def overview_png(evaluation: Evaluation) -> bytes:
    """Return all the panels, two beside each other, as one PNG file."""
    heads = []
    for found in evaluation.kinds:
        estimate = found.measured.model[found.yardstick.headline]
        figure = f"{NAMES[found.yardstick.headline]} {shown(found.yardstick.headline, estimate)}"
        heads.append(f"{figure} on {found.n:,} {found.kind}s")
    heading = " · ".join(heads)
    heading = textwrap.fill(heading[:1].upper() + heading[1:], _HEADING_WIDTH)
    return _rendered(panels(evaluation), columns=2, heading=heading, form="png")


def _rendered(drawn: Sequence[Panel], *, columns: int, heading: str | None, form: str) -> bytes:
    rows = math.ceil(len(drawn) / columns)
    file = io.BytesIO()
    with mpl.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(figsize=(5.8 * columns, 4.3 * rows + (0.4 if heading else 0)), dpi=144, layout=layout)
        for i, panel in enumerate(drawn):
            axes = figure.add_subplot(rows, columns, i + 1)
            panel.draw(axes)
            axes.set_title(textwrap.fill(panel.title, _TITLE_WIDTH))
        if heading:
            figure.suptitle(heading, fontsize=14, fontweight="bold", x=0.012, ha="left")
        figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else None)
    return file.getvalue()


def _panels_of(evaluation: Evaluation, found: KindFindings) -> Iterator[Panel]:
    yield from _PANELS[found.kind](found)
    is_first = found is next(f for f in evaluation.kinds if f.yardstick.headline == found.yardstick.headline)
    if is_first and len(evaluation.slices) > 1:  # a slice holds each headline figure once
        yield _slices_panel(evaluation, found)


# --- labels -----------------------------------------------------------------------------------------------------------


def _label_panels(found: KindFindings) -> Iterator[Panel]:
    positive = found.said > 0.5
    model = found.measured.model
    yield Panel(
        "reliability",
        f"Its probabilities are off by {100 * model['ece'].value:.1f} points on average",
        "A probability is a promise: of the texts that were given a probability of about 80 %, were 80 % positive? "
        "Dots on the diagonal keep their promise; below it the model claims too much, above it too little. The bars "
        "at the foot show where the texts are; whiskers are 95 % intervals. ECE is the mean distance from the "
        "diagonal, in 15 bins of equal width.",
        lambda axes: draw_reliability(axes, found, positive),
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


def _number_panels(found: KindFindings) -> Iterator[Panel]:
    model, word = found.measured.model, found.kind
    yield Panel(
        "predictions",
        f"The predicted {word} is off by {amount(model['mae'].value)} on average",
        f"What the model predicts of the texts that people gave each {word}. A perfect model lies on the dotted line. "
        "A box holds the middle half of the predictions, its bar the median, the whiskers 90 % of them.",
        lambda axes: draw_predictions(axes, found),
    )
    errors = np.abs(found.predictions.predicted - found.said)
    yield Panel(
        "errors",
        f"Half of the predictions are off by less than {amount(float(np.median(errors)))}",
        "How far the predictions lie from what people said, and on which side: right of zero the model was too kind. "
        "The narrower and the more centred on zero, the better.",
        lambda axes: draw_errors(axes, found),
    )
    predicted, given, _ = by_tenth(found.predictions, found.said)
    gap = float(np.abs(predicted - given).max())
    yield Panel(
        "tenths",
        f"No tenth is off by more than {amount(gap)} on average",
        f"The texts in ten equal groups, from the lowest predicted {word} to the highest: the mean prediction of a "
        "group against the mean that people gave it. On the dotted line predictions mean what they say; a flat curve "
        "claims too much difference between texts, a steep one too little.",
        lambda axes: draw_tenths(axes, found),
    )


_PANELS = {"label": _label_panels, "grade": _number_panels, "rating": _number_panels}


# --- slices -----------------------------------------------------------------------------------------------------------


def _slices_panel(evaluation: Evaluation, found: KindFindings) -> Panel:
    name = found.yardstick.headline
    figures = [s.measures[name] for s in evaluation.slices if not math.isnan(s.measures[name].value)]
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
