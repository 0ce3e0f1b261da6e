"""The data of the KL–reward frontier: read steered runs from disk, and measure best-of-n."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tastemaker.data.chats import messages_of
from tastemaker.data.judgements import Prompt
from tastemaker.errors import DataError, UsageError
from tastemaker.maths.overoptimisation import (
    BEST_OF,
    Fitted,
    best_of_kl,
    expected_best,
    fitted,
)
from tastemaker.maths.statistics import Floats
from tastemaker.readable import notebook_html

if TYPE_CHECKING:  # reading runs needs no torch
    from tastemaker.gpt.policy import Policy
    from tastemaker.gpt.sampling import Sampling
    from tastemaker.rl.text.prompts import Row

SERIES = ("score", "held_out", "gold")
"""The measures of a run's completions, the most reliable last.

The score is what the run maximises. The others stand for the truth.
"""

_STEERING = "steering.json"
_METRICS = Path("run") / "metrics.jsonl"
_POINTS = 40  # points of a run that are drawn and fitted, at most
_NO_SAMPLE = {
    "prompt": "",
    "before": "",
    "after": "",
    "score_before": math.nan,
    "score_after": math.nan,
}


# --- steered runs -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class SteeredRun:
    """The results of a steered run.

    steps: numbered from 1, [T]. A step is measured before its update: the first one is the start.
    kl: nats per completion [T].
    series: by name, the mean over the completions of each step [T].
    before, after: figures of the start and of the saved policy, on held-out samples.
    samples: completions of both to the same prompts. settings: of the run. note: a sentence that
    whoever steered has to say about it.
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
    note: str = ""

    @property
    def truth(self) -> str | None:
        """The series that stands for the truth: gold, else the held-out score, else None."""
        names = [name for name in SERIES[1:] if name in self.series]
        return names[-1] if names else None

    @property
    def is_steered_by_truth(self) -> bool:
        """Whether the score itself is what stands for the truth."""
        truth = self.truth
        return truth is not None and np.array_equal(
            self.series["score"], self.series[truth]
        )

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts of the samples, each once. Raises DataError for unreadable messages."""
        where = f"{self.folder / _STEERING}, samples"
        prompts: list[Prompt] = []
        for sample in self.samples:
            if "messages" in sample:
                prompts.append(
                    messages_of(sample["messages"], where, "messages")
                )
            else:
                prompts.append(sample["prompt"])
        return list(dict.fromkeys(prompts))

    def smoothed(self, values: Floats) -> Floats:
        """Return the means of at most 40 groups of consecutive steps."""
        groups = np.array_split(values, min(_POINTS, len(values)))
        return np.array([group.mean() for group in groups])


def read_run(folder: str | Path, *, name: str | None = None) -> SteeredRun:
    """Read the folder of a steered run. name: on screen; the folder's by default.

    Raises DataError for a folder that holds no steered run, an unfinished run, and files that
    are damaged or lack figures.
    """
    folder = Path(folder)
    results = _read_results(folder)
    metrics = folder / _METRICS
    rows = list(_read_rows(metrics))
    measured = set(SERIES).intersection(*rows)
    names = [name for name in SERIES if name in measured]
    try:
        if "score" not in names:
            _column(rows, "score", metrics)
        return SteeredRun(
            name=name or folder.resolve().name,
            folder=folder,
            algorithm=str(results["algorithm"]),
            steps=_column(rows, "step", metrics),
            kl=_column(rows, "kl", metrics),
            series={name: _column(rows, name, metrics) for name in names},
            before=_figures(results, "_before"),
            after=_figures(results, "_after"),
            best_step=int(results["best_step"]),
            stopped_because=str(results["stopped_because"]),
            samples=[
                {**_NO_SAMPLE, **sample} for sample in results["samples"]
            ],
            settings=dict(results["settings"]),
            note=str(results.get("note", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = (
            f"{error} is missing"
            if isinstance(error, KeyError)
            else str(error)
        )
        raise DataError(
            f"{folder}: not what `tastemaker steer` writes ({reason}). Steer it again."
        ) from error


def _read_results(folder: Path) -> dict[str, Any]:
    """Read steering.json."""
    path = folder / _STEERING
    if not path.is_file():
        if (folder / _METRICS).is_file():
            raise DataError(
                f"{folder}: this run is not finished. Continue it by `tastemaker steer … --resume`."
            )
        raise DataError(
            f"{folder}: no steered run ({_STEERING} is missing). "
            "Give a folder that `tastemaker steer` saved."
        )
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({error}). Steer it again."
        ) from error
    if not isinstance(results, dict):
        raise DataError(
            f"{path}: must hold an object, not {type(results).__name__}. Steer it again."
        )
    return results


def _read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of metrics.jsonl. Raises DataError for none, and for a damaged one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}). Without it the run cannot be drawn: steer it again."
        ) from error
    if not lines:
        raise DataError(
            f"{path}: is empty: the run took no step. Steer it again."
        )
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise DataError(
                f"{path}:{number}: the line is damaged ({line[:40]!r}). "
                "Remove it, or steer the run again."
            )
        yield row


def _column(rows: list[dict[str, Any]], name: str, path: Path) -> Floats:
    """Return one figure of all lines [T]. Raises DataError where it is no finite number."""
    for number, row in enumerate(rows, 1):
        value = row.get(name)
        is_number = isinstance(value, int | float) and not isinstance(
            value, bool
        )
        if value is None or not is_number or not math.isfinite(value):
            raise DataError(
                f"{path}:{number}: {name} is {value!r}, not a finite number. "
                "Remove the line, or steer again."
            )
    return np.array([row[name] for row in rows], dtype=np.float64)


def _figures(results: Mapping[str, Any], ending: str) -> dict[str, float]:
    """Return the figures whose key has an ending; those that were not measured are left out."""
    figures = {}
    for key, value in results.items():
        if key.endswith(ending) and value is not None:
            figures[key.removesuffix(ending)] = float(value)
    for key in ("score", "kl"):
        if key not in figures:
            raise KeyError(key + ending)
    return figures


# --- best of n --------------------------------------------------------------------------------

NS = (1, 2, 4, 8, 16, 32, 64)
# completions of all prompts together, as a multiple of the largest n
_POOL = 16


def powers_of_two(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4 … and `most` at the end. Raises UsageError for less than 1."""
    if most < 1:
        raise UsageError(f"best of {most}: give 1 or more.")
    powers = {2**power for power in range(most.bit_length())}
    return tuple(sorted({most, *powers}))


@dataclass(frozen=True, eq=False)
class BestOfCurve:
    """The expected result of best-of-n sampling, for several n in rising order, 1 among them [M].

    series: by name, what the completion with the best score is worth [M].
    completions: of each prompt, that the estimates are made from.
    """

    ns: tuple[int, ...]
    series: Mapping[str, Floats]
    prompts: int
    completions: int

    @property
    def kl(self) -> Floats:
        """Upper bound of best-of-n's KL from the policy, ln n − (n − 1)/n, in nats [M]."""
        return np.array([best_of_kl(n) for n in self.ns])

    @property
    def fits(self) -> dict[str, Fitted | None]:
        """By series, a curve d(α − βd) fitted to the gains over n = 1."""
        fits = {}
        for name, values in self.series.items():
            fits[name] = fitted(BEST_OF, self.kl, values - values[0])
        return fits

    def _repr_html_(self) -> str:
        """Return the points as a table, for a notebook."""
        points = self.as_dict()["points"]
        rows = [list(points[0])]
        for point in points:
            rows.append([f"{value:.4g}" for value in point.values()])
        return notebook_html([], rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the points, JSON-ready."""
        points = []
        for i, n in enumerate(self.ns):
            values = {
                name: float(series[i]) for name, series in self.series.items()
            }
            points.append({"n": n, "kl": float(self.kl[i]), **values})
        return {
            "prompts": self.prompts,
            "completions": self.completions,
            "points": points,
        }


def best_of_curve(
    policy: "Policy",
    reward: Any,
    prompts: "Prompt | Sequence[Prompt | Row]" = "",
    *,
    gold: Any = None,
    held_out: Any = None,
    ns: Sequence[int] = NS,
    completions: int | None = None,
    sampling: "Sampling | None" = None,
    seed: int = 0,
) -> BestOfCurve:
    """Measure best-of-n sampling by a reward for several n, from one pool of completions.

    reward, prompts, gold, held_out: as `steer` takes them.
    completions: of each prompt. The default is 16 times the largest n over all prompts together,
    and at least the largest n of each prompt.

    The estimates are unbiased: means over all choices of n completions from the pool. Raises
    UsageError for an n below 1 or above the completions, RewardError for a reward that fails.
    """
    from tastemaker.rl.text.prompts import divided, with_columns
    from tastemaker.rl.text.rewards import (
        beside,
        check_calls,
        checked,
        reward_of,
    )

    prompt_list, columns = divided(prompts)
    if not prompt_list:
        raise UsageError(
            "no prompts: give some texts to continue, or leave them out."
        )
    sizes = tuple(sorted({1, *ns}))
    smallest, largest = sizes[0], sizes[-1]
    pool = completions or max(
        largest, math.ceil(_POOL * largest / len(prompt_list))
    )
    if smallest < 1 or largest > pool:
        raise UsageError(
            f"best of {smallest} to {largest} among {pool} completions: n must be 1 to {pool}."
        )
    device = policy.module.device.type
    loading = beside(device)
    rewards = {"score": reward_of(reward, **loading)}
    others = {"held_out": held_out, "gold": gold}
    for name, spec in others.items():
        if spec is not None:
            rewards[name] = reward_of(spec, **loading)
    check_calls(rewards.values(), columns)
    written = policy.complete(
        prompt_list, samples=pool, sampling=sampling, seed=seed
    )
    if columns:
        rows = [row for row in columns for _ in range(pool)]
        written = with_columns(written, rows)
    shape = (len(prompt_list), pool)
    values = {}
    for name, reward_function in rewards.items():
        values[name] = np.reshape(checked(reward_function, written), shape)
    series = {}
    for name, of_name in values.items():
        means = [_mean_best(values["score"], of_name, n) for n in sizes]
        series[name] = np.array(means)
    return BestOfCurve(sizes, series, len(prompt_list), pool)


def _mean_best(scores: Floats, values: Floats, n: int) -> float:
    """Return the mean over prompts of the value of the best of n by score.

    scores, values: [prompts, completions].
    """
    best = []
    for of_scores, of_values in zip(scores, values, strict=True):
        best.append(expected_best(of_scores, of_values, n))
    return float(np.mean(best))
