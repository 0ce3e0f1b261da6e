"""The learning curve of IMDB: accuracy on test reviews against reviews learned from, and against seconds.

    python benchmarks/learning_curve.py --plot docs/images/learning_curve.png      # about half an hour

Fits `linear` and `minilm` on growing random parts of the 25,000 training reviews and measures each on the same test
reviews. The last line is one JSON object with every point; `--add` puts in points measured before (a JSON line of
benchmarks/imdb.py), so that the long full fit need not run twice.
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
SIZES = {"linear": [250, 500, 1000, 2000, 4000, 8000, 16000, 25000], "minilm": [250, 500, 1000, 2000, 4000]}
COLOURS = {"linear": "#E69F00", "minilm": "#0072B2"}


def main() -> None:
    """Fit, measure, plot, print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ARCHIVE)
    options.add_argument("--test", type=int, default=2000, help="test reviews that measure every point")
    options.add_argument("--add", type=Path, action="append", default=[], help="JSON lines of benchmarks/imdb.py")
    options.add_argument("--plot", type=Path)
    given = options.parse_args()
    test = tm.read(given.data, split="test", target="label", limit=given.test)
    points = [_added(json.loads(path.read_text().splitlines()[-1])) for path in given.add]
    for backbone, sizes in SIZES.items():
        for size in sizes:
            if any(p["backbone"] == backbone and p["reviews"] == size for p in points):
                continue
            judgements = tm.read(given.data, split="train", limit=size)
            started = time.monotonic()
            model = tm.fit(judgements, backbone=backbone)
            seconds = time.monotonic() - started
            found = tm.evaluate(model, test).as_dict()
            points.append(
                {"backbone": backbone, "reviews": size, "seconds": round(seconds, 1), "accuracy": found["accuracy"]}
            )
            print(points[-1], file=sys.stderr)
    if given.plot:
        _plot(points, given.plot)
    print(json.dumps({"benchmark": "learning_curve", "test_reviews": given.test, "points": points}))


def _added(line: dict[str, Any]) -> dict[str, Any]:
    reviews = line["limit"] or 25000
    names = {"backbone": line["backbone"], "reviews": reviews, "seconds": line["fit_seconds"]}
    return {**names, "accuracy": line["accuracy"]}


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
