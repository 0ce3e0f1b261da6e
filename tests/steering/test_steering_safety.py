"""Steering that is safe by default: what is saved is within --most-kl, whatever the reward."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from judged_texts import compared
from nano import nano

from tastemaker.gpt import Policy, Sampling
from tastemaker.rl import A2C, DPO, KL, Limits, Steered, Steering, steer

FEW = Steering(steps=12, batch=32, measured=64, windows=6)


def letters(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
    """Count a letter: a reward without bounds."""
    return [float(text.count("e")) for text in completions]


def steered(reward: Any = letters, *, most: float = 4.0, **changes: Any) -> Steered:
    settings: dict[str, Any] = {
        "algorithm": A2C(lr=3e-2),
        "kl": KL(0.0),
        "sampling": Sampling(max_tokens=12),
        "steering": FEW,
        "limits": Limits(kl=most),
    }
    return steer(nano(), reward, ["A", "The"], **settings | changes)


def test_what_is_saved_is_within_the_limit_and_better(tmp_path: Path) -> None:
    lines: list[str] = []
    result = steered(out=tmp_path / "run", say=lines.append)
    figures = result.figures
    assert 0 < result.kl <= figures["most_kl"] == 4.0
    assert figures["score_after"] > figures["score_before"]
    returns = [line for line in lines if "back to the policy of step" in line]
    assert len(returns) == 2
    assert "half the learning rate" in returns[0]
    assert result.stopped_because.startswith(
        "the KL from the reference was more than 4 nats a text 3 times"
    )
    rows = (tmp_path / "run" / "run" / "metrics.jsonl").read_text().splitlines()
    assert max(json.loads(row)["kl"] for row in rows) > 4, "the log has all steps"
    saved = Policy.load(tmp_path / "run")
    one, two = (
        policy.complete("A", samples=4, sampling=Sampling(max_tokens=12))
        for policy in (saved, result.policy)
    )
    assert [c.text for c in one] == [c.text for c in two]


def test_where_each_step_is_too_far_the_start_is_saved() -> None:
    result = steered(most=1e-6)
    assert result.kl == 0
    assert result.figures["best_step"] <= 2
    assert result.figures["score_after"] == result.figures["score_before"]


def test_no_limit_is_null(tmp_path: Path) -> None:
    few = Steering(steps=2, batch=8, measured=8, windows=1)
    result = steered(most=float("inf"), steering=few)
    assert result.figures["most_kl"] is None


def test_judgements_are_held_within_the_limit_too() -> None:
    result = steer(
        nano(),
        judgements=compared(),
        algorithm=DPO(lr=5e-2),
        steering=FEW,
        sampling=Sampling(max_tokens=8),
        limits=Limits(kl=3.0),
    )
    assert result.kl <= 3.0
