"""What a steered run shows about over-optimisation, in plain words, and whether to believe it.

The KL–reward frontier: what every algorithm gained for how many nats, and whether it is real (Gao et al. 2023).
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
from tastemaker.report.steered_runs import SERIES, BestOfCurve, SteeredRun, read_run
from tastemaker.text_tables import aligned, listed

_WINDOWS = 10
_FEWEST = 8  # steps, under which nothing is said of a course
_SURE = 3.0  # standard errors, under which a change is noise: the best of ten windows is chosen by chance too
_EXPLAINS = 0.5  # R² under which a fitted curve says nothing of its peak
_SHORT, _NEAR = 20, 1.0  # steps and nats under which a run has seen little
_NORMAL = 0.6745 * math.sqrt(
    6
)  # the median absolute second difference of noise with standard deviation 1
_CALLED = {"held_out": "the held-out score", "gold": "gold"}


@dataclass(frozen=True)
class Verdict:
    """name: a few words. finding: what happened. belief: how far to trust it. turn: where the truth was best, nats."""

    name: str
    finding: str
    belief: str
    turn: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.finding} {self.belief}".strip()


@dataclass(frozen=True, eq=False)
class Windows:
    """A run in windows, the start before them [W]: mean KL, score and truth, and the truth's standard error."""

    kl: Floats
    score: Floats
    truth: Floats
    score_error: Floats
    truth_error: Floats

    @classmethod
    def of(cls, run: SteeredRun, truth: str) -> "Windows":
        """Cut a run into at most ten windows of at least two steps each."""
        cut = np.array_split(np.arange(len(run.steps)), min(_WINDOWS, len(run.steps) // 2))
        root = np.sqrt([1, *map(len, cut)])

        def means(values: Floats, start: float) -> Floats:
            return np.array([start, *(values[part].mean() for part in cut)])

        return cls(
            means(run.kl, 0.0),
            *(means(run.series[name], run.before[name]) for name in ("score", truth)),
            *(noise(run.series[name]) / root for name in ("score", truth)),
        )

    @property
    def best(self) -> int:
        """The window in which the truth was best."""
        return int(self.truth.argmax())

    def sureness(self, values: Floats, errors: Floats, earlier: int) -> float:
        """Return how much a figure has risen from a window to the last one, in standard errors."""
        rise, error = values[-1] - values[earlier], math.hypot(errors[-1], errors[earlier])
        if rise == 0 or earlier == len(values) - 1:
            return 0.0
        return float(rise / error) if error else math.copysign(math.inf, rise)


def noise(values: Floats) -> float:
    """Return the standard deviation of a course's steps about its trend, from the median absolute second difference."""
    return float(np.median(np.abs(np.diff(values, n=2)))) / _NORMAL


def verdict_of(run: SteeredRun, fits: Mapping[str, Fitted | None]) -> Verdict:
    """Judge a run by what stands for the truth, window by window; the fitted curves only say how clear that is."""
    truth = run.truth
    if truth is None:
        return Verdict(
            "cannot tell",
            f"The score went from {run.before['score']:.2f} to {run.after['score']:.2f}; nobody knows if that is real.",
            "Nothing but the score was watched: do not believe it. Steer with --held-out or --gold.",
        )
    if run.is_its_own_truth:
        return Verdict(
            "its own truth",
            f"The score is {_CALLED[truth]} itself, {run.before['score']:.2f} → {run.after['score']:.2f}: "
            f"there is nothing else to fool.",
            "As good as the truth that was given.",
        )
    if len(run.steps) < _FEWEST:
        return Verdict(
            "too short",
            f"{len(run.steps)} steps are too few to see a course.",
            f"Take {_SHORT} or more.",
        )
    windows = Windows.of(run, truth)
    name, finding, sure, turn = _finding(run, windows, truth)
    return Verdict(name, finding, " ".join(_belief(run, windows, fits[truth], sure)), turn)


def _finding(run: SteeredRun, windows: Windows, truth: str) -> tuple[str, str, float, float | None]:
    """Return the verdict's name, what happened, how sure that is in standard errors, and where the truth turned."""
    best, called = windows.best, _CALLED[truth]
    called_first = called[:1].upper() + called[1:]
    at, proxy, real = windows.kl, windows.score, windows.truth
    fall = -windows.sureness(real, windows.truth_error, best)
    score_rise = windows.sureness(proxy, windows.score_error, 0)
    rise = windows.sureness(real, windows.truth_error, 0)
    kept = (
        f"The policy that was kept (step {run.best_step}) has {called} {run.after[truth]:.2f} "
        if truth in run.after
        else ""
    )
    kept += f"at {run.after['kl']:.1f} nats." if kept else ""
    from_to = f"{called} {real[0]:.2f} → {real[-1]:.2f}, score {proxy[0]:.2f} → {proxy[-1]:.2f}"
    if fall > _SURE and proxy[-1] > proxy[best]:
        where = f"turned at about {at[best]:.1f} nats" if best else "fell from the start"
        finding = (
            f"The score kept rising ({proxy[best]:.2f} → {proxy[-1]:.2f}) while {called} {where} "
            f"({real[best]:.2f} → {real[-1]:.2f}). {kept}"
        )
        return "over-optimised", finding.strip(), fall, float(at[best])
    if fall > _SURE:
        finding = f"{called_first} fell ({real[best]:.2f} → {real[-1]:.2f}) and the score with it: the run came apart. {kept}"
        return "came apart", finding.strip(), fall, float(at[best])
    if rise > _SURE:
        return (
            "no sign",
            f"No sign of over-optimisation within what was seen: {from_to}.",
            rise,
            None,
        )
    if score_rise > _SURE:
        return (
            "not real",
            f"The score rose and {called} did not follow: {from_to}.",
            score_rise,
            None,
        )
    return (
        "no progress",
        f"Nothing moved beyond noise: {from_to}.",
        max(abs(rise), abs(score_rise)),
        None,
    )


def _belief(run: SteeredRun, windows: Windows, fit: Fitted | None, sure: float) -> Iterator[str]:
    """Yield what speaks for and against the finding, a sentence each."""
    size = f"{sure:.0f} standard errors" if math.isfinite(sure) else "far beyond the noise"
    yield (
        f"The change is {size}{', which is clear' if sure > 2 * _SURE else ''}."
        if sure > _SURE
        else (f"No change passes {_SURE:g} standard errors.")
    )
    if fit is None or not fit.r_squared >= _EXPLAINS:
        explained = (
            "has too few points" if fit is None else f"explains little (R² {fit.r_squared:.2f})"
        )
        yield f"The fitted curve {explained}: do not read its peak."
    elif fit.has_seen_peak:
        yield f"The fitted curve (R² {fit.r_squared:.2f}) has its peak at {fit.peak:.1f} nats."
    else:
        yield f"The fitted curve (R² {fit.r_squared:.2f}) has no peak within the data."
    if run.truth == "held_out":
        yield "A held-out score is learned too and may be fooled by the same texts: the truth may turn sooner."
    if len(run.steps) < _SHORT:
        yield f"{len(run.steps)} steps are few."
    if (most := float(windows.kl.max())) < _NEAR:
        yield f"The policy hardly moved: nothing beyond {most:.2f} nats was seen."


TITLES = {"score": "score", "held_out": "held-out score", "gold": "gold"}
"""How each series is called on screen."""
_SHARED = {
    "start": "start from different policies: KL is counted from different places",
    "reward": "were steered by different rewards: their scores have different units",
    "prompts": "answer different prompts: neither scores nor KL can be compared",
    "sampling": "sample in different ways: longer or warmer texts differ by more nats",
}
"""What runs must have in common to be compared, and what it means where they have not."""


@dataclass(frozen=True, eq=False)
class Course:
    """A run as the frontier shows it.

    kl: smoothed, nats [P]. series: smoothed, by name [P]. fits: of each series' gains over the start, None where the
    run has too few different KLs.
    """

    run: SteeredRun
    kl: Floats
    series: Mapping[str, Floats]
    fits: Mapping[str, Fitted | None]
    verdict: Verdict

    @classmethod
    def of(cls, run: SteeredRun) -> "Course":
        """Smooth, fit and judge a run."""
        kl = run.smoothed(run.kl)
        series = {name: run.smoothed(values) for name, values in run.series.items()}
        fits = {
            name: fitted(LEARNED, kl, values - run.before[name]) for name, values in series.items()
        }
        return cls(run, kl, series, fits, verdict_of(run, fits))

    @property
    def label(self) -> str:
        """The run's name, with its algorithm where the name does not say it."""
        run = self.run
        return run.name if run.algorithm in run.name else f"{run.name} ({run.algorithm})"

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready."""
        run = self.run
        steps = run.smoothed(run.steps)
        columns = {"step": steps, "kl": self.kl, **self.series}
        points = [
            dict(zip(columns, map(float, row), strict=True))
            for row in zip(*columns.values(), strict=True)
        ]
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
        return next(
            (n for n in reversed(SERIES[1:]) if any(n in c.series for c in self.courses)), None
        )

    @property
    def rows(self) -> list[list[str]]:
        """The table: a heading, a row for each run, and one for each best of n."""
        watched = [name for name in SERIES if any(name in c.series for c in self.courses)]
        heading = [
            "run",
            "steps",
            "kl",
            *(TITLES[name] for name in watched),
            "peak of the fitted curve",
            "verdict",
        ]
        return [
            heading,
            *(self._row(c, watched) for c in self.courses),
            *self._best_of_rows(watched),
        ]

    def _row(self, course: Course, watched: Sequence[str]) -> list[str]:
        run, truth = course.run, course.run.truth
        moved = [
            f"{run.before[name]:.2f} → {run.after[name]:.2f}" if name in run.before else "–"
            for name in watched
        ]
        peak = "–" if truth is None else peak_in_words(course.fits[truth])
        return [
            course.label,
            f"{run.steps[-1]:.0f}",
            f"{run.after['kl']:.1f}",
            *moved,
            peak,
            course.verdict.name,
        ]

    def _best_of_rows(self, watched: Sequence[str]) -> Iterator[list[str]]:
        if self.best_of is None:
            return
        curve, found = self.best_of, self.best_of.series
        for place, n in enumerate(curve.ns[1:], 1):
            moved = [
                f"{found[s][0]:.2f} → {found[s][place]:.2f}" if s in found else "–" for s in watched
            ]
            yield [f"best of {n}", "0", f"{curve.kl[place]:.1f}", *moved, "–", "–"]

    def as_dict(self) -> dict[str, Any]:
        """Return everything, JSON-ready: plain numbers, null for what is undefined."""
        best_of = (
            None
            if self.best_of is None
            else self.best_of.as_dict() | {"fits": _fits(self.best_of.fits)}
        )
        found = {
            "runs": [c.as_dict() for c in self.courses],
            "best_of": best_of,
            "notes": list(self.notes),
        }
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
        "peak_kl": fit.peak,
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
