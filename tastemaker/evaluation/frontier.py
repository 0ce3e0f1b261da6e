"""Reward against drift: what every algorithm gained for how many nats, and whether it is real (Gao et al. 2023)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tastemaker.errors import UsageError
from tastemaker.evaluation.best_of_curve import BestOfCurve
from tastemaker.evaluation.frontier_verdicts import Verdict, verdict_of
from tastemaker.evaluation.steered_run import SERIES, SteeredRun, read_run
from tastemaker.evaluation.words import aligned, listed
from tastemaker.maths.overoptimisation import LEARNED, Fitted, fitted
from tastemaker.maths.statistics import Floats

TITLES = {"score": "score", "held_out": "held-out score", "gold": "gold"}
"""How each series is called on screen."""
_SHARED = {
    "start": "start from different policies: drift is counted from different places",
    "reward": "were steered by different rewards: their scores have different units",
    "prompts": "answer different prompts: neither scores nor drift can be compared",
    "sampling": "sample in different ways: longer or warmer texts drift by more nats",
}
"""What runs must have in common to be compared, and what it means where they have not."""


@dataclass(frozen=True, eq=False)
class Course:
    """A run as the frontier shows it.

    drift: smoothed, nats [P]. series: smoothed, by name [P]. fits: of each series' gains over the start, None where the
    run has too few different drifts.
    """

    run: SteeredRun
    drift: Floats
    series: Mapping[str, Floats]
    fits: Mapping[str, Fitted | None]
    verdict: Verdict

    @classmethod
    def of(cls, run: SteeredRun) -> "Course":
        """Smooth, fit and judge a run."""
        drift = run.smoothed(run.drift)
        series = {name: run.smoothed(values) for name, values in run.series.items()}
        fits = {name: fitted(LEARNED, drift, values - run.before[name]) for name, values in series.items()}
        return cls(run, drift, series, fits, verdict_of(run, fits))

    @property
    def label(self) -> str:
        """The run's name, with its algorithm where the name does not say it."""
        run = self.run
        return run.name if run.algorithm in run.name else f"{run.name} ({run.algorithm})"

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        run = self.run
        steps = run.smoothed(run.steps)
        columns = {"step": steps, "drift": self.drift, **self.series}
        points = [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]
        return {
            "name": run.name,
            "folder": str(run.folder),
            "algorithm": run.algorithm,
            "steps": int(run.steps[-1]),
            "best_step": run.best_step,
            "stopped_because": run.stopped_because,
            "truth": run.truth,
            "before": dict(run.before),
            "after": dict(run.after),
            "points": points,
            "fits": _fits(self.fits),
            "verdict": self.verdict.as_dict(),
            "samples": run.samples,
        }


@dataclass(frozen=True, eq=False)
class Frontier:
    """Several runs beside each other, and best-of-n where it was measured. `print` it, or take `as_dict()`."""

    courses: tuple[Course, ...]
    notes: tuple[str, ...]
    best_of: BestOfCurve | None = None

    @property
    def truth(self) -> str | None:
        """What the runs are judged by: gold where any run has it, else the held-out score; None where none has one."""
        return next((n for n in reversed(SERIES[1:]) if any(n in c.series for c in self.courses)), None)

    @property
    def rows(self) -> list[list[str]]:
        """The table: a heading, a row for each run, and one for each best of n."""
        watched = [name for name in SERIES if any(name in c.series for c in self.courses)]
        heading = ["run", "steps", "drift", *(TITLES[name] for name in watched), "peak of the fitted curve", "verdict"]
        return [heading, *(self._row(c, watched) for c in self.courses), *self._best_of_rows(watched)]

    def _row(self, course: Course, watched: Sequence[str]) -> list[str]:
        run, truth = course.run, course.run.truth
        moved = [f"{run.before[name]:.2f} → {run.after[name]:.2f}" if name in run.before else "–" for name in watched]
        peak = "–" if truth is None else peak_in_words(course.fits[truth])
        return [course.label, f"{run.steps[-1]:.0f}", f"{run.after['drift']:.1f}", *moved, peak, course.verdict.name]

    def _best_of_rows(self, watched: Sequence[str]) -> Iterator[list[str]]:
        if self.best_of is None:
            return
        curve, found = self.best_of, self.best_of.series
        for place, n in enumerate(curve.ns[1:], 1):
            moved = [f"{found[s][0]:.2f} → {found[s][place]:.2f}" if s in found else "–" for s in watched]
            yield [f"best of {n}", "0", f"{curve.drift[place]:.1f}", *moved, "–", "–"]

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready: plain numbers, null for what is undefined."""
        best_of = None if self.best_of is None else self.best_of.as_dict() | {"fits": _fits(self.best_of.fits)}
        found = {"runs": [c.as_dict() for c in self.courses], "best_of": best_of, "notes": list(self.notes)}
        without_nan: dict[str, Any] = _without_nan(found)
        return without_nan

    def __str__(self) -> str:
        said = [f"{course.label}: {course.verdict}" for course in self.courses]
        return "\n".join([aligned(self.rows), "", *said, *(f"Note: {note}" for note in self.notes)])


def frontier(runs: Sequence[str | Path], *, best_of: BestOfCurve | None = None) -> Frontier:
    """Read steered runs and set them beside each other. runs: the folders that `steer` saved, in any order.

    Raises DataError for a folder that is no steered run or whose files are torn, UsageError for none, or one twice.
    """
    folders = [Path(run) for run in runs]
    if not folders:
        raise UsageError("no runs: give one or more folders that `tastemaker steer` saved.")
    names = [folder.resolve().name for folder in folders]
    found: list[SteeredRun] = []
    for folder, name in zip(folders, names, strict=True):
        if any(folder.resolve() == other.folder.resolve() for other in found):
            raise UsageError(f"{folder}: is given twice.")
        found.append(read_run(folder, name=str(folder) if names.count(name) > 1 else None))
    return Frontier(tuple(Course.of(run) for run in found), tuple(_notes(found)), best_of)


def peak_in_words(fit: Fitted | None) -> str:
    """Return where a fitted curve turns, or that it was not seen to."""
    if fit is None:
        return "too few points"
    if fit.has_seen_peak:
        return f"{fit.peak:.1f} nats (R² {fit.r_squared:.2f})"
    return f"none within the data (R² {fit.r_squared:.2f})"


def _notes(runs: Sequence[SteeredRun]) -> Iterator[str]:
    """Yield what makes runs hard to compare."""
    for key, meaning in _SHARED.items():
        if len({repr(run.settings.get(key)) for run in runs}) > 1:
            yield f"these runs {meaning}."
    judged = [run for run in runs if run.truth is not None]
    if len({run.truth for run in judged}) > 1:
        only = listed(run.name for run in judged if run.truth == "held_out")
        yield f"{only}: judged by a held-out score, the others by gold."
    if blind := listed(run.name for run in runs if run.truth is None):
        yield f"{blind}: nothing but the score was watched; steer with --held-out or --gold to see whether it is real."


def _fits(fits: Mapping[str, Fitted | None]) -> dict[str, Any]:
    return {name: None if fit is None else _fit(fit) for name, fit in fits.items()}


def _fit(fit: Fitted) -> dict[str, Any]:
    return {
        "formula": fit.form.formula,
        "alpha": fit.alpha,
        "beta": fit.beta,
        "r_squared": fit.r_squared,
        "fitted_points": fit.points,
        "peak_drift": fit.peak,
        "peak_gain": None if fit.peak is None else float(fit.gain(fit.peak)),
        "peak_seen": fit.has_seen_peak,
    }


def _without_nan(values: Any) -> Any:
    """Return nested values with None for what is no finite number."""
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
