"""Sampling by families: `Policy.complete`'s loop against transformers' `generate`, tiny widths.

    python benchmarks/write_families.py
    python benchmarks/write_families.py --families llama qwen3 --rounds 9

Networks have random weights, since speed does not depend on what they say. Both draw at temperature
1 without filters and take turns on the same prompts; each figure is the median of the rounds'
ratios, ours over theirs.

    alike     64 rows that all write 64 tokens
    refilled  256 prompts of unlike length (4 to 40 tokens), whose texts end after 32 tokens in the
              mean, 128 at most. `generate` takes them 64 at a time, ordered by length; ours fills
              the places of rows that ended with new prompts.
    greedy    as `alike`, always the likeliest token: all tokens have to be the same

The last line is one JSON object.
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
import transformers

import tastemaker as tm
from tastemaker.fast import decoder_name
from tastemaker.gpt import Writing

VOCABULARY, ROWS, TOKENS = 3000, 64, 64
ENDS = range(100, 194)  # one in 32 tokens is an end
PAD = 0
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": PAD,
}
_GATED = _COMMON | {"intermediate_size": 128, "num_key_value_heads": 2}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", _COMMON),
    "gpt_neox": ("GPTNeoX", _COMMON | {"intermediate_size": 256}),
    "llama": ("Llama", _GATED),
    "mistral": ("Mistral", _GATED | {"sliding_window": 32}),
    "qwen2": ("Qwen2", _GATED),
    "qwen3": ("Qwen3", _GATED | {"head_dim": 32}),
    "gemma": ("Gemma", _GATED | {"head_dim": 16}),
    "gemma2": ("Gemma2", _GATED | {"head_dim": 16, "sliding_window": 32}),
    "opt": ("OPT", _COMMON | {"ffn_dim": 128, "word_embed_proj_dim": 64}),
}


class _AnyOf:
    """A token that equals each of several."""

    def __init__(self, ids: range) -> None:
        self.ids = ids

    def __eq__(self, other: object) -> bool:
        return other in self.ids

    def __hash__(self) -> int:
        return hash(self.ids)


class _Reader:
    """A reader of tokens alone; end: the token that ends a text."""

    pad = PAD

    def __init__(self, end: Any) -> None:
        self.end = end
        self.ends = frozenset({end})


def _network(family: str) -> Any:
    name, settings = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**settings)
    head = "LMHeadModel" if name == "GPT2" else "ForCausalLM"
    module = getattr(transformers, name + head)(config).eval()
    module.generation_config.eos_token_id = None
    module.generation_config.pad_token_id = PAD
    return module


def _ours(
    module: Any, prompts: list[list[int]], sampling: tm.Sampling, end: Any = -1
) -> list[Any]:
    """Return the rows in the order of the prompts."""
    job = Writing(
        module,
        _Reader(end),  # type: ignore[arg-type]
        prompts,
        1,
        512,
        sampling,
        seed=0,
        most_rows=ROWS,
    )
    rows: dict[Any, Any] = {}
    for step in job.steps():
        for row in step:
            rows[row.place] = row
    return [rows[key] for key in sorted(rows)]


def _theirs(
    module: Any, prompts: list[list[int]], tokens: int, **settings: Any
) -> torch.Tensor:
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts])
    written: torch.Tensor = module.generate(
        input_ids=ids,
        attention_mask=(ids != PAD).long(),
        max_new_tokens=tokens,
        top_k=0,
        **settings,
    )
    return written[:, longest:]


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _compared(
    ours: Callable[[], int], theirs: Callable[[], int], rounds: int
) -> dict[str, float]:
    """Return tokens a second of both and the median ratio; both return how many they wrote."""
    speeds: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        pair = []
        for work in (ours, theirs):
            counts: list[int] = []
            seconds = _timed(lambda w=work, c=counts: c.append(w()))  # type: ignore[misc]
            pair.append(counts[0] / seconds)
        if number:  # the first is the warm-up
            speeds.append((pair[0], pair[1]))
    ratios = sorted(a / b for a, b in speeds)
    return {
        "tokens_per_second": round(statistics.median(a for a, _ in speeds)),
        "generate": round(statistics.median(b for _, b in speeds)),
        "ratio": round(statistics.median(ratios), 2),
        "least_ratio": round(ratios[0], 2),
    }


def _measured(family: str, rounds: int) -> dict[str, Any]:
    module = _network(family)
    random = np.random.default_rng(0)
    alike = random.integers(200, VOCABULARY, (ROWS, 12)).tolist()
    lengths = np.sort(random.integers(4, 41, 4 * ROWS))
    unlike = [random.integers(200, VOCABULARY, n).tolist() for n in lengths]
    plain = tm.Sampling(max_tokens=TOKENS)
    greedy = tm.Sampling(max_tokens=TOKENS, top_k=1)
    long = tm.Sampling(max_tokens=2 * TOKENS)

    def ours_refilled() -> int:
        rows = _ours(module, unlike, long, _AnyOf(ENDS))
        return sum(len(row.ids) for row in rows)

    def theirs_refilled() -> int:
        count = 0
        for start in range(0, len(unlike), ROWS):
            written = _theirs(
                module,
                unlike[start : start + ROWS],
                2 * TOKENS,
                do_sample=True,
                eos_token_id=list(ENDS),
            )
            count += int((written != PAD).sum())
        return count

    tokens = ROWS * TOKENS
    result: dict[str, Any] = {
        "decoder": decoder_name(module),
        "alike": _compared(
            lambda: len(_ours(module, alike, plain)) * TOKENS,
            lambda: len(_theirs(module, alike, TOKENS, do_sample=True)) * TOKENS,
            rounds,
        ),
        "refilled": _compared(ours_refilled, theirs_refilled, rounds),
        "greedy": _compared(
            lambda: len(_ours(module, alike, greedy)) * TOKENS,
            lambda: len(_theirs(module, alike, TOKENS, do_sample=False)) * TOKENS,
            rounds,
        ),
    }
    ours = torch.tensor([row.ids for row in _ours(module, alike, greedy)])
    theirs = _theirs(module, alike, TOKENS, do_sample=False)
    result["greedy"]["same_tokens"] = round(int((ours == theirs).sum()) / tokens, 4)
    return result


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--families", nargs="+", default=list(FAMILIES), choices=list(FAMILIES)
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    transformers.logging.set_verbosity_error()
    line: dict[str, Any] = {"benchmark": "write_families", "threads": given.threads}
    for family in given.families:
        line[family] = _measured(family, given.rounds)
        sys.stderr.write(f"{family}: {line[family]}\n")
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
