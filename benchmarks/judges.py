"""Judges who differ, on the playground: what a fit that learns how they differ gains and costs.

    python benchmarks/judges.py                                 # everything, five seeds
    python benchmarks/judges.py --parts lenient --count 600     # one part alone

Kendall's τ is that of the score with gold, on unseen texts, with the linear backbone.

lenient: two judges read 3 points above gold, two read gold, two read 3 points below. τ by default,
with everybody believed alike (`--no-judges`), and of a default fit to unbiased judges. A label near
the end of the scale tells less than one in its middle, so the share is also given of unbiased
judges with as much Fisher information about a score of their own τ (see `information`).
crowds: good and bad judges. `always_yes`: two of six say yes to every text. `guessers`: nine in ten
labels are positive, and two of six judges guess. `easy_pairs`: all six are equally good, and one
compares easy pairs only. The share of (good, bad) pairs in which the good judge has the higher
reliability, and the share of equally good judges whose interval holds their mean.
few: many judges of three judgements each. τ less that of a fit that believes everybody alike.
intervals: six judges of three levels of noise, labels and comparisons. The share of their 95 %
intervals that hold what 9,000 further judgements tell about scores of the same quality.
`reliability` is how closely a judge follows the learned score, so it depends on that score.
troubled: 30 % of 20 judges guess and 10 % are reversed, judgements of all kinds. τ as a share of
the τ of the same judges without these faults.

The last line is one JSON object.
"""

import argparse
import json
import math
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from common import UNSEEN_SEED, spread
from scipy.stats import norm

import tastemaker as tm
from tastemaker.data import Judgement
from tastemaker.kinds import links_from
from tastemaker.maths import kendall
from tastemaker.playground import Judge, gold_score, judgements, reviews, troubled
from tastemaker.reward import Corpus, estimate_judges

NOISE = 0.7
BIAS = 3.0
FAR = 3.5
"""The difference in gold from which a pair is easy: five standard deviations of a judge's noise."""
JUDGEMENTS_EACH = 3
LENIENT_KINDS = ("label", "grade", "rating")
INTERVAL_KINDS = ("label", "comparison")
GOOD = [Judge(f"judge {number}", noise=NOISE) for number in range(6)]
UNLIKE = [
    Judge(f"judge {number}", noise=noise)
    for number, noise in enumerate((0.7, 0.7, 1.5, 1.5, 3.0, 3.0))
]
BAD = {GOOD[4].name, GOOD[5].name}


class Unseen:
    """Texts that nobody judged, and their gold scores."""

    def __init__(self, count: int, seed: int) -> None:
        self.texts = list(dict.fromkeys(reviews(count, seed=seed + UNSEEN_SEED)))
        self.gold = [gold_score(text) for text in self.texts]

    def tau(
        self, given: Sequence[Judgement], seed: int, judges: bool | None = None
    ) -> float:
        """Return Kendall's τ of a fit; judges: learn how they differ (None: by default)."""
        likelihood = tm.Likelihood(judges=judges)
        model = tm.fit(given, likelihood=likelihood, seed=seed)
        return kendall(model.score(self.texts), self.gold)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- lenient and severe judges ---


def _with_bias(bias: float) -> list[Judge]:
    biases = [bias, bias, 0.0, 0.0, -bias, -bias]
    return [replace(judge, bias=b) for judge, b in zip(GOOD, biases, strict=True)]


def lenient(options: argparse.Namespace) -> dict[str, Any]:
    """Return τ by kind of judgement."""
    line: dict[str, Any] = {}
    for kind in LENIENT_KINDS:
        names = ("default", "no_judges", "unbiased", "same_information")
        taus: dict[str, list[float]] = {name: [] for name in names}
        for seed in options.seeds:
            unseen = Unseen(options.unseen, seed)
            biased, unbiased = (
                judgements(options.count, kind=kind, judges=_with_bias(bias), seed=seed)
                for bias in (BIAS, 0.0)
            )
            taus["default"].append(unseen.tau(biased, seed))
            taus["no_judges"].append(unseen.tau(biased, seed, judges=False))
            taus["unbiased"].append(unseen.tau(unbiased, seed))
            share = 1.0
            if kind == "label":
                share = information(unseen.gold, taus["unbiased"][-1])
            fewer = unbiased[: round(share * len(unbiased))]
            taus["same_information"].append(unseen.tau(fewer, seed))
            latest = {name: round(values[-1], 3) for name, values in taus.items()}
            _log(f"lenient and severe, {kind}, seed {seed}: {latest}")
        line[kind] = {name: spread(values) for name, values in taus.items()}
        for name in ("unbiased", "same_information"):
            shares = _ratios(taus["default"], taus[name])
            line[kind][f"share_of_{name}"] = spread(shares)
    return line


def information(gold: Sequence[float], tau: float) -> float:
    """Return the Fisher information of a label about the score, as a share of unbiased judges'.

    The score has this τ with gold. Score, gold and noise are taken as jointly Normal, so τ is
    2/π · arcsin of their correlation, and a label is a probit of the score whose noise is what the
    score leaves of gold and the judge's own.
    """
    correlation = math.sin(math.pi * tau / 2)
    spread_of_gold = statistics.pstdev(gold)
    left = (1 - correlation**2) * spread_of_gold**2
    noise = math.sqrt(left + NOISE**2)
    scores = norm.ppf((np.arange(2000) + 0.5) / 2000) * correlation * spread_of_gold

    def of_bias(bias: float) -> float:
        z = (scores + bias) / noise
        chance = np.clip(norm.cdf(z), 1e-12, 1 - 1e-12)
        return float(np.mean(norm.pdf(z) ** 2 / (chance * (1 - chance))))

    biased = [of_bias(bias) for bias in (BIAS, 0.0, -BIAS)]
    return statistics.fmean(biased) / of_bias(0.0)


def _ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    return [value / other for value, other in zip(values, others, strict=True)]


# --- good and bad judges ---


def always_yes(count: int, seed: int) -> list[Judgement]:
    """Return labels of six judges, two of whom say yes to every text."""
    labels = judgements(count, kind="label", judges=GOOD, seed=seed)
    return [
        replace(label, positive=True) if label.judge in BAD else label
        for label in labels
    ]


def guessers(count: int, seed: int) -> list[Judgement]:
    """Return labels of six judges, nine in ten positive; two judges guess."""
    rng = random.Random(seed)
    judges = [replace(judge, bias=BIAS) for judge in GOOD]
    labels = judgements(count, kind="label", judges=judges, seed=seed)
    return [
        replace(label, positive=rng.random() < 0.9) if label.judge in BAD else label
        for label in labels
    ]


def easy_pairs(count: int, seed: int) -> list[Judgement]:
    """Return comparisons by six equal judges, the first of whom compares easy pairs only."""
    rng = random.Random(seed)
    texts = list(dict.fromkeys(reviews(12 * count, seed=seed)))
    pairs: list[Judgement] = []
    while len(pairs) < count:
        judge = rng.choice(GOOD)
        first, second = rng.sample(texts, 2)
        while judge is GOOD[0] and abs(gold_score(first) - gold_score(second)) < FAR:
            first, second = rng.sample(texts, 2)
        pairs.append(judge.comparison(first, second, rng))
    return pairs


def crowds(options: argparse.Namespace) -> dict[str, Any]:
    """Return how often a good judge stands above a bad one, and intervals hold equal judges."""
    crowd_of: dict[str, tuple[Callable[[int, int], list[Judgement]], set[str]]] = {
        "always_yes": (always_yes, BAD),
        "guessers": (guessers, BAD),
        "easy_pairs": (easy_pairs, set()),
    }
    line: dict[str, Any] = {}
    for name, (judged, bad) in crowd_of.items():
        in_order, inside = [], []
        for seed in options.seeds:
            model = tm.fit(
                judged(options.count, seed),
                likelihood=tm.Likelihood(judges=True),
                seed=seed,
            )
            rows = model.contract.judges
            good = [row for judge, row in rows.items() if judge not in bad]
            of_bad = [row["reliability"] for judge, row in rows.items() if judge in bad]
            in_order += [row["reliability"] > other for row in good for other in of_bad]
            mean = sum(row["reliability"] for row in good) / len(good)
            for row in good:
                low, high = row["interval"]
                inside.append(low <= mean <= high)
            figures = {
                judge: round(row["reliability"], 2) for judge, row in rows.items()
            }
            _log(f"{name}, seed {seed}: {figures}")
        line[name] = {
            "pairs": len(in_order),
            "in_order": _share(in_order),
            "equal_judges": len(inside),
            "interval_holds_mean": _share(inside),
        }
    return line


def _share(values: Sequence[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


# --- many judges of few judgements ---


def few(options: argparse.Namespace) -> dict[str, Any]:
    """Return τ with `options.many` judges of three judgements each, all good."""
    taus: dict[str, list[float]] = {"learned": [], "no_judges": []}
    models: list[str] = []
    for seed in options.seeds:
        unseen = Unseen(options.unseen, seed)
        labels = [
            replace(label, judge=f"judge {number // JUDGEMENTS_EACH}")
            for number, label in enumerate(
                judgements(
                    JUDGEMENTS_EACH * options.many,
                    kind="label",
                    judges=GOOD[:1],
                    seed=seed,
                )
            )
        ]
        model = tm.fit(labels, likelihood=tm.Likelihood(judges=True), seed=seed)
        models.append(model.contract.judge_model["model"])
        taus["learned"].append(kendall(model.score(unseen.texts), unseen.gold))
        taus["no_judges"].append(unseen.tau(labels, seed, judges=False))
        latest = {name: round(values[-1], 3) for name, values in taus.items()}
        _log(f"many judges, seed {seed}: {latest}, model {models[-1]}")
    gains = [a - b for a, b in zip(taus["learned"], taus["no_judges"], strict=True)]
    return {
        "judges": options.many,
        **{name: spread(values) for name, values in taus.items()},
        "gain": spread(gains),
        "models": models,
    }


# --- intervals of reliabilities ---


def true_reliabilities(kind: str, options: argparse.Namespace) -> np.ndarray:
    """Return the reliabilities [judges] from many judgements, under scores of fits to few.

    As in a fit, the scores are those of a fit to two thirds of the judgements, and their error is
    estimated from two fits to a third each.
    """
    names = tuple(judge.name for judge in UNLIKE)
    count, results = options.interval_count, []
    for seed in range(options.truths):
        given = judgements(count, kind=kind, judges=UNLIKE, seed=500 + seed)
        fresh = judgements(options.fresh, kind=kind, judges=UNLIKE, seed=7000 + seed)
        third = count // 3
        parts = (given[: 2 * third], given[:third], given[third : 2 * third])
        links = links_from(fresh, tm.Likelihood())
        corpus = Corpus.of(fresh, links, list(names))
        scores = []
        for part in parts:
            model = tm.fit(part, likelihood=tm.Likelihood(judges=False), seed=seed)
            values = model.score_all(list(corpus.examples)).values
            scores.append(torch.from_numpy(values))
        estimates = estimate_judges(
            links, corpus.evidence, scores[0], torch.stack(scores[1:]), names
        )
        results.append(estimates.reliability.numpy())
    return np.mean(results, axis=0)


def intervals(options: argparse.Namespace) -> dict[str, Any]:
    """Return by kind how many intervals hold the reliability, and of how many."""
    line: dict[str, Any] = {}
    for kind in INTERVAL_KINDS:
        truth = true_reliabilities(kind, options)
        held = np.zeros(len(UNLIKE), dtype=int)
        for seed in range(options.interval_runs):
            given = judgements(
                options.interval_count, kind=kind, judges=UNLIKE, seed=seed
            )
            likelihood = tm.Likelihood(judges=True)
            model = tm.fit(given, likelihood=likelihood, seed=seed)
            rows = model.contract.judges
            ends = np.array([rows[judge.name]["interval"] for judge in UNLIKE])
            held += (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        line[kind] = {
            "reliability": [round(float(value), 2) for value in truth],
            "held": held.tolist(),
            "of_each": options.interval_runs,
            "coverage": round(float(held.mean()) / options.interval_runs, 3),
        }
        _log(f"intervals, {kind}: {line[kind]}")
    return line


# --- careless and reversed judges ---


def trouble(options: argparse.Namespace) -> dict[str, Any]:
    """Return τ with guessing and reversed judges, and with careful ones of the same names."""
    taus: dict[str, list[float]] = {"clean": [], "learned": [], "no_judges": []}
    for seed in options.seeds:
        unseen = Unseen(options.unseen, seed)
        clean, judged = (
            judgements(
                options.troubled_count,
                kind="mixed",
                judges=troubled(n=20, careless=careless, reversed=turned, seed=seed),
                seed=seed,
            )
            for careless, turned in ((0.0, 0.0), (0.3, 0.1))
        )
        taus["clean"].append(unseen.tau(clean, seed))
        taus["learned"].append(unseen.tau(judged, seed, judges=True))
        taus["no_judges"].append(unseen.tau(judged, seed, judges=False))
        latest = {name: round(values[-1], 3) for name, values in taus.items()}
        _log(f"careless and reversed, seed {seed}: {latest}")
    return {
        **{name: spread(values) for name, values in taus.items()},
        "share_of_clean": spread(_ratios(taus["learned"], taus["clean"])),
        "share_of_clean_without": spread(_ratios(taus["no_judges"], taus["clean"])),
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "lenient": lenient,
    "crowds": crowds,
    "few": few,
    "intervals": intervals,
    "troubled": trouble,
}


def main() -> None:
    """Measure the parts and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--count", type=int, default=1200, help="judgements of a fit")
    parser.add_argument(
        "--many", type=int, default=500, help="judges of three judgements each"
    )
    parser.add_argument(
        "--troubled-count",
        type=int,
        default=2000,
        help="judgements with --parts troubled",
    )
    parser.add_argument(
        "--interval-count",
        type=int,
        default=900,
        help="judgements with --parts intervals",
    )
    parser.add_argument("--fresh", type=int, default=9000)
    parser.add_argument("--truths", type=int, default=3)
    parser.add_argument("--interval-runs", type=int, default=20)
    parser.add_argument("--unseen", type=int, default=800)
    options = parser.parse_args()
    line: dict[str, Any] = {
        "benchmark": "judges",
        "count": options.count,
        "unseen": options.unseen,
        "seeds": options.seeds,
    }
    for part in options.parts:
        line[part] = PARTS[part](options)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
