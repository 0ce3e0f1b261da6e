"""Environments are checked when opened and while played; an end is not a cut."""

import math

import numpy as np
import pytest
import torch

from tastemaker.errors import MissingExtra, TastemakerError, TrainingError, UsageError
from tastemaker.rl import Actions, Amounts, Choices, Environments, actions_from


def played(name: str, count: int, options: dict[str, object]) -> None:
    """Take 60 steps."""
    environments = Environments(name, count, options)
    environments.reset(0)
    for _ in range(60):
        environments.step(np.zeros(count, np.int64))


def failure_of(
    kind: type[TastemakerError], name: str, count: int = 2, **options: object
) -> str:
    with pytest.raises(kind) as caught:
        played(name, count, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_step_after_an_end_is_idle_and_the_ending_one_shows_what_was_last_seen() -> (
    None
):
    """Episodes of 3 steps: their third shows step 3, the fourth only begins the next one, whatever
    its action.
    """
    environments = Environments("test/Counting-v0", 1)
    environments.reset(0)
    steps = [environments.step(np.array([1])) for _ in range(5)]
    assert [s.observations[0].tolist() for s in steps] == [
        [0, 1],
        [0, 2],
        [0, 3],
        [1, 0],
        [1, 1],
    ]
    assert [bool(s.is_terminated[0]) for s in steps] == [
        False,
        False,
        True,
        False,
        False,
    ]
    assert [bool(s.is_idle[0]) for s in steps] == [False, False, False, True, False]
    assert [float(s.rewards[0]) for s in steps] == [10, 20, 30, 0, 10]


def test_an_end_and_a_cut_are_told_apart() -> None:
    for options, ended, cut in (
        ({"ends": 2}, True, False),
        ({"cut": 2}, False, True),
        ({"ends": 2, "cut": 2}, 1, 1),
    ):
        environments = Environments("test/Counting-v0", 1, options)
        environments.reset(0)
        step = [environments.step(np.array([0])) for _ in range(2)][-1]
        assert (bool(step.is_terminated[0]), bool(step.is_truncated[0])) == (
            bool(ended),
            bool(cut),
        )


def test_the_built_in_many_at_once_are_used_where_there_are_some() -> None:
    for name, kind in (
        ("CartPole-v1", "CartPoleVectorEnv"),
        ("Acrobot-v1", "SyncVectorEnv"),
    ):
        environments = Environments(name, 3)
        assert type(environments._vector.unwrapped).__name__ == kind
        assert environments.longest == 500
        environments.close()


def test_the_same_seed_begins_the_same_episodes() -> None:
    environments = Environments("CartPole-v1", 4)
    first, other, again = (environments.reset(seed) for seed in (5, 6, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_is_not_supported_is_said_in_one_line() -> None:
    assert "Perhaps: CartPole-v1" in failure_of(UsageError, "Cartpol-v1")
    assert "No module named 'nowhere'" in failure_of(UsageError, "nowhere:Thing-v0")
    assert "supported are observations in a Box of rank 1" in failure_of(
        UsageError, "test/Nested-v0"
    )
    assert "observations are a Discrete" in failure_of(UsageError, "FrozenLake-v1")
    assert "unexpected keyword" in failure_of(UsageError, "CartPole-v1", wind=3)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in [
        m for m in sys.modules if m.startswith(("Box2D", "gymnasium.envs.box2d"))
    ]:
        monkeypatch.delitem(sys.modules, module)
    # as where it is not installed
    monkeypatch.setitem(sys.modules, "Box2D", None)  # type: ignore[arg-type]
    assert "pip install '.[box2d]'" in failure_of(MissingExtra, "LunarLander-v3")


def test_an_environment_that_fails_is_named_with_step_and_value() -> None:
    raised = failure_of(
        TrainingError, "test/Failing-v0", failure="raises", at=7
    )  # two idle steps come before the 7th of its own
    assert (
        "step 9 of each of the 2 environments failed (ZeroDivisionError: no more apples)"
        in raised
    )
    showed = failure_of(TrainingError, "test/Failing-v0", failure="shows", at=7)
    assert "test/Failing-v0: environment 0 showed [ 1. nan] at step 9" in showed
    assert "environment 0 rewarded with inf at step 9" in failure_of(
        TrainingError, "test/Failing-v0", failure="pays", at=7
    )


# --- what an action is


def test_choices_are_drawn_as_often_as_they_are_likely() -> None:
    """Of logits ln 1, ln 2, ln 5 the shares are 1/8, 2/8, 5/8; 40,000 draws err by about √(p(1 −
    p)/n) < 0.0025.
    """
    actions = Choices(3)
    noise = actions.noise(np.random.default_rng(0), 200, 200)
    drawn = actions.drawn(torch.tensor([1.0, 2.0, 5.0]).log(), torch.zeros(0), noise)
    assert torch.bincount(drawn.ravel()) / 40_000 == pytest.approx(
        [1 / 8, 2 / 8, 5 / 8], abs=0.01
    )


def test_choices_by_hand() -> None:
    """Entropy of ½, ¼, ¼ is 1.5 ln 2."""
    outputs = torch.tensor([[2.0, 1.0, 1.0]]).log()
    log_probs, entropy = Choices(3).log_probs_and_entropy(
        outputs, torch.zeros(0), torch.tensor([1])
    )
    assert log_probs.tolist() == pytest.approx([math.log(0.25)])
    assert entropy.tolist() == pytest.approx([1.5 * math.log(2)])
    assert Choices(3, start=5).for_environment(np.array([0, 2])).tolist() == [5, 7]


def test_amounts_by_hand() -> None:
    """Two amounts at their means with σ = 1 and 2: −ln(2π) − ln 2; one σ off costs ½; entropy
    ln(2πe) + ln 2.
    """
    actions, log_sd = Amounts((-1, -1), (1, 1)), torch.tensor([0.0, math.log(2)])
    at_mean, entropy = actions.log_probs_and_entropy(
        torch.tensor([[0.3, 0.1]]), log_sd, torch.tensor([[0.3, 0.1]])
    )
    assert float(at_mean) == pytest.approx(-math.log(2 * math.pi) - math.log(2))
    assert float(entropy) == pytest.approx(math.log(2 * math.pi * math.e) + math.log(2))
    off, _ = actions.log_probs_and_entropy(
        torch.tensor([[0.3, 0.1]]), log_sd, torch.tensor([[0.3, 2.1]])
    )
    assert float(at_mean - off) == pytest.approx(0.5)


def test_amounts_are_cut_only_when_they_are_handed_over() -> None:
    """Bounds −3 … 1: 0 is their middle −1, ±1 the bounds, 5 is cut; without bounds a number stands
    for itself.
    """
    actions = Amounts((-3.0, -math.inf), (1.0, math.inf))
    handed = actions.for_environment(
        np.array([[0.0, 7.0], [1.0, -7.0], [5.0, 0.0], [-0.5, 0.0]])
    )
    assert handed.tolist() == [[-1, 7], [1, -7], [1, 0], [-2, 0]]
    far = torch.tensor([[5.0, 0.0]])
    log_probs, _ = actions.log_probs_and_entropy(torch.zeros(1, 2), torch.zeros(2), far)
    assert float(log_probs) == pytest.approx(-12.5 - math.log(2 * math.pi))


@pytest.mark.parametrize("actions", [Choices(3, 1), Amounts((-2.0,), (2.0,))])
def test_an_action_described_is_the_same_again(actions: Actions) -> None:
    assert actions_from(actions.described()) == actions
