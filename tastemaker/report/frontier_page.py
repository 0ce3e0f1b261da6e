"""The frontier's figures: over-optimisation, each series against KL, and the fitted curves with their peaks.

KL stands on a square-root scale: there the best of n and a learned policy rise alike at first, as the forms that are
fitted say, and the few nats of the best of n have room beside the many of a learned policy.

The frontier as one HTML page that needs nothing else, one picture, and one JSON file.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tastemaker.maths.overoptimisation import Fitted
from tastemaker.maths.statistics import Floats
from tastemaker.plotting import CONSTANT, LINEAR, MODEL, NEGATIVE, POSITIVE, Panel, rendered
from tastemaker.report.kl_frontier import TITLES, Course, Frontier
from tastemaker.report.page import numbers, page, page_figures, write_together

# the report's colours and the rest of Okabe and Ito's, but for their yellow, which white paper swallows
_COLOURS = (MODEL, NEGATIVE, POSITIVE, LINEAR, "#CC79A7", "#56B4E9", "#333333")
_MARKERS = ("o", "s", "^", "v", "P", "X")
_TICKS = np.array([0, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
_FEWEST_TICKS_APART = 0.06  # of the axis
_CURVE_POINTS = 200


def frontier_panels(frontier: Frontier) -> Iterator[Panel]:
    """Yield the figures there is something to draw for."""
    truth = frontier.truth
    if truth is not None:
        called = TITLES[truth]
        yield Panel(
            "overoptimisation",
            f"Is the gain real? Score (dashed) and {called} (solid)",
            "Gains over the start, each series as a share of the most that any run gained of it. Where a dashed line "
            "goes on and its solid one turns, the policy learns to please the reward model only.",
            lambda axes: _draw_both(axes, frontier, truth),
        )
        yield _against_kl(frontier, truth)
    yield _against_kl(frontier, "score")
    fitted = truth or "score"
    yield Panel(
        "fits",
        f"Fitted curves of the gain in {TITLES[fitted]}, and their peaks",
        "With d = √KL: d(α − β ln d) where a policy learned, d(α − βd) for best of n (dotted). A diamond is a peak "
        "that the data reach; a curve without one has not been seen to turn.",
        lambda axes: _draw_fits(axes, frontier, fitted),
    )


def _against_kl(frontier: Frontier, name: str) -> Panel:
    best_of = (
        " Numbered dots are the best of so many, at ln n − (n − 1)/n nats."
        if frontier.best_of is not None
        else ""
    )
    return Panel(
        name,
        f"{TITLES[name][:1].upper()}{TITLES[name][1:]} against KL",
        f"Means of steps that follow each other. A ring is the policy that was kept, on texts of its own.{best_of}",
        lambda axes: _draw_series(axes, frontier, name),
    )


def frontier_png(frontier: Frontier) -> bytes:
    """Return all the figures, two beside each other, as one PNG file."""
    runs = len(frontier.courses)
    heading = f"Reward against KL, {runs} run{'s' if runs > 1 else ''}"
    return rendered(list(frontier_panels(frontier)), columns=2, heading=heading, form="png")


def _look(place: int) -> dict[str, Any]:
    """Return the colour and marker of a run: one colour each, as long as there are colours."""
    return {
        "color": _COLOURS[place % len(_COLOURS)],
        "marker": _MARKERS[place // len(_COLOURS) % len(_MARKERS)],
    }


def _draw_both(axes: Axes, frontier: Frontier, truth: str) -> None:
    """Draw score and truth as shares of the most that was gained of each."""
    most = {name: _most_gained(frontier, name) for name in ("score", truth)}
    for place, course in enumerate(frontier.courses):
        for name, line in (("score", "--"), (truth, "-")):
            if name in course.series:
                label = course.label if name == truth else None
                gains = (course.series[name] - course.run.before[name]) / most[name]
                look = _look(place) | {
                    "linestyle": line,
                    "linewidth": 1.9 if name == truth else 1.3,
                }
                axes.plot(_nats(course), gains, markersize=3, label=label, **look)
    axes.axhline(0, color=CONSTANT, linewidth=0.8)
    axes.set_ylabel("share of the most gained")
    _kl_axis(axes, frontier)
    axes.legend()


def _most_gained(frontier: Frontier, name: str) -> float:
    """Return the largest gain of a series; where none gained, the largest loss, and 1 where nothing moved."""
    gains = np.concatenate(
        [c.series[name] - c.run.before[name] for c in frontier.courses if name in c.series]
    )
    return float(gains.max()) if gains.max() > 0 else float(np.abs(gains).max()) or 1.0


def _nats(course: Course) -> Floats:
    """Return the KLs, 0 for an estimate below it: no KL is."""
    return np.maximum(course.kl, 0)


def _draw_series(axes: Axes, frontier: Frontier, name: str) -> None:
    """Draw one series against KL, in its own unit."""
    for place, course in enumerate(frontier.courses):
        if name in course.series:
            line = "--" if name == "score" else "-"
            axes.plot(
                _nats(course),
                course.series[name],
                linestyle=line,
                markersize=3,
                label=course.label,
                **_look(place),
            )
            kept: dict[str, Any] = {
                "marker": "o",
                "markersize": 11,
                "markerfacecolor": "none",
                "markeredgewidth": 1.8,
            }
            after = course.run.after
            if name in after:
                axes.plot(max(after["kl"], 0), after[name], **kept, color=_look(place)["color"])
    if frontier.best_of is not None and name in frontier.best_of.series:
        curve = frontier.best_of
        axes.plot(
            curve.kl,
            curve.series[name],
            "o",
            color="black",
            markersize=4.5,
            label="best of n",
            zorder=4,
        )
        for n, x, y in zip(curve.ns, curve.kl, curve.series[name], strict=True):
            axes.annotate(
                f"{n}", (x, y), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7.5
            )
    axes.set_ylabel(TITLES[name])
    _kl_axis(axes, frontier)
    axes.legend()


def _draw_fits(axes: Axes, frontier: Frontier, name: str) -> None:
    """Draw gains as points, the curves fitted to them, and the peaks that the data reach."""
    for place, course in enumerate(frontier.courses):
        if name in course.series:
            look = _look(place)
            axes.plot(
                _nats(course),
                course.series[name] - course.run.before[name],
                linestyle="",
                markersize=3.5,
                **look,
            )
            _draw_fit(axes, course.fits[name], course.label, look["color"], "-")
    if (curve := frontier.best_of) is not None and name in curve.series:
        gains = curve.series[name] - curve.series[name][0]
        axes.plot(curve.kl, gains, "o", color="black", markersize=3.5)
        _draw_fit(axes, curve.fits[name], "best of n", "black", ":")
    axes.axhline(0, color=CONSTANT, linewidth=0.8)
    axes.set_ylabel(f"gain in {TITLES[name]} over the start")
    _kl_axis(axes, frontier)
    if axes.get_legend_handles_labels()[0]:  # runs of a few steps have no curves
        axes.legend()


def _draw_fit(axes: Axes, fit: Fitted | None, label: str, colour: str, line: str) -> None:
    if fit is None:
        return
    kl = np.linspace(0, np.sqrt(fit.most), _CURVE_POINTS) ** 2
    axes.plot(
        kl,
        fit.gain(kl),
        color=colour,
        linestyle=line,
        linewidth=1.7,
        label=f"{label}, R² {fit.r_squared:.2f}",
    )
    if fit.peak is not None and fit.has_seen_peak:
        height = float(fit.gain(fit.peak))
        axes.plot(
            fit.peak, height, "D", color=colour, markersize=8, markeredgecolor="white", zorder=5
        )
        axes.annotate(
            f"{fit.peak:.1f}",
            (fit.peak, height),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
        )


def _kl_axis(axes: Axes, frontier: Frontier) -> None:
    """Let KL stand on a square-root scale from 0, the same in every figure."""
    curve = frontier.best_of
    most = max(
        [float(_nats(c).max()) for c in frontier.courses]
        + [0.1 if curve is None else float(curve.kl.max())]
    )
    most = max([most, *(c.run.after["kl"] for c in frontier.courses)])
    axes.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    axes.set_xlim(0, most * 1.06)
    shown = [0.0]
    for tick in _TICKS[(_TICKS > 0) & (most * 1.06 >= _TICKS)]:
        if np.sqrt(tick) - np.sqrt(shown[-1]) > _FEWEST_TICKS_APART * np.sqrt(most):
            shown.append(float(tick))
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.minorticks_off()
    axes.set_xlabel("KL from the start (nats a text, square-root scale)")


_FAR = 10  # times as far as the data reach: a number for a peak there would mean nothing
_GOOD, _BAD = {"real gain", "steered by truth"}, {"over-optimised", "collapsed", "not real"}


def write_frontier(frontier: Frontier, folder: Path, *, title: str = "Reward against KL") -> None:
    """Write `frontier.html`, `frontier.png` and `frontier.json` into the folder; other files there stay as they are.

    All three are made before the first is written. Raises StorageError for a full disk or an unwritable folder.
    """
    contents: dict[str, str | bytes] = {
        "frontier.html": frontier_html(frontier, title=title),
        "frontier.png": frontier_png(frontier),
        "frontier.json": numbers(frontier.as_dict()),
    }
    write_together(folder, contents)


def frontier_html(frontier: Frontier, *, title: str) -> str:
    """Return the frontier as one HTML page with its figures inside."""
    best_of = frontier.best_of
    return page(
        "frontier_page.html.j2",
        title=title,
        truth=None if frontier.truth is None else TITLES[frontier.truth],
        tiles=list(_tiles(frontier)),
        verdicts=[_verdict(course) for course in frontier.courses],
        notes=frontier.notes,
        table_rows=frontier.rows,
        figures=page_figures(frontier_panels(frontier)),
        fits=list(_fit_rows(frontier)),
        pool=None if best_of is None else (f"{best_of.completions:,}", f"{best_of.prompts:,}"),
        samples=[
            {"label": course.label, "rows": list(_sample_rows(course))}
            for course in frontier.courses
        ],
    )


def _tiles(frontier: Frontier) -> Iterator[dict[str, str]]:
    """Yield one figure for each run: what its kept policy gained of what it is judged by."""
    for course in frontier.courses:
        name, run = course.run.truth or "score", course.run
        if name in run.after and name in run.before:
            moved = f"{run.before[name]:.2f} → {run.after[name]:.2f}"
            yield {
                "name": course.label,
                "value": moved,
                "remark": f"{TITLES[name]}, at {run.after['kl']:.1f} nats",
            }


def _verdict(course: Course) -> dict[str, str]:
    verdict = course.verdict
    look = "good" if verdict.name in _GOOD else "error" if verdict.name in _BAD else "warning"
    return {
        "label": course.label,
        "name": verdict.name,
        "look": look,
        "finding": verdict.finding,
        "belief": verdict.belief,
        "stopped": course.run.stopped_because,
    }


def _fit_rows(frontier: Frontier) -> Iterator[list[str]]:
    """Yield a heading, and a row for each fitted curve."""
    yield ["run", "gain in", "curve", "α", "β", "R²", "peak, nats", "gain at the peak"]
    named = [(course.label, course.fits) for course in frontier.courses]
    if frontier.best_of is not None:
        named.append(("best of n", frontier.best_of.fits))
    for label, fits in named:
        for name, fit in fits.items():
            if fit is None:
                yield [label, TITLES[name], "too few points", *["–"] * 5]
                continue
            peak = ["none: it never falls", "–"]
            if fit.peak is not None and fit.peak > _FAR * fit.most:
                peak = ["far outside the data", "–"]
            elif fit.peak is not None:
                beyond = "" if fit.has_seen_peak else " (outside the data: a guess)"
                peak = [f"{fit.peak:,.1f}{beyond}", f"{float(fit.gain(fit.peak)):+.2f}"]
            explained = "–" if math.isnan(fit.r_squared) else f"{fit.r_squared:.2f}"
            yield [
                label,
                TITLES[name],
                fit.form.formula,
                f"{fit.alpha:.3f}",
                f"{fit.beta:.3f}",
                explained,
                *peak,
            ]


def _sample_rows(course: Course) -> Iterator[dict[str, Any]]:
    for sample in course.run.samples:
        scores = {when: _number(sample[f"score_{when}"]) for when in ("before", "after")}
        yield {
            "prompt": str(sample["prompt"]),
            "before": str(sample["before"]),
            "after": str(sample["after"]),
        } | {
            "score_before": scores["before"],
            "score_after": scores["after"],
        }


def _number(value: Any) -> str:
    return f"{value:+.2f}" if isinstance(value, int | float) and math.isfinite(value) else "–"
