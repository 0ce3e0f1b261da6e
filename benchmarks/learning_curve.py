"""The learning curve of IMDB: accuracy on test reviews against reviews learned from, and against seconds.

    python benchmarks/learning_curve.py --plot docs/images/learning_curve.png      # about ten minutes

Fits `linear` and `minilm` on growing random parts of the 25,000 training reviews and measures each on the same test
reviews. The last line is one JSON object with every point. `--full-minilm FOLDER SECONDS` takes the model that
`benchmarks/imdb.py --backbone minilm --out FOLDER` left, so that the long fit need not run twice.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import tastemaker as tm

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT.parent / "shared" / "data" / "aclImdb.tar.gz"
SIZES = {"linear": [250, 1000, 4000, 12000, 25000], "minilm": [250, 1000, 4000]}
TARGETS: dict[str, Any] = {"linear": "label", "minilm": None}  # what each learns labels from best: see EXPERIMENTS.md
COLOURS = {"linear": "#E69F00", "minilm": "#0072B2"}


def main() -> None:
    """Fit, measure, plot, print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ARCHIVE)
    options.add_argument("--test", type=int, default=2000, help="test reviews that measure every point")
    options.add_argument("--full-minilm", nargs=2, metavar=("FOLDER", "SECONDS"))
    options.add_argument("--plot", type=Path)
    given = options.parse_args()
    test = tm.read(given.data, split="test", target="label", limit=given.test)
    points: list[dict[str, Any]] = []
    if given.full_minilm:
        folder, seconds = given.full_minilm
        points.append(_point("minilm", 25000, float(seconds), tm.load(folder), test))
    for backbone, sizes in SIZES.items():
        for size in sizes:
            if any(p["backbone"] == backbone and p["reviews"] == size for p in points):
                continue
            judgements = tm.read(given.data, split="train", target=TARGETS[backbone], limit=size)
            started = time.monotonic()
            model = tm.fit(judgements, backbone=backbone)
            seconds = time.monotonic() - started
            points.append(_point(backbone, size, seconds, model, test))
            print(points[-1], file=sys.stderr)
    if given.plot:
        _plot(points, given.plot)
    print(json.dumps({"benchmark": "learning_curve", "test_reviews": given.test, "points": points}))


def _point(backbone: str, reviews: int, seconds: float, model: tm.RewardModel, test: list[Any]) -> dict[str, Any]:
    accuracy = tm.evaluate(model, test).as_dict()["accuracy"]
    return {"backbone": backbone, "reviews": reviews, "seconds": round(seconds, 1), "accuracy": accuracy}


def _plot(points: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against reviews and against seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for backbone, colour in COLOURS.items():
        mine = sorted((p for p in points if p["backbone"] == backbone), key=lambda p: p["reviews"])
        for axis, key in zip(axes, ("reviews", "seconds"), strict=True):
            axis.plot([p[key] for p in mine], [p["accuracy"] for p in mine], "o-", color=colour, label=backbone)
    for axis, label in zip(axes, ("reviews learned from", "seconds on two cores, baseline included"), strict=True):
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("accuracy on test reviews")
    axes[0].set_yticks(np.arange(0.70, 0.96, 0.05))
    axes[0].legend(frameon=False)
    figure.suptitle("IMDB: what more reviews and more time buy", x=0.01, ha="left", fontweight="bold")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
