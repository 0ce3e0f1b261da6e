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
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, StrMethodFormatter

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
    # letters stay text: smaller files, and a report can be shown in another language
    "svg.fonttype": "none",
}

_PAGE_SIZE = (4.6, 3.5)  # inches: of a figure within a page
_MOST_NUMBERS = 20  # of a line, in its table
_PALE = 0.3  # opacity of bars in the background
_NEAR = 0.45  # distance of a bar from its tick
_TITLE_WIDTH = 52  # characters that fit above one panel
_HEADING_WIDTH = 96  # characters that fit above two beside each other


def rendered(
    drawn: Sequence[Panel], *, columns: int, heading: str | None, form: str
) -> bytes:
    """Return panels as one file with `columns` columns. form: "svg" or "png"."""
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
    """Return one panel as an SVG file without its title, in letters for a phone's width."""
    file = io.BytesIO()
    with mpl.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
        figure = Figure(figsize=_PAGE_SIZE, layout=layout)
        panel.draw(figure.add_subplot())
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


class _ShownFigure(Figure):
    """A figure that a notebook shows although pyplot, which tells it how, was never imported."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def panel_figure(panel: Panel) -> Figure:
    """Return one panel with its title as a matplotlib figure, such as a notebook shows."""
    with mpl.rc_context(_STYLE):
        figure = _ShownFigure(
            figsize=_PAGE_SIZE, layout=ConstrainedLayoutEngine()
        )
        axes = figure.add_subplot()
        panel.draw(axes)
        axes.set_title(textwrap.fill(panel.title, _TITLE_WIDTH))
    return figure


def panel_numbers(panel: Panel) -> list[list[str]]:
    """Return what a panel draws as a table, a heading first: its lines and bars.

    Long lines are thinned. The table is empty for a panel of clouds of points alone.
    """
    axes = Figure(figsize=_PAGE_SIZE).add_subplot()
    panel.draw(axes)
    rows = []
    for line in axes.get_lines():
        # dotted lines are for comparison: a diagonal, a value at chance
        if line.get_linestyle() != ":":
            rows += _line_rows(str(line.get_label()), line)
    for container in axes.containers:
        name = str(container.get_label())
        if isinstance(container, ErrorbarContainer) and container[0]:
            rows += _line_rows(name, container[0])
        elif isinstance(container, BarContainer):
            rows += _bar_rows(axes, name, container)
    names = [axes.get_xlabel() or "x", axes.get_ylabel() or "y"]
    return [["", *names], *rows] if rows else []


def _line_rows(name: str, line: Line2D) -> list[list[str]]:
    """Return name, x and y of the points of a line that has a name."""
    if name.startswith("_"):
        return []
    points = np.column_stack([line.get_xdata(), line.get_ydata()])
    step = max(1, math.ceil(len(points) / _MOST_NUMBERS))
    return [[name, _figure(x), _figure(y)] for x, y in points[::step]]


def _bar_rows(axes: Axes, name: str, bars: BarContainer) -> list[list[str]]:
    """Return name, x and y of bars. Pale ones are only the background of something else."""
    rows: list[list[str]] = []
    for bar in bars.patches[:_MOST_NUMBERS]:
        if (bar.get_alpha() or 1) < _PALE:
            return []
        box = bar.get_bbox()
        series = "" if name.startswith("_") else name
        if bars.orientation == "horizontal":
            place = _tick(axes.yaxis, (box.y0 + box.y1) / 2)
            rows.append([series, _figure(box.width), place])
        else:
            place = _tick(axes.xaxis, (box.x0 + box.x1) / 2)
            rows.append([series, place, _figure(box.height)])
    return rows


def _figure(value: Any) -> str:
    """Return a number with four digits, or what is not a number as it is."""
    try:
        return f"{float(value):.4g}"
    except (TypeError, ValueError):
        return str(value)


def _tick(axis: Axis, place: float) -> str:
    """Return the name of a bar, where its axis has names; else its place."""
    locator = axis.get_major_locator()
    if isinstance(locator, FixedLocator):
        ticks = list(locator())
        names = axis.get_major_formatter().format_ticks(ticks)
        for tick, name in zip(ticks, names, strict=True):
            if math.isclose(tick, place, abs_tol=_NEAR):
                return name
    return _figure(place)


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
