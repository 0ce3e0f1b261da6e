"""Figures in one style, as SVG or PNG files.

Only matplotlib's Figure objects, never pyplot: nothing global is touched and no window can open.
"""

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import StrMethodFormatter

# Okabe and Ito's colours, told apart by nearly everybody; one meaning each throughout the report.
MODEL, LINEAR, CONSTANT = "#0072B2", "#E69F00", "#8A8A8A"
POSITIVE, NEGATIVE = "#009E73", "#D55E00"


@dataclass(frozen=True)
class Panel:
    """One figure: `draw` puts it on axes. title: the finding. caption: how to read it."""

    name: str
    title: str
    caption: str
    draw: Callable[[Axes], None]


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
_HEADING_WIDTH = 96  # characters that fit above two beside each other


def rendered(
    drawn: Sequence[Panel], *, columns: int, heading: str | None, form: str
) -> bytes:
    """Return panels as one file with so many columns. form: "svg" or "png"."""
    rows = math.ceil(len(drawn) / columns)
    file = io.BytesIO()
    with mpl.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        figure = Figure(
            figsize=(5.8 * columns, 4.3 * rows + (0.4 if heading else 0)),
            dpi=144,
            layout=layout,
        )
        for i, panel in enumerate(drawn):
            axes = figure.add_subplot(rows, columns, i + 1)
            panel.draw(axes)
            axes.set_title(textwrap.fill(panel.title, _TITLE_WIDTH))
        if heading:
            above = textwrap.fill(heading, _HEADING_WIDTH)
            figure.suptitle(
                above, fontsize=14, fontweight="bold", x=0.012, ha="left"
            )
        figure.savefig(
            file,
            format=form,
            metadata={"Date": None} if form == "svg" else None,
        )
    return file.getvalue()


def panel_svg(panel: Panel) -> bytes:
    """Return one panel as an SVG file."""
    return rendered([panel], columns=1, heading=None, form="svg")


def learning_curve_png(
    curve: Sequence[Sequence[float]],
    title: str,
    mean: float,
    interval: Sequence[float],
) -> bytes:
    """Return the learning curve of `play` as a PNG file.

    curve: (environment steps, mean return) of each point. mean, interval: of the evaluation.
    """

    def draw(axes: Axes) -> None:
        steps = [point[0] for point in curve]
        returns = [point[1] for point in curve]
        evaluation = f"evaluation, {mean:.1f}"
        axes.axhspan(*interval, color=MODEL, alpha=0.15, linewidth=0)
        axes.axhline(
            mean, color=CONSTANT, linewidth=1, linestyle=":", label=evaluation
        )
        axes.plot(
            steps, returns, color=MODEL, linewidth=1.6, label="during training"
        )
        axes.set(xlabel="environment steps", ylabel="mean return per episode")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.legend(loc="lower right")

    panel = Panel("curve", title, "", draw)
    return rendered([panel], columns=1, heading=None, form="png")
