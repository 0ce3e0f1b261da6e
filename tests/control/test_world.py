"""Rollouts are cut into parts of episodes: after an end V is 0, after a cut it is the critic's."""

from typing import Any

import numpy as np
import pytest
import torch

from tastemaker.rl import (
    A2C,
    PPO,
    Environments,
    Moments,
    Player,
    Shapes,
    Single,
    Steps,
    Table,
    World,
    single_actions,
)


def world_of(
    options: dict[str, Any], *, envs: int = 1, rollout: int = 6, scaled: bool = False
) -> World:
    environments = Environments("test/Counting-v0", envs, options)
    shapes = Shapes(environments.size, environments.actions, (4,), is_normalised=False)
    player = Player.fresh("test/Counting-v0", options, shapes)
    world = World(
        environments, player, rollout=rollout, seed=3, gamma=0.5, scaled=scaled
    )
    world.begin(0)
    return world


def test_rows_are_stretches_and_the_idle_step_is_in_none() -> None:
    """Episodes of 3 in rollouts of 6: steps 1 2 3, idle, 1 2 | 3, idle, 1 2 3, idle | …"""
    world = world_of({"ends": 3})
    first, second = world.gather(0).rollout, world.gather(1).rollout
    assert first.trajectories.observations.tolist() == [
        [[0, 0], [0, 1], [0, 2]],
        [[1, 0], [1, 1], [0, 0]],
    ]
    assert first.is_action.tolist() == [[True, True, True], [True, True, False]]
    assert first.rewards.tolist() == [[10, 20, 30], [10, 20, 0]]
    assert first.terminated.tolist() == [True, False]
    assert first.trajectories.after.tolist() == [
        [0, 3],
        [1, 2],
    ]  # the true last one, not the first of the next episode
    assert second.rewards.tolist() == [[30, 0, 0], [10, 20, 30]]
    assert second.trajectories.observations[0, 0].tolist() == [1, 2]
    assert second.trajectories.after.tolist() == [[1, 3], [2, 3]]
    assert second.terminated.tolist() == [True, True]


def test_episodes_are_counted_over_rollouts() -> None:
    world = world_of({"ends": 4})
    gathered = [
        world.gather(number) for number in range(2)
    ]  # 1 2 3 4 idle 1 | 2 3 4 idle 1 2
    assert [(g.returns, g.lengths, g.steps) for g in gathered] == [
        ([100.0], [4], 5),
        ([100.0], [4], 5),
    ]
    world.begin(2)  # what was under way is forgotten
    assert world.gather(2).lengths == [4]


def test_rows_come_environment_by_environment() -> None:
    """Two environments, of which only the second ends at its first step."""
    observations = np.arange(3 * 2, dtype=np.float32).reshape(3, 2, 1)  # [T + 1, N, 1]
    no, over = np.zeros((2, 2), np.bool_), np.array([[False, True], [False, False]])
    idle = np.array([[False, False], [False, True]])
    table = Table(
        observations,
        np.array([[5, 6], [7, 8]]),
        np.array([[1.0, 2.0], [3.0, 0.0]]),
        over,
        no,
        idle,
    )
    trajectories, is_action, rewards, terminated = table.rows()
    assert trajectories.actions.tolist() == [[5, 7], [6, 0]]
    assert trajectories.observations[..., 0].tolist() == [[0, 2], [1, 0]]
    assert trajectories.after[:, 0].tolist() == [4, 3]
    assert (is_action.tolist(), rewards.tolist()) == (
        [[True, True], [True, False]],
        [[1, 3], [2, 0]],
    )
    assert terminated.tolist() == [False, True]


@pytest.mark.parametrize(
    ("options", "expected"), [({"ends": 2}, [20, 20]), ({"cut": 2}, [22, 24])]
)
def test_an_end_is_worth_nothing_and_a_cut_what_the_critic_expects(
    options: dict[str, int], expected: list[float]
) -> None:
    """γ = ½, λ = 1, V = 8 everywhere, rewards 10 and 20 of episodes of 2 steps.

    Ended: returns 10 + ½·20 = 20 and 20. Cut: 20 + ½·8 = 24 and 10 + ½·24 = 22. So is a row that
    the rollout cuts.
    """
    world = world_of(options, rollout=5)  # 1 2 idle 1 2
    with torch.no_grad():
        for parameter in world.player.networks.critic.parameters():
            parameter.zero_()
        world.player.networks.critic[-1].bias.fill_(8.0)
    rollout = world.gather(0).rollout
    experience = A2C(gamma=0.5, lam=1.0, whiten=False).credit(
        world.player.actor, rollout
    )
    assert experience.returns.tolist() == [expected, expected]
    cut = world_of({"ends": 100}, rollout=2)
    cut.player.restore(world.player.tensors())
    assert A2C(gamma=0.5, lam=1.0).credit(
        cut.player.actor, cut.gather(0).rollout
    ).returns.tolist() == [[22, 24]]


def test_the_first_pass_has_ratio_one_whole_or_apart() -> None:
    world = world_of({"ends": 3}, envs=3)
    rollout = world.gather(0).rollout
    experience = PPO(gamma=0.9).credit(world.player.actor, rollout)
    single = single_actions(experience)
    assert isinstance(single.trajectories, Single)
    assert single.trajectories.single_actions(single.is_action) is None
    assert len(single.is_action) == int(rollout.is_action.sum())
    whole = world.player.actor.evaluate(rollout.trajectories, rollout.is_action)
    alone = world.player.actor.evaluate(single.trajectories, single.is_action)
    assert whole.log_probs.tolist() == rollout.log_probs.tolist()
    assert (
        whole.values.tolist() == rollout.values.tolist() == experience.values.tolist()
    )
    assert rollout.values.any()
    for of_whole, of_alone in zip(whole, alone, strict=True):
        assert of_alone[:, 0].tolist() == pytest.approx(
            of_whole[rollout.is_action].tolist(), rel=1e-5
        )
        assert not of_whole[~rollout.is_action].any()


def test_select_and_sizes() -> None:
    trajectories = Steps(
        torch.arange(12.0).reshape(3, 2, 2),
        torch.tensor([[0, 1], [2, 3], [4, 5]]),
        torch.zeros(3, 2),
    )
    chosen = trajectories.select(torch.tensor([2, 0]))
    assert chosen.actions.tolist() == [[4, 5], [0, 1]]
    assert chosen.observations[0, 0].tolist() == [8, 9]
    assert trajectories.sizes().tolist() == [2, 2, 2]
    single = trajectories.single_actions(
        torch.tensor([[True, False], [True, True], [False, False]])
    )
    assert single.actions.tolist() == [[0], [2], [3]]
    assert single.sizes().tolist() == [1, 1, 1]


def test_a_rollout_depends_on_its_number_and_nothing_before_it_once_all_begins_anew() -> (
    None
):
    world = world_of({"ends": 3}, envs=2)
    first = world.gather(0).rollout
    world.begin(7)
    after = world.gather(7).rollout
    fresh = world_of({"ends": 3}, envs=2)
    fresh.begin(7)
    alone = fresh.gather(7).rollout
    assert torch.equal(after.trajectories.actions, alone.trajectories.actions)
    assert not torch.equal(
        first.trajectories.actions[:, :2], after.trajectories.actions[:, :2]
    )


def test_rewards_are_divided_by_the_spread_of_their_discounted_sums() -> None:
    """Episodes of 3, γ = ½: sums 10, 25, 42.5, each twice; mean 25.83, variance 176.39, deviation
    13.281.
    """
    rollout = world_of({"ends": 3}, rollout=7, scaled=True).gather(0).rollout
    assert rollout.rewards[0].tolist() == pytest.approx(
        [10 / 13.2812, 20 / 13.2812, 30 / 13.2812], rel=1e-4
    )


def test_moments_of_parts_are_those_of_the_whole() -> None:
    rows = np.random.default_rng(0).normal(3, 2, (100, 2))
    moments = Moments(2)
    for part in np.split(rows, [1, 7, 60]):
        moments.include(part)
    assert moments.mean == pytest.approx(rows.mean(0))
    assert moments.variance == pytest.approx(rows.var(0))
    assert moments.normalised(rows).mean(0) == pytest.approx([0, 0], abs=1e-6)
    assert moments.normalised(np.array([[1e9, 3.0]]))[0, 0] == 10
