"""What a steered run shows about over-optimisation, in plain words, and whether to believe it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tastemaker.evaluation.steered_run import SteeredRun
from tastemaker.maths.overoptimisation import Fitted
from tastemaker.maths.statistics import Floats

_WINDOWS = 10
_FEWEST = 8  # steps, under which nothing is said of a course
_SURE = 3.0  # standard errors, under which a change is noise: the best of ten windows is chosen by chance too
_EXPLAINS = 0.5  # R² under which a fitted curve says nothing of its peak
_SHORT, _NEAR = 20, 1.0  # steps and nats under which a run has seen little
_NORMAL = 0.6745 * math.sqrt(6)  # the median absolute second difference of noise with standard deviation 1
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
    """A run in windows, the start before them [W]: mean drift, score and truth, and the truth's standard error."""

    drift: Floats
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
            means(run.drift, 0.0),
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
        return Verdict("too short", f"{len(run.steps)} steps are too few to see a course.", f"Take {_SHORT} or more.")
    windows = Windows.of(run, truth)
    name, finding, sure, turn = _finding(run, windows, truth)
    return Verdict(name, finding, " ".join(_belief(run, windows, fits[truth], sure)), turn)


def _finding(run: SteeredRun, windows: Windows, truth: str) -> tuple[str, str, float, float | None]:
    """Return the verdict's name, what happened, how sure that is in standard errors, and where the truth turned."""
    best, called = windows.best, _CALLED[truth]
    called_first = called[:1].upper() + called[1:]
    at, proxy, real = windows.drift, windows.score, windows.truth
    fall = -windows.sureness(real, windows.truth_error, best)
    score_rise = windows.sureness(proxy, windows.score_error, 0)
    rise = windows.sureness(real, windows.truth_error, 0)
    kept = (
        f"The policy that was kept (step {run.best_step}) has {called} {run.after[truth]:.2f} "
        if truth in run.after
        else ""
    )
    kept += f"at {run.after['drift']:.1f} nats." if kept else ""
    from_to = f"{called} {real[0]:.2f} → {real[-1]:.2f}, score {proxy[0]:.2f} → {proxy[-1]:.2f}"
    if fall > _SURE and proxy[-1] > proxy[best]:
        where = f"turned at about {at[best]:.1f} nats" if best else "fell from the start"
        finding = (
            f"The score kept rising ({proxy[best]:.2f} → {proxy[-1]:.2f}) while {called} {where} "
            f"({real[best]:.2f} → {real[-1]:.2f}). {kept}"
        )
        return "over-optimised", finding.strip(), fall, float(at[best])
    if fall > _SURE:
        finding = (
            f"{called_first} fell ({real[best]:.2f} → {real[-1]:.2f}) and the score with it: the run came apart. {kept}"
        )
        return "came apart", finding.strip(), fall, float(at[best])
    if rise > _SURE:
        return "no sign", f"No sign of over-optimisation within what was seen: {from_to}.", rise, None
    if score_rise > _SURE:
        return "not real", f"The score rose and {called} did not follow: {from_to}.", score_rise, None
    return "no progress", f"Nothing moved beyond noise: {from_to}.", max(abs(rise), abs(score_rise)), None


def _belief(run: SteeredRun, windows: Windows, fit: Fitted | None, sure: float) -> Iterator[str]:
    """Yield what speaks for and against the finding, a sentence each."""
    size = f"{sure:.0f} standard errors" if math.isfinite(sure) else "far beyond the noise"
    yield (
        f"The change is {size}{', which is clear' if sure > 2 * _SURE else ''}."
        if sure > _SURE
        else (f"No change passes {_SURE:g} standard errors.")
    )
    if fit is None or not fit.r_squared >= _EXPLAINS:
        explained = "has too few points" if fit is None else f"explains little (R² {fit.r_squared:.2f})"
        yield f"The fitted curve {explained}: do not read its peak."
    elif fit.has_seen_peak:
        yield f"The fitted curve (R² {fit.r_squared:.2f}) has its peak at {fit.peak:.1f} nats."
    else:
        yield f"The fitted curve (R² {fit.r_squared:.2f}) has no peak within the data."
    if run.truth == "held_out":
        yield "A held-out score is learned too and may be fooled by the same texts: the truth may turn sooner."
    if len(run.steps) < _SHORT:
        yield f"{len(run.steps)} steps are few."
    if (most := float(windows.drift.max())) < _NEAR:
        yield f"The policy hardly moved: nothing beyond {most:.2f} nats was seen."
