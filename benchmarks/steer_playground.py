"""Steering on the playground by every algorithm, measured by the true score.

    python benchmarks/steer_playground.py --seeds 0 1 2
    python benchmarks/steer_playground.py --judgements 50 --algorithms ppo rloo  # over-optimises

A tiny GPT is trained once on the playground (or `--policy FOLDER`) and writes at temperature 0.7,
as in Ziegler et al. 2019. For each seed a linear reward model is fitted on that many judgements,
rankings of twenty texts of which the GPT wrote a quarter, with words said twice as features, and
another one, on others, watches. Then each algorithm steers the GPT, at a learning rate and for as
many steps as `SETTINGS` says: what it takes to come to rest within two minutes. Gold is the
playground's truth, 0 to 10, of 256 texts before and after; best-of-16 stands beside. `peak` is the
best gold of any window of the run, so `kept` says what share of it the automatic stop and the
choice of the best window kept. The last line is one JSON object.
"""

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import UNSEEN_SEED, spread

import tastemaker as tm
from tastemaker.playground import gold_score, judgements, reviews
from tastemaker.rl import algorithm_named

ON_POLICY = ("reinforce", "a2c", "ppo", "rloo", "grpo")
SAMPLING = tm.Sampling(temperature=0.7, max_tokens=100)
LINEAR = tm.Linear(repeats=True, strength=0.01)
SETTINGS: dict[str, tuple[int, dict[str, float | bool]]] = {
    "reinforce": (
        230,
        {"lr": 1.8e-3, "whiten": True, "entropy": 0.2, "target_entropy": 0.75},
    ),
    "a2c": (
        220,
        {"lr": 1.8e-3, "value_weight": 0.1, "entropy": 0.2, "target_entropy": 0.7},
    ),
    "trpo": (60, {"lr": 1e-3}),
    "ppo": (140, {"lr": 1.2e-3}),
    "rloo": (180, {"lr": 1.4e-3}),
    "grpo": (130, {"lr": 9e-4}),
    "dpo": (100, {"lr": 3e-4}),
    "winners": (100, {"lr": 1e-3}),
}
"""Steps, and what is not as it comes: the learning rate (TRPO's is its critic's), and what keeps
texts apart.
"""
RANKED = 20
"""Texts in a judgement."""


def _taste(
    policy: tm.Policy, count: int, seed: int, members: int = 1, keep: str | None = None
) -> tm.RewardModel:
    folder = Path(keep) / f"{count}-{members}-{seed}" if keep else None
    if folder and folder.exists():
        return tm.load(folder)
    written = [
        c.text
        for c in policy.complete(
            "", samples=count * RANKED // 4, sampling=SAMPLING, seed=seed
        )
    ]
    texts = list(
        dict.fromkeys(
            [text for text in written if text.strip()]
            + reviews(count * RANKED, seed=seed)
        )
    )
    texts = texts[: count * RANKED]
    random.Random(seed).shuffle(texts)
    rankings = judgements(count, kind="ranking", answers=RANKED, seed=seed, texts=texts)
    taste = tm.fit(rankings, backbone=LINEAR, seed=seed, members=members)
    if folder:
        taste.save(folder)
    return taste


def _windows_of_gold(folder: Path, steps: int, windows: int) -> list[float]:
    lines = (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    gold = [json.loads(line)["gold"] for line in lines]
    edges = [round(steps * k / windows) for k in range(windows + 1)]
    return [
        statistics.fmean(gold[a:b])
        for a, b in itertools.pairwise(edges)
        if a < b <= len(gold)
    ]


def _steered(
    policy: tm.Policy, name: str, tastes: tuple[Any, Any], given: Any, seed: int
) -> dict[str, Any]:
    steps, settings = SETTINGS[name]
    steps, settings = (
        given.steps or steps,
        settings | ({"lr": given.lr} if given.lr else {}),
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        started = time.perf_counter()
        result = tm.steer(
            policy,
            tastes[0],
            algorithm=algorithm_named(name, **settings),
            held_out=tastes[1],
            gold="gold",
            caution=given.caution,
            kl=tm.KL(given.kl_coef),
            sampling=SAMPLING,
            steering={"steps": steps},
            seed=seed,
            out=out,
        )
        seconds = time.perf_counter() - started
        peak = max(_windows_of_gold(out, steps, tm.Steering().windows))
    names = (
        "gold_before",
        "gold_after",
        "score_after",
        "held_out_after",
        "kl",
        "distinct",
        "steps",
        "length_after",
    )
    run = {key: result.figures[key] for key in names} | {
        "seconds": seconds,
        "peak": peak,
    }
    run["kept"] = run["gold_after"] / peak
    sys.stderr.write(
        json.dumps(
            {"algorithm": name, "seed": seed, "stopped": result.stopped_because, **run}
        )
        + "\n"
    )
    return run


def _best_of(policy: tm.Policy, taste: Any, n: int, seed: int) -> float:
    best = tm.best_of_n(policy, taste, [""] * 128, n=n, sampling=SAMPLING, seed=seed)
    return statistics.fmean(gold_score(b.completion.text) for b in best)


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--judgements", type=int, default=2000)
    parser.add_argument(
        "--algorithms", nargs="+", default=list(ON_POLICY), choices=list(SETTINGS)
    )
    parser.add_argument(
        "--policy", help="a GPT trained on the playground; left out: one is trained"
    )
    parser.add_argument("--kl-coef", type=float, default=tm.KL().coef)
    parser.add_argument("--steps", type=int, help="of every algorithm")
    parser.add_argument("--lr", type=float, help="of every algorithm")
    parser.add_argument(
        "--members", type=int, default=1, help="of the reward model's ensemble"
    )
    parser.add_argument(
        "--caution",
        type=float,
        default=0.0,
        help="of an ensemble: mean − λ · standard deviation",
    )
    parser.add_argument(
        "--keep",
        help="a folder where reward models are kept, and found again by the same GPT's runs",
    )
    given = parser.parse_args()
    policy = (
        tm.Policy.load(given.policy)
        if given.policy
        else tm.pretrain(tm.Documents(["playground"]))
    )
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in given.algorithms}
    best: list[float] = []
    for seed in given.seeds:
        taste = _taste(policy, given.judgements, seed, given.members, given.keep)
        tastes = (
            taste,
            _taste(policy, given.judgements, seed + UNSEEN_SEED, keep=given.keep),
        )
        best.append(_best_of(policy, taste, 16, seed))
        for name in given.algorithms:
            runs[name].append(_steered(policy, name, tastes, given, seed))
    table = {
        name: {key: spread([run[key] for run in of_seeds]) for key in of_seeds[0]}
        for name, of_seeds in runs.items()
        if of_seeds
    }
    for name, row in table.items():
        gold, kl = row["gold_after"], row["kl"]
        sys.stderr.write(
            f"{name:10} gold {gold['mean']:.2f} {gold['values']}, KL {kl['mean']:.1f}\n"
        )
    result = {
        "benchmark": "steer_playground",
        "judgements": given.judgements,
        "kl_coef": given.kl_coef,
        **table,
    }
    sys.stdout.write(json.dumps(result | {"best_of_16_gold": spread(best)}) + "\n")


if __name__ == "__main__":
    main()
