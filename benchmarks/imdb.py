"""IMDB: `tastemaker fit` and `evaluate --split test`, as a user runs them.

    python benchmarks/imdb.py --backbone linear --target label    # about a minute
    python benchmarks/imdb.py --backbone linear --target rating   # grades
    python benchmarks/imdb.py --backbone minilm                   # both; half an hour on two cores

The peer, in the same run: scikit-learn's TfidfVectorizer(1, 2) and LogisticRegression, the usual
script. The last line is one JSON object: figures, wall seconds and peak memory (MiB, the largest of
the processes).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT.parent / "shared" / "data" / "aclImdb.tar.gz"
PEER = """
import json, sys, tastemaker as tm
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
train, test = (tm.read(sys.argv[1], split=s, target="label") for s in ("train", "test"))
vectors = TfidfVectorizer(ngram_range=(1, 2))
model = LogisticRegression(C=10, max_iter=1000).fit(
    vectors.fit_transform(j.text for j in train), [j.positive for j in train]
)
features = vectors.transform(j.text for j in test)
accuracy = model.score(features, [j.positive for j in test])
print(json.dumps({"accuracy": accuracy}))
"""


def _timed(command: list[str]) -> tuple[dict[str, Any], float]:
    """Run a command that prints one JSON object; return it and the wall seconds."""
    print("$", " ".join(command[:9]), file=sys.stderr)
    started = time.monotonic()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]), time.monotonic() - started


def main() -> None:
    """Run both and print the JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--backbone", default="linear")
    options.add_argument("--data", type=Path, default=ARCHIVE)
    options.add_argument(
        "--target", choices=["label", "rating"], help="one sort of judgement alone"
    )
    options.add_argument("--limit", type=int, help="only so many reviews to learn from")
    options.add_argument("--out", type=Path, help="keep the model here")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--no-peer", action="store_true")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = given.out or Path(folder) / "taste"
        more = ["--limit", str(given.limit)] if given.limit else []
        more += ["--target", given.target] if given.target else []
        fit = [
            "fit",
            str(given.data),
            "--backbone",
            given.backbone,
            "--out",
            str(out),
            "--seed",
            str(given.seed),
        ]
        tastemaker = [sys.executable, "-m", "tastemaker"]
        _, fit_seconds = _timed([*tastemaker, *fit, *more, "--json"])
        evaluate = ["evaluate", str(out), str(given.data), "--split", "test", "--json"]
        printed, evaluate_seconds = _timed([*tastemaker, *evaluate])
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        peer, peer_seconds = (
            ({}, 0.0)
            if given.no_peer
            else _timed([sys.executable, "-c", PEER, str(given.data)])
        )
    figures = ["accuracy", "accuracy_interval", "auroc", "log_loss", "ece", "n"]
    figures += ["mae", "pearson", "pearson_interval", "spearman"]
    line = {
        "benchmark": "imdb",
        "backbone": given.backbone,
        "target": given.target,
        "limit": given.limit,
        "seed": given.seed,
        **{name: printed.get(name) for name in figures},
        "linear_baseline": printed.get("linear_baseline"),
        "fit_seconds": round(fit_seconds, 1),
        "evaluate_seconds": round(evaluate_seconds, 1),
        "peak_mb": round(peak),
        "peer": {
            "what": "TfidfVectorizer(1,2) + LogisticRegression",
            **peer,
            "seconds": round(peer_seconds, 1),
        },
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
