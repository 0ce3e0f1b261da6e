"""The learning curve of IMDB, linear and MiniLM: accuracy against reviews and against seconds.

    python benchmarks/imdb.py --backbone minilm --out taste           # half an hour
    python benchmarks/learning_curve.py --run taste --plot docs/images/learning_curve.png

MiniLM's points are the held-out evaluations of that one run: a pass that reads every review once is
its own learning curve. `linear` is fitted anew on growing parts of the same training reviews. All
points measure the same 1,000 held-out reviews, so an accuracy of 0.9 is known to ± 0.019. The last
line is one JSON object with every point.
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
SIZES = [250, 500, 1000, 2000, 4000, 8000, 16000, 24000]
HELD_OUT = 1000  # what `fit` holds out of so many texts
COLOURS = {"linear": "#E69F00", "minilm": "#0072B2"}


def main() -> None:
    """Read the run, fit the linear models, plot, print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=ARCHIVE)
    options.add_argument(
        "--run",
        type=Path,
        required=True,
        help="the model that imdb.py --backbone minilm left",
    )
    options.add_argument("--plot", type=Path)
    given = options.parse_args()
    points = _read_run(given.run)
    train, held_out = tm.split(tm.read(given.data), held_out=HELD_OUT, seed=0)
    labels = [j for j in train if isinstance(j, tm.Label)]
    order = np.random.default_rng(0).permutation(len(labels))
    for size in SIZES:
        started = time.monotonic()
        model = tm.fit([labels[i] for i in order[:size]], backbone="linear")
        seconds = time.monotonic() - started
        accuracy = tm.evaluate(
            model, [j for j in held_out if isinstance(j, tm.Label)]
        ).as_dict()["accuracy"]
        points.append(
            {
                "backbone": "linear",
                "reviews": size,
                "seconds": round(seconds, 1),
                "accuracy": accuracy,
            }
        )
        print(points[-1], file=sys.stderr)
    if given.plot:
        _plot(points, given.plot)
    print(
        json.dumps(
            {"benchmark": "learning_curve", "held_out": HELD_OUT, "points": points}
        )
    )


def _read_run(folder: Path) -> list[dict[str, Any]]:
    """Return MiniLM's points: reviews and seconds of training until each held-out evaluation."""
    batch = tm.load(folder).contract.settings["training"]["batch_size"]
    points, seconds = [], 0.0
    for line in (
        (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    ):
        row = json.loads(line)
        seconds += batch / row["texts_per_second"]
        if "held_out_accuracy" in row:
            where = {"reviews": row["step"] * batch, "seconds": round(seconds, 1)}
            points.append(
                {"backbone": "minilm", **where, "accuracy": row["held_out_accuracy"]}
            )
    return points


def _plot(points: list[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against reviews and against seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for backbone, colour in COLOURS.items():
        mine = sorted(
            (p for p in points if p["backbone"] == backbone), key=lambda p: p["reviews"]
        )
        for axis, key in zip(axes, ("reviews", "seconds"), strict=True):
            axis.plot(
                [p[key] for p in mine],
                [p["accuracy"] for p in mine],
                "o-",
                color=colour,
                label=backbone,
            )
    for axis, label in zip(
        axes, ("reviews learned from", "seconds of training on two cores"), strict=True
    ):
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel(f"accuracy on the same {HELD_OUT:,} held-out reviews")
    axes[0].legend(frameon=False)
    figure.suptitle(
        "IMDB: what more reviews and more time buy",
        x=0.01,
        ha="left",
        fontweight="bold",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
