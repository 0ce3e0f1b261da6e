"""How often do the intervals of `evaluate` hold the truth, and how often does it find what is not?

    python benchmarks/coverage.py                                  # 400 evaluations of each size
    python benchmarks/coverage.py --repeats 2000 --prompts 5 10 20 50 200

Coverage: prompts of unlike difficulty, each with 1 to 9 judgements, are drawn anew for each
evaluation. A model and a rival score the texts. The share of evaluations whose 95 % interval holds
the figure of 20,000 other prompts, for labels, comparisons and rankings, and for the model less the
rival ("difference"). "undefined" counts evaluations without an interval: of one class, or of
probabilities that separate the labels.

False findings: scores that know nothing. The share of evaluations that say that the model beats a
coin (nominal 2.5 %), that it beats a rival as good as itself (2.5 %), and that judges who are all
alike differ (5 %).

The last line is one JSON object.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tastemaker as tm
from tastemaker.data import Example, Judgement
from tastemaker.evaluate import evaluate
from tastemaker.kinds import ComparisonLink, LabelLink, Link, RankingLink
from tastemaker.scores import Scores

LARGE = 20_000  # prompts that stand for the truth
FIGURES = {
    "label": ["accuracy", "auroc", "log_loss", "ece", "calibration_slope"],
    "comparison": ["accuracy", "log_loss", "ece", "calibration_slope"],
    "ranking": ["kendall_tau", "ndcg", "top1", "accuracy"],
}


@dataclass
class Table:
    """A model that knows the score of each text."""

    links: dict[type[Judgement], Link]
    scores: dict[str, float]

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Look the scores up."""
        values = np.array([self.scores[example.text] for example in examples])
        return Scores(values, np.zeros(len(values), dtype=bool))


World = tuple[Table, Table, list[Judgement]]
"""A model, a rival, and judgements."""


def texts_of(prompt: int, number: int, count: int) -> list[str]:
    """Return names for the texts of one judgement."""
    return [f"{prompt}-{number}-{letter}" for letter in "abcd"[:count]]


def drawn(kind: str, prompts: int, generator: np.random.Generator) -> World:
    """Return judgements of one kind, by people who answer with noise."""
    count = {"label": 1, "comparison": 2, "ranking": 4}[kind]
    scores: dict[str, float] = {}
    rival: dict[str, float] = {}
    judged: list[Judgement] = []
    for prompt in range(prompts):
        shift, clarity = generator.normal(), np.exp(0.7 * generator.normal())
        for number in range(1 + min(generator.poisson(3), 8)):
            texts = texts_of(prompt, number, count)
            worth = generator.normal(size=count)
            errors = generator.normal(size=(2, count))
            scores.update(zip(texts, worth + 0.7 * shift + errors[0], strict=True))
            rival.update(zip(texts, worth + 0.7 * shift + 1.5 * errors[1], strict=True))
            where: dict[str, Any] = {"prompt": f"prompt {prompt}"}
            answer = clarity * (worth + (kind == "label") * shift)
            if kind == "label":
                is_positive = answer[0] + generator.logistic() > 0
                judged.append(tm.Label(texts[0], bool(is_positive), **where))
                continue
            order = np.argsort(-(answer + generator.gumbel(size=count)))
            best_first = [texts[place] for place in order]
            if kind == "comparison":
                judged.append(tm.Comparison(*best_first, **where))
            else:
                judged.append(tm.Ranking(best_first, **where))
    links: dict[str, Callable[[], tuple[type[Judgement], Link]]] = {
        "label": lambda: (tm.Label, LabelLink(1.2)),
        "comparison": lambda: (tm.Comparison, ComparisonLink(1.2)),
        "ranking": lambda: (tm.Ranking, RankingLink()),
    }
    record, link = links[kind]()
    return Table({record: link}, scores), Table({record: link}, rival), judged


def figures_of(kind: str, world: World, resamples: int, seed: int) -> dict[str, Any]:
    """Return figures and intervals, of the model and of its difference from the rival."""
    model, rival, judged = world
    evaluation = evaluate(
        model, judged, baseline=rival, seed=seed, resamples=resamples
    ).as_dict()
    figures: dict[str, Any] = {}
    difference = evaluation["difference_to_linear"]
    headline = FIGURES[kind][0]
    for name, source, key in [
        *((name, evaluation, name) for name in FIGURES[kind]),
        ("difference", difference, headline),
    ]:
        figures[name] = source[key], source.get(f"{key}_interval")
    return figures


def coverage(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the share of intervals that hold the truth, by figure and number of prompts."""
    large = drawn(kind, options.large, np.random.default_rng(10**6))
    truth = {name: value for name, (value, _) in figures_of(kind, large, 1, 0).items()}
    held: dict[str, Any] = {name: {} for name in truth}
    for prompts in options.prompts:
        counts = {name: [0, 0, 0.0] for name in truth}  # defined, held, width
        for repeat in range(options.repeats):
            generator = np.random.default_rng([repeat, prompts])
            world = drawn(kind, prompts, generator)
            for name, (_, interval) in figures_of(kind, world, 1000, repeat).items():
                if interval is not None:
                    low, high = interval
                    counts[name][0] += 1
                    counts[name][1] += low <= truth[name] <= high
                    counts[name][2] += high - low
        for name, (defined, hits, width) in counts.items():
            held[name][str(prompts)] = {
                "coverage": round(hits / max(defined, 1), 3),
                "width": round(width / max(defined, 1), 3),
                "undefined": options.repeats - defined,
            }
        print(f"{kind}, {prompts} prompts: {counts}", file=sys.stderr, flush=True)
    return {"truth": truth, **held}


def false_findings(
    prompts: int, each: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the shares of evaluations that find something in noise."""
    coin = rival_beaten = judges_differ = 0
    for repeat in range(options.repeats):
        generator = np.random.default_rng([repeat, prompts, each])
        scores: dict[str, float] = {}
        rival: dict[str, float] = {}
        judged: list[Judgement] = []
        for prompt in range(prompts):
            # judgements of a prompt go together: the model is right in most of them, or wrong
            chance = 0.5 if each == 1 else 1 / (1 + math.exp(-generator.normal()))
            for number in range(each):
                texts = texts_of(prompt, number, 2)
                for table in (scores, rival):
                    is_right = generator.random() < chance
                    table.update(zip(texts, (float(is_right), 0.5), strict=True))
                judge = f"judge {generator.integers(8)}"
                judged.append(
                    tm.Comparison(*texts, prompt=f"prompt {prompt}", judge=judge)
                )
        links: dict[type[Judgement], Link] = {tm.Comparison: ComparisonLink()}
        model, linear = Table(links, scores), Table(links, rival)
        evaluation = evaluate(
            model, judged, baseline=linear, seed=repeat, resamples=400
        )
        verdicts = evaluation.verdicts()
        coin += any("beats tossing a coin" in line for line in verdicts)
        rival_beaten += any("beats the linear baseline" in line for line in verdicts)
        judges_differ += any("By judge, accuracy differs" in line for line in verdicts)
    shares = {"coin": coin, "rival": rival_beaten, "judges": judges_differ}
    return {name: round(count / options.repeats, 4) for name, count in shares.items()}


def main() -> None:
    """Measure coverage and false findings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=400, help="evaluations a row")
    parser.add_argument("--prompts", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--kinds", nargs="+", default=list(FIGURES))
    parser.add_argument("--large", type=int, default=LARGE, help="prompts of the truth")
    options = parser.parse_args()
    results: dict[str, Any] = {"benchmark": "coverage", "repeats": options.repeats}
    for kind in options.kinds:
        results[kind] = coverage(kind, options)
    results["false_findings"] = {}
    for prompts in options.prompts:
        for each in (1, 5):
            name = f"{prompts} prompts of {each}"
            results["false_findings"][name] = false_findings(prompts, each, options)
            print(name, results["false_findings"][name], file=sys.stderr, flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
