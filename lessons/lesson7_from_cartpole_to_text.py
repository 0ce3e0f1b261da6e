"""Lesson 7: from CartPole to text. The same PPO, and a GPT for a policy.

Changed: a state is a text so far, an action the next token, an episode one review. `reward`
says how good a whole review is, so only the last token earns it. Every token pays `KL_COEF`
times log(π/π_ref), where π_ref is the GPT before this training. The library's `gae` and
`clipped` replace lesson 6's `gae` and `policy_loss`; `--lesson6` takes lesson 6's. The numbers
are equal, and a test checks that.
Why: a GPT has 2,000 actions at every step, and most texts mean nothing. It must start as a GPT
that can write, and stay near it: without KL_COEF it ends up repeating one sentence that the
reward likes.
Paper: Ziegler et al. 2019, "Fine-tuning language models from human preferences".
Look at: score up, KL up, and the samples; how short the reviews become, and why.
Try: KL_COEF = 0. Then `tastemaker steer`, which also measures held-out prompts, stops in time
and resumes.
"""

import argparse
import json
import sys
import time

import torch
from lesson6_ppo import CLIP
from lesson6_ppo import gae as gae_of_lesson6
from lesson6_ppo import policy_loss as policy_loss_of_lesson6
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam, Optimizer

import tastemaker as tm
from tastemaker.maths import clipped, gae
from tastemaker.playground import gold_score
from tastemaker.rl import Answers, TextActor

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
    """Write reviews; return them, log π of each token, whether there is a token, and the texts.

    The tensors are [B, T].
    """
    sampling = tm.Sampling(max_tokens=TOKENS)
    written = policy.complete([""] * ROWS, sampling=sampling, seed=seed)
    prompts = tuple(map(tuple, policy.reader.prompts([""] * ROWS)))
    answers = Answers(prompts, tuple(c.ids for c in written))
    lengths = torch.tensor([len(c.ids) for c in written])
    is_action = torch.arange(TOKENS) < lengths[:, None]
    log_probs = torch.tensor([x for c in written for x in c.log_probs])
    log_pi = torch.zeros(ROWS, TOKENS).masked_scatter(is_action, log_probs)
    return answers, log_pi, is_action, [c.text for c in written]


def advantages(r: Tensor, V: Tensor, is_action: Tensor, *, lesson6: bool) -> Tensor:
    """Return A [B, T] by the library's `gae`, or by lesson 6's: a row ends at its last action."""
    if not lesson6:
        return gae(r, V, torch.zeros(len(r)), is_action, gamma=GAMMA, lam=LAMBDA)
    is_last = is_action & ~torch.nn.functional.pad(is_action[:, 1:], (0, 1))
    V_next = torch.cat([V, torch.zeros(len(V), 1)], 1)
    A = gae_of_lesson6(r, V_next, is_last, is_last, gamma=GAMMA, lam=LAMBDA)
    return A * is_action


def cost(log_pi: Tensor, log_pi_old: Tensor, A: Tensor, *, lesson6: bool) -> Tensor:
    """Return the clipped objective of actions [n], by the library or by lesson 6."""
    if lesson6:
        return policy_loss_of_lesson6(log_pi, log_pi_old, A, CLIP)
    return clipped(log_pi, log_pi_old, A, clip=CLIP).mean()


def learn(
    actor: TextActor,
    reference: TextActor,
    optimizer: Optimizer,
    seed: int,
    *,
    lesson6: bool,
) -> dict[str, float]:
    """Gather one rollout and learn from it; return its mean score, and the KL in nats a review."""
    answers, log_pi_old, is_action, texts = gather(actor.policy, seed)
    kl = log_pi_old - reference.log_probs(answers, is_action)
    r = -KL_COEF * kl
    scores = torch.tensor([reward(text) for text in texts])
    r[torch.arange(ROWS), is_action.sum(1) - 1] += scores
    with torch.no_grad():
        V = actor.evaluate(answers, is_action).values
    A = advantages(r, V, is_action, lesson6=lesson6)
    R = (A + V)[is_action]
    A = (A[is_action] - A[is_action].mean()) / A[is_action].std()
    for _ in range(PASSES):
        now = actor.evaluate(answers, is_action)
        value_loss = ((now.values[is_action] - R) ** 2).mean()
        log_pi = now.log_probs[is_action]
        loss = cost(log_pi, log_pi_old[is_action], A, lesson6=lesson6) + value_loss
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
    return {"score": float(scores.mean()), "kl": float(kl.sum(1).mean())}


def train(
    seed: int, *, lesson6: bool, reviews: int = REVIEWS, rollouts: int = ROLLOUTS
) -> dict[str, float]:
    """Teach a GPT to write, then to write well; return the score before and after, and the KL."""
    start = tm.pretrain(tm.Documents([f"playground:en:{reviews}"]), seed=seed)
    reference = TextActor(start.frozen_copy())
    actor = TextActor(start.with_value_head())
    parameters = [*actor.policy_parameters(), *actor.critic_parameters()]
    optimizer = Adam(parameters, LEARNING_RATE, eps=1e-5)
    began, measured = time.perf_counter(), []
    for number in range(rollouts):
        seed_of_rollout = seed * 1_000 + number
        metrics = learn(actor, reference, optimizer, seed_of_rollout, lesson6=lesson6)
        measured.append(metrics)
        if number % 5 == 4:
            seconds = time.perf_counter() - began
            score, kl = metrics["score"], metrics["kl"]
            print(f"{number + 1:3} rollouts   score {score:+.2f}", end="   ")
            print(f"KL {kl:4.1f} nats   {seconds:5.1f} seconds", flush=True)
    print("   ", actor.policy.complete("", seed=1)[0].text, file=sys.stderr)
    before, after = measured[0], measured[-1]
    return {
        "score_before": before["score"],
        "score_after": after["score"],
        "kl": after["kl"],
    }


if __name__ == "__main__":
    text = "Teach a GPT to write good reviews by PPO."
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--lesson6", action="store_true", help="with lesson 6's functions"
    )
    given = parser.parse_args()
    print(json.dumps(train(given.seed, lesson6=given.lesson6)))
