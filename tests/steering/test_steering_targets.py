"""Slow: the KL reaches its target, and tempting rewards end within the limit."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from nano import nano

from tastemaker.gpt import Sampling
from tastemaker.rl import A2C, GRPO, KL, Limits, Steering, Winners, steer

pytestmark = pytest.mark.slow


def small(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Count characters of ASCII: a reward without bounds, of which a fresh GPT writes some."""
    return [float(sum(c.isascii() for c in text)) for text in completions]


def truth(prompts: Sequence[str], completions: Sequence[str]) -> list[bool]:
    """Whether more than seven tenths of a text are ASCII."""
    borders = [0.7 * len(text) for text in completions]
    counts = small(prompts, completions)
    return [count > border for count, border in zip(counts, borders, strict=True)]


def shorter(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    return [-float(len(text)) for text in completions]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "algorithm", [A2C(lr=1e-2), GRPO(lr=5e-3)], ids=["a2c", "grpo"]
)
def test_the_kl_reaches_its_target(algorithm: Any, seed: int, tmp_path: Path) -> None:
    target = 3.0
    steer(
        nano(),
        small,
        ["A", "The"],
        algorithm=algorithm,
        kl=KL(target=target),
        sampling=Sampling(max_tokens=10),
        steering=Steering(steps=60, batch=32, measured=32),
        seed=seed,
        out=tmp_path / "run",
    )
    lines = (tmp_path / "run" / "run" / "metrics.jsonl").read_text().splitlines()
    nats = [json.loads(line)["kl"] for line in lines]
    assert statistics.fmean(nats[40:]) == pytest.approx(target, rel=0.3)


@pytest.mark.parametrize("reward", [small, truth, shorter])
@pytest.mark.parametrize(
    "algorithm", ["reinforce", "ppo", "rloo", "grpo", Winners(lr=5e-3)], ids=str
)
def test_tempting_rewards_end_within_the_limit_and_gain(
    algorithm: Any, reward: Any
) -> None:
    result = steer(
        nano(),
        reward,
        ["A", "The"],
        algorithm=algorithm,
        sampling=Sampling(max_tokens=10),
        steering=Steering(steps=30, batch=32, measured=64),
        limits=Limits(kl=5.0, distinct=0.0, pairs=0.0),
    )
    assert result.kl <= result.figures["most_kl"] == 5.0
    assert result.figures["score_after"] > result.figures["score_before"]
