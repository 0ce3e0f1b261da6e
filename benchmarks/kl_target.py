"""`steer --kl-target`: does the KL reach its target, and stay there?

    python benchmarks/kl_target.py                      # all algorithms, three seeds
    python benchmarks/kl_target.py --algorithms grpo ppo --seeds 0

A small GPT, trained for a moment on the playground's reviews, is steered by a reward without bounds
(a count of the letter "e") towards each of some targets, with the defaults of `steer`. Measured is
the mean KL of the rollouts in the last third of each run, as a share of the target; it has reached
the target where that is from 0.7 to 1.3. The last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import small_gpt

import tastemaker as tm
from tastemaker.gpt import Policy, Sampling

ALGORITHMS = ("reinforce", "a2c", "trpo", "ppo", "rloo", "grpo", "winners")
TOLERANCE = 0.3


def letters(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Count a letter."""
    return [float(text.count("e")) for text in completions]


def reached(
    policy: Policy, algorithm: str, target: float, seed: int, steering: tm.Steering
) -> dict[str, Any]:
    """Return a run's KL in its last third as a share of the target, and the course of it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        steered = tm.steer(
            policy,
            letters,
            ["The film", "A"],
            algorithm=algorithm,
            kl=tm.KL(target=target),
            sampling=Sampling(max_tokens=24),
            steering=steering,
            seed=seed,
            out=Path(folder) / "out",
        )
        lines = (
            (Path(folder) / "out" / "run" / "metrics.jsonl").read_text().splitlines()
        )
    rows = [json.loads(line) for line in lines]
    nats = [row["kl"] for row in rows]
    share = statistics.fmean(nats[2 * len(nats) // 3 :]) / target
    every = max(1, len(nats) // 15)
    return {
        "algorithm": algorithm,
        "target": target,
        "seed": seed,
        "share": round(share, 3),
        "has_reached": abs(share - 1) <= TOLERANCE,
        "kl": [round(value, 2) for value in nats[::every]],
        "kl_coef": [float(f"{row['kl_coef']:.3g}") for row in rows[::every]],
        "score_before": round(steered.figures["score_before"], 3),
        "score_after": round(steered.figures["score_after"], 3),
        "steps": len(nats),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Print a line for each run, and the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS)
    parser.add_argument("--targets", nargs="+", type=float, default=[4.0, 12.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=90)
    parser.add_argument("--batch", type=int, default=64)
    chosen = parser.parse_args()
    steering = tm.Steering(steps=chosen.steps, batch=chosen.batch, measured=64)
    policy = small_gpt()
    runs = []
    for algorithm in chosen.algorithms:
        for target in chosen.targets:
            for seed in chosen.seeds:
                run = reached(policy, algorithm, target, seed, steering)
                sys.stderr.write(f"{json.dumps(run)}\n")
                runs.append(run)
    result = {
        "benchmark": "kl_target",
        "runs": len(runs),
        "reached": sum(run["has_reached"] for run in runs),
        "shares": {
            f"{run['algorithm']} {run['target']:g} {run['seed']}": run["share"]
            for run in runs
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
