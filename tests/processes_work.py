"""The work of one process of several, for tests/test_processes.py; also what one alone does."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nano import NANO, nano

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


def fitted(out: Path | None) -> dict[str, Any]:
    """Fit comparisons."""
    data = judgements(200, kind="comparison", seed=1)
    model = tm.fit(
        data,
        backbone=tm.Tiny(vocabulary=400, max_length=48),
        training={"epochs": 2, "batch_size": 16, "evaluations": 3, "lr": 1e-3},
        device="cpu",
        precision="float32",
        out=out,
    )
    return {
        "scores": model.score(reviews(30, seed=5)),
        "weights": digest(model),
    }


def digest(model: Any) -> str:
    """Return a digest of all weights: processes must end with the same."""
    module = model.backbone.module if hasattr(model, "backbone") else model.module
    content = hashlib.blake2b(digest_size=8)
    for tensor in module.state_dict().values():
        content.update(tensor.numpy().tobytes())
    return content.hexdigest()


def pretrained(out: Path | None) -> dict[str, Any]:
    """Pretrain on short reviews."""
    SIZES["nano"] = NANO
    policy = tm.pretrain(
        reviews(120, seed=2),
        size="nano",
        training={"epochs": 1, "held_out": 0.1, "evaluations": 2, "batch_tokens": 256},
        out=out,
        device="cpu",
        precision="float32",
    )
    return {"perplexity": policy.figures["perplexity"], "weights": digest(policy)}


def steered(out: Path | None, algorithm: Any, **more: Any) -> dict[str, Any]:
    """Steer a tiny GPT."""
    settings: dict[str, Any] = {
        "sampling": Sampling(max_tokens=8),
        "steering": Steering(steps=4, batch=16, measured=8, windows=4),
        "limits": NEVER,
        "device": "cpu",
    }
    settings |= {"prompts": ["A", "The"], **more}
    result = steer(nano(), algorithm=algorithm, out=out, **settings)
    texts = [sample["after"] for sample in result.samples]
    return {"texts": texts, "weights": digest(result.policy)}


def work(folder: Path) -> dict[str, Any]:
    """Train by every verb; return what came out, beside the run folders."""
    results = {
        "fit": fitted(folder / "fit"),
        "pretrain": pretrained(folder / "pretrain"),
    }
    results["ppo"] = steered(folder / "ppo", PPO(lr=1e-2), reward=letter_e, kl=KL(0.1))
    compared = []
    for k in range(40):
        words = (f" warm{k} film", f" dull{k}", f" grey{k}, grey")
        compared.append(tm.Ranking(words, prompt=f"Film {k % 10}:"))
    results["dpo"] = steered(
        folder / "dpo", DPO(lr=1e-3), judgements=compared, prompts=None
    )
    return results | {"calls": CALLS}


def main_in(folder: str) -> None:
    """Do the work in a folder, and let each process say what it came to."""
    results = work(Path(folder))
    path = Path(folder) / f"process-{processes.rank()}.json"
    path.write_text(json.dumps(results))
