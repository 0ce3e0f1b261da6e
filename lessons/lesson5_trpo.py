"""Lesson 5: TRPO. How far may one step go? Measured in what the policy does, not in its weights.

Changed: `learn` moves the policy along `natural_direction`, at most `MAX_KL` far, and the critic by itself: `train`'s
optimizer has only that, `descend` is gone. `policy_loss` weighs by the ratio to the policy that acted.
Why: a step of Adam, harmless in one place, ruins the policy in another; KL(π_old ‖ π) means the same everywhere.
Paper: Schulman et al. 2015, "Trust region policy optimization".
Look at: the steps until solved, and that there is no learning rate of the policy left to choose.
Try: MAX_KL = 0.1, then 0.001. Then lesson 4 with LEARNING_RATE = 0.1: Adam has no such bound.
"""

import argparse
import json
import time
from typing import NamedTuple

import gymnasium
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence

ROWS = 32  # B: environments side by side
STEPS = 32  # T: of each environment in one rollout
GAMMA = 0.99  # what a reward counts for each step that it is away
LAMBDA = 0.95  # how far to trust rewards seen rather than the critic: 0 one step, 1 to the end
LEARNING_RATE = 0.01  # of the critic
MAX_KL = 0.01  # nats that one step may move the policy, a mean over states
CRITIC_STEPS = 5  # of the critic after each step of the policy
SOLVED = 490.0  # stop once the mean return of 32 episodes is this good; an episode is cut after 500 rewards of 1
MOST_STEPS = 3_000_000  # or after so many steps of the environment


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


def policy_loss(log_pi: Tensor, log_pi_old: Tensor, A: Tensor) -> Tensor:
    """Return −mean(π(a|s)/π_old(a|s) · A), all [n]: minus the gain over the policy that acted."""
    return -((log_pi - log_pi_old).exp() * A).mean()


def natural_direction(policy: nn.Module, s: Tensor, g: Tensor) -> Tensor:
    """Return x with H x ≈ g by ten rounds of conjugate gradients; H, the curvature of the KL, is never written out."""
    pi, parameters = Categorical(logits=policy(s)), list(policy.parameters())
    kl = kl_divergence(Categorical(logits=pi.logits.detach()), pi).mean()
    slope = nn.utils.parameters_to_vector(torch.autograd.grad(kl, parameters, create_graph=True))
    x, rest, d = torch.zeros_like(g), g, g
    for _ in range(10):  # along d; H d is the slope's slope, damped, for H alone may be flat somewhere
        Hd = nn.utils.parameters_to_vector(torch.autograd.grad(slope @ d, parameters, retain_graph=True)) + 0.1 * d
        length = rest @ rest / (d @ Hd + 1e-20)  # nothing may be left to go
        x, rest_before, rest = x + length * d, rest, rest - length * Hd
        d = rest + rest @ rest / (rest_before @ rest_before + 1e-20) * d
    return x


def learn(policy: nn.Module, critic: nn.Module, optimizer: torch.optim.Optimizer, rollout: Rollout) -> None:
    """Learn from one rollout: the policy by one step of bounded length, the critic by several of Adam."""
    s, a = rollout.s[:, :-1][rollout.is_action], rollout.a[rollout.is_action]  # [n, 4] and [n]: all actions, end to end
    V = critic(rollout.s).squeeze(-1).detach()  # [B, T + 1, 1] → [B, T + 1]
    A = gae(rollout.r, V, rollout.terminated, rollout.ended, gamma=GAMMA, lam=LAMBDA)[rollout.is_action]
    R = A + V[:, :-1][rollout.is_action]
    before, pi_old = nn.utils.parameters_to_vector(policy.parameters()).detach(), Categorical(logits=policy(s).detach())
    loss = policy_loss(Categorical(logits=policy(s)).log_prob(a), pi_old.log_prob(a), A)
    g = nn.utils.parameters_to_vector(torch.autograd.grad(loss, list(policy.parameters())))
    x = natural_direction(policy, s, g)
    step = (2 * MAX_KL / (x @ g)).sqrt() * x  # moves the policy by MAX_KL, as far as its curvature can tell
    for share in (*(0.5**halvings for halvings in range(10)), 0.0):  # until the loss falls and the KL holds
        nn.utils.vector_to_parameters(before - share * step, policy.parameters())
        pi = Categorical(logits=policy(s))
        if policy_loss(pi.log_prob(a), pi_old.log_prob(a), A) < loss and kl_divergence(pi_old, pi).mean() <= MAX_KL:
            break
    for _ in range(CRITIC_STEPS):
        optimizer.zero_grad()
        ((critic(s).squeeze(-1) - R) ** 2).mean().backward()
        optimizer.step()


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
    optimizer = torch.optim.Adam(critic.parameters(), LEARNING_RATE)
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
    parser = argparse.ArgumentParser(description="Learn CartPole by TRPO.")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    print(json.dumps(train(parser.parse_args().seed)))
