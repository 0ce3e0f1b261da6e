"""Each verb's time in this checkout against another checkout, in turns.

    python benchmarks/before_after.py ../before
    python benchmarks/before_after.py ../before --verbs steer play --repeats 5

Each verb does a fixed piece of work in a process of its own, once to warm up and twice timed; the
faster of the two counts. The two checkouts take turns, so that a slower minute of the machine hits
both. Reported are the medians of the seconds, and `speed`: the median over the repeats of the other
checkout's seconds divided by this one's (1: as fast; above 1: faster). `cpu_speed` is the same for
processor seconds, which other work on the machine disturbs less. The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]

PREPARE = """
import gc, resource, sys, time
import tastemaker as tm
try:
    from tastemaker.playground import gold_score, reviews
except ImportError:  # an older layout
    from tastemaker.data.playground import gold_score, reviews

def ratings(count):
    return [tm.Rating(text, gold_score(text)) for text in reviews(count)]

def length(prompts, texts):
    return [float(len(text)) for text in texts]

def rows_file(ending):
    import csv, json, os, tempfile
    words = "the film was a long and rather slow story of two friends, told with care".split()
    folder = tempfile.mkdtemp(dir=os.environ["ROWS"])
    path = os.path.join(folder, "rows." + ending)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if ending == "csv":
            writer.writerow(["id", "text", "label", "date"])
        for number in range(int(os.environ["COUNT"])):
            text = " ".join(words[(number + k) % len(words)] for k in range(30))
            row = {"id": number, "text": f"{number} {text}", "label": number % 2}
            row["date"] = "2026-01-02"
            if ending == "csv":
                writer.writerow(row.values())
            else:
                file.write(json.dumps(row) + "\\n")
    return path
"""
WORK = {
    "fit_linear": 'tm.fit(judgements, backbone="linear")',
    "fit_tiny": 'tm.fit(judgements, backbone="tiny", epochs=1)',
    "fit_minilm": 'tm.fit(judgements, backbone="minilm", epochs=1)',
    "pretrain": 'tm.pretrain(texts, size="tiny")',
    "steer": "tm.steer(policy, length, sampling=tm.Sampling(max_tokens=64), "
    "steering=tm.Steering(steps=10, windows=1, measured=2))",
    "play": 'tm.play("CartPole-v1", steps=20_000, episodes=1)',
    "read_csv": "tm.read(path)",
    "read_jsonl": "tm.read(path)",
}
# made before the clock starts: the playground's own speed is not the verb's
BEFORE_WORK = {
    "fit_linear": "judgements = ratings(3000)",
    "fit_tiny": "judgements = ratings(800)",
    "fit_minilm": "judgements = ratings(120)",
    "pretrain": "texts = list(reviews(2000))",
    "steer": 'policy = tm.pretrain(reviews(300), size="tiny")',
    "read_csv": "path = rows_file('csv')",
    "read_jsonl": "path = rows_file('jsonl')",
}
TIMED = """
def used():
    return resource.getrusage(resource.RUSAGE_SELF)

def cpu():
    return used().ru_utime + used().ru_stime

{before}
{work}
best = []
for _ in range(2):
    gc.collect()
    wall, processor = time.perf_counter(), cpu()
    {work}
    best.append((time.perf_counter() - wall, cpu() - processor))
sys.stdout.write("{{:f}} {{:f}}".format(*min(best)))
"""


def seconds_of(verb: str, checkout: Path) -> tuple[float, float]:
    """Return the wall and processor seconds of a verb's work in a checkout."""
    code = PREPARE + TIMED.format(work=WORK[verb], before=BEFORE_WORK.get(verb, ""))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(checkout)},
        cwd=checkout,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    wall, processor = done.stdout.split()[-2:]
    return float(wall), float(processor)


def compare(verb: str, other: Path, repeats: int) -> dict[str, Any]:
    """Return the medians of both checkouts' seconds, and the median ratios."""
    this_seconds, other_seconds = [], []
    for _ in range(repeats):
        other_seconds.append(seconds_of(verb, other))
        this_seconds.append(seconds_of(verb, HERE))
    pairs = list(zip(other_seconds, this_seconds, strict=True))
    ratios = [before[0] / now[0] for before, now in pairs]
    cpu_ratios = [before[1] / now[1] for before, now in pairs]
    return {
        "seconds": round(statistics.median(wall for wall, _ in this_seconds), 2),
        "other_seconds": round(statistics.median(wall for wall, _ in other_seconds), 2),
        "speed": round(statistics.median(ratios), 3),
        "speeds": [round(ratio, 3) for ratio in ratios],
        "cpu_speed": round(statistics.median(cpu_ratios), 3),
    }


def main() -> None:
    """Compare the verbs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("other", type=Path, help="the checkout to compare with")
    parser.add_argument("--verbs", nargs="+", choices=list(WORK), default=list(WORK))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--rows", type=int, default=100_000, help="of files that are read"
    )
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"ROWS": folder, "COUNT": str(options.rows)}
        for verb in options.verbs:
            results[verb] = compare(verb, options.other.resolve(), options.repeats)
            print(f"{verb}: {results[verb]}", file=sys.stderr, flush=True)
    print(json.dumps({"repeats": options.repeats, "verbs": results}))


if __name__ == "__main__":
    main()
