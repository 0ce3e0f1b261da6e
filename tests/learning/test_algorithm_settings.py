"""Settings of algorithms: each one changes the update, and each is checked when it is made."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tabular import Table, rollout_of, slopes

from tastemaker.errors import UsageError
from tastemaker.rl import (
    A2C,
    ALGORITHMS,
    DPO,
    GRPO,
    PPO,
    RLOO,
    TRPO,
    Reinforce,
    Winners,
    algorithm_class,
    algorithm_named,
)


def table() -> Table:
    return Table(3, 4, seed=5)


SETTINGS = [
    (
        A2C(),
        {
            "gamma": 0.5,
            "lam": 0.1,
            "whiten": False,
            "value_weight": 2.0,
            "entropy": 0.5,
            "target_entropy": 2.0,
        },
    ),
    (
        Reinforce(baseline="value"),
        {
            "gamma": 0.5,
            "whiten": True,
            "value_weight": 2.0,
            "entropy": 0.5,
            "target_entropy": 2.0,
        },
    ),
    (
        PPO(target_kl=math.inf, value_clip=1e-4),
        {
            "clip": 0.001,
            "epochs": 1,
            "minibatches": 1,
            "gamma": 0.5,
            "lam": 0.1,
            "target_kl": 1e-9,
            "whiten": False,
        }
        | {
            "value_weight": 2.0,
            "entropy": 0.5,
            "target_entropy": 2.0,
            "value_clip": math.inf,
        },
    ),
    (
        RLOO(epochs=3, minibatches=2),
        {
            "epochs": 1,
            "minibatches": 1,
            "clip": 0.001,
            "target_kl": 1e-9,
            "entropy": 0.5,
            "target_entropy": 2.0,
        },
    ),
    (
        GRPO(samples=4, epochs=3),
        {
            "normalise": "dr",
            "clip": 0.001,
            "epochs": 1,
            "minibatches": 1,
            "target_kl": 1e-9,
            "entropy": 0.5,
        }
        | {"target_entropy": 2.0},
    ),
    (DPO(), {"beta": 1.0, "epochs": 1, "minibatches": 1}),
    (Winners(samples=4, epochs=2), {"epochs": 1, "minibatches": 2}),
    (
        TRPO(damping=0.01),
        {
            "target_kl": 0.1,
            "cg_iterations": 1,
            "damping": 5.0,
            "gamma": 0.5,
            "lam": 0.1,
            "critic_epochs": 1,
        }
        | {"critic_minibatches": 1, "fisher_share": 1.0},
    ),
]


@pytest.mark.parametrize(
    ("algorithm", "setting", "value"),
    [(algorithm, *item) for algorithm, other in SETTINGS for item in other.items()],
    ids=lambda x: getattr(x, "name", str(x)),
)
def test_every_setting_matters(algorithm: Any, setting: str, value: Any) -> None:
    rollout = rollout_of(table())
    plain, other = (
        slopes(table(), a, rollout)
        for a in (algorithm, replace(algorithm, **{setting: value}))
    )
    assert any(
        not torch.allclose(a, b, rtol=1e-4, atol=1e-9)
        for a, b in zip(plain, other, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        *((name, "lr", value) for name in ALGORITHMS for value in (0.0, -1.0, math.inf, math.nan)),
        *((name, setting, value) for name in ("reinforce", "a2c", "ppo", "trpo")
          for setting in ("gamma", "lam") for value in (-0.1, 1.1, math.nan)
          if (name, setting) != ("reinforce", "lam")),
        *((name, "entropy", value) for name in ("reinforce", "a2c", "ppo", "rloo", "grpo")
          for value in (-0.1, math.inf)),
        *((name, "target_entropy", value) for name in ("reinforce", "a2c", "ppo", "rloo", "grpo")
          for value in (0.0, math.nan)),
        *((name, "clip", 0.0) for name in ("ppo", "rloo", "grpo")),
        *((name, "target_kl", value) for name in ("ppo", "rloo", "grpo", "trpo")
          for value in (0.0, math.nan)),
        *((name, s, 0) for name in ("ppo", "rloo", "grpo", "dpo", "winners")
          for s in ("epochs", "minibatches")),
        *((name, "samples", 1) for name in ("rloo", "grpo", "dpo", "winners")),
        *(("trpo", setting, 0)
          for setting in ("cg_iterations", "tries", "critic_epochs", "critic_minibatches")),
        ("trpo", "damping", -0.1),
        *(("trpo", "fisher_share", value) for value in (-0.1, 0.0, 1.1, math.nan)),
        ("dpo", "beta", 0.0),
        ("ppo", "value_clip", 0.0),
        *((name, "value_weight", -0.5) for name in ("reinforce", "a2c", "ppo")),
        ("reinforce", "baseline", "median"),
        ("grpo", "normalise", "row"),
    ],
)  # fmt: skip
def test_settings_are_checked(name: str, setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"^{name}: {setting} '?{value}'?: [^\n]*$"):
        algorithm_named(name, **{setting: value})


def test_algorithms_by_name() -> None:
    assert algorithm_named("ppo", clip=0.1, epochs=3) == PPO(clip=0.1, epochs=3)
    assert algorithm_named("ppo", gamma=1) == PPO(gamma=1)
    for name in ALGORITHMS:
        assert algorithm_named(name) == algorithm_class(name)()
        assert algorithm_class(name).name == name
    with pytest.raises(UsageError, match=r"'pro'.*\bppo\b.*\breinforce, a2c\b"):
        algorithm_named("pro")
    with pytest.raises(UsageError, match=r"^ppo.*'clipp'.*\bclip\b.*\blr\b"):
        algorithm_named("ppo", clipp=0.1)
    with pytest.raises(UsageError, match=r"^ppo\b.*'beta'.*\bdpo\b"):
        algorithm_named("ppo", beta=0.1)
    with pytest.raises(UsageError, match=r"^ppo: clip 'wide': .*number.*\b0\.2\b"):
        algorithm_named("ppo", clip="wide")
    with pytest.raises(UsageError, match=r"^ppo: epochs 1\.5: .*whole"):
        algorithm_named("ppo", epochs=1.5)
    with pytest.raises(UsageError, match=r"^ppo: epochs True: .*whole"):
        algorithm_named("ppo", epochs=True)
    with pytest.raises(UsageError, match=r"^ppo: whiten 1: .*true or false"):
        algorithm_named("ppo", whiten=1)


def test_a_completion_with_nothing_to_compare_it_with_is_refused() -> None:
    actor = table()
    alone = rollout_of(actor, samples=1)
    for algorithm in (RLOO(), GRPO()):
        with pytest.raises(UsageError, match=r"\b2 or more\b"):
            algorithm.credit(actor, alone)
