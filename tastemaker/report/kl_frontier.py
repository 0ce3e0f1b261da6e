"""The KL–reward frontier: the gain and the KL of steered runs, and a verdict on each gain.

A run that goes on raising its score while the truth falls is over-optimised (Gao et al. 2023).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.errors import UsageError
from tastemaker.maths.overoptimisation import LEARNED, Fitted, fitted
from tastemaker.maths.statistics import Floats
from tastemaker.readable import aligned, listed, notebook_html
from tastemaker.report.steered_runs import (
    SERIES,
    BestOfCurve,
    SteeredRun,
    read_run,
)

TITLES = {"score": "score", "held_out": "held-out score", "gold": "gold score"}
"""The names of the series on screen."""

_WINDOWS = 10
_FEWEST_STEPS = 8  # no verdict on fewer
_CLEAR = 3.0  # standard errors; less is noise, as the best of ten windows is chosen by chance too
_MIN_R_SQUARED = 0.5  # of a fitted curve whose peak is reported
# steps and nats under which a verdict is doubtful
_FEW_STEPS, _LOW_KL = (
    20,
    1.0,
)
# the median absolute second difference of noise with standard deviation 1
_NORMAL = 0.6745 * math.sqrt(6)


# --- verdicts ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Whether a gain is real.

    name: in two words. finding: what happened. belief: how far to trust that.
    turn: the KL at which the truth was best, in nats; None unless it fell afterwards.
    """

    name: str
    finding: str
    belief: str
    turn: float | None = None

    def __str__(self) -> str:
        return f"{self.finding} {self.belief}".strip()


@dataclass(frozen=True, eq=False)
class Windows:
    """The means of a run over windows of steps, the start before them [W].

    truth: the series that stands for the truth.
    """

    kl: Floats
    score: Floats
    truth: Floats
    score_error: Floats
    truth_error: Floats

    @property
    def best(self) -> int:
        """The window in which the truth was best."""
        return int(self.truth.argmax())


def windows_of(run: SteeredRun, truth: str) -> Windows:
    """Cut a run into at most ten windows of at least two steps each."""
    steps = len(run.steps)
    windows = np.array_split(np.arange(steps), min(_WINDOWS, steps // 2))
    sizes = [len(window) for window in windows]
    root = np.sqrt([1, *sizes])

    def means(values: Floats, start: float) -> Floats:
        of_windows = [values[window].mean() for window in windows]
        return np.array([start, *of_windows])

    return Windows(
        kl=means(run.kl, 0.0),
        score=means(run.series["score"], run.before["score"]),
        truth=means(run.series[truth], run.before[truth]),
        score_error=noise(run.series["score"]) / root,
        truth_error=noise(run.series[truth]) / root,
    )


def noise(values: Floats) -> float:
    """Return the standard deviation of a series about its trend, from its second differences."""
    differences = np.abs(np.diff(values, n=2))
    return float(np.median(differences)) / _NORMAL


def rise_in_errors(values: Floats, errors: Floats, first: int) -> float:
    """Return the rise from a window to the last one, in standard errors."""
    rise = values[-1] - values[first]
    if rise == 0 or first == len(values) - 1:
        return 0.0
    error = math.hypot(errors[-1], errors[first])
    if not error:
        return math.copysign(math.inf, rise)
    return float(rise / error)


def verdict_of(run: SteeredRun, fits: Mapping[str, Fitted | None]) -> Verdict:
    """Judge a run by what stands for the truth. The fitted curves only support the verdict."""
    truth = run.truth
    score = f"{run.before['score']:.2f} → {run.after['score']:.2f}"
    if truth is None:
        return Verdict(
            "unknown",
            f"The score went {score}. Nothing else was measured, so the gain may not be real.",
            "Do not trust it. Steer again with --held-out or --gold.",
        )
    if run.is_steered_by_truth:
        return Verdict(
            "steered by truth",
            f"The run was steered by the {TITLES[truth]} itself: {score}.",
            "There is no other reward that it could exploit.",
        )
    if len(run.steps) < _FEWEST_STEPS:
        finding = f"{len(run.steps)} steps are too few for a verdict."
        return Verdict("too short", finding, f"Take {_FEW_STEPS} or more.")
    windows = windows_of(run, truth)
    name, finding, errors, turn = _finding(run, windows, TITLES[truth])
    belief = " ".join(_belief(run, windows, fits[truth], errors))
    return Verdict(name, finding, belief, turn)


def _finding(
    run: SteeredRun, windows: Windows, title: str
) -> tuple[str, str, float, float | None]:
    """Return the verdict's name, what happened, in how many standard errors, and the turn."""
    score, truth, best = windows.score, windows.truth, windows.best
    fall = -rise_in_errors(truth, windows.truth_error, best)
    rise = rise_in_errors(truth, windows.truth_error, 0)
    score_rise = rise_in_errors(score, windows.score_error, 0)
    if fall > _CLEAR:
        name, finding = _fall(run, windows, title)
        return name, finding, fall, float(windows.kl[best])
    changes = f"{title} {_first_to_last(truth)}, score {_first_to_last(score)}"
    if rise > _CLEAR:
        return "real gain", f"The gain is real so far: {changes}.", rise, None
    if score_rise > _CLEAR:
        finding = f"The score rose, but the change of the {title} is within noise: {changes}."
        return "not real", finding, score_rise, None
    finding = f"No change beyond noise: {changes}."
    return "no progress", finding, max(abs(rise), abs(score_rise)), None


def _fall(run: SteeredRun, windows: Windows, title: str) -> tuple[str, str]:
    """Return the name of what went wrong, and a sentence: the truth fell after its best window.

    title: of the measure that is taken for the truth, gold or held-out. The run collapsed where the
    score fell too; else it was over-optimised.
    """
    best = windows.best
    score = windows.score[best:]
    truth_change = _first_to_last(windows.truth[best:])
    saved = _saved(run, title)
    if score[-1] <= score[0]:
        return "collapsed", (
            f"The {title} fell ({truth_change}), and the score with it: "
            f"the run collapsed.{saved}"
        )
    where = "fell from the start"
    if best:
        where = f"fell after about {windows.kl[best]:.1f} nats"
    return "over-optimised", (
        f"The score kept rising ({_first_to_last(score)}) while the {title} {where} "
        f"({truth_change}).{saved}"
    )


def _first_to_last(values: Floats) -> str:
    return f"{values[0]:.2f} → {values[-1]:.2f}"


def _saved(run: SteeredRun, title: str) -> str:
    truth = run.truth
    if truth is None or truth not in run.after:
        return ""
    return (
        f" The saved policy (step {run.best_step}) has a {title} of {run.after[truth]:.2f} "
        f"at {run.after['kl']:.1f} nats."
    )


def _belief(
    run: SteeredRun, windows: Windows, fit: Fitted | None, errors: float
) -> Iterator[str]:
    """Yield reasons for and against the finding. errors: the change in standard errors."""
    if errors == math.inf:
        yield "The change is far beyond noise."
    elif errors > _CLEAR:
        yield f"The change is {errors:.0f} standard errors."
    else:
        yield f"No change exceeds {_CLEAR:g} standard errors."
    if fit is None:
        yield "There are too few points to fit a curve."
    elif not fit.r_squared >= _MIN_R_SQUARED:
        yield f"The fitted curve explains little (R² {fit.r_squared:.2f}): ignore its peak."
    elif fit.has_peak_in_data:
        yield f"The fitted curve (R² {fit.r_squared:.2f}) has its peak at {fit.peak:.1f} nats."
    else:
        yield f"The fitted curve (R² {fit.r_squared:.2f}) has no peak within the data."
    if run.truth == "held_out":
        yield "The held-out score is a model's too: the same texts may fool it."
    if len(run.steps) < _FEW_STEPS:
        yield f"The run has only {len(run.steps)} steps."
    most = float(windows.kl.max())
    if most < _LOW_KL:
        yield f"The policy hardly changed: the KL stayed below {most:.2f} nats."


# --- runs side by side ------------------------------------------------------------------------

_COMPARABLE = {
    "start": "start from different policies, so their KLs are from different references",
    "reward": "were steered by different rewards, so their scores have different units",
    "prompts": "have different prompts, so neither scores nor KLs can be compared",
    "sampling": "sample in different ways: longer or warmer completions have more KL",
}
"""The settings that runs must share to be compared, and the consequence if they do not."""


@dataclass(frozen=True, eq=False)
class Course:
    """A run as the frontier shows it.

    kl: smoothed, nats [P]. series: by name, smoothed [P].
    fits: by series, the curve of its gains; None if the run has too few different KLs.
    """

    run: SteeredRun
    kl: Floats
    series: Mapping[str, Floats]
    fits: Mapping[str, Fitted | None]
    verdict: Verdict

    @property
    def label(self) -> str:
        """The run's name, with its algorithm unless the name contains it."""
        name, algorithm = self.run.name, self.run.algorithm
        return name if algorithm in name else f"{name} ({algorithm})"

    def gains(self, name: str) -> Floats:
        """Return the gains of a series over the start [P]."""
        return self.series[name] - self.run.before[name]

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        run = self.run
        columns = {
            "step": run.smoothed(run.steps),
            "kl": self.kl,
            **self.series,
        }
        points = []
        for i in range(len(self.kl)):
            points.append(
                {name: float(values[i]) for name, values in columns.items()}
            )
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
            "verdict": asdict(self.verdict),
            "samples": run.samples,
        }


def course_of(run: SteeredRun) -> Course:
    """Smooth, fit and judge a run."""
    kl = run.smoothed(run.kl)
    series = {
        name: run.smoothed(values) for name, values in run.series.items()
    }
    fits = {}
    for name, values in series.items():
        fits[name] = fitted(LEARNED, kl, values - run.before[name])
    return Course(run, kl, series, fits, verdict_of(run, fits))


@dataclass(frozen=True, eq=False)
class Frontier:
    """Steered runs side by side, and best-of-n if it was measured.

    notes: what makes the runs hard to compare. `print` it, or take `as_dict()`.
    """

    courses: tuple[Course, ...]
    notes: tuple[str, ...]
    best_of: BestOfCurve | None = None

    @property
    def names(self) -> list[str]:
        """The series that any run has."""
        measured: set[str] = set()
        for course in self.courses:
            measured.update(course.series)
        return [name for name in SERIES if name in measured]

    @property
    def truth(self) -> str | None:
        """The series that stands for the truth: gold if any run has it, else the held-out score."""
        last = self.names[-1]
        return None if last == "score" else last

    @property
    def rows(self) -> list[list[str]]:
        """The table: a heading, a row for each run, and one for each best of n."""
        titles = [TITLES[name] for name in self.names]
        rows = [
            [
                "run",
                "steps",
                "KL",
                *titles,
                "peak of the fitted curve",
                "verdict",
            ]
        ]
        for course in self.courses:
            run = course.run
            changes = []
            for name in self.names:
                has_both = name in run.before and name in run.after
                change = (
                    (run.before[name], run.after[name]) if has_both else None
                )
                changes.append(_change(change))
            peak = (
                "–"
                if run.truth is None
                else peak_in_words(course.fits[run.truth])
            )
            kl = f"{run.after['kl']:.1f}"
            steps = f"{run.steps[-1]:.0f}"
            rows.append(
                [course.label, steps, kl, *changes, peak, course.verdict.name]
            )
        if self.best_of is not None:
            rows += self._best_of_rows(self.best_of)
        return rows

    def _best_of_rows(self, curve: BestOfCurve) -> Iterator[list[str]]:
        for i, n in enumerate(curve.ns[1:], 1):
            changes = []
            for name in self.names:
                change = None
                if name in curve.series:
                    values = curve.series[name]
                    change = (values[0], values[i])
                changes.append(_change(change))
            kl = f"{curve.kl[i]:.1f}"
            yield [f"best of {n}", "0", kl, *changes, "–", "–"]

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready: plain numbers, null for what is undefined."""
        best_of = None
        if self.best_of is not None:
            best_of = {
                **self.best_of.as_dict(),
                "fits": _fits(self.best_of.fits),
            }
        runs = [course.as_dict() for course in self.courses]
        plain: dict[str, Any] = _without_nan(
            {"runs": runs, "best_of": best_of, "notes": list(self.notes)}
        )
        return plain

    def __str__(self) -> str:
        verdicts = [
            f"{course.label}: {course.verdict}" for course in self.courses
        ]
        notes = [f"Note: {note}" for note in self.notes]
        return "\n".join([aligned(self.rows), "", *verdicts, *notes])

    def _repr_html_(self) -> str:
        """Return the table and the verdict on each run, for a notebook."""
        verdicts = [
            f"{course.label}: {course.verdict}" for course in self.courses
        ]
        return notebook_html([*verdicts, *self.notes], self.rows)


def frontier(
    runs: Sequence[str | Path], *, best_of: BestOfCurve | None = None
) -> Frontier:
    """Read steered runs to compare them. runs: the folders that `steer` saved, in any order.

    Raises DataError for a folder that holds no steered run or damaged files. Raises UsageError
    for no run, or one given twice.
    """
    folders = [Path(run) for run in runs]
    if not folders:
        raise UsageError(
            "no runs: give one or more folders that `tastemaker steer` saved."
        )
    paths = [folder.resolve() for folder in folders]
    names = [path.name for path in paths]
    steered_runs = []
    for i, folder in enumerate(folders):
        if paths[i] in paths[:i]:
            raise UsageError(f"{folder}: is given twice.")
        name = str(folder) if names.count(names[i]) > 1 else None
        steered_runs.append(read_run(folder, name=name))
    courses = tuple(course_of(run) for run in steered_runs)
    return Frontier(courses, tuple(_notes(steered_runs)), best_of)


def peak_in_words(fit: Fitted | None) -> str:
    """Return where a fitted curve has its peak, if it is within the data."""
    if fit is None:
        return "too few points"
    if fit.has_peak_in_data:
        return f"{fit.peak:.1f} nats (R² {fit.r_squared:.2f})"
    return f"none within the data (R² {fit.r_squared:.2f})"


def _notes(runs: Sequence[SteeredRun]) -> Iterator[str]:
    """Yield what makes runs hard to compare."""
    for key, consequence in _COMPARABLE.items():
        if len({repr(run.settings.get(key)) for run in runs}) > 1:
            yield f"these runs {consequence}."
    truths = {run.truth for run in runs} - {None}
    if len(truths) > 1:
        names = listed(run.name for run in runs if run.truth == "held_out")
        yield f"{names}: judged by a held-out score, the others by the gold score."
    names = listed(run.name for run in runs if run.truth is None)
    if names:
        yield f"{names}: only the score was measured; steer with --held-out or --gold."
    for run in runs:
        if run.note:
            yield run.note


def _change(values: tuple[float, float] | None) -> str:
    return "–" if values is None else f"{values[0]:.2f} → {values[1]:.2f}"


def _fits(fits: Mapping[str, Fitted | None]) -> dict[str, Any]:
    return {
        name: None if fit is None else _fit(fit) for name, fit in fits.items()
    }


def _fit(fit: Fitted) -> dict[str, Any]:
    return {
        "formula": fit.form.formula,
        "alpha": fit.alpha,
        "beta": fit.beta,
        "r_squared": fit.r_squared,
        "fitted_points": fit.points,
        "peak_kl": fit.peak,
        "peak_gain": None if fit.peak is None else float(fit.gain(fit.peak)),
        "peak_seen": fit.has_peak_in_data,
    }


def _without_nan(values: Any) -> Any:
    """Return nested values with None for numbers that are not finite."""
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_without_nan(value) for value in values]
    if isinstance(values, float) and not math.isfinite(values):
        return None
    return values
