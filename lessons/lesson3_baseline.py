"""Lesson 3: a baseline. An action is judged by how much better it went than expected.

Changed: `learn` subtracts V(s), which a second network, the critic, learns from the returns in
`CRITIC_STEPS` steps; `policy_loss` weighs by the advantage A = R − V; `train` makes the critic.
Why: rewards to go are all positive, so every action is still made likelier, only some more than
others. Less what was expected anyway, A is positive for the better half and negative for the
worse. V depends on the state alone, so the gradient stays right on average. Much less variance,
no bias.
Paper: Williams 1992, section 4; Sutton and Barto 2018, section 13.4.
Look at: the mean return climbs with fewer relapses than in lessons 1 and 2, in fewer steps.
Try: CRITIC_STEPS = 1. A critic that lags behind is a poor baseline, though never a wrong one.
"""

import argparse
import json
import time
from typing import NamedTuple

import gymnasium
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.optim import Adam, Optimizer

EPISODES = 32  # B: played side by side in one rollout
GAMMA = 1.0  # what a reward counts for each step that it is away
LEARNING_RATE = 0.01
CRITIC_STEPS = 20  # of the critic after each step of the policy
SOLVED = 490.0  # mean return of 32 episodes to stop at; an episode ends after 500 steps
MOST_STEPS = 3_000_000  # or after so many steps of the environment


class Rollout(NamedTuple):
    """One gathering of experience: B rows side by side, T steps each."""

    s: Tensor  # [B, T, 4] states: cart's place and speed, pole's angle and speed
    a: Tensor  # [B, T] actions: 0 pushes left, 1 pushes right
    r: Tensor  # [B, T] rewards
    is_action: Tensor  # [B, T] whether a step belongs to an episode


def network(outputs: int) -> nn.Sequential:
    """Return a network that reads states [..., 4], with one hidden layer of 64 units."""
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, outputs))


def cartpoles(count: int, seed: int) -> VectorEnv:
    """Return CartPole `count` times, stepped as one."""
    mode = "vector_entry_point"
    env = gymnasium.make_vec("CartPole-v1", count, vectorization_mode=mode)
    env.reset(seed=seed)
    return env


def gather(env: VectorEnv, policy: nn.Module) -> Rollout:
    """Play one whole episode in each row; T is the longest one's length.

    Gymnasium resets a row that has ended and plays on while others still run. That is not part of
    the rollout: there is_action is False and r is 0.
    """
    s, steps = torch.as_tensor(env.reset()[0]), []
    ended = torch.zeros(len(s), dtype=torch.bool)
    while not ended.all():
        a = Categorical(logits=policy(s).detach()).sample()
        s_next, r, terminated, truncated, _ = env.step(a.numpy())
        steps.append((s, a, torch.as_tensor(r) * ~ended, ~ended))
        ended = ended | torch.as_tensor(terminated | truncated)
        s = torch.as_tensor(s_next)
    return Rollout(*(torch.stack(column, dim=1) for column in zip(*steps, strict=True)))


def returns(r: Tensor, gamma: float) -> Tensor:
    """Return the rewards from each step on, R_t = r_t + γ R_{t+1} [B, T]."""
    R, R_next = torch.zeros_like(r), torch.zeros(len(r))
    for t in reversed(range(r.shape[1])):
        R[:, t] = R_next = r[:, t] + gamma * R_next
    return R


def policy_loss(log_pi: Tensor, A: Tensor) -> Tensor:
    """Return −mean(log π(a|s) · A), both [n]: its gradient is minus the policy gradient."""
    return -(log_pi * A).mean()


def descend(optimizer: Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def learn(
    policy: nn.Module, critic: nn.Module, optimizer: Optimizer, rollout: Rollout
) -> None:
    """Learn from one rollout."""
    # [n, 4] and [n]: the actions of all rows in one list
    s, a = rollout.s[rollout.is_action], rollout.a[rollout.is_action]
    R = returns(rollout.r, GAMMA)[rollout.is_action]
    A = R - critic(s).squeeze(-1).detach()  # [n, 1] → [n]
    log_pi = Categorical(logits=policy(s)).log_prob(a)
    descend(optimizer, policy_loss(log_pi, A))
    for _ in range(CRITIC_STEPS):
        descend(optimizer, ((critic(s).squeeze(-1) - R) ** 2).mean())


def evaluate(policy: nn.Module) -> float:
    """Return the mean return of 20 fresh episodes, actions drawn from the policy as in learning."""
    return float(gather(cartpoles(20, seed=1_000_000), policy).r.sum(dim=1).mean())


def train(seed: int) -> dict[str, float]:
    """Learn until solved; return the steps, the seconds and the evaluation's mean return."""
    torch.manual_seed(seed)
    env, policy, critic = cartpoles(EPISODES, seed), network(2), network(1)
    optimizer = Adam([*policy.parameters(), *critic.parameters()], LEARNING_RATE)
    began, rollouts, steps, mean_return = time.perf_counter(), 0, 0, 0.0
    while mean_return < SOLVED and steps < MOST_STEPS:
        rollout = gather(env, policy)
        mean_return = float(rollout.r.sum(dim=1).mean())
        if mean_return < SOLVED:
            learn(policy, critic, optimizer, rollout)
        rollouts, steps = rollouts + 1, steps + int(rollout.is_action.sum())
        seconds = time.perf_counter() - began
        if rollouts % 5 == 0:
            print(f"{steps:9,} steps   mean return {mean_return:5.1f}", end="   ")
            print(f"{seconds:5.1f} seconds", flush=True)
    score = round(evaluate(policy), 1)
    return {"steps": steps, "seconds": round(seconds, 2), "mean_return": score}


if __name__ == "__main__":
    text = "Learn CartPole by REINFORCE with a baseline."
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    print(json.dumps(train(parser.parse_args().seed)))
