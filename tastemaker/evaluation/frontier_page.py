"""The frontier as one HTML page that needs nothing else, one picture, and one JSON file.

Every name and text on the page is hostile: the template escapes all it is given, and the page forbids itself to run or
fetch anything.
"""

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from tastemaker.evaluation.frontier import TITLES, Course, Frontier
from tastemaker.evaluation.frontier_plots import frontier_panels, frontier_png, frontier_svg
from tastemaker.files import writing_file

_TEMPLATE = Path(__file__).with_name("frontier_page.html.j2")
_GOOD, _BAD = {"no sign", "its own truth"}, {"over-optimised", "came apart", "not real"}


def write_frontier(frontier: Frontier, folder: Path, *, title: str = "Reward against drift") -> None:
    """Write `frontier.html`, `frontier.png` and `frontier.json` into the folder; other files there stay as they are.

    All three are made before the first is written. Raises StorageError for a full disk or an unwritable folder.
    """
    numbers = json.dumps(frontier.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    contents = {
        "frontier.html": frontier_html(frontier, title=title).encode("utf-8", "replace"),
        "frontier.png": frontier_png(frontier),
        "frontier.json": numbers.encode("utf-8", "replace"),
    }
    for name, content in contents.items():
        with writing_file(Path(folder) / name) as temporary:
            temporary.write_bytes(content)


def frontier_html(frontier: Frontier, *, title: str) -> str:
    """Return the frontier as one HTML page with its figures inside."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    best_of = frontier.best_of
    return template.render(
        title=title,
        truth=None if frontier.truth is None else TITLES[frontier.truth],
        tiles=list(_tiles(frontier)),
        verdicts=[_verdict(course) for course in frontier.courses],
        notes=frontier.notes,
        table_rows=frontier.rows,
        figures=[
            {"title": panel.title, "caption": panel.caption, "data": base64.b64encode(frontier_svg(panel)).decode()}
            for panel in frontier_panels(frontier)
        ],
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
            if fit.peak is not None:
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
