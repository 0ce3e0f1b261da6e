"""Peak memory of scoring a file of 100,000 and of 1,000,000 short texts.

    python benchmarks/score_memory.py [--format jsonl|csv|tsv|parquet] [--rows 1000000]

Writes the texts into a temporary folder, fits a linear model on 2,000 others, and scores a tenth of
the rows and all of them, each in a process of its own. The last line is one JSON object:

- peak_mb_100k, peak_mb_1m: the largest resident memory in MB, for a tenth and for all of the rows.
- growth: the second over the first, less one.
- second_half_mb: what the second half of all the rows added to the peak. A start-up cost adds
  nothing there, a leak does.
- seconds: of scoring all the rows, with reading and writing, without loading the model.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

GOOD = [
    "wonderful",
    "touching",
    "clever",
    "funny",
    "brilliant",
    "warm",
    "gripping",
    "honest",
    "beautiful",
    "superb",
]
BAD = [
    "boring",
    "clumsy",
    "awful",
    "flat",
    "dreadful",
    "tedious",
    "shallow",
    "loud",
    "pointless",
    "weak",
]
PLAIN = [
    "the",
    "film",
    "plot",
    "acting",
    "music",
    "ending",
    "camera",
    "story",
    "scene",
    "cast",
    "light",
    "of",
    "its",
]


def texts(count: int, seed: int) -> Iterator[tuple[str, bool]]:
    """Yield short reviews and whether they praise."""
    dice = random.Random(seed)
    for number in range(count):
        praises = dice.random() < 0.5
        words = [
            *dice.choices(PLAIN, k=9),
            *dice.choices(GOOD if praises else BAD, k=3),
        ]
        dice.shuffle(words)
        yield f"{' '.join(words)} {number}", praises


def write(path: Path, count: int) -> None:
    """Write a table of texts, a few thousand rows at a time."""
    from tastemaker.data import format_of, writing_rows

    schema = None
    if format_of(path) == "parquet":
        import pyarrow as pa

        schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    rows = []
    with writing_rows(path, format_of(path), ["id", "text"], schema=schema) as put:
        for number, (text, _) in enumerate(texts(count, seed=1), 1):
            rows.append({"id": number, "text": text})
            if len(rows) == 10_000 or number == count:
                put(rows)
                rows = []


def fit(folder: Path) -> None:
    """Fit a linear model and save it."""
    import tastemaker as tm

    tm.fit(
        [tm.Label(text, praises) for text, praises in texts(2_000, seed=0)],
        backbone="linear",
        out=folder,
    )


def peak_mb() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    # getrusage would count the parent's memory too, where this process was forked from it
    if status.exists():
        line = next(
            line for line in status.read_text().splitlines() if line.startswith("VmHWM")
        )
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Watched:
    """A model that notes the peak memory each time it has scored some rows."""

    def __init__(self, model: Any) -> None:
        self.model, self.peaks = model, [0.0]

    def score_all(self, examples: Sequence[Any], *, precision: str = "float32") -> Any:
        """Score, and note the peak."""
        scores = self.model.score_all(examples, precision=precision)
        self.peaks.append(peak_mb())
        return scores


def score(model: Path, source: Path, target: Path) -> None:
    """Score one file and print what it took."""
    import tastemaker as tm

    taste = Watched(tm.load(model))
    start = time.perf_counter()
    done = tm.score_file(taste, source, target)
    seconds, peak = time.perf_counter() - start, peak_mb()
    second_half = peak - taste.peaks[len(taste.peaks) // 2]
    print(
        json.dumps(
            {
                "rows": done.rows,
                "seconds": seconds,
                "peak_mb": peak,
                "second_half_mb": second_half,
            }
        )
    )


def child(*arguments: object) -> dict[str, float]:
    """Run one step of this script in a process of its own and return what it printed."""
    command = [sys.executable, __file__, *map(str, arguments)]
    lines = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.splitlines()
    return json.loads(lines[-1]) if lines else {}


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--format", default="jsonl", choices=["jsonl", "csv", "tsv", "parquet"]
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child("fit", folder / "model")
        results = []
        for count in (given.rows // 10, given.rows):
            source, target = (
                folder / f"in-{count}.{given.format}",
                folder / f"out-{count}.{given.format}",
            )
            child("write", source, count)
            results.append(child("score", folder / "model", source, target))
            print(
                f"{given.format}: {count:,} rows, {source.stat().st_size / 1e6:.0f} MB, "
                f"{results[-1]}",
                file=sys.stderr,
            )
    small, large = results
    result = {
        "rows": int(large["rows"]),
        "peak_mb_100k": round(small["peak_mb"], 1),
        "peak_mb_1m": round(large["peak_mb"], 1),
        "growth": round(large["peak_mb"] / small["peak_mb"] - 1, 4),
        "second_half_mb": round(large["second_half_mb"], 1),
        "seconds": round(large["seconds"], 1),
        "format": given.format,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fit", folder]:
            fit(Path(folder))
        case ["write", path, count]:
            write(Path(path), int(count))
        case ["score", model, source, target]:
            score(Path(model), Path(source), Path(target))
        case _:
            main()
