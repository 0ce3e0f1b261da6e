"""Scoring IMDB reviews of up to 512 tokens, against transformers' text-classification pipeline.

    python benchmarks/score_speed.py                  # MiniLM with a random head: speed alone
    python benchmarks/score_speed.py --model taste/   # a fitted model: also its ranks

Tokenizing counts for everybody. The pipeline reads a part of the reviews at batch 1 and at batch
16, because the whole would take minutes; the best of the two is the peer. All take turns within
each round, so that what else the machine does meets all of them. The last line is one JSON object:
texts a second each, the ratio, Kendall's τ with float32.
"""

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from scipy.stats import kendalltau

import tastemaker as tm
from tastemaker.fast import choose_scoring_precision
from tastemaker.huggingface import quiet_transformers
from tastemaker.reward import Network

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "aclImdb.tar.gz"


def _pipeline(network: Network) -> Callable[[Sequence[str], int], list[float]]:
    """Return the peer: the same weights and tokenizer behind transformers' pipeline."""
    from transformers import pipeline

    classify: Any = pipeline(
        "text-classification",
        model=network.module.eval(),
        tokenizer=network.tokenizer,
        device=network.device,
        function_to_apply="none",
    )

    def scores(texts: Sequence[str], batch: int) -> list[float]:
        options = {"truncation": True, "max_length": network.max_length}
        return [
            answer["score"]
            for answer in classify(list(texts), batch_size=batch, **options)
        ]

    return scores


def main() -> None:
    """Take turns, and print the JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument(
        "--model", default="minilm", help="a saved model's folder, or minilm"
    )
    options.add_argument("--data", type=Path, default=ARCHIVE)
    options.add_argument("--texts", type=int, default=1000)
    options.add_argument(
        "--peer-texts", type=int, default=150, help="reviews that each pipeline reads"
    )
    options.add_argument("--rounds", type=int, default=2)
    given = options.parse_args()

    examples = tm.read_examples(given.data, split="test", limit=given.texts)
    network = (
        Network.load(given.model)
        if Path(given.model).is_dir()
        else Network.open(given.model)
    )
    # 8-bit scoring fixes its steps by training texts: `fit` has done so; do it for a network that
    # is only opened
    if not Path(given.model).is_dir():
        network.calibrate(tm.read_examples(given.data, split="train", limit=64))
    part = [
        network.join(e) for e in examples[:: max(1, len(examples) // given.peer_texts)]
    ]
    with quiet_transformers():
        peer = _pipeline(network)
        seconds: dict[str, list[float]] = defaultdict(list)
        outputs: dict[str, Any] = {}
        turns: dict[str, tuple[Callable[[], Any], int]] = {
            "pipeline_batch_1": (lambda: peer(part, 1), len(part)),
            "fast": (
                lambda: network.score(examples, precision="fast").values,
                len(examples),
            ),
            "pipeline_batch_16": (lambda: peer(part, 16), len(part)),
            "float32": (lambda: network.score(examples).values, len(examples)),
        }
        network.score(
            examples[:16], precision="fast"
        )  # the 8-bit weights are made once and kept
        for turn in range(given.rounds):
            for name, (run, _) in turns.items():
                started = time.perf_counter()
                outputs[name] = run()
                seconds[name].append(time.perf_counter() - started)
                print(
                    f"round {turn + 1}: {name} {turns[name][1] / seconds[name][-1]:.1f} texts/s"
                )
    rates = {
        name: count * given.rounds / sum(seconds[name])
        for name, (_, count) in turns.items()
    }
    best_peer = max(rates["pipeline_batch_1"], rates["pipeline_batch_16"])
    line = {
        "benchmark": "score_speed",
        "model": network.describe(),
        "device": str(network.device),
        "precision": choose_scoring_precision(network.device, "fast"),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "texts": len(examples),
        "texts_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": round(rates["fast"] / best_peer, 2),
        "ratio_float32": round(rates["float32"] / best_peer, 2),
        "kendall_tau": round(
            float(kendalltau(outputs["fast"], outputs["float32"]).statistic), 4
        ),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
