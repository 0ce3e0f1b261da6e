"""Two processes against one: the same curve? And what do they gain on this machine?

    python benchmarks/processes.py
    python benchmarks/processes.py --jobs fit-tiny pretrain --size 0.1
    python benchmarks/processes.py --shard          # two processes, each with half of the weights

Each job trains once in one process, which uses all cores, and once in two processes over gloo with
half the cores each, in float32 and without dropout. Reported are the largest difference of losses
over the first 20 steps, the largest difference of scores of the saved models (held-out perplexity
of a GPT), and the throughput of two processes ÷ that of one: the median over the steps after the
first three. Nothing else may run meanwhile. The last line, the only one on stdout, is one JSON
object.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = 20
WARM = 3
LLAMA = "llama"
FLOAT32 = {"device": "cpu", "precision": "float32"}


def is_divided() -> bool:
    """Return whether this process is to hold a share of the weights."""
    return os.environ.get("SHARD") == "1"


def _fit(folder: Path, backbone: Any, count: int, **training: Any) -> list[float]:
    """Fit ratings; return scores of other texts."""
    import tastemaker as tm
    from tastemaker.playground import gold_score, reviews

    ratings = [tm.Rating(text, gold_score(text)) for text in reviews(count)]
    settings = {"epochs": 1, "evaluations": 1, "shard": is_divided(), **training}
    model = tm.fit(ratings, backbone=backbone, training=settings, out=folder, **FLOAT32)
    return [float(score) for score in model.score(reviews(50, seed=1))]


def fit_tiny(folder: Path, size: float) -> list[float]:
    """Fit a `tiny` reward model."""
    return _fit(folder, "tiny", max(100, int(1600 * size)))


def fit_minilm(folder: Path, size: float) -> list[float]:
    """Fit MiniLM."""
    import tastemaker as tm

    backbone = tm.Encoder("minilm", dropout=0.0)
    return _fit(folder, backbone, max(60, int(800 * size)), batch_size=32)


def fit_llama(folder: Path, size: float) -> list[float]:
    """Fit the Llama of `make_llama`."""
    start = folder.parents[1] / LLAMA
    return _fit(folder, str(start), max(60, int(800 * size)), lr=1e-4)


def make_llama(folder: Path) -> None:
    """Save a small Llama of random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tastemaker.gpt import make_tokenizer
    from tastemaker.playground import reviews

    tokenizer = make_tokenizer(reviews(500), vocabulary=600, context=128)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=344,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pretrain(folder: Path, size: float) -> list[float]:
    """Pretrain a `tiny` GPT."""
    import tastemaker as tm
    from tastemaker.playground import reviews

    # layers that join later need our own pass, which reads whole weights
    training = {"grow_at": 0.0, "shard": is_divided()}
    policy = tm.pretrain(
        reviews(max(400, int(12_000 * size))),
        size="tiny",
        training=training,
        out=folder,
        **FLOAT32,
    )
    return [policy.figures["perplexity"]]


def steer(folder: Path, size: float) -> list[float]:
    """Steer an untrained `tiny` GPT by PPO; the scores are rewards."""
    import tastemaker as tm
    from tastemaker.gpt import SIZES, make_gpt, make_tokenizer
    from tastemaker.playground import reviews

    tiny = SIZES["tiny"]
    tokenizer = make_tokenizer(
        reviews(500), vocabulary=tiny.vocabulary, context=tiny.context
    )
    policy = tm.Policy(make_gpt(tiny, tokenizer, seed=0), tokenizer)
    steering = tm.Steering(
        steps=max(2, int(STEPS * size)),
        batch=32,
        windows=1,
        measured=16,
        shard=is_divided(),
    )
    steered = tm.steer(
        policy,
        "length",
        sampling=tm.Sampling(max_tokens=32),
        steering=steering,
        limits=tm.Limits(kl=1e9, distinct=0.0, pairs=0.0),
        device="cpu",
        out=folder,
    )
    return [steered.figures["score_after"]]


JOBS: dict[str, Callable[[Path, float], list[float]]] = {
    "fit-tiny": fit_tiny,
    "fit-minilm": fit_minilm,
    "fit-llama": fit_llama,
    "pretrain": pretrain,
    "steer": steer,
}


def work(job: str, folder: Path, size: float) -> None:
    """Do a job in this process; the first process writes the scores."""
    from tastemaker import processes

    scores = JOBS[job](folder / job, size)
    if processes.is_first():
        (folder / f"{job}.json").write_text(json.dumps(scores))


def run(job: str, folder: Path, size: float, count: int, *, shard: bool) -> None:
    """Do a job in so many processes, which share the cores. shard: and the weights."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    threads = max(1, (os.cpu_count() or 1) // count)
    command = [sys.executable, __file__, "--work", job]
    command += ["--size", str(size), "--folder", str(folder)]
    started = []
    for number in range(count):
        variables = {"OMP_NUM_THREADS": str(threads)}
        if count > 1:
            variables |= {"RANK": str(number), "LOCAL_RANK": str(number)}
            variables |= {"WORLD_SIZE": str(count)}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            variables |= {"SHARD": str(int(shard))}
        started.append(
            subprocess.Popen(command, env=os.environ | variables, stdout=sys.stderr)
        )
    codes = [process.wait() for process in started]
    if any(codes):
        raise SystemExit(f"{job} in {count} processes ended with {codes}.")


def curve(folder: Path) -> list[dict[str, float]]:
    """Return what was logged of the first steps."""
    path = folder / "run" / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()[:STEPS]]


def speed(rows: list[dict[str, float]]) -> float:
    """Return the median work a second."""
    rates = []
    for row in rows[min(WARM, len(rows) - 1) :]:
        if "seconds" in row:
            rates.append(1 / row["seconds"])
        else:
            rates.append(row.get("texts_per_second") or row["tokens_per_second"])
    return statistics.median(rates)


def compared(one: Path, two: Path, job: str) -> dict[str, float]:
    """Return how far two processes are from one, and their throughput ÷ that of one."""
    alone, together = curve(one / job), curve(two / job)
    losses = []
    for before, after in zip(alone, together, strict=True):
        name = "loss" if "loss" in before else "reward"
        losses.append(abs(before[name] - after[name]))
    scores = []
    for folder in (one, two):
        scores.append(json.loads((folder / f"{job}.json").read_text()))
    differences = [abs(a - b) for a, b in zip(*scores, strict=True)]
    return {
        "steps": len(losses),
        "loss_difference": max(losses),
        "score_difference": max(differences),
        "throughput_ratio": round(speed(together) / speed(alone), 3),
    }


def main() -> None:
    """Run the jobs, or one job's work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--shard", action="store_true")
    parser.add_argument("--work", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.folder, arguments.size)
        return
    results: dict[str, Any] = {"benchmark": "processes", "size": arguments.size}
    results |= {"cores": os.cpu_count(), "shard": arguments.shard}
    with tempfile.TemporaryDirectory() as name:
        one, two = Path(name) / "one", Path(name) / "two"
        if "fit-llama" in arguments.jobs:
            make_llama(Path(name) / LLAMA)
        for job in arguments.jobs:
            for count, folder in ((1, one), (2, two)):
                folder.mkdir(exist_ok=True)
                run(job, folder, arguments.size, count, shard=arguments.shard)
            results[job] = compared(one, two, job)
            print(f"{job}: {results[job]}", file=sys.stderr)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
