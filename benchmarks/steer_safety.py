"""`steer` with rewards that tempt it: is what it saves within `--most-kl`, and better?

    python benchmarks/steer_safety.py      # all algorithms and rewards, three seeds
    python benchmarks/steer_safety.py --algorithms grpo --rewards rare --seeds 0

A small GPT, trained for a moment on the playground's reviews, is steered with the defaults of
`steer` and a small limit by

    unbounded   a count of the letter "e"
    truth       1 for a text with a "z", else 0
    rare        1 for a text with a "q", else 0, which few texts have
    shorter     minus the length
    heavy       a count of "e", and a million more in one text of 200, whatever it says

Measured is the KL of what was saved, and the gain of its score, in standard deviations of scores
at the start. The last line is one JSON object.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from common import small_gpt

import tastemaker as tm
from tastemaker.gpt import Policy, Sampling

ALGORITHMS = (
    "reinforce",
    "a2c",
    "trpo",
    "ppo",
    "rloo",
    "grpo",
    "dpo",
    "winners",
)
SAMPLING = Sampling(max_tokens=24)


def heavy_reward(algorithm: str, seed: int) -> Callable[[str], float]:
    """Return a count of a letter, and in one text of 200, whatever it says, a million more.

    A hit is drawn anew each time: one that followed from the text could be learned by heart. Each
    run has draws of its own.
    """
    draw = random.Random(f"{algorithm} {seed}")

    def score(text: str) -> float:
        return text.count("e") + (1e6 if draw.random() < 1 / 200 else 0.0)

    return score


REWARDS: dict[str, Callable[[str], float]] = {
    "unbounded": lambda text: float(text.count("e")),
    "truth": lambda text: float("z" in text),
    "rare": lambda text: float("q" in text),
    "shorter": lambda text: -float(len(text)),
}
NAMES = (*REWARDS, "heavy")


def gain(
    policy: Policy, algorithm: str, name: str, seed: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return the KL and the gain of one run."""
    began = time.monotonic()
    count = REWARDS["unbounded" if name == "heavy" else name]
    reward = heavy_reward(algorithm, seed) if name == "heavy" else count
    steered = tm.steer(
        policy,
        lambda prompts, texts: [reward(text) for text in texts],
        ["The film", "A"],
        algorithm=algorithm,
        gold=lambda prompts, texts: [count(text) for text in texts],
        sampling=SAMPLING,
        seed=seed,
        **settings,
    )
    figures = steered.figures
    written = policy.complete(["The film", "A"], samples=128, sampling=SAMPLING)
    spread = statistics.pstdev(count(c.text) for c in written) or 1.0
    return {
        "algorithm": algorithm,
        "reward": name,
        "seed": seed,
        "kl": round(figures["kl"], 2),
        "most_kl": figures["most_kl"],
        "gain": round((figures["gold_after"] - figures["gold_before"]) / spread, 2),
        "before": round(figures["gold_before"], 3),
        "after": round(figures["gold_after"], 3),
        "steps": figures["steps"],
        "stopped_because": figures["stopped_because"][:60],
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Print a line for each run on stderr, and the JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS)
    parser.add_argument("--rewards", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--most-kl", type=float, default=10.0)
    chosen = parser.parse_args()
    policy = small_gpt()
    settings = {
        "steering": tm.Steering(steps=chosen.steps, batch=chosen.batch),
        "limits": tm.Limits(kl=chosen.most_kl),
    }
    runs = []
    for algorithm in chosen.algorithms:
        for name in chosen.rewards:
            for seed in chosen.seeds:
                run = gain(policy, algorithm, name, seed, settings)
                sys.stderr.write(f"{json.dumps(run)}\n")
                runs.append(run)
    result = {
        "benchmark": "steer_safety",
        "runs": len(runs),
        "within": sum(run["kl"] <= run["most_kl"] for run in runs),
        "better": sum(run["gain"] > 0 for run in runs),
        "gains": _summary(runs),
    }
    print(json.dumps(result))


def _summary(runs: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the gains of each algorithm and reward, one a seed."""
    gains: dict[str, list[float]] = {}
    for run in runs:
        gains.setdefault(f"{run['algorithm']} {run['reward']}", []).append(run["gain"])
    return gains


if __name__ == "__main__":
    main()
