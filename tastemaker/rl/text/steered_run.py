"""What a steered run left on disk, read as data: its course, its figures, its samples. Nothing is loaded or run."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data.judgements import Prompt
from tastemaker.data.values import messages_of
from tastemaker.errors import DataError
from tastemaker.maths.statistics import Floats

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
