"""The report's figures: each panel has a title that says the finding and a caption that says how to read it.

Only matplotlib's Figure objects, never pyplot: nothing global is touched, no window can open.
"""

import io
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tastemaker.evaluation.drawing import Panel
from tastemaker.evaluation.findings import Evaluation, KindFindings
from tastemaker.evaluation.order_panels import comparison_panels, ranking_panels
from tastemaker.evaluation.text_panels import label_panels, number_panels, slices_panel
from tastemaker.evaluation.words import NAMES, shown

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


def panels(evaluation: Evaluation) -> list[Panel]:
    """Return the panels of every kind of judgement that was evaluated."""
    return [panel for found in evaluation.kinds for panel in _panels_of(evaluation, found)]


def panel_svg(panel: Panel) -> bytes:
    """Return one panel as an SVG file."""
    return rendered([panel], columns=1, heading=None, form="svg")


def overview_png(evaluation: Evaluation) -> bytes:
    """Return all the panels, two beside each other, as one PNG file."""
    heads = []
    for found in evaluation.kinds:
        estimate = found.measured.model[found.yardstick.headline]
        figure = f"{NAMES[found.yardstick.headline]} {shown(found.yardstick.headline, estimate)}"
        heads.append(f"{figure} on {found.n:,} {found.kind}s")
    heading = " · ".join(heads)
    heading = textwrap.fill(heading[:1].upper() + heading[1:], _HEADING_WIDTH)
    return rendered(panels(evaluation), columns=2, heading=heading, form="png")


def rendered(drawn: Sequence[Panel], *, columns: int, heading: str | None, form: str) -> bytes:
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


_PANELS: dict[str, Callable[[KindFindings], Iterator[Panel]]] = {
    "label": label_panels,
    "grade": number_panels,
    "rating": number_panels,
    "comparison": comparison_panels,
    "ranking": ranking_panels,
}


def _panels_of(evaluation: Evaluation, found: KindFindings) -> Iterator[Panel]:
    yield from _PANELS[found.kind](found)
    singles = [f for f in evaluation.kinds if f.yardstick.of_one_text]
    is_first = found is next((f for f in singles if f.yardstick.headline == found.yardstick.headline), None)
    if is_first and len(evaluation.slices) > 1:  # a slice holds each headline figure once
        yield slices_panel(evaluation, found)
