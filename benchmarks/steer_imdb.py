"""IMDB: a GPT learns to continue reviews so that they are called positive; another model judges.

    tastemaker pretrain aclImdb.tar.gz --size small --out gpt    # first: an hour
    python benchmarks/steer_imdb.py --policy gpt                 # --imdb PATH for the reviews
    python benchmarks/steer_imdb.py --policy gpt --kl-coef 0.3   # stays nearer to the GPT

The training reviews are cut in two, no text on both sides. The reward is a linear model fitted on
the labels of one half, the judge a linear model fitted on the other half with another seed. Prompts
are the first 2 to 8 tokens of reviews: those that the policy is steered on come from the reward's
half, those that it is measured on from test reviews, of which the GPT, the reward and the judge
know nothing. What is scored and judged is always the whole text, prompt and continuation. KL is
paid in the reward, by the token, for words that fool one linear model fool the other as well: the
judge's share is worth what the texts are, so read the samples on stderr.

While it steers, the judge watches (`held_out`): its mean score of the prompts steered on chooses
the best of the run's twenty windows and stops a run that only pleases the reward; with --no-watch
the reward chooses. Before and after: 256 continuations of the same held-out prompts by the same
random numbers; the share whose probability of being positive is above one half by the judge and by
the reward, distinct bigrams (word pairs of the continuations that differ, over all), KL. The last
line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from common import DATA, UNSEEN_SEED, drawn

import tastemaker as tm
from tastemaker.data import Judgement
from tastemaker.gpt import Completion, Policy, to_be_scored
from tastemaker.rl import (
    ALGORITHMS,
    algorithm_named,
    distinct,
    distinct_pairs,
    openings,
)

OPENING = (2, 8)
"""Tokens of a review that are a prompt: the fewest and the most (TRL's notebook on the same task).
"""


def _prompts(
    policy: Policy, labels: Sequence[Judgement], count: int, seed: int
) -> list[str]:
    """Return the openings of so many of the reviews, drawn by the seed."""
    texts = [
        example.text
        for label in drawn(labels, count, seed)
        for example in label.examples
    ]
    return list(openings(texts, policy.reader, OPENING, seed=seed))


def _positive(model: tm.RewardModel, completions: Sequence[Completion]) -> float:
    """Return the share of whole texts that a model calls positive."""
    probabilities = model.probability(
        [to_be_scored(completion) for completion in completions]
    )
    return statistics.fmean(probability > 0.5 for probability in probabilities)


def _measured(
    completions: list[Completion], reward: tm.RewardModel, judge: tm.RewardModel
) -> dict[str, float]:
    texts = [completion.text for completion in completions]
    return {
        "judge_positive": _positive(judge, completions),
        "reward_positive": _positive(reward, completions),
        "judge_score": statistics.fmean(
            judge.score([to_be_scored(c) for c in completions])
        ),
        "distinct_bigrams": distinct_pairs(texts),
        "distinct_texts": distinct(texts),
        "tokens": statistics.fmean(len(completion.ids) for completion in completions),
    }


def _show(
    prompts: list[str], before: list[Completion], after: list[Completion], count: int
) -> None:
    for prompt, then, now in list(zip(prompts, before, after, strict=True))[:count]:
        for when, completion in (("before", then), ("after", now)):
            sys.stderr.write(
                f"{when:7}{prompt}|{' '.join(completion.text.splitlines())}\n"
            )
        sys.stderr.write("\n")


def _steered(
    policy: Policy,
    reward: tm.RewardModel,
    judge: tm.RewardModel,
    prompts: list[str],
    given: argparse.Namespace,
) -> tm.Steered:
    return tm.steer(
        policy,
        reward,
        prompts,
        algorithm=algorithm_named(given.algorithm, lr=given.lr),
        held_out=None if given.no_watch else judge,
        caution=given.caution,
        kl=tm.KL(given.kl_coef, target=given.kl_target),
        sampling=tm.Sampling(max_tokens=given.max_tokens),
        steering={"steps": given.steps, "batch": given.batch},
        seed=given.seed,
        out=given.out,
        overwrite=given.overwrite,
        say=lambda line: print(line, file=sys.stderr),
    )


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", required=True, help="a GPT pretrained on IMDB")
    parser.add_argument("--imdb", type=Path, default=DATA / "aclImdb.tar.gz")
    parser.add_argument(
        "--limit", type=int, help="only so many training reviews, both halves together"
    )
    parser.add_argument("--algorithm", default="ppo", choices=list(ALGORITHMS))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=tm.Steering().batch)
    parser.add_argument(
        "--lr", type=float, default=2e-4, help="PPO's own is for smaller networks"
    )
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--prompts", type=int, default=2000, help="to steer on")
    parser.add_argument(
        "--measured", type=int, default=256, help="held-out prompts to measure on"
    )
    parser.add_argument("--kl-coef", type=float, default=0.15)
    parser.add_argument(
        "--kl-target",
        type=float,
        help="adapt the KL coefficient to so many nats a text",
    )
    parser.add_argument(
        "--members", type=int, default=1, help="of the reward's ensemble"
    )
    parser.add_argument(
        "--caution",
        type=float,
        default=0.0,
        help="of an ensemble: mean − λ · standard deviation",
    )
    parser.add_argument(
        "--no-watch", action="store_true", help="the judge sees nothing before the end"
    )
    parser.add_argument("--shown", type=int, default=8, help="samples on stderr")
    parser.add_argument("--out", type=Path, help="keep the steered GPT here")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Fit, steer, judge, and print one JSON line."""
    given = _given()
    policy = Policy.load(given.policy)
    train = tm.read(
        given.imdb, split="train", target="label", limit=given.limit, seed=given.seed
    )
    test = tm.read(
        given.imdb, split="test", target="label", limit=given.measured, seed=given.seed
    )
    halves = tm.split(train, held_out=0.5, seed=given.seed)
    reward, judge = (
        tm.fit(half, backbone="linear", seed=seed, members=members)
        for half, seed, members in zip(
            halves,
            (given.seed, given.seed + UNSEEN_SEED),
            (given.members, 1),
            strict=True,
        )
    )
    asked = _prompts(policy, test, given.measured, given.seed)
    settings: dict[str, Any] = {
        "sampling": tm.Sampling(max_tokens=given.max_tokens),
        "seed": given.seed + UNSEEN_SEED,
    }
    before = policy.complete(asked, **settings)
    started = time.perf_counter()
    steered = _steered(
        policy,
        reward,
        judge,
        _prompts(policy, halves[0], given.prompts, given.seed),
        given,
    )
    seconds = time.perf_counter() - started
    after = steered.policy.complete(asked, **settings)
    figures = [_measured(written, reward, judge) for written in (before, after)]
    _show(asked, before, after, given.shown)
    sys.stderr.write(f"{steered}\n")
    line = {
        "benchmark": "steer_imdb",
        "parameters": policy.parameters,
        "algorithm": given.algorithm,
        "steps": steered.figures["steps"],
        "best_step": steered.figures["best_step"],
        "stopped_because": steered.stopped_because,
        "batch": given.batch,
        "max_tokens": given.max_tokens,
        "kl_coef": given.kl_coef,
        "kl_target": given.kl_target,
        "members": given.members,
        "caution": given.caution,
        "watched": not given.no_watch,
        "seed": given.seed,
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 1),
        "kl": round(steered.kl, 2),
        "accuracies": [m.contract.evaluation.get("accuracy") for m in (reward, judge)],
        "measured": len(asked),
        "before": {name: round(value, 4) for name, value in figures[0].items()},
        "after": {name: round(value, 4) for name, value in figures[1].items()},
        "bigrams_kept": round(
            figures[1]["distinct_bigrams"] / figures[0]["distinct_bigrams"], 4
        ),
    }
    sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
