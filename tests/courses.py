"""Steered runs as they lie on disk, made from curves, so that what is fitted and shown is known."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.maths import Floats, best_of_kl
from tastemaker.report import BestOfCurve

STEPS = 40
KLS = np.linspace(0, 6, STEPS) ** 2
SETTINGS: Mapping[str, Any] = {
    "start": "gpt",
    "reward": "taste",
    "prompts": "p",
    "sampling": {"max_tokens": 9},
}


def curve(alpha: float, beta: float, kl: Floats = KLS) -> Floats:
    """Return d(α − β ln d) with d = √KL."""
    d = np.sqrt(kl)
    return np.array([x * (alpha - beta * math.log(x)) if x else 0.0 for x in d])


def steered(
    folder: Path,
    *,
    gold: Floats | None = None,
    held_out: Floats | None = None,
    score: Floats | None = None,
    kl: Floats = KLS,
    text: str = "a film",
    settings: Mapping[str, Any] = SETTINGS,
) -> Path:
    """Write a run whose score and gold lie exactly on curves; it starts at score 0, gold 5."""
    measured = {
        "score": curve(1, 0.05) if score is None else score,
        "held_out": held_out,
        "gold": gold,
    }
    series = {name: values for name, values in measured.items() if values is not None}
    (folder / "run").mkdir(parents=True)
    rows = [
        {"step": i + 1, "kl": kl[i], **{n: v[i] for n, v in series.items()}}
        for i in range(len(kl))
    ]
    (folder / "run" / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows)
    )
    summary: dict[str, Any] = {
        f"{name}_before": float(values[0]) for name, values in series.items()
    }
    summary |= {f"{name}_after": float(values[-1]) for name, values in series.items()}
    sample = {
        "prompt": text,
        "before": text,
        "after": text,
        "score_before": 0.0,
        "score_after": 1.0,
    }
    summary |= {
        "kl_before": 0.0,
        "kl_after": float(kl[-1]),
        "algorithm": "rloo",
        "best_step": 3,
    }
    summary |= {
        "stopped_because": text,
        "settings": dict(settings),
        "samples": [sample],
    }
    (folder / "steering.json").write_text(json.dumps(summary))
    return folder


def best_of() -> BestOfCurve:
    """Return a curve of best of n that lies exactly on d(α − βd)."""
    ns = (1, 2, 4, 8)
    d = np.sqrt([best_of_kl(n) for n in ns])
    return BestOfCurve(
        ns,
        {"score": d * (1 - 0.1 * d), "gold": 5 + d * (2 - 0.5 * d)},
        prompts=2,
        completions=64,
    )
