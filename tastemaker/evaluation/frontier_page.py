"""The frontier as one HTML page that needs nothing else, one picture, and one JSON file."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tastemaker.evaluation.frontier import TITLES, Course, Frontier
from tastemaker.evaluation.frontier_plots import frontier_panels, frontier_png
from tastemaker.evaluation.page import numbers, page, page_figures, write_together

_FAR = 10  # times as far as the data reach: a number for a peak there would mean nothing
_GOOD, _BAD = {"no sign", "its own truth"}, {"over-optimised", "came apart", "not real"}


def write_frontier(frontier: Frontier, folder: Path, *, title: str = "Reward against drift") -> None:
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
        samples=[{"label": course.label, "rows": list(_sample_rows(course))} for course in frontier.courses],
    )


def _tiles(frontier: Frontier) -> Iterator[dict[str, str]]:
    """Yield one figure for each run: what its kept policy gained of what it is judged by."""
    for course in frontier.courses:
        name, run = course.run.truth or "score", course.run
        if name in run.after and name in run.before:
            moved = f"{run.before[name]:.2f} → {run.after[name]:.2f}"
            yield {"name": course.label, "value": moved, "remark": f"{TITLES[name]}, at {run.after['drift']:.1f} nats"}


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
            yield [label, TITLES[name], fit.form.formula, f"{fit.alpha:.3f}", f"{fit.beta:.3f}", explained, *peak]


def _sample_rows(course: Course) -> Iterator[dict[str, Any]]:
    for sample in course.run.samples:
        scores = {when: _number(sample[f"score_{when}"]) for when in ("before", "after")}
        yield {"prompt": str(sample["prompt"]), "before": str(sample["before"]), "after": str(sample["after"])} | {
            "score_before": scores["before"],
            "score_after": scores["after"],
        }


def _number(value: Any) -> str:
    return f"{value:+.2f}" if isinstance(value, int | float) and math.isfinite(value) else "–"
