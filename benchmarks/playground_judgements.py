"""How well each kind of judgement, and all of them mixed, recovers the playground's gold score.

    python benchmarks/playground_judgements.py   # 2,000 judgements of each kind, three seeds

    --count-by texts        # as many judged texts of each kind instead
    --pool 2000             # as many judgements, all of the same 2,000 texts
    --kinds mixed --parts   # also each kind of the mixture by itself
    --troubled              # careless and reversed judges
    --backbone linear       # a few minutes

Kendall's τ of the score with gold, on 500 unseen texts. A judgement about several texts says more
than one about one text, and costs its judge more: `--count-by texts` gives every kind the same
number of judged texts, and `--pool` the same number of judgements of the same texts, each of which
is judged again and again by kinds that take several. `--parts` also fits the mixture's judgements
of each kind alone, a fifth of them: what do the others add?

`--troubled`: 20 judges, of whom 30 % answer at random and 10 % upside down. τ with the same 20
names as careful judges (clean), with reliabilities learned, and with everybody believed alike; and
what was found of each sort of judge. The last line is one JSON object.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from common import UNSEEN_SEED, spread

import tastemaker as tm
from tastemaker.data import Example, Judgement
from tastemaker.maths import kendall
from tastemaker.playground import (
    CAREFUL_JUDGES,
    KINDS,
    Judge,
    gold_score,
    judgements,
    reviews,
    troubled,
)


def judgements_of(
    given: argparse.Namespace, kind: Any, judges: Sequence[Judge], seed: int
) -> list[Judgement]:
    """Return so many judgements of a kind, or as many as are about so many texts."""
    texts = _pooled(given.pool, given.answers[1], seed) if given.pool else None
    of_kind = judgements(
        given.count,
        kind=kind,
        judges=judges,
        seed=seed,
        answers=given.answers,
        texts=texts,
    )
    if given.count_by == "judgements":
        return of_kind
    texts = np.cumsum([len(judgement.texts) for judgement in of_kind])
    return of_kind[: int((texts <= given.count).sum())]


def _pooled(size: int, apart: int, seed: int) -> Iterator[str]:
    """Yield the same texts again and again, each time in a new order; of so many in a row, no two
    are the same.
    """
    texts, random = (
        list(dict.fromkeys(reviews(size, seed=seed))),
        np.random.default_rng(seed),
    )
    order = random.permutation(len(texts)).tolist()
    while True:
        yield from (texts[i] for i in order)
        last = set(order[-apart:])
        while last & set(order[:apart]):
            order = random.permutation(len(texts)).tolist()


class Unseen:
    """Texts that nobody judged, and what they are truly worth."""

    def __init__(self, count: int, seed: int) -> None:
        self.texts = list(reviews(count, seed=seed + UNSEEN_SEED))
        self.gold = [gold_score(text) for text in self.texts]

    def tau(self, model: tm.RewardModel, learned_from: Sequence[Judgement]) -> float:
        """Return Kendall's τ of the scores with gold, on texts that the model did not learn."""
        learned = {text for judgement in learned_from for text in judgement.texts}
        rows = [i for i, text in enumerate(self.texts) if text not in learned]
        scores = model.score_all([Example(self.texts[i]) for i in rows]).values
        return kendall(scores, [self.gold[i] for i in rows])


def _fitted(
    given: argparse.Namespace,
    judgements: list[Judgement],
    seed: int,
    judges: bool | None = None,
) -> tm.RewardModel:
    likelihood = tm.Likelihood(judges=judges)
    return tm.fit(
        judgements,
        backbone=given.backbone,
        likelihood=likelihood,
        epochs=given.epochs,
        seed=seed,
    )


def _plain(given: argparse.Namespace) -> dict[str, Any]:
    """Return τ by kind."""
    line: dict[str, Any] = {}
    for kind in given.kinds:
        taus, texts = [], 0
        for seed in given.seeds:
            judged = judgements_of(given, kind, CAREFUL_JUDGES, seed)
            texts = sum(len(judgement.texts) for judgement in judged)
            taus.append(
                Unseen(given.unseen, seed).tau(_fitted(given, judged, seed), judged)
            )
            print(
                f"{kind}, seed {seed}: {len(judged)} judgements of {texts} texts, τ {taus[-1]:.4f}",
                file=sys.stderr,
            )
        line[kind] = {
            "judgements": len(judged),
            "texts": texts,
            "kendall_tau": spread(taus),
        }
        if kind == "mixed" and given.parts:
            line[kind]["parts"] = _parts(given)
    return line


def _parts(given: argparse.Namespace) -> dict[str, Any]:
    """Return τ of the mixture's judgements of each kind alone."""
    taus: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in given.seeds:
        judged = judgements_of(given, "mixed", CAREFUL_JUDGES, seed)
        for kind, of_kind in taus.items():
            part = [
                judgement
                for judgement in judged
                if type(judgement).__name__.lower() == kind
            ]
            of_kind.append(
                Unseen(given.unseen, seed).tau(_fitted(given, part, seed), judged)
            )
            print(
                f"{len(part)} of the mixture, {kind}, seed {seed}: τ {of_kind[-1]:.4f}",
                file=sys.stderr,
            )
    return {kind: spread(of_kind) for kind, of_kind in taus.items()}


def _troubled(given: argparse.Namespace) -> dict[str, Any]:
    """Return τ by kind with careful judges, and with troubled ones whose reliability is or is not
    learned.
    """
    line: dict[str, Any] = {}
    for kind in given.kinds:
        taus: dict[str, list[float]] = {"clean": [], "learned": [], "not_learned": []}
        reliabilities: dict[str, list[float]] = {
            "careful": [],
            "careless": [],
            "reversed": [],
        }
        for seed in given.seeds:
            unseen = Unseen(given.unseen, seed)
            crowd = troubled(
                n=given.judges,
                careless=given.careless,
                reversed=given.reversed,
                seed=seed,
            )
            calm = troubled(n=given.judges, careless=0.0, reversed=0.0, seed=seed)
            for name, judges, learn in (
                ("clean", calm, None),
                ("learned", crowd, True),
                ("not_learned", crowd, False),
            ):
                judged = judgements_of(given, kind, judges, seed)
                model = _fitted(given, judged, seed, learn)
                taus[name].append(unseen.tau(model, judged))
                print(
                    f"{kind}, seed {seed}, {name}: τ {taus[name][-1]:.4f}",
                    file=sys.stderr,
                )
                if name == "learned":
                    for judge in crowd:
                        sort = (
                            "careless"
                            if judge.carelessness
                            else "reversed"
                            if judge.reversed
                            else "careful"
                        )
                        if judge.name in model.contract.judges:
                            reliabilities[sort].append(
                                model.contract.judges[judge.name]["reliability"]
                            )
        clean = np.array(taus["clean"])
        line[kind] = {
            **{name: spread(values) for name, values in taus.items()},
            "recovered": spread(list(np.array(taus["learned"]) / clean)),
            "recovered_without": spread(list(np.array(taus["not_learned"]) / clean)),
            "reliabilities": {
                sort: [
                    round(min(values), 3),
                    round(float(np.mean(values)), 3),
                    round(max(values), 3),
                ]
                for sort, values in reliabilities.items()
                if values
            },
        }
    return line


def main() -> None:
    """Fit everything and print the JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--backbone", default="minilm", help="minilm, tiny or linear")
    options.add_argument(
        "--kinds",
        nargs="+",
        choices=[*KINDS, "mixed"],
        help="all; with --troubled: mixed",
    )
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--epochs", type=int, help="the backbone's own unless told")
    options.add_argument("--count", type=int, default=2000)
    options.add_argument(
        "--count-by", choices=["judgements", "texts"], default="judgements"
    )
    options.add_argument(
        "--pool",
        type=int,
        help="all judgements are of so many texts; one of its own each unless told",
    )
    options.add_argument(
        "--answers",
        type=int,
        nargs=2,
        default=(3, 6),
        help="the fewest and most of a ranking",
    )
    options.add_argument("--unseen", type=int, default=500)
    options.add_argument(
        "--parts",
        action="store_true",
        help="with mixed: also each kind of the mixture by itself",
    )
    options.add_argument("--troubled", action="store_true")
    options.add_argument(
        "--judges", type=int, default=20, help="with --troubled: how many"
    )
    options.add_argument("--careless", type=float, default=0.3)
    options.add_argument("--reversed", type=float, default=0.1)
    given = options.parse_args()
    given.kinds = given.kinds or (["mixed"] if given.troubled else [*KINDS, "mixed"])
    line: dict[str, Any] = {
        "benchmark": "playground_judgements",
        "backbone": given.backbone,
        "count": given.count,
        "count_by": given.count_by,
        "pool": given.pool,
        "answers": list(given.answers),
        "unseen": given.unseen,
        "seeds": given.seeds,
        "troubled": {"careless": given.careless, "reversed": given.reversed}
        if given.troubled
        else None,
        "kinds": _troubled(given) if given.troubled else _plain(given),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
