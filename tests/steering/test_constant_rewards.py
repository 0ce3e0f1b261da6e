"""Rewards from which nothing can be learned are said at once."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from nano import nano

from tastemaker.errors import TrainingError
from tastemaker.gpt import Policy, Sampling
from tastemaker.rl import Steering, steer

FEW = Steering(steps=1, batch=8, measured=512, windows=1)
ROUNDING = random.Random(0)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return nano()


def steered(policy: Policy, reward: Any, **changes: Any) -> Any:
    settings: dict[str, Any] = {"steering": FEW, "algorithm": "grpo"}
    sampling = Sampling(max_tokens=2)
    prompts = ["A", "The", "One"]
    return steer(policy, reward, prompts, sampling=sampling, **settings | changes)


CONSTANT: dict[str, Any] = {
    "no word": lambda prompts, texts: [None] * len(texts),
    "never": lambda prompts, texts: [False] * len(texts),
    "numpy": lambda prompts, texts: np.full(len(texts), 7),
    "tensor": lambda prompts, texts: torch.full((len(texts),), 0.3),
    "two zeros": lambda prompts, texts: [0.0 if len(t) % 2 else -0.0 for t in texts],
    "sum": ["length=0", lambda prompts, texts: [2.0] * len(texts)],
    "rounding": lambda p, texts: [0.1 + 1e-16 * ROUNDING.random() for _ in texts],
    "rounding of a large number": lambda p, texts: [1e9 + 1e-6 * len(t) for t in texts],
    "by TRL": lambda completions, **kwargs: [1.0 for _ in completions],
    "negative": lambda prompts, texts: [-5] * len(texts),
}


@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_reward_is_refused(policy: Policy, name: str) -> None:
    with pytest.raises(TrainingError, match="nothing to learn from it, and nothing"):
        steered(policy, CONSTANT[name])


VARIED: dict[str, Callable[..., Any]] = {
    "small": lambda prompts, texts: [1 + 1e-6 * len(text) for text in texts],
    "large": lambda prompts, texts: [1e6 + len(text) for text in texts],
}


@pytest.mark.parametrize("name", VARIED)
def test_small_differences_are_learned_from(policy: Policy, name: str) -> None:
    lines: list[str] = []
    few = Steering(steps=1, batch=8, measured=32, windows=1)
    steered(policy, VARIED[name], steering=few, say=lines.append)
    assert not [line for line in lines if "tells prompts apart" in line]


@pytest.mark.parametrize("algorithm", ["grpo", "a2c"])
def test_a_reward_of_the_prompt_alone_is_said(policy: Policy, algorithm: str) -> None:
    lines: list[str] = []
    few = Steering(steps=1, batch=8, measured=32, windows=1)
    reward = lambda prompts, texts: [len(prompt) for prompt in prompts]  # noqa: E731
    steered(policy, reward, algorithm=algorithm, steering=few, say=lines.append)
    notices = [line for line in lines if "tells prompts apart, not texts" in line]
    assert len(notices) == 1
    assert "each of 3 prompts" in notices[0] or "each of 2 prompts" in notices[0]
