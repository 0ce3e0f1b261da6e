"""Figures of one GPU in one command: how much of its matrix unit is used, and what jobs take.

    python benchmarks/gpu.py                             # at most eight minutes
    python benchmarks/gpu.py --jobs peak fit             # some of them
    python benchmarks/gpu.py --device cpu --size 0.001   # only shows that the script runs

Jobs, all with random weights, which take the same time as trained ones:

- peak: products of large bfloat16 matrices, TFLOP/s, the best of five.
- fit: one epoch of IMDB's 25,000 training reviews with a network of DistilBERT's size, by the steps
  of `fit`. Where the data is not there, as many reviews of the playground, joined to IMDB's length.
- score: the same network scores reviews in its fastest number format.
- ppo: steps of PPO on a GPT of GPT-2's size, and where their time goes (`steer_profile.py`).
- lora: steps of `fit` on a decoder of half a billion parameters: adapters of rank 16, bfloat16,
  gradient checkpointing.

A share is of the measured peak. Counted are the products that the model needs: 2 a parameter of the
layers and token, and those of attention; three times as many to train, twice as many where the base
does not learn. What checkpointing computes again does not count. A table goes to stderr; the last
line is one JSON object.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from common import DATA, SteppedFit, now
from steer_profile import Clock, TimedReward, wrapped
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    Qwen2Config,
    Qwen2ForSequenceClassification,
)

import tastemaker as tm
from tastemaker.adapters import Lora
from tastemaker.data import Example, Judgement
from tastemaker.fast import choose_device
from tastemaker.gpt import Policy, Size, make_gpt, make_tokenizer
from tastemaker.kinds import links_from
from tastemaker.playground import reviews
from tastemaker.reward import Corpus, Network, make_tiny
from tastemaker.rl import SteerTask

ARCHIVE = DATA / "aclImdb.tar.gz"
REVIEWS = 25_000
WORDS = 230
"""Of a review of IMDB."""
GPT = Size(
    width=768,
    layers=12,
    heads=12,
    context=256,
    vocabulary=16_000,
    lr=1e-4,
    batch_tokens=16_384,
)
HALF_A_BILLION: dict[str, Any] = {
    "hidden_size": 896,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "intermediate_size": 4864,
    "vocab_size": 151_936,
    "max_position_embeddings": 1024,
}
ASKED = {
    "fit_share": "≥ 0.40",
    "score_share": "≥ 0.40",
    "imdb_epoch_seconds": "≤ 60",
}


class Setting:
    """What the jobs share. size: 1 for the figures; less makes everything smaller, for a test."""

    def __init__(self, device: torch.device, size: float) -> None:
        self.device, self.size = device, size
        self.network: Network | None = None
        self.texts: list[str] = []

    def scaled(self, count: int, least: int = 1) -> int:
        """Return a number of things to do, by the size."""
        return max(least, round(count * self.size))


def peak(setting: Setting) -> dict[str, float]:
    """Measure products of bfloat16 matrices."""
    width = 8192 if setting.size == 1 else 256
    one = torch.randn(width, width, device=setting.device, dtype=torch.bfloat16)
    other = torch.randn_like(one)
    best = 0.0
    for _ in range(6):
        began = now(setting.device)
        for _ in range(10):
            one @ other
        seconds = now(setting.device) - began
        best = max(best, 20 * width**3 / seconds)
    return {"peak_tflops": best / 1e12}


def fit(setting: Setting) -> dict[str, float]:
    """Train one epoch on reviews."""
    labels = labelled_reviews(setting)
    setting.texts = [label.text for label in labels]
    config = DistilBertConfig(num_labels=1, dropout=0.0, attention_dropout=0.0)
    if setting.size < 1:
        config.n_layers, config.dim, config.hidden_dim = 2, 96, 192
    tokenizer = make_tiny(setting.texts[:2000], vocabulary=20_000).tokenizer
    config.vocab_size = len(tokenizer)
    torch.manual_seed(0)
    module = DistilBertForSequenceClassification(config)
    network = Network(module, tokenizer, max_length=512, cut="left")
    setting.network = network.to(setting.device)
    training = tm.Training(batch_size=64, batch_tokens=32_768, epochs=1, evaluations=1)
    fitting = trained(setting, network, labels, training)
    lengths = list(fitting.task.lengths)
    products = 3 * products_of(module, lengths)
    return {
        "imdb_epoch_seconds": fitting.seconds,
        "fit_tokens_per_second": sum(lengths) / fitting.seconds,
        "fit_tflops": products / fitting.seconds / 1e12,
    }


def trained(
    setting: Setting,
    network: Network,
    labels: Sequence[tm.Label],
    training: tm.Training,
) -> SteppedFit:
    """Take all steps of a fit, after one that warms up."""
    links = links_from(labels, tm.Likelihood(judges=False))
    fitting = SteppedFit(
        network,
        links,
        Corpus.of(labels, links),
        training,
        device=setting.device,
        seed=0,
    )
    fitting.warm_up()
    fitting.advance_to(1.0)
    return fitting


def score(setting: Setting) -> dict[str, float]:
    """Score reviews with the network that was trained."""
    if setting.network is None:
        fit(setting)
    network = setting.network
    assert network is not None
    network.module.eval()
    examples = [Example(text) for text in setting.texts[: setting.scaled(10_000, 32)]]
    network.score(examples[:64], precision="fast")
    began = now(setting.device)
    network.score(examples, precision="fast")
    seconds = now(setting.device) - began
    lengths = [len(ids) for ids in network.encode(examples).ids]
    return {
        "score_texts_per_second": len(examples) / seconds,
        "score_tflops": products_of(network.module, lengths) / seconds / 1e12,
    }


def ppo(setting: Setting) -> dict[str, float]:
    """Take steps of PPO, and say where their time goes."""
    texts = reviews(2000)
    size = GPT if setting.size == 1 else Size(64, 2, 2, 64, 320, 1e-3, 1024)
    tokenizer = make_tokenizer(texts, vocabulary=size.vocabulary, context=size.context)
    policy = Policy(make_gpt(size, tokenizer, seed=0), tokenizer)
    clock = DeviceClock(setting.device)
    reward = TimedReward(tm.rl.reward_of("length"), clock)
    steps, warm_up = setting.scaled(10, 2), 2
    ended: list[float] = []
    parts: list[Counter[str]] = []
    step = SteerTask.step

    def watched(task: SteerTask) -> Any:
        done = step(task)
        ended.append(now(setting.device))
        parts.append(clock.seconds.copy())
        return done

    with wrapped(clock), patch.object(SteerTask, "step", watched):
        tm.steer(
            policy,
            reward,
            algorithm="ppo",
            steering={"steps": warm_up + steps, "batch": setting.scaled(128, 16)},
            sampling=tm.Sampling(max_tokens=setting.scaled(64, 24)),
            limits=tm.Limits(patience=warm_up + steps + 1),
            device=setting.device.type,
        )
    whole = ended[-1] - ended[warm_up - 1]
    figures = {"ppo_step_seconds": whole / steps}
    # what is measured after the last step does not count
    for name, seconds in sorted((parts[-1] - parts[warm_up - 1]).items()):
        figures[f"ppo_share_{name.replace(' ', '_')}"] = seconds / whole
    return figures


class DeviceClock(Clock):
    """A clock of parts that waits for the device before a part ends."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def _hand_over(self) -> None:
        now(self.device)
        super()._hand_over()


def lora(setting: Setting) -> dict[str, float]:
    """Train adapters on a decoder of half a billion parameters."""
    texts = joined_reviews(setting.scaled(64, 8), 2 * WORDS)
    tokenizer = make_tiny(texts, vocabulary=8000).tokenizer
    shape = dict(HALF_A_BILLION)
    if setting.size < 1:
        shape |= {"hidden_size": 112, "num_hidden_layers": 2, "vocab_size": 8000}
    config = Qwen2Config(num_labels=1, pad_token_id=tokenizer.pad_token_id, **shape)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        module = Qwen2ForSequenceClassification(config).to(torch.bfloat16)
        module.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        del module
        network = Network.open(folder, is_frozen=True, max_length=512)
        network.add_adapters(Lora(16, "all"), folder, 0)
        labels = [tm.Label(text, number % 2 == 0) for number, text in enumerate(texts)]
        training = tm.Training(
            batch_size=32 if setting.size == 1 else 4,
            batch_tokens=16_384,
            epochs=setting.scaled(10),
            gradient_checkpointing=True,
            evaluations=1,
        )
        if setting.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(setting.device)
        fitting = trained(setting, network, labels, training)
    lengths = list(fitting.task.lengths) * training.epochs
    products = 2 * products_of(network.module, lengths)
    figures = {
        "lora_parameters": float(sum(w.numel() for w in network.module.parameters())),
        "lora_step_seconds": fitting.seconds / fitting.task.total,
        "lora_tokens_per_second": sum(lengths) / fitting.seconds,
        "lora_tflops": products / fitting.seconds / 1e12,
    }
    if setting.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(setting.device)
        figures["lora_peak_gib"] = memory / 2**30
    return figures


JOBS: dict[str, Callable[[Setting], dict[str, float]]] = {
    "peak": peak,
    "fit": fit,
    "score": score,
    "ppo": ppo,
    "lora": lora,
}


def products_of(module: Any, lengths: Sequence[int]) -> float:
    """Return the floating-point operations of a forward pass over texts of so many tokens."""
    embedded = sum(
        part.weight.numel()
        for part in module.modules()
        if isinstance(part, torch.nn.Embedding)
    )
    parameters = sum(weight.numel() for weight in module.parameters()) - embedded
    config = module.config
    attention = 4 * config.num_hidden_layers * config.hidden_size
    of_pairs = attention * sum(length**2 for length in lengths)
    return float(2 * parameters * sum(lengths) + of_pairs)


def joined_reviews(count: int, words: int) -> list[str]:
    """Return reviews of the playground, joined until they have so many words."""
    texts: list[str] = []
    part: list[str] = []
    length = 0
    for review in reviews(count * words // 8):
        part.append(review)
        length += len(review.split())
        if length >= words:
            texts.append(" ".join(part))
            part, length = [], 0
        if len(texts) == count:
            break
    return texts


def labelled_reviews(setting: Setting) -> list[tm.Label]:
    """Return IMDB's training reviews, or reviews of the playground of that length."""
    count = setting.scaled(REVIEWS, 40)
    if ARCHIVE.is_file() and setting.size == 1:
        judgements: Sequence[Judgement] = tm.read(
            ARCHIVE, split="train", target="label"
        )
        return [each for each in judgements if isinstance(each, tm.Label)][:count]
    sys.stderr.write("the reviews are the playground's, joined to IMDB's length\n")
    texts = joined_reviews(min(count, 2000), WORDS)
    return [tm.Label(texts[n % len(texts)], n % 2 == 0) for n in range(count)]


def main() -> None:
    """Run the jobs, print the table, then the JSON line."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", nargs="+", default=list(JOBS), choices=list(JOBS))
    options.add_argument("--device", default="cuda")
    options.add_argument("--size", type=float, default=1.0)
    given = options.parse_args()
    device = choose_device(given.device)
    setting = Setting(device, given.size)
    figures: dict[str, float] = {}
    for name in given.jobs:
        began = now(device)
        figures |= JOBS[name](setting)
        sys.stderr.write(f"{name}: {now(device) - began:.0f} s\n")
    for name in ("fit", "score", "lora"):
        if "peak_tflops" in figures and f"{name}_tflops" in figures:
            share = figures[f"{name}_tflops"] / figures["peak_tflops"]
            figures[f"{name}_share"] = share
    for name, value in figures.items():
        sys.stderr.write(f"{name:40} {value:12.4g}  {ASKED.get(name, '')}\n")
    is_cuda = device.type == "cuda"
    line = {
        "benchmark": "gpu",
        "device": torch.cuda.get_device_name(device) if is_cuda else str(device),
        "size": given.size,
        **{name: float(f"{value:.4g}") for name, value in figures.items()},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
