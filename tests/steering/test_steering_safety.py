"""Steering that is safe by default: what is saved is within --most-kl, whatever the reward."""

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cards import front_matter, html_of
from judged_texts import compared
from nano import nano

from tastemaker.errors import DataError, TrainingError
from tastemaker.gpt import Policy, Sampling
from tastemaker.rl import (
    A2C,
    DPO,
    KL,
    Limits,
    Scale,
    Scaling,
    Steered,
    Steering,
    steer,
)

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
    assert 1 <= len(returns) <= 2
    assert "half the learning rate" in returns[0]
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


def test_a_run_that_returned_too_often_stops_and_its_last_policy_is_beside(
    tmp_path: Path,
) -> None:
    once = Limits(kl=2.0, patience=1)
    result = steered(limits=once, out=tmp_path / "run")
    assert result.stopped_because.startswith(
        "the KL from the reference was more than 2 nats a text 1 times, at last "
    )
    assert result.kl <= 2.0
    best, last = (
        Policy.load(folder).module.state_dict()
        for folder in (tmp_path / "run", tmp_path / "run" / "last")
    )
    assert any(not best[name].equal(last[name]) for name in best)


def test_no_limit_is_null() -> None:
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


def test_a_constant_reward_is_said_before_anything_is_learned(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError,
        match=r"^the reward gives all 1,088 texts of this GPT the score 1: there is nothing",
    ):
        steered(lambda p, t: [1.0] * len(t), out=tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_constant_reward_has_exit_code_1(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "constant_here.py").write_text(
        "def same(prompts, completions):\n    return [1.0] * len(completions)\n"
    )
    monkeypatch.chdir(tmp_path)
    nano().save("gpt")
    few = ("--steps", 3, "--batch", 16, "--max-tokens", 4, "--measured", 32)
    reward = ("--reward", "constant_here:same", "--algorithm", "grpo")
    code, out, err = run("steer", "gpt", *reward, *few, "--out", "o", "-q")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "nothing to learn from it" in err


def test_a_rare_reward_is_not_constant() -> None:
    """It is 0 for all texts that are measured, and 1 for one of the next thousand."""
    asked: list[int] = []

    def rare(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        asked.append(len(completions))
        hit = len(asked) == 3
        return [1.0 if hit and k == 0 else 0.0 for k in range(len(completions))]

    few = Steering(steps=2, batch=8, measured=32, windows=1)
    result = steered(rare, steering=few)
    assert result.figures["score_before"] == 0.0
    assert asked[:4] == [32, 32, 32, 8]


def test_columns_of_the_prompts_reach_the_reward() -> None:
    answers = {"One": "1", "Two": "2"}

    def right(prompts: Any, completions: Any, answer: Any, **rest: Any) -> list[float]:
        assert [answers[prompt] for prompt in prompts] == answer
        return [float(len(text)) for text in completions]

    rows = [{"prompt": key, "answer": value} for key, value in answers.items()]
    few = Steering(steps=2, batch=8, measured=8, windows=1)
    for algorithm in ("grpo", "a2c"):
        steer(
            nano(),
            right,
            rows,
            algorithm=algorithm,
            steering=few,
            sampling=Sampling(max_tokens=6),
        )
    with pytest.raises(DataError, match=r"^prompts, row 2: no 'prompt' among question"):
        steer(nano(), right, ["One", {"question": "Two"}])


def test_columns_of_a_file_reach_the_reward(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checks_here.py").write_text(
        "def right(completions, answer):\n"
        "    return [text.count(a) for text, a in zip(completions, answer)]\n"
    )
    (tmp_path / "asked.csv").write_text("question,answer\nOne?,a\nTwo?,e\n")
    monkeypatch.chdir(tmp_path)
    nano().save("gpt")
    few = ("--steps", 2, "--batch", 16, "--max-tokens", 8, "--measured", 64)
    asked = ("--prompts", "asked.csv", "--prompt-column", "question")
    reward = ("--reward", "checks_here:right", "--algorithm", "rloo")
    code, out, err = run(
        "steer", "gpt", *reward, *asked, *few, "--out", "o", "--json", "-q"
    )
    assert code == 0, err
    printed = json.loads(out)
    assert printed["kl"] <= printed["most_kl"] == 60.0


def test_one_huge_score_does_not_set_the_scale_alone() -> None:
    """Of 256 normal scores and one of a million, a reward of 1 is still about one deviation."""
    scores = np.random.default_rng(0).normal(5, 2, 256).tolist()
    scale, heavy = Scale(Scaling()), Scale(Scaling())
    scale.include(scores)
    heavy.include([*scores, 1e6])
    assert heavy.unit == pytest.approx(scale.unit, rel=0.3)
    assert heavy.applied([1e6, -1e6]) == [10.0, -10.0]
    mixed = Scale(Scaling())
    mixed.include([0.0] * 80 + [1e6] * 20)
    assert mixed.unit == pytest.approx(4e5), "a fifth of the scores are no outliers"


def test_one_huge_score_does_not_decide_which_policy_is_the_best() -> None:
    """A million for one text of the second step would make that step's policy the best."""
    plain = steered(most=60.0)
    calls: list[int] = []

    def heavy(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        scores = letters(prompts, completions)
        calls.append(len(completions))
        is_second_rollout = (
            calls.count(FEW.batch) == 2 and len(completions) == FEW.batch
        )
        if is_second_rollout:
            scores[0] += 1e6
        return scores

    result = steered(heavy, most=60.0)
    assert FEW.batch in calls
    assert result.figures["best_step"] > 2
    assert result.figures["score_after"] > 0.8 * plain.figures["score_after"]


def pressing_at(call: int, then: Any = letters) -> Any:
    """Return `letters` with Ctrl-C pressed in a call of 8 texts. then: what scores after it."""
    asked: list[int] = []

    def pressing(prompts: Sequence[str], completions: Sequence[str]) -> list[float]:
        asked.extend([1] * (len(completions) == 8))
        if len(completions) == 8 and len(asked) == call:
            signal.raise_signal(signal.SIGINT)
        scores: list[float] = (then if len(asked) > call else letters)(
            prompts, completions
        )
        return scores

    pressing.__name__ = letters.__name__
    return pressing


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs take Ctrl-C, as from a shell; pytest has a handler of its own."""
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)


def test_ctrl_c_leaves_a_policy_and_a_run_that_goes_on(
    tmp_path: Path, ctrl_c: None, capsys: Any
) -> None:
    """Pressed in step 3, it ends the run after it; resumed, the run ends in the same bits."""
    few = Steering(steps=5, batch=8, measured=8, windows=5)
    settings: dict[str, Any] = {"steering": few, "most": 60.0}
    expected = steered(out=tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt, match=r"after step 3; .*--resume") as stopped:
        steered(pressing_at(4), out=tmp_path / "torn", **settings)
    assert "The best policy within the limit of the KL is in" in str(stopped.value)
    assert "stopping after this step" in capsys.readouterr().err
    assert Policy.load(tmp_path / "torn").complete("A", samples=1)
    assert not (tmp_path / "torn" / "steering.json").exists()
    result = steered(out=tmp_path / "torn", resume=True, **settings)
    best, other = (
        run.policy.module.state_dict().values() for run in (expected, result)
    )
    assert all(one.equal(two) for one, two in zip(best, other, strict=True))


def test_what_ctrl_c_leaves_has_the_card_of_a_steered_policy(
    tmp_path: Path, ctrl_c: None
) -> None:
    few = Steering(steps=5, batch=8, measured=8, windows=5)
    with pytest.raises(KeyboardInterrupt):
        steered(pressing_at(4), out=tmp_path, steering=few, held_out="length")
    card = (tmp_path / "README.md").read_text()
    for words in (
        "| learned from | the reward letters",
        "| algorithm | a2c, 3 steps",
        "nats a text, limit 4",
        "| held-out score |",
        "stopped from outside after step 3; --resume goes on",
    ):
        assert words in card, words
    samples = card.split("## Samples")[1].split("##")[0]
    assert (
        sum(line.startswith(("| A |", "| The |")) for line in samples.splitlines()) == 5
    )


def test_what_ctrl_c_leaves_is_within_the_limit_where_it_is_measured(
    tmp_path: Path, ctrl_c: None
) -> None:
    """The windows' means are at most 0.14 nats; the one text that is measured has 0.38."""
    few = Steering(steps=5, batch=8, measured=1, windows=5)
    settings: dict[str, Any] = {"algorithm": A2C(lr=1e-3), "steering": few, "seed": 1}
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        steered(pressing_at(4), most=0.2, out=tmp_path, say=lines.append, **settings)
    assert any("has a KL of 0.4 nats where it is measured" in line for line in lines)
    assert "nats a text, limit 0.2 |" in (tmp_path / "README.md").read_text()
    saved = Policy.load(tmp_path).module.state_dict()
    start = nano().module.state_dict()
    assert all(saved[name].equal(start[name]) for name in saved)


def test_what_cannot_be_measured_after_ctrl_c_is_not_saved(
    tmp_path: Path, ctrl_c: None
) -> None:
    """A server of rewards may end by the same Ctrl-C. The run can still go on."""

    def gone(prompts: Any, completions: Any) -> list[float]:
        raise OSError("no server")

    few = Steering(steps=5, batch=8, measured=8, windows=5)
    settings: dict[str, Any] = {"steering": few, "most": 60.0, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt, match=r"--resume.*not saved.*no server"):
        steered(pressing_at(4, then=gone), **settings)
    assert not (tmp_path / "config.json").exists()
    assert steered(resume=True, **settings).figures["steps"] == 5


def test_a_second_ctrl_c_while_the_best_is_measured_leaves_the_checkpoint(
    tmp_path: Path, ctrl_c: None
) -> None:
    def again(prompts: Any, completions: Any) -> list[float]:
        signal.raise_signal(signal.SIGINT)
        return letters(prompts, completions)

    few = Steering(steps=5, batch=8, measured=8, windows=5)
    settings: dict[str, Any] = {"steering": few, "most": 60.0, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt, match=r"--resume.*in the checkpoint only"):
        steered(pressing_at(4, then=again), **settings)
    assert steered(resume=True, **settings).figures["steps"] == 5


def test_the_card_says_what_was_done(tmp_path: Path) -> None:
    few = Steering(steps=2, batch=16, measured=8, windows=2)
    nano().save(tmp_path / "base")
    steer(
        tmp_path / "base",
        letters,
        ["A | <b>", "The"],
        algorithm="rloo",
        steering=few,
        held_out="length",
        sampling=Sampling(max_tokens=6),
        out=tmp_path / "run",
    )
    card = (tmp_path / "run" / "README.md").read_text()
    assert front_matter(card)["pipeline_tag"] == "text-generation"
    for words in (
        "| base | base |",
        "the reward letters",
        "| algorithm | rloo, 2 steps",
        "nats a text, limit 60",
        "| held-out score |",
        "| KL from the base, nats a text | 0 |",
    ):
        assert words in card, words
    assert "<b>" not in html_of(card)
    assert str(tmp_path) not in card
    last = (tmp_path / "run" / "last" / "README.md").read_text()
    assert "the policy after the last step" in last
    assert "not its result" in last
