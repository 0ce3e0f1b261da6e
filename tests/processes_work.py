"""The work of one process of several, for tests/test_processes.py; also what one alone does."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from nano import NANO, nano
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

import tastemaker as tm
from tastemaker import processes
from tastemaker.gpt import SIZES, Sampling
from tastemaker.playground import judgements, reviews
from tastemaker.rl import DPO, KL, PPO, Limits, Steering, steer

STEPS = 20
NEVER = Limits(kl=1e9, distinct=0.0, pairs=0.0, held_out=1e9)
CALLS: list[int] = []
"""How many completions each call of the reward function got."""


def letter_e(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """The share of the letter e."""
    CALLS.append(len(texts))
    return [text.count("e") / max(len(text), 1) for text in texts]


def fitted(out: Path, shard: bool) -> dict[str, Any]:
    """Fit comparisons."""
    data = judgements(200, kind="comparison", seed=1)
    training = {"epochs": 2, "batch_size": 16, "evaluations": 3, "lr": 3e-4}
    model = tm.fit(
        data,
        backbone=tm.Tiny(vocabulary=400, max_length=48),
        training=training | {"shard": shard},
        device="cpu",
        precision="float32",
        out=out,
    )
    return {
        "scores": model.score(reviews(30, seed=5)),
        "weights": digest(model),
    }


def fitted_from(folder: Path, shard: bool) -> dict[str, Any]:
    """Fit a network of a folder, with its layers computed twice."""
    training = {"epochs": 1, "batch_size": 8, "evaluations": 1, "lr": 1e-4}
    training |= {"gradient_checkpointing": True, "shard": shard}
    model = tm.fit(
        judgements(80, kind="comparison", seed=2),
        backbone=tm.Encoder(str(folder), max_length=32),
        training=training,
        device="cpu",
        precision="float32",
    )
    return {"scores": model.score(reviews(10, seed=5)), "weights": digest(model)}


def save_networks(folder: Path) -> list[Path]:
    """Save an encoder like MiniLM and a decoder like Llama, of random weights."""
    torch.manual_seed(0)
    tokenizer = nano().tokenizer
    size = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48}
    size |= {"num_hidden_layers": 2, "num_attention_heads": 4}
    size |= {"max_position_embeddings": 32, "pad_token_id": tokenizer.pad_token_id}
    networks = {
        # large weights: texts get unlike scores before anything is learned
        "minilm": BertModel(BertConfig(**size, initializer_range=0.3)),
        "llama": LlamaForCausalLM(LlamaConfig(**size, num_key_value_heads=2)),
    }
    for name, network in networks.items():
        network.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return [folder / name for name in networks]


def digest(model: Any) -> str:
    """Return a digest of all weights: processes must end with the same."""
    module = model.backbone.module if hasattr(model, "backbone") else model.module
    content = hashlib.blake2b(digest_size=8)
    for tensor in module.state_dict().values():
        content.update(tensor.numpy().tobytes())
    return content.hexdigest()


def pretrained(out: Path, shard: bool) -> dict[str, Any]:
    """Pretrain on short reviews, by Muon."""
    SIZES["nano"] = replace(NANO, muon=2.0)
    training = {"epochs": 1, "held_out": 0.1, "evaluations": 2, "batch_tokens": 256}
    policy = tm.pretrain(
        reviews(120, seed=2),
        size="nano",
        training=training | {"shard": shard},
        out=out,
        device="cpu",
        precision="float32",
    )
    return {"perplexity": policy.figures["perplexity"], "weights": digest(policy)}


def steered(out: Path, algorithm: Any, shard: bool, **more: Any) -> dict[str, Any]:
    """Steer a tiny GPT."""
    settings: dict[str, Any] = {
        "sampling": Sampling(max_tokens=8),
        "steering": Steering(steps=4, batch=16, measured=8, windows=4, shard=shard),
        "limits": NEVER,
        "device": "cpu",
    }
    settings |= {"prompts": ["A", "The"], **more}
    result = steer(nano(), algorithm=algorithm, out=out, **settings)
    texts = [sample["after"] for sample in result.samples]
    return {"texts": texts, "weights": digest(result.policy)}


def work(folder: Path, networks: Sequence[str], shard: bool) -> dict[str, Any]:
    """Train by every verb; return what came out, beside the run folders."""
    results = {
        "fit": fitted(folder / "fit", shard),
        "pretrain": pretrained(folder / "pretrain", shard),
    }
    for network in map(Path, networks):
        results[network.name] = fitted_from(network, shard)
    results["ppo"] = steered(
        folder / "ppo", PPO(lr=1e-2), shard, reward=letter_e, kl=KL(0.1)
    )
    compared = []
    for k in range(40):
        words = (f" warm{k} film", f" dull{k}", f" grey{k}, grey")
        compared.append(tm.Ranking(words, prompt=f"Film {k % 10}:"))
    results["dpo"] = steered(
        folder / "dpo", DPO(lr=1e-3), shard, judgements=compared, prompts=None
    )
    return results | {"calls": CALLS}


def main_in(folder: str, networks: Sequence[str], shard: bool) -> None:
    """Do the work in a folder, and let each process say what it came to."""
    results = work(Path(folder), networks, shard)
    path = Path(folder) / f"process-{processes.rank()}.json"
    path.write_text(json.dumps(results))
