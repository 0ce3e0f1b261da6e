"""Anthropic HH, split by prompt: pairwise accuracy beside "always the longer".

    python benchmarks/hh.py                                     # MiniLM and linear, three seeds
    python benchmarks/hh.py --backbone minilm --max-length 512 --epochs 2 --seeds 0
    python benchmarks/hh.py --backbone linear --experts --linear '{"ngrams": 1}'

A seed draws the split (a fifth of the prompts is held out) and the head. The pairs are the
published test splits of helpful-base and harmless-base together, some 4,660. Intervals are 95 %
bootstrap intervals over prompts. The last line is one JSON object.
"""

import argparse
import json
import sys
import time
from typing import Any

from common import HH, drawn, spread

import tastemaker as tm
from tastemaker.reward import choose_backbone

FIGURES = (
    "accuracy",
    "accuracy_interval",
    "longer_baseline",
    "longer_baseline_interval",
    "difference_to_longer",
)
MORE = (
    "n",
    "ties",
    "log_loss",
    "ece",
    "prefers_longer",
    "score_length_correlation",
    "truncated",
    "linear_baseline",
)


def _fitted(
    name: str, train: list[Any], given: argparse.Namespace, seed: int
) -> tm.RewardModel:
    if name == "linear":
        settings = tm.Linear(**json.loads(given.linear))
        return tm.fit(train, backbone=settings, experts=given.experts, seed=seed)
    usual: Any = choose_backbone(name)
    backbone = tm.Encoder(
        usual.settings.name,
        max_length=given.max_length or usual.settings.max_length,
        cut=given.cut,
    )
    training = {"lr": given.lr or usual.recipe.lr, "batch_size": given.batch}
    return tm.fit(
        train,
        backbone=backbone,
        training=training,
        epochs=given.epochs,
        experts=given.experts,
        seed=seed,
    )


def _measured(
    name: str, given: argparse.Namespace, judgements: list[Any], seed: int
) -> dict[str, Any]:
    """Fit and evaluate one backbone on one split; return its figures."""
    train, held_out = tm.split(judgements, held_out=given.held_out, seed=seed)
    started = time.monotonic()
    model = _fitted(name, train, given, seed)
    seconds = time.monotonic() - started
    by_source = {}
    for path in HH:
        mine = [judgement for judgement in held_out if judgement.source == path.name]
        if mine:
            values = tm.evaluate(model, mine, resamples=given.resamples).as_dict()
            by_source[path.name.removesuffix(".jsonl.gz")] = {
                key: values[key] for key in (*FIGURES[:3], "n")
            }
    values = tm.evaluate(
        model, held_out, baseline=model.baseline, resamples=given.resamples
    ).as_dict()
    print(f"{name}, seed {seed}: {[values[key] for key in FIGURES]}", file=sys.stderr)
    figures = {key: values[key] for key in (*FIGURES, *MORE)}
    return {
        "seed": seed,
        **figures,
        "by_source": by_source,
        "fit_seconds": round(seconds, 1),
    }


def main() -> None:
    """Fit and evaluate all, and print the JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--backbone", nargs="+", default=["linear", "minilm"])
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--lr", type=float, help="the backbone's own unless told")
    options.add_argument("--batch", type=int, default=32, help="texts a step")
    options.add_argument(
        "--max-length", type=int, help="tokens; the backbone's own unless told"
    )
    options.add_argument("--cut", choices=["left", "right"], default="left")
    options.add_argument("--held-out", type=float, default=0.2)
    options.add_argument(
        "--limit", type=int, help="only so many pairs, drawn at random"
    )
    options.add_argument(
        "--experts",
        action="store_true",
        help="a model for each of the two files, mixed by the prompt",
    )
    options.add_argument(
        "--linear",
        default="{}",
        help='the linear backbone\'s settings as JSON: {"ngrams": 1}',
    )
    options.add_argument("--resamples", type=int, default=1000)
    given = options.parse_args()
    skipped: list[Any] = []
    judgements: list[Any] = [j for path in HH for j in tm.read(path, skip_bad=skipped)]
    judgements = drawn(judgements, given.limit, 0) if given.limit else judgements
    line: dict[str, Any] = {
        "benchmark": "hh",
        "pairs": len(judgements),
        "skipped": len(skipped),
        "epochs": given.epochs,
        "max_length": given.max_length,
        "cut": given.cut,
        "experts": given.experts,
        "linear_settings": json.loads(given.linear),
        "seeds": given.seeds,
    }
    for name in given.backbone:
        runs = [_measured(name, given, judgements, seed) for seed in given.seeds]
        over = {
            key: spread([run[key] for run in runs])
            for key in ("accuracy", "longer_baseline")
        }
        line[name] = {**over, "runs": runs}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
