"""Lesson 7: from CartPole to text. The same PPO, and a GPT for a policy.

Changed: a state is a text so far, an action the next token, an episode one review; `reward` says how good a whole
review is, so every reward but the last is 0, less `KL_COEF` times how much likelier a token is than the GPT it started as
makes it. Swapped: lesson 6's `gae` and `policy_loss` for the library's, which run here unless `--own` asks for lesson
6's: the numbers are equal, and a test holds them to it.
Why: a GPT has 2,000 actions at every step, and most texts say nothing. It must start as a GPT that can write, and
stay near it: without KL_COEF it ends in one sentence that the reward likes, said again and again.
Paper: Ziegler et al. 2019, "Fine-tuning language models from human preferences".
Look at: score up, KL up, and the samples; how short the reviews become, and why.
Try: KL_COEF = 0. Then `tastemaker steer`, which does all this with its own eyes open: held-out score, stop, resume.
"""

import argparse
import json
import sys
import time

import torch
from lesson6_ppo import CLIP
from lesson6_ppo import gae as own_gae
from lesson6_ppo import policy_loss as own_policy_loss
from torch import Tensor

import tastemaker as tm
from tastemaker.playground import gold_score
from tastemaker.rl import Answers, TextActor
from tastemaker.maths import gae
from tastemaker.maths import clipped

REVIEWS = 8_000  # that the GPT learns to write from
ROWS, TOKENS = 64, 80  # B: reviews in a rollout; T: the most tokens of each
ROLLOUTS = 30
PASSES = 2
LEARNING_RATE = 1e-3
KL_COEF = 0.05  # what a nat costs, in rewards
GAMMA, LAMBDA = 1.0, 1.0  # a review is judged once, at its end


def reward(text: str) -> float:
    """Return how good a review is, −1 to 1: here the truth, which only an invented world knows."""
    return gold_score(text) / 5 - 1


def gather(policy: tm.Policy, seed: int) -> tuple[Answers, Tensor, Tensor, list[str]]:
    """Write reviews; return what was written, log π of each token [B, T], where there is one [B, T], and the texts."""
    written = policy.complete([""] * ROWS, sampling=tm.Sampling(max_tokens=TOKENS), seed=seed)
    did = Answers(tuple(map(tuple, policy.reader.prompts([""] * ROWS))), tuple(c.ids for c in written))
    is_action = torch.arange(TOKENS) < torch.tensor([len(c.ids) for c in written])[:, None]
    log_pi = torch.zeros(ROWS, TOKENS).masked_scatter(
        is_action, torch.tensor([x for c in written for x in c.log_probs])
    )
    return did, log_pi, is_action, [c.text for c in written]


def advantages(r: Tensor, V: Tensor, is_action: Tensor, *, own: bool) -> Tensor:
    """Return A [B, T] by the library's `gae`, or by lesson 6's, for which a row ends where its last action is."""
    if not own:
        return gae(r, V, torch.zeros(len(r)), is_action, gamma=GAMMA, lam=LAMBDA)
    is_last = is_action & ~torch.nn.functional.pad(is_action[:, 1:], (0, 1))
    V_next = torch.cat([V, torch.zeros(len(V), 1)], 1)
    return own_gae(r, V_next, is_last, is_last, gamma=GAMMA, lam=LAMBDA) * is_action


def cost(log_pi: Tensor, log_pi_old: Tensor, A: Tensor, *, own: bool) -> Tensor:
    """Return the clipped objective of actions [n], by the library or by lesson 6."""
    if own:
        return own_policy_loss(log_pi, log_pi_old, A, CLIP)
    return clipped(log_pi, log_pi_old, A, clip=CLIP).mean()


def learn(
    actor: TextActor, reference: TextActor, optimizer: torch.optim.Optimizer, seed: int, *, own: bool
) -> dict[str, float]:
    """Gather one rollout and learn from it; return its mean score, and the KL in nats a review."""
    did, log_pi_old, is_action, texts = gather(actor.policy, seed)
    kl = log_pi_old - reference.log_probs(did, is_action)
    r = -KL_COEF * kl
    scores = torch.tensor([reward(text) for text in texts])
    r[torch.arange(ROWS), is_action.sum(1) - 1] += scores
    with torch.no_grad():
        V = actor.evaluate(did, is_action).values
    A = advantages(r, V, is_action, own=own)
    R = (A + V)[is_action]
    A = (A[is_action] - A[is_action].mean()) / A[is_action].std()
    for _ in range(PASSES):
        now = actor.evaluate(did, is_action)
        value_loss = ((now.values[is_action] - R) ** 2).mean()
        optimizer.zero_grad()
        (cost(now.log_probs[is_action], log_pi_old[is_action], A, own=own) + value_loss).backward()
        torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
    return {"score": float(scores.mean()), "kl": float(kl.sum(1).mean())}


def train(seed: int, *, own: bool, reviews: int = REVIEWS, rollouts: int = ROLLOUTS) -> dict[str, float]:
    """Teach a GPT to write, then to write well; return the mean score before and after, and the KL."""
    start = tm.pretrain(tm.Documents([f"playground:en:{reviews}"]), seed=seed)
    reference = TextActor(start.frozen_copy())
    actor = TextActor(start.with_value_head())
    optimizer = torch.optim.Adam([*actor.policy_parameters(), *actor.critic_parameters()], LEARNING_RATE, eps=1e-5)
    began, found = time.perf_counter(), []
    for number in range(rollouts):
        found.append(learn(actor, reference, optimizer, seed * 1_000 + number, own=own))
        if number % 5 == 4:
            seconds = time.perf_counter() - began
            score, kl = found[-1]["score"], found[-1]["kl"]
            print(
                f"{number + 1:3} rollouts   score {score:+.2f}   KL {kl:4.1f} nats   {seconds:5.1f} seconds",
                flush=True,
            )
    print("   ", actor.policy.complete("", seed=1)[0].text, file=sys.stderr)
    before, after = found[0]["score"], found[-1]["score"]
    return {"score_before": before, "score_after": after, "kl": found[-1]["kl"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Teach a GPT to write good reviews by PPO.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own", action="store_true", help="with lesson 6's own pieces")
    given = parser.parse_args()
    print(json.dumps(train(given.seed, own=given.own)))
