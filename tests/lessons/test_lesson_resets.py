"""Where one episode ends and the next begins: no learning over a reset, and a cut is no loss."""

import gymnasium
import pytest
import torch
from lesson_files import lesson

WHOLE = ("lesson1_reinforce", "lesson2_reward_to_go", "lesson3_baseline")
CUT = ("lesson4_actor_critic", "lesson5_trpo", "lesson6_ppo")


def cartpoles(count: int, longest: int) -> gymnasium.vector.VectorEnv:
    env = gymnasium.make_vec(
        "CartPole-v1",
        count,
        vectorization_mode="vector_entry_point",
        max_episode_steps=longest,
    )
    env.reset(seed=0)
    return env


def test_the_environment_resets_at_the_next_step() -> None:
    """The lessons count on it: a step after an end leads to a new episode's first state."""
    assert (
        cartpoles(1, 5).metadata["autoreset_mode"]
        is gymnasium.vector.AutoresetMode.NEXT_STEP
    )


@pytest.mark.parametrize("name", WHOLE)
def test_whole_episodes_stop_at_their_end(name: str) -> None:
    torch.manual_seed(0)
    module = lesson(name)
    rollout = module.gather(cartpoles(16, 500), module.network(2))
    lengths = rollout.is_action.sum(dim=1)
    assert lengths.unique().numel() > 1  # else nothing is shown
    assert lengths.max() == rollout.r.shape[1]
    for row, length in enumerate(lengths.tolist()):
        assert rollout.is_action[row, :length].all()
        assert rollout.r[row].sum() == length
        # the state that was left last is not lost yet: the pole within 12 degrees, the cart within
        # 2.4
        assert rollout.s[row, length - 1, 2].abs() < 0.2095
        assert rollout.s[row, length - 1, 0].abs() < 2.4


@pytest.mark.parametrize("name", CUT)
def test_a_cut_is_no_loss_and_the_reset_no_action(name: str) -> None:
    torch.manual_seed(0)
    module = lesson(name)
    env = cartpoles(2, 5)
    nothing = torch.zeros(2, dtype=torch.bool)
    rollout = module.gather(
        env, module.network(2), torch.as_tensor(env.reset(seed=0)[0]), nothing, 9
    )
    # five steps, the reset, and three steps of the next episode
    assert rollout.ended.tolist() == [[False] * 4 + [True] + [False] * 4] * 2
    assert not rollout.terminated.any()
    assert rollout.is_action.tolist() == [[True] * 5 + [False] + [True] * 3] * 2
    assert (
        rollout.s[:, 6].abs().max() <= 0.05
    )  # Gymnasium starts an episode this near to upright and still
    assert (
        rollout.s[:, 5].abs().max() > 0.05
    )  # the last state of the first, which V bootstraps from


@pytest.mark.parametrize("name", CUT)
def test_a_fall_is_a_loss(name: str) -> None:
    torch.manual_seed(0)
    module = lesson(name)
    env = cartpoles(8, 500)
    nothing = torch.zeros(8, dtype=torch.bool)
    rollout = module.gather(
        env, module.network(2), torch.as_tensor(env.reset(seed=0)[0]), nothing, 60
    )
    assert torch.equal(rollout.terminated, rollout.ended)
    assert rollout.ended.any(dim=1).all()
    assert torch.equal(~rollout.is_action[:, 1:], rollout.ended[:, :-1])
    assert (rollout.r[~rollout.is_action] == 0).all()


@pytest.mark.parametrize("name", CUT)
def test_a_rollout_goes_on_where_the_last_one_stopped(name: str) -> None:
    """Also when the last one stopped at an end: its first step is then the reset."""
    torch.manual_seed(0)
    module = lesson(name)
    env, policy = cartpoles(1, 5), module.network(2)
    first = module.gather(
        env,
        policy,
        torch.as_tensor(env.reset(seed=0)[0]),
        torch.zeros(1, dtype=torch.bool),
        5,
    )
    second = module.gather(env, policy, first.s[:, -1], first.ended[:, -1], 4)
    assert first.ended.tolist() == [[False] * 4 + [True]]
    assert second.is_action.tolist() == [[False, True, True, True]]
    assert torch.equal(second.s[:, 0], first.s[:, -1])


@pytest.mark.parametrize("name", CUT)
def test_nothing_is_learned_over_a_reset(name: str) -> None:
    """What a reset step says may be anything: the weights after learning are the same."""
    module = lesson(name)
    weights = []
    for nonsense in (0.0, 100.0):
        torch.manual_seed(0)
        policy, critic = module.network(2), module.network(1)
        learning = (
            critic.parameters()
            if name == "lesson5_trpo"
            else [*policy.parameters(), *critic.parameters()]
        )
        optimizer = torch.optim.Adam(learning, 0.01)
        env = cartpoles(4, 5)
        nothing = torch.zeros(4, dtype=torch.bool)
        rollout = module.gather(
            env, policy, torch.as_tensor(env.reset(seed=0)[0]), nothing, 12
        )
        assert (~rollout.is_action).sum() == 8
        rollout.r[~rollout.is_action] += nonsense
        rollout.a[~rollout.is_action] = 0
        module.learn(policy, critic, optimizer, rollout)
        weights.append(
            torch.nn.utils.parameters_to_vector(
                [*policy.parameters(), *critic.parameters()]
            ).detach()
        )
    assert torch.equal(*weights)
