"""Lesson 1: REINFORCE. A policy learns to balance a pole from nothing but how long it lasted.

The policy π(a|s) plays whole episodes. Then every action of an episode is made likelier in
proportion to the episode's return R, the sum of its rewards: the mean of ∇ log π(a|s) · R is
the gradient of the expected return.

Paper: Williams 1992, "Simple statistical gradient-following algorithms for connectionist
reinforcement learning".
Why it is slow: it is right on average and very noisy. Every R is positive, so an episode makes
all of its actions likelier, the blunders too, and only the differences between many episodes
teach.
Look at: how the mean return climbs, falls back and climbs again. That is variance, seen from
outside.
Try: EPISODES = 8, a mean of fewer. Then GAMMA = 0.99: R can no longer pass 100, so all long
episodes look alike.
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
    """Return each episode's whole return R = Σ γ^t r_t [B, T], the same at all its steps."""
    R = (gamma ** torch.arange(r.shape[1]) * r).sum(dim=1, keepdim=True)
    return R.expand_as(r)


def policy_loss(log_pi: Tensor, R: Tensor) -> Tensor:
    """Return −mean(log π(a|s) · R), both [n]: its gradient is minus the policy gradient."""
    return -(log_pi * R).mean()


def descend(optimizer: Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def learn(policy: nn.Module, optimizer: Optimizer, rollout: Rollout) -> None:
    """Learn from one rollout."""
    # [n, 4] and [n]: the actions of all rows in one list
    s, a = rollout.s[rollout.is_action], rollout.a[rollout.is_action]
    R = returns(rollout.r, GAMMA)[rollout.is_action]
    log_pi = Categorical(logits=policy(s)).log_prob(a)
    descend(optimizer, policy_loss(log_pi, R))


def evaluate(policy: nn.Module) -> float:
    """Return the mean return of 20 fresh episodes, actions drawn from the policy as in learning."""
    return float(gather(cartpoles(20, seed=1_000_000), policy).r.sum(dim=1).mean())


def train(seed: int) -> dict[str, float]:
    """Learn until solved; return the steps, the seconds and the evaluation's mean return."""
    torch.manual_seed(seed)
    env, policy = cartpoles(EPISODES, seed), network(2)
    optimizer = Adam(policy.parameters(), LEARNING_RATE)
    began, rollouts, steps, mean_return = time.perf_counter(), 0, 0, 0.0
    while mean_return < SOLVED and steps < MOST_STEPS:
        rollout = gather(env, policy)
        mean_return = float(rollout.r.sum(dim=1).mean())
        if mean_return < SOLVED:
            learn(policy, optimizer, rollout)
        rollouts, steps = rollouts + 1, steps + int(rollout.is_action.sum())
        seconds = time.perf_counter() - began
        if rollouts % 5 == 0:
            print(f"{steps:9,} steps   mean return {mean_return:5.1f}", end="   ")
            print(f"{seconds:5.1f} seconds", flush=True)
    score = round(evaluate(policy), 1)
    return {"steps": steps, "seconds": round(seconds, 2), "mean_return": score}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Learn CartPole by REINFORCE.")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    print(json.dumps(train(parser.parse_args().seed)))
