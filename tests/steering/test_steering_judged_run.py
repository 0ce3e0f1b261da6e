"""A whole run of steering that learns from judgements."""

import json
import math
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judged_texts import SHORT, compared
from nano import nano

from tastemaker.data import Comparison, Judgement, Label
from tastemaker.errors import DataError, RewardError, UsageError
from tastemaker.gpt import Policy, Sampling
from tastemaker.rl import (
    DPO,
    KL,
    PPO,
    Limits,
    Scaling,
    Steered,
    Steering,
    SteerTask,
    steer,
)

NEVER = Limits(kl=1e9, distinct=0.0, pairs=0.0, held_out=1e9)
QUICK = Steering(steps=6, batch=12, measured=8, windows=3)
METRICS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
CLOCK = {"seconds", "gathering_seconds", "learning_seconds"}


class Killed(BaseException):
    """What ends a run from outside."""


def steered(judgements: Any = None, **settings: Any) -> Steered:
    defaults: dict[str, Any] = {
        "algorithm": DPO(lr=1e-2),
        "sampling": SHORT,
        "steering": QUICK,
        "limits": NEVER,
    }
    return steer(
        nano(),
        judgements=compared() if judgements is None else judgements,
        **defaults | settings,
    )


def weights(policy: Policy) -> bytes:
    return b"".join(t.numpy().tobytes() for t in policy.module.state_dict().values())


def metrics(folder: Path) -> list[dict[str, float]]:
    rows = [
        json.loads(line)
        for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


def figures(result: Steered) -> dict[str, Any]:
    return {k: v for k, v in result.figures.items() if k not in CLOCK}


def test_a_run_from_judgements_alone(tmp_path: Path) -> None:
    lines: list[str] = []
    result = steered(out=tmp_path / "run", say=lines.append)
    assert [row["step"] for row in metrics(tmp_path / "run")] == [2, 4, 6], (
        "a line a window"
    )
    steered(out=tmp_path / "each", steering=replace(QUICK, windows=6))
    windows, each = (
        [row["pairs_told"] for row in metrics(tmp_path / name)]
        for name in ("run", "each")
    )
    assert windows == [
        (a + b) / 2 for a, b in zip(each[::2], each[1::2], strict=True)
    ], "means over its steps alone"
    names = {
        "preference_loss",
        "preference_accuracy",
        "preference_margin",
        "pairs_told",
        "kl",
        "distinct",
        "entropy",
    }
    names |= {f"held_out_preference_{x}" for x in ("loss", "accuracy", "margin")}
    for row in metrics(tmp_path / "run"):
        assert names <= row.keys()
        assert not {"score", "reward", "held_out"} & row.keys()
    defined = set(re.findall(r"`([a-z_0-9]+)`", METRICS.read_text(encoding="utf-8")))
    assert {name for row in metrics(tmp_path / "run") for name in row} <= defined
    saved = json.loads((tmp_path / "run" / "steering.json").read_text())
    assert {
        saved[f"{n}_{w}"] for n in ("score", "held_out") for w in ("before", "after")
    } == {None}
    assert saved["held_out_preference_loss_before"] == pytest.approx(
        math.log(2), abs=1e-5
    )
    assert saved["held_out_preference_loss_after"] < 0.6
    assert saved["held_out_preference_accuracy_after"] > 0.9
    assert set(saved["samples"][0]) == {"prompt", "before", "after"}
    assert saved["samples"][0]["prompt"].startswith("Film ")
    assert weights(Policy.load(tmp_path / "run")) == weights(result.policy)
    assert weights(Policy.load(tmp_path / "run" / "last")) != weights(result.policy)
    assert "held-out loss 0.693 → " in str(result)
    assert "pairs of 36 judgements to learn from, " in lines[0]
    assert lines[0].endswith(" pairs of 4 judgements to measure; left out: nothing")
    assert lines[1] == "6 steps of 5 judgements: 0.8 epochs"


def test_a_reward_beside_judgements_only_watches(tmp_path: Path) -> None:
    plain = steered()
    result = steered(reward="length", held_out="repetition", out=tmp_path / "run")
    assert weights(result.policy) == weights(plain.policy)
    row = metrics(tmp_path / "run")[0]
    assert row["score"] == row["length"]
    assert {"held_out", "held_out_preference_loss"} <= row.keys()
    assert result.figures["score_after"] == result.figures["length_after"]
    assert {
        1 <= sample[f"score_{when}"] <= 5
        for sample in result.samples
        for when in ("before", "after")
    } == {True}


@pytest.mark.parametrize("line", ["step    2", "step    4"])
def test_a_run_that_was_broken_off_ends_in_the_same_bits(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(printed: str) -> None:
        if printed.startswith(line):
            raise Killed

    expected = steered(out=tmp_path / "whole")
    monkeypatch.setattr(SteerTask, "checkpoint_seconds", 0.0)
    with pytest.raises(Killed):
        steered(out=tmp_path / "torn", say=kill)
    result = steered(out=tmp_path / "torn", resume=True)
    assert weights(result.policy) == weights(expected.policy)
    assert metrics(tmp_path / "torn") == metrics(tmp_path / "whole")
    assert figures(result) == figures(expected)
    assert figures(steered(out=tmp_path / "torn", resume=True)) == figures(expected), (
        "a finished run is read back"
    )
    with pytest.raises(UsageError, match=r"^--resume.*\bjudgements\b"):
        steered(compared(41), out=tmp_path / "torn", resume=True)


def test_a_reward_that_fails_keeps_the_finished_steps(tmp_path: Path) -> None:
    """Asked before, at steps 2, 4 and 6, and after: the third time three steps are finished."""
    asked: list[int] = []

    def failing(prompts: Any, texts: Any) -> list[float]:
        asked.append(1)
        return [0.0] * len(texts) if len(asked) != 3 else [math.nan] * len(texts)

    with pytest.raises(RewardError, match=r"\bnan\b"):
        steered(reward=failing, out=tmp_path / "torn")
    assert (tmp_path / "torn" / "run" / "checkpoint-00000003").is_dir()
    result = steered(reward=failing, out=tmp_path / "torn", resume=True)
    assert weights(result.policy) == weights(steered().policy)


def test_the_best_window_is_by_what_was_held_out() -> None:
    """Coin flips about random strings can only be learned by heart: what is held out gets worse."""
    draw = random.Random(0)
    coins: list[Judgement] = [
        Comparison(*("".join(draw.choices("abcdef", k=6)) for _ in "ab"))
        for _ in range(40)
    ]
    settings = {
        "steering": Steering(steps=40, batch=72, measured=4, windows=20),
        "algorithm": DPO(lr=3e-2, beta=1.0),
    }
    result = steered(coins, limits=Limits(kl=1e9, distinct=0.0, pairs=0.0), **settings)
    assert result.stopped_because.startswith(
        "the held-out preference loss has risen from "
    )
    assert result.figures["best_step"] < result.figures["steps"] < 40


def test_parts_that_contradict_are_refused() -> None:
    def fails(error: type[Exception], words: str, **settings: Any) -> None:
        with pytest.raises(error, match=words):
            steered(**settings)

    fails(
        UsageError,
        r"^ppo\b.*\bjudgements\b.*\bdpo\b",
        algorithm=PPO(),
    )
    fails(UsageError, "KL", kl=KL(0.1))
    fails(UsageError, "scale", scaling=Scaling("none"))
    fails(UsageError, r"held_out_share 1\.0", steering={"held_out_share": 1.0})
    fails(
        DataError,
        "^the judgements: no judgements",
        judgements=[],
    )
    fails(
        DataError,
        r"^the judgements: 3 labels\b",
        judgements=[Label(f"film {k}", True) for k in range(3)],
    )
    fails(DataError, r"^2 different", judgements=[Comparison("a", "b")])
    long = [Comparison(f"{k} " * 40, "b", prompt=str(k)) for k in range(20)]
    fails(
        DataError,
        r"\b20 texts\b.*\b32 tokens\b",
        judgements=long,
    )
    with pytest.raises(UsageError, match=r"\breward\b.*\bjudgements\b"):
        steer(nano())


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_to_write_the_letter_that_people_prefer(seed: int) -> None:
    """Of two strings of six letters the one with more a's was preferred; the strings were not
    written by the policy.

    Few steps: with many more, DPO makes strings that nobody judged likelier than either.
    """
    draw = random.Random(seed)
    strings = ["".join(draw.choices("abcd", k=6)) for _ in range(400)]
    pairs = [
        sorted(pair, key=lambda s: -s.count("a"))
        for pair in zip(strings[::2], strings[1::2], strict=True)
    ]
    judgements = [Comparison(a, b) for a, b in pairs if a.count("a") > b.count("a")]
    result = steer(
        nano(seed=seed),
        lambda p, t: [x.count("a") / max(len(x), 1) for x in t],
        judgements=judgements,
        seed=seed,
        algorithm=DPO(lr=1e-2),
        limits=NEVER,
        steering=Steering(steps=8, batch=64, measured=64, windows=4),
        sampling=Sampling(max_tokens=6),
    )
    assert result.figures["score_before"] < 0.1
    assert result.figures["score_after"] > 0.2
    assert result.figures["held_out_preference_accuracy_after"] > 0.9
