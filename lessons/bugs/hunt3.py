"""Bug hunt 3: PPO that falls over at once.

This is lesson 6 with one bug in it (and fewer MOST_STEPS). Mean return by steps, seed 0:

    steps       20,000   40,000   60,000   80,000  100,000
    lesson 6       167      316   solved
    this file      9.6      9.3      9.3      9.3      9.4

9.3 is what always pushing to one side brings. A clue: with PASSES = 1 this file solves CartPole with seed 1 in 83,377
steps and with seed 2 in 79,364, much like lesson 4; with seed 0 it does not.

Where is the bug? Mend this file, then: python lessons/check.py hunt3
"""

import argparse
import json
import time
from typing import NamedTuple

import gymnasium
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

ROWS = 32  # B: environments side by side
STEPS = 32  # T: of each environment in one rollout
GAMMA = 0.99  # what a reward counts for each step that it is away
LAMBDA = 0.95  # how far to trust rewards seen rather than the critic: 0 one step, 1 to the end
LEARNING_RATE = 0.005
CLIP = 0.2  # the ratio π/π_old gains nothing outside 1 ± CLIP
PASSES = 8  # over each rollout
MINIBATCH = 256  # actions in one step
SOLVED = 490.0  # stop once the mean return of 32 episodes is this good; an episode is cut after 500 rewards of 1
MOST_STEPS = 300_000  # or after so many steps of the environment


class Rollout(NamedTuple):
    """One gathering of experience: B rows side by side, T steps each."""

    s: Tensor  # [B, T + 1, 4] states: place and speed of the cart, angle and speed of the pole; one after the last step
    a: Tensor  # [B, T] actions: 0 pushes left, 1 pushes right
    r: Tensor  # [B, T] rewards
    is_action: Tensor  # [B, T] whether a step belongs to an episode: the one after an end only resets its row
    terminated: Tensor  # [B, T] whether the cart or the pole was lost at this step: nothing follows, V counts as 0
    ended: Tensor  # [B, T] whether that, or the episode was cut after 500 steps: what would follow is worth V


def network(outputs: int) -> nn.Sequential:
    """Return a network that reads states [..., 4], with one hidden layer of 64 units."""
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, outputs))


def cartpoles(count: int, seed: int) -> gymnasium.vector.VectorEnv:
    """Return CartPole `count` times, stepped as one."""
    env = gymnasium.make_vec("CartPole-v1", count, vectorization_mode="vector_entry_point")
    env.reset(seed=seed)
    return env


def gather(env: gymnasium.vector.VectorEnv, policy: nn.Module, s: Tensor, ended: Tensor, T: int) -> Rollout:
    """Play T steps in each row, on from its state s [B, 4]; ended [B]: whether an episode ended there."""
    steps = []
    for _ in range(T):
        a = Categorical(logits=policy(s).detach()).sample()
        s_next, r, terminated, truncated, _ = env.step(a.numpy())
        is_action, ended = ~ended, torch.as_tensor(terminated | truncated)
        steps.append((s, a, torch.as_tensor(r), is_action, torch.as_tensor(terminated), ended))
        s = torch.as_tensor(s_next)
    states, *others = (torch.stack(column, dim=1) for column in zip(*steps, strict=True))
    return Rollout(torch.cat([states, s.unsqueeze(1)], dim=1), *others)


def gae(r: Tensor, V: Tensor, terminated: Tensor, ended: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Return advantages A_t = δ_t + γλ A_{t+1} [B, T], where δ_t = r_t + γ V_{t+1} − V_t and V is [B, T + 1]."""
    delta = r + gamma * V[:, 1:] * ~terminated - V[:, :-1]
    A, A_next = torch.zeros_like(r), torch.zeros(len(r))
    for t in reversed(range(r.shape[1])):
        A[:, t] = A_next = delta[:, t] + gamma * lam * A_next * ~ended[:, t]  # behind an end is another episode
    return A


def policy_loss(log_pi: Tensor, log_pi_old: Tensor, A: Tensor, clip: float) -> Tensor:
    """Return −mean(min(ρA, clip(ρ, 1 ± clip)A)) with ρ = π(a|s)/π_old(a|s), all [n]: no gain from moving far."""
    ratio = (log_pi - log_pi_old).exp()
    return -torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A).mean()


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step down the gradient of the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def learn(policy: nn.Module, critic: nn.Module, optimizer: torch.optim.Optimizer, rollout: Rollout) -> None:
    """Learn from one rollout."""
    s, a = rollout.s[:, :-1][rollout.is_action], rollout.a[rollout.is_action]  # [n, 4] and [n]: all actions, end to end
    V = critic(rollout.s).squeeze(-1).detach()  # [B, T + 1, 1] → [B, T + 1]
    A = gae(rollout.r, V, rollout.terminated, rollout.ended, gamma=GAMMA, lam=LAMBDA)[rollout.is_action]
    R = A + V[:, :-1][rollout.is_action]
    for _ in range(PASSES):
        for i in torch.randperm(len(s)).split(MINIBATCH):
            log_pi = Categorical(logits=policy(s[i])).log_prob(a[i])
            log_pi_old = log_pi.detach()
            value_loss = ((critic(s[i]).squeeze(-1) - R[i]) ** 2).mean()
            descend(optimizer, policy_loss(log_pi, log_pi_old, A[i], CLIP) + value_loss)


def evaluate(policy: nn.Module) -> float:
    """Return the mean return of 20 fresh episodes, actions drawn from the policy as in learning."""
    env, ended = cartpoles(20, seed=1_000_000), torch.zeros(20, dtype=torch.bool)
    rollout = gather(env, policy, torch.as_tensor(env.reset()[0]), ended, T=500)
    is_first = rollout.ended.cumsum(dim=1) - rollout.ended.long() == 0  # up to a row's first end
    return float((rollout.r * is_first).sum(dim=1).mean())


def train(seed: int) -> dict[str, float]:
    """Learn until solved; return the steps taken, the seconds of learning and the evaluation's mean return."""
    torch.manual_seed(seed)
    policy, critic = network(2), network(1)
    optimizer = torch.optim.Adam([*policy.parameters(), *critic.parameters()], LEARNING_RATE)
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(cartpoles(ROWS, seed), buffer_length=ROWS)
    s, ended = torch.as_tensor(env.reset()[0]), torch.zeros(ROWS, dtype=torch.bool)
    began, rollouts, steps, mean_return = time.perf_counter(), 0, 0, 0.0
    while mean_return < SOLVED and steps < MOST_STEPS:
        rollout = gather(env, policy, s, ended, STEPS)
        s, ended = rollout.s[:, -1], rollout.ended[:, -1]
        mean_return = evaluate(policy) if (recent := sum(env.return_queue) / ROWS) >= SOLVED else recent
        if mean_return < SOLVED:
            learn(policy, critic, optimizer, rollout)
        rollouts, steps, seconds = rollouts + 1, steps + int(rollout.is_action.sum()), time.perf_counter() - began
        if rollouts % 20 == 0:
            print(f"{steps:9,} steps   mean return {mean_return:5.1f}   {seconds:5.1f} seconds", flush=True)
    return {"steps": steps, "seconds": round(time.perf_counter() - began, 2), "mean_return": round(evaluate(policy), 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Learn CartPole by PPO.")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    print(json.dumps(train(parser.parse_args().seed)))
