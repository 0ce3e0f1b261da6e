"""The data of the frontier: steered runs as read from disk, and best-of-n as measured from a policy."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.judgements import Prompt
from tastemaker.data.values import messages_of
from tastemaker.errors import DataError, UsageError
from tastemaker.maths.overoptimisation import BEST_OF, Fitted, best_of_kl, expected_best, fitted
from tastemaker.maths.statistics import Floats

if TYPE_CHECKING:  # a frontier of runs alone is read without torch
    from tastemaker.gpt.policy import Policy
    from tastemaker.gpt.sampling import Sampling

STEERING, METRICS, SETTINGS = (
    "steering.json",
    Path("run") / "metrics.jsonl",
    Path("run") / "settings.json",
)
SERIES = ("score", "held_out", "gold")
"""What a run may measure of its completions: the score it learns to please, and what only watches, the truest last."""
_POINTS = 40
"""A course is drawn and fitted by at most so many means of steps that follow each other."""


@dataclass(frozen=True, eq=False)
class SteeredRun:
    """A steered run.

    steps: numbered from 1, [T]; what is measured at a step was written before its update, so the first is the start's.
    kl: nats a text [T]. series: by name, the means of the steps' completions [T]; `score` always, `held_out` and
    `gold` where they were watched. before, after: the same and more of the start and of the policy that was kept, on
    texts that nothing was learned from. samples: what both wrote. settings: what was asked for.
    """

    name: str
    folder: Path
    algorithm: str
    steps: Floats
    kl: Floats
    series: Mapping[str, Floats]
    before: Mapping[str, float]
    after: Mapping[str, float]
    best_step: int
    stopped_because: str
    samples: list[dict[str, Any]] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def truth(self) -> str | None:
        """What stands for the truth beside the score: gold, else the held-out score; None where nothing watched."""
        return next((name for name in reversed(SERIES[1:]) if name in self.series), None)

    @property
    def is_its_own_truth(self) -> bool:
        """Whether the run was steered by what stands for the truth, so that nothing can be fooled."""
        return self.truth is not None and bool(
            np.array_equal(self.series["score"], self.series[self.truth])
        )

    @property
    def prompts(self) -> list[Prompt]:
        """What its samples answer, each once: a text, or a chat where the sample holds its messages.

        Raises DataError for messages that are none.
        """
        where = f"{self.folder / STEERING}, samples"
        asked = [
            messages_of(s["messages"], where, "messages") if "messages" in s else s["prompt"]
            for s in self.samples
        ]
        return list(dict.fromkeys(asked))

    def smoothed(self, values: Floats) -> Floats:
        """Return the means of at most 40 groups of steps that follow each other; a short run as it is."""
        groups = np.array_split(values, min(_POINTS, len(values)))
        return np.array([group.mean() for group in groups])


def read_run(folder: str | Path, *, name: str | None = None) -> SteeredRun:
    """Read a steered run's folder. name: what it is called; left out, as its folder.

    Raises DataError for a folder that is no steered run, an unfinished one, and files that are torn or lack figures.
    """
    folder = Path(folder)
    kept = _steering(folder)
    rows = list(_rows(folder / METRICS))
    names = [name for name in SERIES if all(name in row for row in rows)]
    try:
        columns = {name: _column(rows, name, folder / METRICS) for name in ("step", "kl", *names)}
        if "score" not in columns:
            raise KeyError("score")
        return SteeredRun(
            name=name or folder.resolve().name,
            folder=folder,
            algorithm=str(kept["algorithm"]),
            steps=columns["step"],
            kl=columns["kl"],
            series={name: columns[name] for name in names},
            before=_figures(kept, "_before"),
            after=_figures(kept, "_after"),
            best_step=int(kept["best_step"]),
            stopped_because=str(kept["stopped_because"]),
            samples=[{**_NO_SAMPLE, **sample} for sample in kept["samples"]],
            settings=dict(kept["settings"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{folder}: not what `tastemaker steer` writes ({_said(error)}). Steer it again."
        ) from error


_NO_SAMPLE = {
    "prompt": "",
    "before": "",
    "after": "",
    "score_before": math.nan,
    "score_after": math.nan,
}


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _steering(folder: Path) -> dict[str, Any]:
    """Return what steering.json holds."""
    path = folder / STEERING
    if not path.is_file() and (folder / METRICS).is_file():
        raise DataError(
            f"{folder}: this run is not finished. Go on with it by `tastemaker steer … --resume`."
        )
    if not path.is_file():
        raise DataError(
            f"{folder}: no steered run ({STEERING} is not there). Give a folder that `tastemaker steer` saved."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}). Steer it again.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: must hold an object, not {type(found).__name__}. Steer it again.")
    return found


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of metrics.jsonl. Raises DataError for none, and for the first that is torn."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}). Without its course a run cannot be drawn."
        ) from error
    if not lines:
        raise DataError(f"{path}: is empty: the run took no step. Steer it again.")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DataError(
                f"{path}:{number}: the line is torn ({line[:40]!r}). Remove it, or steer the run again."
            )
        yield row


def _column(rows: list[dict[str, Any]], name: str, path: Path) -> Floats:
    """Return one figure of every line [T]. Raises DataError for a line that lacks it or holds no finite number."""
    for number, row in enumerate(rows, 1):
        value = row.get(name)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise DataError(
                f"{path}:{number}: {name} is {value!r}, not a finite number. Remove the line, or steer again."
            )
    return np.array([row[name] for row in rows], dtype=np.float64)


def _figures(kept: Mapping[str, Any], ending: str) -> dict[str, float]:
    """Return the figures of the start or of the policy that was kept; those that were not measured are left out."""
    named = {key.removesuffix(ending): value for key, value in kept.items() if key.endswith(ending)}
    found = {key: float(value) for key, value in named.items() if value is not None}
    if not {"score", "kl"} <= found.keys():
        raise KeyError(f"score{ending} or kl{ending}")
    return found


NS = (1, 2, 4, 8, 16, 32, 64)
_TIMES = 16
"""Completions of all prompts together, as a multiple of the largest n, where nothing else is asked for."""


def powers_of_two(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4 … and `most` at their end. Raises UsageError for fewer than 1."""
    if most < 1:
        raise UsageError(f"best of {most}: ask for 1 or more.")
    return tuple(sorted({most, *(2**power for power in range(most.bit_length()))}))


@dataclass(frozen=True, eq=False)
class BestOfCurve:
    """What the best of n is worth, for several n in rising order, 1 among them [M].

    series: by name, the expected score of the best by score, and its held-out score and gold where they were measured
    [M]. completions: of each prompt, that the estimates rest on.
    """

    ns: tuple[int, ...]
    series: Mapping[str, Floats]
    prompts: int
    completions: int

    @property
    def kl(self) -> Floats:
        """KL from the policy that wrote, ln n − (n − 1)/n, nats [M]."""
        return np.array([best_of_kl(n) for n in self.ns])

    @property
    def fits(self) -> dict[str, Fitted | None]:
        """A curve d(α − βd) of each series' gains over n = 1."""
        return {
            name: fitted(BEST_OF, self.kl, values - values[0])
            for name, values in self.series.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the points, JSON-ready."""
        columns = {
            "n": self.ns,
            "kl": self.kl.tolist(),
            **{k: v.tolist() for k, v in self.series.items()},
        }
        points = [
            dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ]
        return {"prompts": self.prompts, "completions": self.completions, "points": points}


def best_of_curve(
    policy: "Policy",
    reward: Any,
    prompts: Prompt | Sequence[Prompt] = "",
    *,
    gold: Any = None,
    held_out: Any = None,
    ns: Sequence[int] = NS,
    completions: int | None = None,
    sampling: "Sampling | None" = None,
    seed: int = 0,
) -> BestOfCurve:
    """Measure what the best of n by a reward is worth, for every n, from one pool of completions of each prompt.

    reward, gold, held_out: as `steer` takes them. completions: of each prompt; left out, 16 times the largest n of all
    prompts together, and never fewer than that n of one. Every estimate is without bias: the mean over all choices of n
    among the pool. Raises UsageError for an n below 1 or above the completions, RewardError for a reward that fails.
    """
    from tastemaker.gpt.policy import as_prompts
    from tastemaker.rl.text.rewards import checked, reward_of

    found, wanted = as_prompts(prompts), tuple(sorted({1, *ns}))
    if not found:
        raise UsageError(
            "no prompts: give some texts to continue, or leave them out to begin texts."
        )
    each = completions or max(wanted[-1], -(-_TIMES * wanted[-1] // len(found)))
    if wanted[0] < 1 or wanted[-1] > each:
        raise UsageError(
            f"best of {wanted[0]} to {wanted[-1]} among {each} completions: n must be 1 to that many."
        )
    measures = {"score": reward, "held_out": held_out, "gold": gold}
    rewards = {name: reward_of(spec) for name, spec in measures.items() if spec is not None}
    written = policy.complete(found, samples=each, sampling=sampling, seed=seed)
    scores = {
        name: np.reshape(checked(r, written), (len(found), each)) for name, r in rewards.items()
    }
    series = {
        name: np.array([_mean_best(scores["score"], s, n) for n in wanted])
        for name, s in scores.items()
    }
    return BestOfCurve(wanted, series, len(found), each)


def _mean_best(by: Floats, values: Floats, n: int) -> float:
    """Return the mean over prompts of what the best of n is worth. by, values: [prompts, completions]."""
    return float(np.mean([expected_best(p, v, n) for p, v in zip(by, values, strict=True)]))
