"""Rankings of nine answers, each text encoded once, against the same data as pairs.

    python benchmarks/rankings_speed.py   # 500 prompts of the playground, MiniLM, one pass
    python benchmarks/rankings_speed.py --backbone tiny --passes 4

Both are `fit`'s training loop, on the same network, learning rate and texts a step, and take turns.
The first is given the rankings as they are: nine passes through the encoder for a ranking. The
second is given what a trainer of pairs is: 36 comparisons (ties included) for each ranking, in
random order, both texts of every one of them encoded for it. A pass of the pairs therefore takes as
many more optimiser steps as it encodes more texts. Kendall's τ is that of the scores with gold on
500 unseen texts. Tokenizing does not count, nor does one step forwards and backwards before the
first. `rankings_as_pairs` is the likelihood of the pairs on texts that are encoded once. The last
line is one JSON object.
"""

import argparse
import json
import sys
from itertools import combinations
from typing import Any

import torch
from common import UNSEEN_SEED, SteppedFit, spread

import tastemaker as tm
from tastemaker.data import Comparison, Example, Ranking, joined
from tastemaker.fast import choose_device
from tastemaker.kinds import links_from
from tastemaker.maths import kendall
from tastemaker.playground import gold_score, judgements, prompts, reviews
from tastemaker.reward import (
    Corpus,
    Evidence,
    Network,
    Tiny,
    choose_backbone,
    make_tiny,
)

TURNS = 20
WAYS = ("rankings", "rankings_as_pairs", "pairs")


def pairs_of(ranking: Ranking) -> list[Comparison]:
    """Return every pair of a ranking's texts as a comparison: the better one chosen, or a tie."""
    places = list(zip(ranking.texts, ranking.ranks, strict=True))
    return [  # texts come best first, so that the first of two is never the worse one
        Comparison(
            first, second, tie=a == b, prompt=ranking.prompt, judge=ranking.judge
        )
        for (first, a), (second, b) in combinations(places, 2)
        if a != b
        or a < len(ranking.tiers)  # what stands in `rest` is in no known order
    ]


def _pairs_apart(comparisons: list[Comparison], links: Any) -> Corpus:
    """Return a corpus in which no two comparisons share a text: repeated texts are copied."""
    examples = [
        example for comparison in comparisons for example in comparison.examples
    ]
    index = torch.arange(len(examples)).reshape(-1, 2)
    nobody = torch.full((len(comparisons),), -1)
    two = torch.full((len(comparisons),), 2)
    targets = links[Comparison].targets(comparisons)
    evidence = Evidence(
        index,
        targets,
        torch.ones(len(comparisons)),
        nobody,
        two,
        torch.zeros(index.shape),
    )
    return Corpus(examples, {Comparison: evidence})


def _network(given: argparse.Namespace, examples: list[Example]) -> Network:
    settings: Any = choose_backbone(given.backbone).settings
    if isinstance(settings, Tiny):
        texts, length = (
            [joined(example) for example in examples],
            settings.max_length or 256,
        )
        return make_tiny(
            texts,
            max_length=length,
            cut=settings.cut,
            vocabulary=settings.vocabulary,
            seed=given.seed,
        )
    return Network.open(
        settings.name, max_length=settings.max_length, cut=settings.cut, seed=given.seed
    )


def _loop(way: str, rankings: list[Any], given: argparse.Namespace) -> SteppedFit:
    """Set up the training loop for one way of taking the same rankings."""
    likelihood = tm.Likelihood(
        judges=False, ranking="pairs" if way == "rankings_as_pairs" else "plackett-luce"
    )
    judgements = (
        [pair for ranking in rankings for pair in pairs_of(ranking)]
        if way == "pairs"
        else rankings
    )
    links = links_from(judgements, likelihood)
    corpus = (
        _pairs_apart(judgements, links)
        if way == "pairs"
        else Corpus.of(judgements, links)
    )
    network = _network(
        given, [example for ranking in rankings for example in ranking.examples]
    )
    lr = given.lr or choose_backbone(given.backbone).recipe.lr
    training = tm.Training(epochs=given.passes, lr=lr, batch_size=given.batch)
    device = choose_device(given.device)
    return SteppedFit(
        network,
        links,
        corpus,
        training,
        device=device,
        seed=given.seed,
        likelihood=likelihood,
    )


def _measured(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Train every way, in turns; return seconds a pass, texts a pass, steps and τ of each."""
    options: Any = {"answers": given.answers, "seed": given.seed, "prompts": True}
    rankings = judgements(given.prompts, kind="ranking", **options)
    learned = {text for ranking in rankings for text in ranking.texts}
    other = given.seed + UNSEEN_SEED
    texts = [text for text in reviews(given.unseen, seed=other) if text not in learned]
    unseen = [
        Example(text, prompt)
        for text, prompt in zip(texts, prompts(len(texts), seed=other), strict=True)
    ]
    loops = {way: _loop(way, rankings, given) for way in given.ways}
    for loop in loops.values():
        loop.warm_up()
    for turn in range(1, TURNS + 1):
        for loop in loops.values():
            loop.advance_to(turn / TURNS)
        print(f"seed {given.seed}: turn {turn} of {TURNS}", file=sys.stderr)
    gold = [gold_score(text) for text in texts]
    return {
        way: {
            "seconds_a_pass": loop.seconds / given.passes,
            "texts_a_pass": sum(len(unit.texts) for unit in loop.task.units),
            "steps": loop.task.total,
            "tokens_per_second": loop.tokens / loop.seconds,
            "kendall_tau": kendall(loop.network.score(unseen).values, gold),
        }
        for way, loop in loops.items()
    }


def main() -> None:
    """Train for every seed and print the JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--backbone", choices=["minilm", "tiny"], default="minilm")
    options.add_argument("--prompts", type=int, default=500)
    options.add_argument("--answers", type=int, default=9)
    options.add_argument("--passes", type=int, default=1)
    options.add_argument("--batch", type=int, default=32, help="texts a step, the most")
    options.add_argument("--lr", type=float, help="the backbone's own unless told")
    options.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options.add_argument("--unseen", type=int, default=500)
    options.add_argument("--device", default="auto")
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = options.parse_args()
    runs = []
    for seed in given.seeds:
        runs.append(_measured(argparse.Namespace(**vars(given), seed=seed)))
        print(runs[-1], file=sys.stderr)
    line: dict[str, Any] = {
        "benchmark": "rankings_speed",
        "backbone": given.backbone,
        "prompts": given.prompts,
        "answers": given.answers,
        "passes": given.passes,
        "batch": given.batch,
        "unseen": given.unseen,
        "seeds": given.seeds,
        "threads": torch.get_num_threads(),
    }
    for way in given.ways:
        line[way] = {
            name: spread([run[way][name] for run in runs]) for name in runs[0][way]
        }
    if "pairs" in given.ways:
        line["ratio"] = {
            way: round(
                line["pairs"]["seconds_a_pass"]["mean"]
                / line[way]["seconds_a_pass"]["mean"],
                2,
            )
            for way in given.ways
            if way != "pairs"
        }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
