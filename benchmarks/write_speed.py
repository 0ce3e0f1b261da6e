"""Sampling: `Policy.complete` against transformers' `generate`, with the same network.

    python benchmarks/write_speed.py                # tiny and small, 64 rows of 64 new tokens
    python benchmarks/write_speed.py --rounds 5 --threads 2

Both take turns on the same prompts.

The weights are fresh, since speed does not depend on what they say; the end token is switched off
for both, so that every row writes all its tokens. Both sample at temperature 1 without filters.
Each round times ours, then the peer; the figures are medians over rounds. Log-probabilities: the
largest difference between what `complete` returned and a full forward pass in float32. The second
part writes 256 completions of 16 prompts, once with prompts of very unlike length (2 to 120 tokens)
and once of equal length (their mean). The last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tastemaker as tm
from tastemaker.gpt import SIZES, Policy, Writing, make_gpt, make_tokenizer
from tastemaker.playground import reviews

ROWS, TOKENS = 64, 64


def _policy(size: str, seed: int) -> Policy:
    chosen = SIZES[size]
    tokenizer = make_tokenizer(
        reviews(3000), vocabulary=chosen.vocabulary, context=chosen.context
    )
    policy = Policy(make_gpt(chosen, tokenizer, seed=seed), tokenizer)
    with torch.no_grad():  # fresh layers add nothing: let them
        for parameter in policy.module.parameters():
            parameter.add_(
                0.02
                * torch.randn(
                    parameter.shape, generator=torch.Generator().manual_seed(seed)
                )
            )
    return policy


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _ours(
    policy: Policy, prompts: list[list[int]], samples: int, tokens: int, seed: int
) -> list[Any]:
    """Write without an end, as the peer does; return the rows."""
    reader = _Endless(policy.tokenizer)
    sampling = tm.Sampling(max_tokens=tokens)
    job = Writing(
        policy.module, reader, prompts, samples, policy.context, sampling, seed
    )
    rows: dict[tuple[int, int], Any] = {}
    for step in job.steps():
        for row in step:
            rows[row.place] = row
    return [rows[key] for key in sorted(rows)]


class _Endless:
    """A reader of a tokenizer whose texts never end."""

    end, pad = -1, 0
    ends: frozenset[int] = frozenset()

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer


def _theirs(policy: Policy, ids: torch.Tensor) -> torch.Tensor:
    config = policy.module.generation_config
    config.eos_token_id, config.pad_token_id = None, 0
    generated: torch.Tensor = policy.module.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
        max_new_tokens=TOKENS,
    )
    return generated


def _against_generate(size: str, given: argparse.Namespace) -> dict[str, Any]:
    policy = _policy(size, given.seed)
    ids = policy.reader.prompts([text[:24] for text in reviews(ROWS)])
    shortest = min(map(len, ids))
    prompts = [i[:shortest] for i in ids]
    tensor = torch.tensor(prompts)
    rows = _ours(policy, prompts, 1, TOKENS, given.seed)  # also the warm-up
    full = policy.log_probs_of(prompts, [row.ids for row in rows])
    difference = max(
        float(np.abs(np.array(row.log_probs) - f).max())
        for row, f in zip(rows, full, strict=True)
    )
    assert _theirs(policy, tensor).shape == (ROWS, shortest + TOKENS)
    ours, theirs = [], []
    for number in range(given.rounds):
        ours.append(
            _timed(lambda n=number: _ours(policy, prompts, 1, TOKENS, given.seed + n))
        )  # type: ignore[misc]
        theirs.append(_timed(lambda: _theirs(policy, tensor)))
    speeds = [ROWS * TOKENS / statistics.median(seconds) for seconds in (ours, theirs)]
    return {
        "parameters": policy.parameters,
        "tokens_per_second": round(speeds[0]),
        "generate_tokens_per_second": round(speeds[1]),
        "ratio": round(speeds[0] / speeds[1], 2),
        "ratios": [round(b / a, 2) for a, b in zip(ours, theirs, strict=True)],
        "largest_log_prob_difference": difference,
    }


def _unlike_lengths(size: str, given: argparse.Namespace) -> dict[str, Any]:
    policy = _policy(size, given.seed)
    lengths = np.linspace(2, 120, 16).round().astype(int).tolist()
    random = np.random.default_rng(given.seed)
    unlike = [random.integers(10, 500, n).tolist() for n in lengths]
    equal = [
        random.integers(10, 500, round(sum(lengths) / 16)).tolist() for _ in lengths
    ]
    seconds: dict[str, list[float]] = {"unlike": [], "equal": []}
    for number in range(given.rounds + 1):
        for name, prompts in (("unlike", unlike), ("equal", equal)):
            took = _timed(
                lambda p=prompts: _ours(policy, p, 16, TOKENS, given.seed)  # type: ignore[misc]
            )
            if number:
                seconds[name].append(took)
    speeds = {
        name: 256 * TOKENS / statistics.median(took) for name, took in seconds.items()
    }
    return {
        "unlike_tokens_per_second": round(speeds["unlike"]),
        "equal_tokens_per_second": round(speeds["equal"]),
        "share": round(speeds["unlike"] / speeds["equal"], 3),
    }


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", nargs="+", default=["tiny", "small"], choices=list(SIZES)
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    line: dict[str, Any] = {
        "benchmark": "write_speed",
        "threads": torch.get_num_threads(),
    }
    for size in given.sizes:
        line[size] = _against_generate(size, given)
        sys.stderr.write(f"{size}: {line[size]}\n")
    line["unlike_lengths"] = {
        size: _unlike_lengths(size, given) for size in given.sizes
    }
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
