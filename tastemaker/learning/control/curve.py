"""The learning curve: what episodes were worth while a policy learned, and what they are worth in the end."""

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from tastemaker.evaluation.drawing import CONSTANT, MODEL

_QUIET = "#E6E6E6"


def curve_png(curve: Sequence[Sequence[float]], title: str, mean: float, interval: Sequence[float]) -> bytes:
    """Return the curve as a PNG file. curve: steps and mean return. mean, interval: of the evaluation's episodes."""
    file = io.BytesIO()
    with mpl.rc_context({"font.size": 9.5, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6.4, 3.8), dpi=144, layout="constrained")
        axes = figure.add_subplot()
        axes.axhspan(*interval, color=MODEL, alpha=0.15, linewidth=0)
        axes.axhline(mean, color=CONSTANT, linewidth=1, linestyle=":", label=f"evaluation, {mean:.1f}")
        axes.plot([p[0] for p in curve], [p[1] for p in curve], color=MODEL, linewidth=1.6, label="while it learned")
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set(xlabel="environment steps", ylabel="mean return of an episode")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(color=_QUIET, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(file, format="png")
    return file.getvalue()
