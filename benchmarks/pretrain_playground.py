"""`pretrain playground --size tiny`: how long it takes, and whether what it writes are reviews.

    python benchmarks/pretrain_playground.py --seeds 0 1 2

500 samples are drawn as the policy recommends, `min_p` 0.03 (tokens less than 3 % as likely as the
likeliest are left out), and plainly, at temperature 1. Well-formed is what the playground's own
reader can read; gold is its score, 0 to 10, beside the corpus's; copied is the share that stands in
the corpus as a whole. The last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import spread

import tastemaker as tm
from tastemaker.gpt import PLAYGROUND_REVIEWS
from tastemaker.playground import gold_score, is_well_formed, reviews

SAMPLES = 500


def _measured(
    policy: Any, corpus: set[str], gold: float, sampling: tm.Sampling, seed: int
) -> dict[str, float]:
    sampling = replace(sampling, max_tokens=200)
    texts = [
        c.text
        for c in policy.complete("", samples=SAMPLES, sampling=sampling, seed=seed)
    ]
    return {
        "well_formed": statistics.fmean(map(is_well_formed, texts)),
        "gold_difference": statistics.fmean(map(gold_score, texts)) - gold,
        "copied": statistics.fmean(text in corpus for text in texts),
        "distinct": len(set(texts)) / len(texts),
    }


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--language", default="en", choices=["en", "zh"])
    parser.add_argument("--reviews", type=int, default=PLAYGROUND_REVIEWS)
    parser.add_argument("--out", type=Path, help="keep the first seed's GPT here")
    given = parser.parse_args()
    corpus = reviews(given.reviews, language=given.language)
    gold = statistics.fmean(map(gold_score, corpus[:5000]))
    runs = []
    for seed in given.seeds:
        started = time.perf_counter()
        policy = tm.pretrain(
            tm.Documents([f"playground:{given.language}:{given.reviews}"]),
            size="tiny",
            seed=seed,
        )
        run: dict[str, Any] = {"seconds": time.perf_counter() - started}
        run |= {
            name: policy.figures[name]
            for name in ("perplexity", "ngram_perplexity", "parameters", "tokens")
        }
        for name, sampling in (
            ("recommended", policy.sampling),
            ("plain", tm.Sampling()),
        ):
            of_sampling = _measured(policy, set(corpus), gold, sampling, seed)
            run |= {f"{name}_{figure}": value for figure, value in of_sampling.items()}
        sys.stderr.write(json.dumps(run) + "\n")
        if given.out is not None and not runs:
            policy.save(given.out)
        runs.append(run)
    figures = {name: spread([run[name] for run in runs]) for name in runs[0]}
    result = {
        "benchmark": "pretrain_playground",
        "language": given.language,
        "gold": round(gold, 3),
        **figures,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
