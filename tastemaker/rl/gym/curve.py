"""The learning curve: what episodes were worth while a policy learned, and what they are worth in the end."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from tastemaker.report.plotting import CONSTANT, MODEL, Panel, rendered


def curve_png(
    curve: Sequence[Sequence[float]], title: str, mean: float, interval: Sequence[float]
) -> bytes:
    """Return the curve as a PNG file. curve: steps and mean return. mean, interval: of the evaluation's episodes."""

    def draw(axes: Axes) -> None:
        axes.axhspan(*interval, color=MODEL, alpha=0.15, linewidth=0)
        axes.axhline(
            mean, color=CONSTANT, linewidth=1, linestyle=":", label=f"evaluation, {mean:.1f}"
        )
        axes.plot(
            [p[0] for p in curve],
            [p[1] for p in curve],
            color=MODEL,
            linewidth=1.6,
            label="while it learned",
        )
        axes.set(xlabel="environment steps", ylabel="mean return of an episode")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.legend(loc="lower right")

    return rendered([Panel("curve", title, "", draw)], columns=1, heading=None, form="png")
