"""A whole run: it resumes bit for bit, keeps its steps when a reward fails, and stops in time."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nano import nano
from transformers import OPTConfig, OPTForCausalLM

from tastemaker.errors import RewardError, UsageError
from tastemaker.gpt import Policy, Sampling
from tastemaker.rl import (
    A2C,
    DPO,
    GRPO,
    KL,
    PPO,
    RLOO,
    TRPO,
    Algorithm,
    Limits,
    Reinforce,
    Scaling,
    Steered,
    Steering,
    SteerTask,
    Winners,
    steer,
)
from tastemaker.scores import Scores

QUICK = Steering(steps=6, batch=16, measured=8, windows=6)
NEVER = Limits(kl=1e9, distinct=0.0, pairs=0.0, held_out=1e9)
CLOCK = {"seconds", "gathering_seconds", "learning_seconds"}


class Killed(BaseException):
    """What ends a run from outside."""


def share(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """The share of the letter e."""
    return [text.count("e") / max(len(text), 1) for text in texts]


def whole(prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """The share of ASCII characters, of which an untrained GPT writes some in every text."""
    return [sum(c.isascii() for c in text) / max(len(text), 1) for text in texts]


def steered(algorithm: Any = None, reward: Any = share, **changes: Any) -> Steered:
    settings: dict[str, Any] = {
        "sampling": Sampling(max_tokens=5),
        "steering": QUICK,
        "limits": NEVER,
    }
    algorithm = algorithm or A2C(lr=1e-2)
    return steer(
        nano(), reward, ["A", "The"], algorithm=algorithm, **settings | changes
    )


class Doubtful:
    """An ensemble of two: the share of the letter e, and 1 more."""

    def score_all(self, examples: Sequence[Any]) -> Scores:
        texts = [example.text for example in examples]
        one = np.array(share(texts, texts))
        members = np.stack([one, one + 1])
        return Scores(members.mean(0), np.zeros(len(one), dtype=bool), members)


def test_the_pessimistic_reward_has_the_price_of_kl() -> None:
    """Of members at s and s + 1, the mean is s + ½ and the pessimistic score with β = ½ is
    s − ½ ln ½(1 + e⁻²). A text without a word scores −3 in both.
    """
    kl = KL(0.5)
    mean = steered(reward=Doubtful(), kl=kl)
    wary = steered(reward=Doubtful(), kl=kl, caution="pessimistic")
    assert wary.figures["settings"]["caution"] == "pessimistic=0.5"
    difference = 0.5 + 0.5 * math.log((1 + math.exp(-2)) / 2)
    lower = mean.figures["score_before"] - wary.figures["score_before"]
    assert 0 < lower <= difference + 1e-6
    free = steered(reward=Doubtful(), kl=KL(0.0), caution="pessimistic")
    assert free.figures["settings"]["caution"] == "minimum"


@pytest.mark.parametrize("algorithm", [PPO(lr=1e-2), A2C(lr=1e-2), TRPO()])
def test_a_critic_is_as_wide_as_what_the_network_puts_out(
    algorithm: Algorithm, tmp_path: Path
) -> None:
    """OPT-350m computes in 32 numbers, and projects them onto the 16 of a word."""
    tokenizer = nano().tokenizer
    config = OPTConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        word_embed_proj_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=32,
        max_position_embeddings=32,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    steer(
        Policy(OPTForCausalLM(config), tokenizer),
        share,
        ["A", "The"],
        algorithm=algorithm,
        sampling=Sampling(max_tokens=5),
        steering=Steering(steps=2, batch=4, measured=4, windows=1),
        limits=NEVER,
        out=tmp_path,
    )
    head = Policy.load(tmp_path).value_head
    assert head is not None
    assert head.linear.in_features == 16
    assert head.linear.weight.any()


def weights(policy: Policy) -> bytes:
    head = [] if policy.value_head is None else policy.value_head.state_dict().values()
    return b"".join(
        t.numpy().tobytes() for t in [*policy.module.state_dict().values(), *head]
    )


def metrics(folder: Path) -> list[dict[str, float]]:
    rows = [
        json.loads(line)
        for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]


def figures(result: Steered) -> dict[str, Any]:
    return {k: v for k, v in result.figures.items() if k not in CLOCK}


def killing_at(line: str) -> Callable[[str], None]:
    def say(printed: str) -> None:
        if printed.startswith(line):
            raise Killed

    return say


def same(torn: Path, whole: Path, result: Steered, expected: Steered) -> None:
    assert weights(result.policy) == weights(expected.policy)
    assert metrics(torn) == metrics(whole)
    assert figures(result) == figures(expected)
    assert result.samples == expected.samples


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (
            PPO(lr=1e-2),
            {"kl": KL(0.1, target=1.0, horizon=50.0), "scaling": Scaling("running")},
        ),
        (DPO(lr=1e-2), {"held_out": "length"}),
        (TRPO(lr=1e-2), {}),
    ],
    ids=["ppo", "dpo", "trpo"],
)
def test_a_run_that_was_broken_off_ends_in_the_same_bits(
    algorithm: Algorithm[Any],
    settings: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = steered(algorithm, out=tmp_path / "whole", **settings)
    monkeypatch.setattr(SteerTask, "checkpoint_seconds", 0.0)
    with pytest.raises(Killed):
        steered(
            algorithm, out=tmp_path / "torn", say=killing_at("step    4"), **settings
        )
    assert [
        f.name[-1] for f in sorted((tmp_path / "torn" / "run").glob("checkpoint-*"))
    ] == [
        "2",
        "3",
    ]
    result = steered(algorithm, out=tmp_path / "torn", resume=True, **settings)
    same(tmp_path / "torn", tmp_path / "whole", result, expected)
    again = steered(algorithm, out=tmp_path / "torn", resume=True, **settings)
    assert figures(again) == figures(expected), "a finished run is read back"


class Failing:
    """The share of ASCII characters, until it was asked so many times; then it fails once."""

    name = "share"

    def __init__(self, at: int) -> None:
        self.at, self.asked = at, 0

    def score(self, completions: Sequence[Any]) -> list[float]:
        self.asked += 1
        if self.asked == self.at:
            raise RewardError("share has no more answers.")
        return whole([], [c.text for c in completions])


@pytest.mark.parametrize("where", ["reward", "held_out", "gold"])
@pytest.mark.parametrize("at", [2, 5, 8])
def test_a_reward_that_fails_keeps_the_finished_steps(
    where: str, at: int, tmp_path: Path
) -> None:
    """Asked once before, once a step, once after: the 5th time is step 4, and three steps are
    finished.
    """
    settings: dict[str, Any] = {
        "scaling": Scaling("running"),
        "kl": KL(0.1, target=1.0, horizon=50.0),
    }
    others = {"reward": Failing(99), "held_out": Failing(99)}
    expected = steered(
        out=tmp_path / "whole", **others | {where: Failing(99)}, **settings
    )
    with pytest.raises(RewardError, match="no more answers"):
        steered(out=tmp_path / "torn", **others | {where: Failing(at)}, **settings)
    assert (tmp_path / "torn" / "run" / f"checkpoint-{at - 2:08d}").is_dir()
    result = steered(
        out=tmp_path / "torn", resume=True, **others | {where: Failing(99)}, **settings
    )
    same(tmp_path / "torn", tmp_path / "whole", result, expected)


def test_a_run_that_had_ended_by_itself_stays_ended(tmp_path: Path) -> None:
    """KL 0 in steps 1 and 3, too far in steps 2 and 4, killed while it is measured."""
    settings: dict[str, Any] = {"limits": Limits(kl=1e-4, patience=2)}
    with pytest.raises(RewardError):
        steered(reward=Failing(6), out=tmp_path / "torn", **settings)
    result = steered(reward=Failing(99), out=tmp_path / "torn", resume=True, **settings)
    assert result.figures["steps"] == 3
    assert result.stopped_because.startswith("the KL from the reference was more than ")


def test_nothing_is_asked_for_twice_with_another_word(tmp_path: Path) -> None:
    steered(out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"^--resume.*\bkl\b"):
        steered(out=tmp_path / "run", resume=True, kl=KL(0.5))


@pytest.mark.parametrize(
    "algorithm",
    [Reinforce(baseline="value", lr=1e-2), TRPO(lr=1e-2), GRPO(lr=1e-2, samples=4)],
)
def test_the_start_is_not_changed_and_the_same_seed_is_the_same_run(
    algorithm: Algorithm[Any],
) -> None:
    start = nano()
    before = weights(start)
    one = steer(
        start,
        share,
        algorithm=algorithm,
        steering=QUICK,
        sampling=Sampling(max_tokens=5),
        limits=NEVER,
    )
    two = steer(
        start,
        share,
        algorithm=algorithm,
        steering=QUICK,
        sampling=Sampling(max_tokens=5),
        limits=NEVER,
    )
    assert weights(start) == before != weights(one.policy) == weights(two.policy)
    assert (one.policy.value_head is None) == (not algorithm.needs_critic)


def test_computed_at_once_changes_nothing_but_rounding() -> None:
    results = [
        steered(steering=Steering(steps=2, batch=16, measured=8, windows=1, at_once=n))
        for n in (8192, 30)
    ]
    a, b = (
        torch.cat([p.flatten() for p in f.policy.module.parameters()]).detach()
        for f in results
    )
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


FLIPPED: list[dict[str, Any]] = [
    {"adam_epsilon": 1e-2},
    {"clip": 1e-4},
    {"decay": False},
    {"critic_factor": 1.0},
    {"zero_critic": False},
    {"whiten_rewards": True},
]


@pytest.mark.parametrize("setting", FLIPPED, ids=lambda s: next(iter(s)))
def test_every_detail_matters(setting: dict[str, Any]) -> None:
    few = {"steps": 4, "batch": 64, "measured": 8, "windows": 1}
    plain, other = (steered(steering=Steering(**few | more)) for more in ({}, setting))
    assert weights(plain.policy) != weights(other.policy)


def test_a_critic_begins_at_zero_unless_told() -> None:
    """One step of rate 1e-12 moves nothing: a new head is all 0, or has standard deviation 1/√33 at
    a width of 32.
    """
    few = {"steps": 1, "batch": 8, "measured": 2, "windows": 1}
    for is_zero, deviation in ((True, 0.0), (False, 33**-0.5)):
        head = steered(
            A2C(lr=1e-12), steering=Steering(**few, zero_critic=is_zero)
        ).policy.value_head
        assert head is not None
        assert float(head.linear.weight.detach().std()) == pytest.approx(
            deviation, rel=0.3, abs=1e-9
        )


def forgetful() -> Policy:
    """A GPT whose config drops out a fifth of its embeddings where it is trained."""
    plain = nano()
    config = type(plain.module.config)(
        **plain.module.config.to_dict() | {"hidden_dropout": 0.2}
    )
    module = type(plain.module)(config)
    module.load_state_dict(plain.module.state_dict())
    return Policy(module, plain.tokenizer)


@pytest.mark.parametrize("algorithm", [PPO(lr=1e-2), DPO(lr=1e-2)], ids=["ppo", "dpo"])
def test_dropout_is_in_what_is_learned_from_and_never_in_what_is_written(
    algorithm: Algorithm[Any], tmp_path: Path
) -> None:
    def run(policy: Policy, name: str, **more: Any) -> Steered:
        few = Steering(steps=2, batch=16, measured=8, windows=2, **more)
        settings: dict[str, Any] = {
            "steering": few,
            "sampling": Sampling(max_tokens=5),
            "limits": NEVER,
        }
        return steer(
            policy,
            whole,
            ["A", "The"],
            algorithm=algorithm,
            out=tmp_path / name,
            **settings,
        )

    off, on = run(forgetful(), "off"), run(forgetful(), "on", dropout=True)
    assert weights(off.policy) == weights(run(nano(), "none").policy), "off unless told"
    assert weights(on.policy) != weights(off.policy)
    assert weights(run(forgetful(), "again", dropout=True).policy) == weights(
        on.policy
    ), "drawn by the seed"
    first, other = metrics(tmp_path / "off")[0], metrics(tmp_path / "on")[0]
    for name in ("score", "kl", "length", "distinct", "pairs"):
        assert first[name] == other[name], "the first rollout is the same"
    assert not on.policy.module.training
    same = nano()
    assert torch.allclose(
        torch.cat(
            [
                p.flatten()
                for p in run(same, "slow", dropout=True).policy.module.parameters()
            ]
        ),
        torch.cat([p.flatten() for p in run(same, "fast").policy.module.parameters()]),
        atol=1e-3,
    ), "where the config drops nothing, the other pass finds the same"


@pytest.mark.parametrize(
    "settings",
    [
        {"kl": KL(0.5)},
        {"kl": KL(0.5, estimator="k3")},
        {"kl": KL(0.1, target=0.5, horizon=50.0)},
        {"kl": KL(0.5, where="loss", estimator="k3")},
        {"kl": KL(0.5, where="loss", estimator="k2")},
        {"scaling": Scaling("none")},
        {"scaling": Scaling("running")},
        {"scaling": Scaling(clip=0.1)},
        {"seed": 1},
        {"sampling": Sampling(max_tokens=5, temperature=0.7)},
    ],
    ids=str,
)
def test_every_part_matters(settings: dict[str, Any]) -> None:
    few = {"steering": Steering(steps=4, batch=64, measured=8, windows=1)}
    plain, other = (
        steered(A2C(lr=1e-2, whiten=False), whole, **few, **more)
        for more in ({}, settings)
    )
    assert weights(plain.policy) != weights(other.policy)


def test_parts_that_contradict_are_refused() -> None:
    with pytest.raises(
        UsageError,
        match=r"^rloo\b.*\b4 completions\b.*\b18\b",
    ):
        steered(RLOO(), steering={"batch": 18})
    with pytest.raises(UsageError, match=r"^trpo\b.*\bKL\b"):
        steered(TRPO(), kl=KL(where="loss", estimator="k2"))
    with pytest.raises(UsageError, match=r"^steering.*'step'.*\bsteps\b.*\bbatch\b"):
        steered(steering={"step": 3})
    with pytest.raises(
        UsageError,
        match=r"^steering: steps 2\.5: .*whole.*\b150\b",
    ):
        steered(steering={"steps": 2.5})
    wrong = [
        ("steps", 0),
        ("batch", 0),
        ("windows", 0),
        ("measured", 0),
        ("at_once", 0),
    ]
    for name, value in (
        *wrong,
        ("clip", 0.0),
        ("adam_epsilon", 0.0),
        ("critic_factor", 0.0),
    ):
        with pytest.raises(UsageError, match=rf"^{name} {value}: "):
            Steering(**{name: value})  # type: ignore[arg-type]


def test_a_wild_rate_stops_the_run_with_advice() -> None:
    result = steered(
        Reinforce(lr=1e30), steering=Steering(steps=20, batch=16, measured=8, clip=1e30)
    )
    assert result.stopped_because.startswith("a number was not finite (the ")
    assert "lower --lr" in result.stopped_because


def test_the_best_window_is_returned_and_the_last_one_kept(tmp_path: Path) -> None:
    """Judged by the share of another letter held out, the first window may be the best."""
    result = steered(
        Winners(samples=4, lr=1e-2),
        held_out=lambda p, t: [-x for x in share(p, t)],
        out=tmp_path / "run",
    )
    best, steps = result.figures["best_step"], result.figures["steps"]
    assert 1 <= best < steps == 6
    assert weights(Policy.load(tmp_path / "run")) == weights(result.policy)
    assert weights(Policy.load(tmp_path / "run" / "last")) != weights(result.policy)
    rows = metrics(tmp_path / "run")
    held_out = [row["held_out"] for row in rows]
    assert held_out[best - 1] == max(held_out)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
