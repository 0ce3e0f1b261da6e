"""Are probabilities right after a fit to few judgements, on the playground?

    python benchmarks/calibration.py                                  # five seeds
    python benchmarks/calibration.py --counts 60 200 --seeds 0 1 2

For each number of judgements: the calibration slope on fresh judgements of the same judges (a
logistic regression of what they answered on the model's log-odds: 1 is right, below 1 is too sure),
and the fresh log-loss less that of the base rate of the training judgements (below 0: the score
helps). Labels and comparisons; ten equally good judges, named or not. Comparisons are shown in
random order, and a tie counts half.

cards: labels by coin flips, and those of IMDB where its archive is in ../shared/data. The
difference between the accuracy on the card and on fresh labels, and how often the card's interval
holds the fresh accuracy.

The last line is one JSON object.
"""

import argparse
import json
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import DATA, UNSEEN_SEED, spread
from scipy.optimize import minimize

import tastemaker as tm
from tastemaker.data import Judgement
from tastemaker.playground import Judge, judgements, reviews

IMDB = DATA / "aclImdb.tar.gz"
FRESH = 2500
EDGE = 1e-9  # probabilities are kept this far from 0 and 1


def slope_of(chances: np.ndarray, answers: np.ndarray) -> float:
    """Return the slope of the logistic regression of answers [n] on log-odds of chances [n]."""
    odds = np.log(chances / (1 - chances))
    unit = max(float(odds.std()), EDGE)

    def loss(point: np.ndarray) -> float:
        logits = point[0] * odds / unit + point[1]
        return float(np.mean(np.logaddexp(0, logits) - answers * logits))

    return float(minimize(loss, [unit, 0.0]).x[0]) / unit


def log_loss(chances: np.ndarray | float, answers: np.ndarray) -> float:
    """Return the cross-entropy of answers, 0 … 1, in nats."""
    return float(
        -np.mean(answers * np.log(chances) + (1 - answers) * np.log1p(-chances))
    )


def predicted(
    model: tm.RewardModel, fresh: Sequence[Judgement]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the chances of a positive answer, and the answers: 1, 0, or ½ for a tie."""
    if isinstance(fresh[0], tm.Label):
        texts = [judgement.text for judgement in fresh]
        answers = [float(judgement.positive) for judgement in fresh]
        chances = np.array(model.probability(texts))
        return np.clip(chances, EDGE, 1 - EDGE), np.array(answers)
    order = random.Random(0)
    pairs, answers = [], []
    for comparison in fresh:
        pair, answer = [comparison.chosen, comparison.rejected], 1.0
        if order.random() < 0.5:
            pair, answer = pair[::-1], 0.0
        pairs.append(pair)
        answers.append(0.5 if comparison.tie else answer)
    scores = [model.score([pair[place] for pair in pairs]) for place in range(2)]
    with torch.no_grad():
        credit = model.links[tm.Comparison].predict(torch.tensor(scores).T)
    return np.clip(credit.numpy(), EDGE, 1 - EDGE), np.array(answers)


def calibration(
    kind: str, count: int, seeds: Sequence[int], options: argparse.Namespace
) -> dict[str, Any]:
    """Return slopes and gains over the base rate, with judges named and not."""
    judges = [Judge(f"judge {n}", noise=options.noise) for n in range(10)]
    result: dict[str, Any] = {}
    for named in (True, False):
        slopes, gains = [], []
        for seed in seeds:
            given = judgements(count, kind=kind, judges=judges, seed=seed)
            if not named:
                given = [replace(judgement, judge=None) for judgement in given]
            fresh = judgements(
                options.fresh, kind=kind, judges=judges, seed=seed + UNSEEN_SEED
            )
            model = tm.fit(given, backbone=options.backbone, seed=seed)
            chances, answers = predicted(model, fresh)
            base = 0.5
            if kind == "label":
                base = statistics.fmean(float(label.positive) for label in given)
            slopes.append(slope_of(chances, answers))
            gains.append(log_loss(chances, answers) - log_loss(base, answers))
        result["named" if named else "unnamed"] = {
            "slope_median": round(statistics.median(slopes), 3),
            "slope": spread(slopes),
            "log_loss_over_base": spread(gains),
        }
    print(f"{kind} {count}: {result}", file=sys.stderr, flush=True)
    return result


def cards(
    world: str, options: argparse.Namespace, path: Path | None = None
) -> dict[str, Any]:
    """Return how the card's accuracy compares with that on fresh labels, in many runs.

    world: `noise` for labels by coin flips, `imdb` for reviews of the archive at `path`.
    """
    archive: list[Judgement] = []
    if path is not None:
        read = tm.read(path, target="label")
        archive = [label for label in read if isinstance(label, tm.Label)]
    differences, held = [], 0
    for seed in range(options.card_runs):
        coin = random.Random(seed)
        count = options.card_count
        if archive:
            labels = coin.sample(archive, count + options.fresh)
        else:
            texts = list(dict.fromkeys(reviews(count + options.fresh, seed=seed)))
            labels = [tm.Label(text, coin.random() < 0.5) for text in texts]
        model = tm.fit(labels[:count], backbone=options.backbone, seed=seed)
        fresh = tm.evaluate(model, labels[count:], resamples=1).as_dict()["accuracy"]
        card = model.contract.evaluation
        low, high = card["accuracy_interval"]
        differences.append(card["accuracy"] - fresh)
        held += low <= fresh <= high
    result = {
        "labels": options.card_count,
        "card_minus_fresh": spread(differences),
        "held": held,
        "of": options.card_runs,
    }
    print(f"cards, {world}: {result}", file=sys.stderr, flush=True)
    return result


def main() -> None:
    """Measure calibration."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    counts = [60, 120, 200, 400, 800, 1600]
    parser.add_argument("--counts", type=int, nargs="+", default=counts)
    parser.add_argument("--kinds", nargs="+", default=["label", "comparison"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--noise", type=float, default=2.0, help="of each judge")
    parser.add_argument("--fresh", type=int, default=FRESH)
    parser.add_argument("--card-runs", type=int, default=50)
    parser.add_argument("--card-count", type=int, default=400)
    parser.add_argument("--backbone", default="linear")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for kind in options.kinds:
        results[kind] = {}
        for count in options.counts:
            results[kind][str(count)] = calibration(kind, count, options.seeds, options)
    results["cards"] = {"noise": cards("noise", options)}
    if IMDB.is_file():
        results["cards"]["imdb"] = cards("imdb", options, IMDB)
    print(
        json.dumps(
            {"benchmark": "calibration", "noise_of_judges": options.noise, **results}
        )
    )


if __name__ == "__main__":
    main()
