"""Lesson 4: actor and critic. The critic also stands in for the rest of the episode.

Changed: `gather` takes `STEPS` steps in each of the `ROWS` (there were `EPISODES`), wherever
episodes begin and end, so `Rollout` says where; `gae` replaces `returns`, with `LAMBDA`;
`learn`, `evaluate` and `train` follow; `GAMMA` < 1, for without an end in sight V would grow
without bound; `CRITIC_STEPS` are fewer, as rollouts come more often. Older policies played some
of the 32 recent episodes, so once those are good, `evaluate` says whether the policy left is.
Why: after T steps V(s_T) says what the rest is worth, so the policy learns many times an
episode, not once. λ weighs the critic (little variance, but biased while V is wrong) against
rewards seen (no bias, much variance).
Paper: Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning"; Schulman et al.
2016, "High-dimensional continuous control using generalized advantage estimation".
Look at: the steps until solved. Then at `terminated` and `ended` in `gae`: most bugs of this
lesson live there.
Try: LAMBDA = 0, then 1. Then STEPS = 8, which is four times as many steps of Adam.
"""

import argparse
import json
import time
from typing import NamedTuple

import gymnasium
import torch
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.optim import Adam, Optimizer

ROWS = 32  # B: environments side by side
STEPS = 32  # T: of each environment in one rollout
GAMMA = 0.99  # what a reward counts for each step that it is away
LAMBDA = 0.95  # λ: how many rewards count before the critic: 0 one, 1 all of them
LEARNING_RATE = 0.01
CRITIC_STEPS = 5  # of the critic after each step of the policy
SOLVED = 490.0  # mean return of 32 episodes to stop at; an episode ends after 500 steps
MOST_STEPS = 3_000_000  # or after so many steps of the environment


class Rollout(NamedTuple):
    """One gathering of experience: B rows side by side, T steps each; s has one state more."""

    s: Tensor  # [B, T + 1, 4] states: cart's place and speed, pole's angle and speed
    a: Tensor  # [B, T] actions: 0 pushes left, 1 pushes right
    r: Tensor  # [B, T] rewards
    is_action: Tensor  # [B, T] False at the step after an end: it only resets its row
    terminated: Tensor  # [B, T] lost: the pole fell or the cart left (V after it is 0)
    ended: Tensor  # [B, T] lost, or cut after 500 steps (V counts after a cut)


def network(outputs: int) -> nn.Sequential:
    """Return a network that reads states [..., 4], with one hidden layer of 64 units."""
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, outputs))


def cartpoles(count: int, seed: int) -> VectorEnv:
    """Return CartPole `count` times, stepped as one."""
    mode = "vector_entry_point"
    env = gymnasium.make_vec("CartPole-v1", count, vectorization_mode=mode)
    env.reset(seed=seed)
    return env


def gather(
    env: VectorEnv, policy: nn.Module, s: Tensor, ended: Tensor, T: int
) -> Rollout:
    """Play T steps in each row from its state s [B, 4]; ended [B]: the step before was an end."""
    steps = []
    for _ in range(T):
        a = Categorical(logits=policy(s).detach()).sample()
        s_next, r, terminated, truncated, _ = env.step(a.numpy())
        is_action, ended = ~ended, torch.as_tensor(terminated | truncated)
        terminated = torch.as_tensor(terminated)
        steps.append((s, a, torch.as_tensor(r), is_action, terminated, ended))
        s = torch.as_tensor(s_next)
    states, *others = (torch.stack(x, dim=1) for x in zip(*steps, strict=True))
    return Rollout(torch.cat([states, s.unsqueeze(1)], dim=1), *others)


def gae(
    r: Tensor, V: Tensor, terminated: Tensor, ended: Tensor, *, gamma: float, lam: float
) -> Tensor:
    """Return advantages A_t = δ_t + γλ A_{t+1} [B, T], where δ_t = r_t + γ V_{t+1} − V_t.

    V is [B, T + 1].
    """
    delta = r + gamma * V[:, 1:] * ~terminated - V[:, :-1]
    A, A_next = torch.zeros_like(r), torch.zeros(len(r))
    for t in reversed(range(r.shape[1])):
        # behind an end is another episode
        A[:, t] = A_next = delta[:, t] + gamma * lam * A_next * ~ended[:, t]
    return A


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
    s, a = rollout.s[:, :-1][rollout.is_action], rollout.a[rollout.is_action]
    V = critic(rollout.s).squeeze(-1).detach()  # [B, T + 1, 1] → [B, T + 1]
    A = gae(rollout.r, V, rollout.terminated, rollout.ended, gamma=GAMMA, lam=LAMBDA)
    A, R = A[rollout.is_action], (A + V[:, :-1])[rollout.is_action]
    log_pi = Categorical(logits=policy(s)).log_prob(a)
    descend(optimizer, policy_loss(log_pi, A))
    for _ in range(CRITIC_STEPS):
        descend(optimizer, ((critic(s).squeeze(-1) - R) ** 2).mean())


def evaluate(policy: nn.Module) -> float:
    """Return the mean return of 20 fresh episodes, actions drawn from the policy as in learning."""
    env, ended = cartpoles(20, seed=1_000_000), torch.zeros(20, dtype=torch.bool)
    rollout = gather(env, policy, torch.as_tensor(env.reset()[0]), ended, T=500)
    # up to a row's first end
    is_first = rollout.ended.cumsum(dim=1) - rollout.ended.long() == 0
    return float((rollout.r * is_first).sum(dim=1).mean())


def train(seed: int) -> dict[str, float]:
    """Learn until solved; return the steps, the seconds and the evaluation's mean return."""
    torch.manual_seed(seed)
    policy, critic = network(2), network(1)
    optimizer = Adam([*policy.parameters(), *critic.parameters()], LEARNING_RATE)
    env = RecordEpisodeStatistics(cartpoles(ROWS, seed), buffer_length=ROWS)
    s, ended = torch.as_tensor(env.reset()[0]), torch.zeros(ROWS, dtype=torch.bool)
    began, rollouts, steps, mean_return = time.perf_counter(), 0, 0, 0.0
    while mean_return < SOLVED and steps < MOST_STEPS:
        rollout = gather(env, policy, s, ended, STEPS)
        s, ended = rollout.s[:, -1], rollout.ended[:, -1]
        mean_return = sum(env.return_queue) / ROWS
        if mean_return >= SOLVED:  # older policies played some of these episodes
            mean_return = evaluate(policy)
        if mean_return < SOLVED:
            learn(policy, critic, optimizer, rollout)
        rollouts, steps = rollouts + 1, steps + int(rollout.is_action.sum())
        seconds = time.perf_counter() - began
        if rollouts % 20 == 0:
            print(f"{steps:9,} steps   mean return {mean_return:5.1f}", end="   ")
            print(f"{seconds:5.1f} seconds", flush=True)
    score = round(evaluate(policy), 1)
    return {"steps": steps, "seconds": round(seconds, 2), "mean_return": score}


if __name__ == "__main__":
    text = "Learn CartPole by an actor and a critic."
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    print(json.dumps(train(parser.parse_args().seed)))
