"""How many judgements does each order of asking need, where random ones take 1,000?

    python benchmarks/asking.py                                  # playground and HH, linear
    python benchmarks/asking.py --backbone minilm                # both, about a quarter of an hour

The loop is that of `tastemaker rank --ask`: after every 40 judgements a logistic regression is
fitted to all of them, and the order picks the next 40 among 800 open pairs that are drawn anew;
15 % are random. linear: the regression sees hashed words, as the page does, and the reward model
that is measured is `tm.fit`'s linear one. minilm: both are logistic regressions on frozen
embeddings, which are computed once and kept in build/; each seed draws 2,000 of the 3,000 pairs.

Playground: pairs of reviews, judged by the three careful judges; τ is Kendall's, with the gold
score of unseen reviews. HH: published pairs, divided by prompt; τ is 2 · accuracy − 1 on held-out
pairs.
The last line is one JSON object.
"""

import argparse
import hashlib
import itertools
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import HH, UNSEEN_SEED
from sklearn.isotonic import IsotonicRegression

import tastemaker as tm
from tastemaker.data import plain
from tastemaker.maths.statistics import kendall
from tastemaker.playground import CAREFUL_JUDGES, gold_score, reviews
from tastemaker.rank.asking import BATCH, ORDERS, POOL, Model, features

ARMS = ("random", "disagreement", "optimal")
RANDOM_SHARE = 0.15
TARGET = 1000
BUDGETS = (200, 350, 500, 700, TARGET, 1300)
PAIRS = 3000
DRAWN = 2000
HELD_OUT = 600
CACHE = Path("build/asking_minilm.npz")


class Data:
    """Pairs to ask, their judgements, and what measures."""

    def __init__(self, name: str, seed: int, pairs: int) -> None:
        self.name = name
        rng = random.Random(seed)
        if name == "playground":
            texts = reviews(2 * pairs, seed=seed)
            self.judged = []
            for first, second in zip(texts[::2], texts[1::2], strict=True):
                judge = rng.choice(CAREFUL_JUDGES)
                self.judged.append(judge.comparison(first, second, rng))
            self.unseen = reviews(HELD_OUT, seed=seed + UNSEEN_SEED)
            self.gold = [gold_score(text) for text in self.unseen]
            return
        rows = [row for path in HH for row in tm.read(path)]
        train, held_out = tm.split(rows, held_out=0.2, seed=seed)
        rng.shuffle(train)
        self.judged = train[:pairs]
        self.held_out = [row for row in held_out if not row.tie]
        rng.shuffle(self.held_out)

    def examples(self, most: int | None = None) -> list[Any]:
        """Return the texts that are scored to measure. most: of the pairs of HH."""
        if self.name == "playground":
            return [tm.Example(text) for text in self.unseen]
        rows = self.held_out[:most]
        return [example for row in rows for example in row.examples]

    def tau(self, scores: Sequence[float]) -> float:
        """Return τ of the scores of `examples`."""
        if self.name == "playground":
            return float(kendall(scores, self.gold))
        values = np.asarray(scores)
        return float(np.sign(values[::2] - values[1::2]).mean())


def embedded(examples: Sequence[Any]) -> Any:
    """Return MiniLM's embeddings of texts and the ends of their prompts, of length 1."""
    from sentence_transformers import SentenceTransformer

    from tastemaker.reward.backbones.opening import source_of

    texts = []
    for example in examples:
        prompt = "" if example.prompt is None else plain(example.prompt)
        texts.append(f"{prompt[-400:]}\n{example.text}")
    saved: dict[str, Any] = {}
    if CACHE.exists():
        with np.load(CACHE) as arrays:
            saved = dict(arrays)
    names = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    new = {}
    for name, text in zip(names, texts, strict=True):
        if name not in saved:
            new[name] = text
    if new:
        model = SentenceTransformer(source_of("minilm"), device="cpu")
        options = {"normalize_embeddings": True, "batch_size": 32}
        vectors = model.encode(list(new.values()), **options)
        saved.update(zip(new, np.asarray(vectors, np.float32), strict=True))
        CACHE.parent.mkdir(exist_ok=True)
        np.savez(CACHE, **saved)
    return np.stack([saved[name] for name in names]).astype(np.float64)


class Learner:
    """What asks and what is measured."""

    def __init__(self, backbone: str, data: Data) -> None:
        self.backbone, self.data = backbone, data
        texts = [example for row in data.judged for example in row.examples]
        self.measured = data.examples(None if backbone == "linear" else HELD_OUT)
        if backbone == "linear":
            table = features([example.text for example in texts])
        else:
            table = embedded(texts)
            self.unseen = embedded(self.measured)
        self.table = table.reshape(len(data.judged), 2, -1)
        ties = [row.tie for row in data.judged]
        self.won = np.where(ties, 0.5, 1.0)

    def model(self, asked: Sequence[int]) -> Model:
        """Return the regression on the judgements so far."""
        pairs = self.table[list(asked)]
        return Model(pairs[:, 0] - pairs[:, 1], self.won[list(asked)])

    def tau(self, asked: Sequence[int], seed: int) -> float:
        """Return τ of a reward model of the judgements so far."""
        if self.backbone == "minilm":
            return self.data.tau(self.unseen @ self.model(asked).weights)
        rows = [self.data.judged[number] for number in asked]
        model = tm.fit(rows, seed=seed, held_out=rows[:2])
        return self.data.tau(model.score_all(self.measured).values)


def course(
    learner: Learner, arm: str, seed: int, budgets: Sequence[int]
) -> list[float]:
    """Return τ at each budget of one order of asking."""
    rng = random.Random(f"{seed}:{arm}")
    left = list(range(len(learner.data.judged)))
    # the same first judgements for every order
    random.Random(seed).shuffle(left)
    left = left[:DRAWN] if learner.backbone == "minilm" else left
    asked: list[int] = []
    queue: list[int] = []
    taus = []
    while len(asked) < budgets[-1]:
        if arm != "random" and asked and len(asked) % BATCH == 0:
            pool = rng.sample(left, min(POOL, len(left)))
            order = ORDERS[arm](learner.model(asked), list(learner.table[pool]))
            queue = [pool[number] for number in order]
        number = left[0]
        if queue and rng.random() >= RANDOM_SHARE:
            number = queue.pop(0)
        elif number in queue:
            queue.remove(number)
        left.remove(number)
        asked.append(number)
        if len(asked) in budgets:
            taus.append(learner.tau(asked, seed))
    return taus


def needed(budgets: Sequence[int], taus: Any, target: float) -> float:
    """Return the judgements at which the mean curve reaches a τ (isotonic, then a line).

    Infinite where it does not.
    """
    mean = np.asarray(taus).mean(axis=0)
    smooth = IsotonicRegression().fit_transform(budgets, mean)
    if smooth[0] >= target:
        return float(budgets[0])
    for (a, low), (b, high) in itertools.pairwise(zip(budgets, smooth, strict=True)):
        if low < target <= high:
            return float(a + (b - a) * (target - low) / (high - low))
    return float("inf")


def summary(
    budgets: Sequence[int], taus: dict[str, list[list[float]]]
) -> dict[str, Any]:
    """Return the judgements that each order needs, with 95 % intervals over resampled seeds."""
    rng = np.random.default_rng(0)
    at = list(budgets).index(TARGET) if TARGET in budgets else -1
    tables = {arm: np.asarray(rows) for arm, rows in taus.items()}
    seeds = len(tables["random"])
    figures: dict[str, Any] = {
        "target": round(float(tables["random"][:, at].mean()), 4)
    }
    for arm, table in tables.items():
        drawn = []
        for _ in range(500):
            picked = rng.integers(seeds, size=seeds)
            target = float(tables["random"][picked, at].mean())
            drawn.append(needed(budgets, table[picked], target))
        target = float(tables["random"][:, at].mean())
        low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
        values = [needed(budgets, table, target), low, high]
        figures[arm] = {
            "needed": [None if np.isinf(v) else round(float(v)) for v in values],
            "tau": [round(float(value), 4) for value in table.mean(axis=0)],
            "sd": [round(float(value), 4) for value in table.std(axis=0)],
        }
    return figures


def main() -> None:
    """Run all orders on all data and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["playground", "hh"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--backbone", choices=["linear", "minilm"], default="linear")
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    given = parser.parse_args()
    began = time.monotonic()
    results: dict[str, Any] = {}
    for name in given.data:
        taus: dict[str, list[list[float]]] = {arm: [] for arm in ARMS}
        learner = None
        for seed in given.seeds:
            # the texts of minilm are those of seed 0, so that they are embedded once
            if learner is None or given.backbone == "linear":
                learner = Learner(given.backbone, Data(name, seed, given.pairs))
            for arm in ARMS:
                taus[arm].append(course(learner, arm, seed, given.budgets))
                row = " ".join(f"{tau:.3f}" for tau in taus[arm][-1])
                print(f"{name} seed {seed} {arm}: {row}", file=sys.stderr, flush=True)
        results[name] = summary(given.budgets, taus)
    print(
        json.dumps(
            {
                "benchmark": "asking",
                "backbone": given.backbone,
                "budgets": list(given.budgets),
                "seeds": given.seeds,
                "results": results,
                "seconds": round(time.monotonic() - began),
            }
        )
    )


if __name__ == "__main__":
    main()
