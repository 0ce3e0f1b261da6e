"""Lesson 5: TRPO. How far may one step go? Measured in what the policy does, not in its weights.

Changed: `learn` moves the policy along `natural_direction`, at most `MAX_KL` far, and the
critic by itself: `train`'s optimizer has only that, `descend` is gone. `policy_loss` weighs by
the ratio to the policy that acted.
Why: a step of Adam, harmless in one place, ruins the policy in another; KL(π_old ‖ π) means the
same everywhere.
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
from gymnasium.vector import VectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from torch import Tensor, nn
from torch.distributions import Categorical, kl_divergence
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import Adam, Optimizer

ROWS = 32  # B: environments side by side
STEPS = 32  # T: of each environment in one rollout
GAMMA = 0.99  # what a reward counts for each step that it is away
LAMBDA = 0.95  # λ: how many rewards count before the critic: 0 one, 1 all of them
LEARNING_RATE = 0.01  # of the critic
MAX_KL = 0.01  # nats that one step may move the policy, a mean over states
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


def policy_loss(log_pi: Tensor, log_pi_old: Tensor, A: Tensor) -> Tensor:
    """Return −mean(π(a|s)/π_old(a|s) · A), all [n]: minus the gain over the policy that acted."""
    return -((log_pi - log_pi_old).exp() * A).mean()


def natural_direction(policy: nn.Module, s: Tensor, g: Tensor) -> Tensor:
    """Return x with H x ≈ g, by ten rounds of conjugate gradients.

    H, the curvature of the KL, is never written out.
    """
    pi, parameters = Categorical(logits=policy(s)), list(policy.parameters())
    kl = kl_divergence(Categorical(logits=pi.logits.detach()), pi).mean()
    slope = parameters_to_vector(torch.autograd.grad(kl, parameters, create_graph=True))
    x, rest, d = torch.zeros_like(g), g, g
    for _ in range(10):  # along d
        # H d is the slope of slope · d. It is damped, because H may be flat somewhere.
        slopes = torch.autograd.grad(slope @ d, parameters, retain_graph=True)
        Hd = parameters_to_vector(slopes) + 0.1 * d
        length = rest @ rest / (d @ Hd + 1e-20)  # nothing may be left to go
        x, rest_before, rest = x + length * d, rest, rest - length * Hd
        d = rest + rest @ rest / (rest_before @ rest_before + 1e-20) * d
    return x


def learn(
    policy: nn.Module, critic: nn.Module, optimizer: Optimizer, rollout: Rollout
) -> None:
    """Learn from one rollout: the policy by one bounded step, the critic by several of Adam."""
    # [n, 4] and [n]: the actions of all rows in one list
    s, a = rollout.s[:, :-1][rollout.is_action], rollout.a[rollout.is_action]
    V = critic(rollout.s).squeeze(-1).detach()  # [B, T + 1, 1] → [B, T + 1]
    A = gae(rollout.r, V, rollout.terminated, rollout.ended, gamma=GAMMA, lam=LAMBDA)
    A, R = A[rollout.is_action], (A + V[:, :-1])[rollout.is_action]
    before = parameters_to_vector(policy.parameters()).detach()
    pi_old = Categorical(logits=policy(s).detach())
    loss = policy_loss(Categorical(logits=policy(s)).log_prob(a), pi_old.log_prob(a), A)
    g = parameters_to_vector(torch.autograd.grad(loss, list(policy.parameters())))
    x = natural_direction(policy, s, g)
    # moves the policy by MAX_KL, as far as its curvature can tell
    step = (2 * MAX_KL / (x @ g)).sqrt() * x
    # halved until the loss falls and the KL is at most MAX_KL; else no step
    for share in (*(0.5**halvings for halvings in range(10)), 0.0):
        vector_to_parameters(before - share * step, policy.parameters())
        pi = Categorical(logits=policy(s))
        is_better = policy_loss(pi.log_prob(a), pi_old.log_prob(a), A) < loss
        if is_better and kl_divergence(pi_old, pi).mean() <= MAX_KL:
            break
    for _ in range(CRITIC_STEPS):
        optimizer.zero_grad()
        ((critic(s).squeeze(-1) - R) ** 2).mean().backward()
        optimizer.step()


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
    optimizer = Adam(critic.parameters(), LEARNING_RATE)
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
    parser = argparse.ArgumentParser(description="Learn CartPole by TRPO.")
    parser.add_argument("--seed", type=int, default=0)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    print(json.dumps(train(parser.parse_args().seed)))
