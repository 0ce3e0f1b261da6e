"""Write the KL–reward frontier as a self-contained HTML page, a picture and a JSON file.

KL has a square-root scale: on it the gains of best-of-n and of a trained policy begin as straight
lines, and the few nats of best-of-n have room beside the many of a trained policy.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tastemaker.maths.overoptimisation import Fitted
from tastemaker.maths.statistics import Floats
from tastemaker.plotting import (
    CONSTANT,
    LINEAR,
    MODEL,
    NEGATIVE,
    POSITIVE,
    Panel,
    rendered,
)
from tastemaker.report.highlights import marked
from tastemaker.report.kl_frontier import TITLES, Course, Frontier
from tastemaker.report.page import (
    PARTS_FILE,
    Part,
    page,
    page_figures,
    write_together,
)
from tastemaker.report.summary import summary_of_frontier

# Okabe and Ito's colours without yellow, which is hard to see on white
_COLOURS = (MODEL, NEGATIVE, POSITIVE, LINEAR, "#CC79A7", "#56B4E9", "#333333")
_MARKERS = ("o", "s", "^", "v", "P", "X")
_TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
_TICK_DISTANCE = 0.06  # the smallest, as a share of the axis
_CURVE_POINTS = 200
_FAR = 10  # a peak beyond 10 times the largest KL is not quoted
_CHIPS = {
    "real gain": "good",
    "steered by truth": "good",
    "over-optimised": "error",
    "collapsed": "error",
    "not real": "error",
}


def write_frontier(
    frontier: Frontier,
    folder: Path,
    *,
    title: str = "KL–reward frontier: is the gain real?",
) -> None:
    """Write `frontier.html`, `frontier.png`, `frontier.json` and `report.json` into the folder.

    `report.json` is what `report` shows. Other files there stay as they are. All are made before
    the first is written. Raises StorageError for a full disk or an unwritable folder.
    """
    part = steering_part(frontier)
    write_together(
        folder,
        {
            "frontier.html": page([part], title=title),
            "frontier.png": frontier_png(frontier),
            "frontier.json": frontier.as_dict(),
            PARTS_FILE: part.as_dict(),
        },
    )


def frontier_png(frontier: Frontier) -> bytes:
    """Return all figures as one PNG file."""
    runs = len(frontier.courses)
    heading = f"KL–reward frontier of {runs} run{'s' if runs > 1 else ''}"
    return rendered(
        list(frontier_panels(frontier)),
        columns=2,
        heading=heading,
        form="png",
    )


def frontier_html(
    frontier: Frontier, *, title: str | None = None, language: str = "en"
) -> str:
    """Return the frontier as one HTML page with its figures inside."""
    return page([steering_part(frontier)], title=title, language=language)


def steering_part(frontier: Frontier) -> Part:
    """Return the part of a report about steered runs."""
    pool = None
    if frontier.best_of is not None:
        pool = (
            f"{frontier.best_of.completions:,}",
            f"{frontier.best_of.prompts:,}",
        )
    samples = []
    for course in frontier.courses:
        meaning, rows = _sample_rows(course)
        samples.append({"label": course.label, "marks": meaning, "rows": rows})
    values = {
        "truth": None if frontier.truth is None else TITLES[frontier.truth],
        "verdicts": [_verdict(course) for course in frontier.courses],
        "notes": list(frontier.notes),
        "table_rows": frontier.rows,
        "panels": page_figures(frontier_panels(frontier)),
        "fits": list(_fit_rows(frontier)),
        "pool": pool,
        "samples": samples,
    }
    summary = summary_of_frontier(frontier, list(_tiles(frontier)))
    return Part("steering", summary, values)


def _tiles(frontier: Frontier) -> Iterator[tuple[str, str, str]]:
    """Yield what the saved policy of each run gained."""
    for course in frontier.courses:
        run = course.run
        name = run.truth or "score"
        if name in run.after and name in run.before:
            change = f"{run.before[name]:.2f} → {run.after[name]:.2f}"
            nats = f"{run.after['kl']:.1f} nats"
            yield course.label, change, f"{TITLES[name]}, at {nats}"


def _verdict(course: Course) -> dict[str, str]:
    verdict = course.verdict
    return {
        "label": course.label,
        "name": verdict.name,
        "look": _CHIPS.get(verdict.name, "warning"),
        "finding": verdict.finding,
        "belief": verdict.belief,
        "stopped": course.run.stopped_because,
    }


def _fit_rows(frontier: Frontier) -> Iterator[list[str]]:
    """Yield a heading, and a row for each fitted curve."""
    yield [
        "run",
        "gain in",
        "curve",
        "α",
        "β",
        "R²",
        "peak, nats",
        "gain at the peak",
    ]
    curves = [(course.label, course.fits) for course in frontier.courses]
    if frontier.best_of is not None:
        curves.append(("best of n", frontier.best_of.fits))
    for label, fits in curves:
        for name, fit in fits.items():
            if fit is None:
                yield [label, TITLES[name], "too few points", *["–"] * 5]
                continue
            parameters = [f"{fit.alpha:.3f}", f"{fit.beta:.3f}"]
            r_squared = (
                "–" if math.isnan(fit.r_squared) else f"{fit.r_squared:.2f}"
            )
            yield [
                label,
                TITLES[name],
                fit.form.formula,
                *parameters,
                r_squared,
                *_peak(fit),
            ]


def _peak(fit: Fitted) -> tuple[str, str]:
    """Return the KL of the peak and the gain there, as text."""
    if fit.peak is None:
        return "none: it never falls", "–"
    if fit.peak > _FAR * fit.most:
        return "far outside the data", "–"
    peak = f"{fit.peak:,.1f}"
    if not fit.has_peak_in_data:
        peak += " (extrapolated)"
    return peak, f"{float(fit.gain(fit.peak)):+.2f}"


def _sample_rows(course: Course) -> tuple[str, list[dict[str, Any]]]:
    """Return what the marks in the samples mean, and the samples."""
    samples = course.run.samples
    meaning, pieces = marked(samples, course.run.settings.get("reward"))
    rows = []
    for sample, (before, after) in zip(samples, pieces, strict=True):
        row: dict[str, Any] = {
            name: str(sample[name]) for name in ("prompt", "before", "after")
        }
        for name in ("score_before", "score_after"):
            row[name] = _number(sample[name])
        row |= {"before_pieces": before, "after_pieces": after}
        rows.append(row)
    return meaning, rows


def _number(value: Any) -> str:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return f"{value:+.2f}" if is_number else "–"


# --- figures ----------------------------------------------------------------------------------


def frontier_panels(frontier: Frontier) -> Iterator[Panel]:
    """Yield the figures that there is data for."""
    truth = frontier.truth
    if truth is not None:
        yield Panel(
            "overoptimisation",
            f"Is the gain real? Reward (dashed) and {TITLES[truth]} (solid)",
            "How much the score that the GPT was trained on rose (dashed), and the independent one "
            "(solid), while the GPT moved away from where it started. Where the dashed line rises "
            "and the solid one falls, the GPT exploits errors of the reward model.",
            lambda axes: _draw_both(axes, frontier, truth),
        )
        yield _against_kl(frontier, truth)
    yield _against_kl(frontier, "score")
    name = truth or "score"
    yield Panel(
        "fits",
        f"Fitted curves of the gain in {TITLES[name]}",
        "With d = √KL, the curve is d(α − β ln d) for a trained policy and d(α − βd) for best of n "
        "(dotted). A diamond marks a peak within the data.",
        lambda axes: _draw_fits(axes, frontier, name),
    )


def _against_kl(frontier: Frontier, name: str) -> Panel:
    title = TITLES[name]
    caption = "Means of consecutive steps. A ring is the saved policy, on held-out samples."
    if frontier.best_of is not None:
        caption += " Numbered dots are best of n, at a KL of at most ln n − (n − 1)/n nats."
    return Panel(
        name,
        f"{title[:1].upper()}{title[1:]} against KL",
        caption,
        lambda axes: _draw_series(axes, frontier, name),
    )


def _look(place: int) -> dict[str, Any]:
    """Return the colour and the marker of a run."""
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place // len(_COLOURS) % len(_MARKERS)],
        "markersize": 3,
    }


def _nats(course: Course) -> Floats:
    """Return the KL, 0 where its estimate is negative."""
    return np.maximum(course.kl, 0)


def _draw_both(axes: Axes, frontier: Frontier, truth: str) -> None:
    """Draw score and truth, each as a share of its largest gain."""
    for name, line, width in (("score", "--", 1.3), (truth, "-", 1.9)):
        most = _most_gained(frontier, name)
        for place, course in enumerate(frontier.courses):
            if name in course.series:
                gains = course.gains(name) / most
                label = f"{course.label}: {TITLES[name]}"
                look = {**_look(place), "linestyle": line, "linewidth": width}
                axes.plot(_nats(course), gains, label=label, **look)
    axes.axhline(0, color=CONSTANT, linewidth=0.8)
    axes.set_ylabel("gain (1: the largest of any run)")
    _kl_axis(axes, frontier)
    axes.legend()


def _most_gained(frontier: Frontier, name: str) -> float:
    """Return the largest gain of a series; without gains the largest loss, without changes 1."""
    courses = [course for course in frontier.courses if name in course.series]
    gains = np.concatenate([course.gains(name) for course in courses])
    if gains.max() > 0:
        return float(gains.max())
    return float(np.abs(gains).max()) or 1.0


def _draw_series(axes: Axes, frontier: Frontier, name: str) -> None:
    """Draw one series against KL, in its own unit."""
    line = "--" if name == "score" else "-"
    for place, course in enumerate(frontier.courses):
        if name not in course.series:
            continue
        look = _look(place)
        values = course.series[name]
        axes.plot(
            _nats(course),
            values,
            linestyle=line,
            label=course.label,
            **look,
        )
        after = course.run.after  # figures of the saved policy
        if name in after:
            ring: dict[str, Any] = {
                "markerfacecolor": "none",
                "markeredgewidth": 1.8,
            }
            kl = max(after["kl"], 0)
            axes.plot(
                kl,
                after[name],
                "o",
                color=look["color"],
                markersize=11,
                **ring,
            )
    curve = frontier.best_of
    if curve is not None and name in curve.series:
        values = curve.series[name]
        axes.plot(
            curve.kl,
            values,
            "o",
            color="black",
            markersize=4.5,
            label="best of n",
            zorder=4,
        )
        for n, x, y in zip(curve.ns, curve.kl, values, strict=True):
            _annotate(axes, f"{n}", x, y, fontsize=7.5)
    axes.set_ylabel(TITLES[name])
    _kl_axis(axes, frontier)
    axes.legend()


def _draw_fits(axes: Axes, frontier: Frontier, name: str) -> None:
    """Draw gains as points, the curves fitted to them, and the peaks within the data."""
    for place, course in enumerate(frontier.courses):
        if name in course.series:
            look = _look(place)
            axes.plot(
                _nats(course),
                course.gains(name),
                linestyle="",
                **look,
            )
            _draw_fit(
                axes, course.fits[name], course.label, look["color"], "-"
            )
    curve = frontier.best_of
    if curve is not None and name in curve.series:
        gains = curve.series[name] - curve.series[name][0]
        axes.plot(curve.kl, gains, "o", color="black", markersize=3.5)
        _draw_fit(axes, curve.fits[name], "best of n", "black", ":")
    axes.axhline(0, color=CONSTANT, linewidth=0.8)
    axes.set_ylabel(f"gain in {TITLES[name]} over the start")
    _kl_axis(axes, frontier)
    # runs of a few steps have no curves
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _draw_fit(
    axes: Axes, fit: Fitted | None, label: str, colour: str, line: str
) -> None:
    if fit is None:
        return
    kl = np.linspace(0, np.sqrt(fit.most), _CURVE_POINTS) ** 2
    label = f"{label}, R² {fit.r_squared:.2f}"
    axes.plot(
        kl,
        fit.gain(kl),
        color=colour,
        linestyle=line,
        linewidth=1.7,
        label=label,
    )
    if fit.peak is not None and fit.has_peak_in_data:
        height = float(fit.gain(fit.peak))
        diamond: dict[str, Any] = {
            "markersize": 8,
            "markeredgecolor": "white",
            "zorder": 5,
        }
        axes.plot(fit.peak, height, "D", color=colour, **diamond)
        _annotate(axes, f"{fit.peak:.1f}", fit.peak, height)


def _annotate(axes: Axes, text: str, x: float, y: float, **look: Any) -> None:
    """Write a text above a point."""
    axes.annotate(
        text,
        (x, y),
        xytext=(0, 7),
        textcoords="offset points",
        ha="center",
        **look,
    )


def _kl_axis(axes: Axes, frontier: Frontier) -> None:
    """Give KL a square-root scale from 0, the same in every figure."""
    most = 0.1
    if frontier.best_of is not None:
        most = float(frontier.best_of.kl.max())
    for course in frontier.courses:
        most = max(most, float(_nats(course).max()), course.run.after["kl"])
    axes.set_xscale(
        "function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square)
    )
    axes.set_xlim(0, most * 1.06)
    ticks = [0.0]
    for tick in _TICKS:
        distance = math.sqrt(tick) - math.sqrt(ticks[-1])
        is_apart = distance > _TICK_DISTANCE * math.sqrt(most)
        if tick <= most * 1.06 and is_apart:
            ticks.append(tick)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("distance from the start (KL in nats per completion)")
