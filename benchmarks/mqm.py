"""WMT-MQM, Chinese to English: listwise, pairwise and rating fits of the same penalties.

    python benchmarks/mqm.py                                   # MiniLM and linear, three seeds
    python benchmarks/mqm.py --backbone linear --seeds 0

The lists hold translations of one segment by 10 or 15 systems, each with the penalty that experts
gave it. A row names its document (`doc`): one of five TED talks, or one of 38 news items of about
ten segments. A seed draws documents of both sorts until they hold a quarter of the lists; all
segments of a document are held out together.

| fit | what it learns from |
|---|---|
| `listwise` | rankings in tiers of equal penalty, Plackett–Luce with ties |
| `pairs` | the same, the mean over a ranking's pairs |
| `comparisons` | every pair of a list as a comparison of its own, ties included |
| `ratings` | −penalty of each text, Normal; `ratings_huber`: outliers pull less |

The figure is Kendall's τ-b within a segment, mean over the segments that people ordered, with a 95
% bootstrap interval over documents; beside it that of "the longer, the better". The last line is
one JSON object.
"""

import argparse
import gzip
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, spread
from rankings_speed import pairs_of

import tastemaker as tm
from tastemaker.data import Example, Judgement, Ranking
from tastemaker.maths import (
    bootstrap,
    kendall_by_list,
    mean_of_defined,
    percentile_interval,
)

SOURCES = {
    name: DATA / "wmt-mqm" / f"{name}_zhen_listwise.jsonl.gz"
    for name in ("ted", "gmt2023")
}
FITS = ("listwise", "pairs", "comparisons", "ratings", "ratings_huber")


@dataclass(frozen=True)
class Segment:
    """A source segment: its ranking as `read` gives it, each text's mean penalty, and where it
    comes from.
    """

    ranking: Ranking
    penalties: dict[str, float]
    source: str
    document: str


def segments_of(name: str, path: Path) -> list[Segment]:
    """Return the segments of a file; lists of one text alone are left out."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(row) for row in lines]
    segments = []
    for ranking in tm.read(path, skip_bad=[]):
        assert isinstance(ranking, Ranking)
        row = rows[int(ranking.where.rpartition(":")[2]) - 1]
        penalties: dict[str, list[float]] = {text: [] for text in ranking.texts}
        for candidate in row["candidates"]:
            penalties[candidate["text"]].append(candidate["mqm_penalty"])
        means = {text: float(np.mean(given)) for text, given in penalties.items()}
        segments.append(Segment(ranking, means, name, f"{name} {row['doc']}"))
    return segments


def by_document(
    segments: list[Segment], share: float, seed: int
) -> tuple[list[Segment], list[Segment]]:
    """Return (train, held out): of each source, documents drawn by the seed that hold the share of
    its segments.

    A training segment whose source text also stands in a held-out document is left out.
    """
    random, chosen = np.random.default_rng(seed), set[str]()
    for source in SOURCES:
        mine = [segment.document for segment in segments if segment.source == source]
        held = 0
        for document in random.permutation(sorted(set(mine))).tolist():
            if held < share * len(mine):
                chosen.add(document)
                held += mine.count(document)
    held_out = [segment for segment in segments if segment.document in chosen]
    prompts = {segment.ranking.prompt for segment in held_out}
    train = [
        s
        for s in segments
        if s.document not in chosen and s.ranking.prompt not in prompts
    ]
    return train, held_out


def judgements_of(fit: str, segments: list[Segment]) -> list[Judgement]:
    """Return what a fit learns from."""
    if fit == "comparisons":
        return [pair for segment in segments for pair in pairs_of(segment.ranking)]
    if fit.startswith("ratings"):
        return [
            tm.Rating(text, -penalty, prompt=segment.ranking.prompt)
            for segment in segments
            for text, penalty in segment.penalties.items()
        ]
    return [segment.ranking for segment in segments]


def tau_of(
    values: list[Any], segments: list[Segment], resamples: int
) -> dict[str, Any]:
    """Return the mean τ-b within a segment, with its interval over documents, and by source.
    values: by segment.
    """
    longest = max(len(segment.ranking.texts) for segment in segments)
    scores, tiers = (
        np.zeros((len(segments), longest)),
        np.full((len(segments), longest), np.nan),
    )
    for row, (segment, scores_of_list) in enumerate(zip(segments, values, strict=True)):
        scores[row, : len(scores_of_list)], tiers[row, : len(scores_of_list)] = (
            scores_of_list,
            segment.ranking.ranks,
        )
    tau = kendall_by_list(scores, tiers)
    documents = np.array([segment.document for segment in segments])
    samples = bootstrap({"tau": mean_of_defined(tau)}, documents, resamples=resamples)[
        "tau"
    ]
    by_source = {
        source: round(
            float(np.nanmean(tau[[segment.source == source for segment in segments]])),
            4,
        )
        for source in sorted({segment.source for segment in segments})
    }
    interval = [round(end, 4) for end in percentile_interval(samples)]
    return {"tau": round(float(np.nanmean(tau)), 4), "interval": interval, **by_source}


def _fitted(
    backbone: str, fit: str, train: list[Segment], given: argparse.Namespace, seed: int
) -> tm.RewardModel:
    likelihood = tm.Likelihood(
        judges=False,
        ranking="pairs" if fit == "pairs" else "plackett-luce",
        rating="huber" if fit == "ratings_huber" else "normal",
    )
    epochs = given.epochs
    return tm.fit(
        judgements_of(fit, train),
        backbone=backbone,
        likelihood=likelihood,
        epochs=epochs,
        seed=seed,
    )


def main() -> None:
    """Fit and measure all, and print the JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--backbone", nargs="+", default=["linear", "minilm"])
    options.add_argument(
        "--fits",
        nargs="+",
        choices=FITS,
        default=["listwise", "pairs", "comparisons", "ratings"],
    )
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--epochs", type=int, help="the backbone's own unless told")
    options.add_argument(
        "--held-out",
        type=float,
        default=0.25,
        help="share of the segments, whole documents",
    )
    options.add_argument("--limit", type=int, help="only so many training segments")
    options.add_argument("--resamples", type=int, default=1000)
    given = options.parse_args()
    segments = [
        segment for name, path in SOURCES.items() for segment in segments_of(name, path)
    ]
    taus: dict[str, dict[str, list[dict[str, Any]]]] = {}
    sizes = []
    for seed in given.seeds:
        train, held_out = by_document(segments, given.held_out, seed)
        train = [
            train[i]
            for i in np.random.default_rng(seed).permutation(len(train))[: given.limit]
        ]
        documents = [
            len({segment.document for segment in part}) for part in (train, held_out)
        ]
        sizes.append(
            {"train": len(train), "held_out": len(held_out), "documents": documents}
        )
        lengths = [
            [len(text) for text in segment.ranking.texts] for segment in held_out
        ]
        longer = tau_of(lengths, held_out, given.resamples)
        taus.setdefault("longer", {}).setdefault("baseline", []).append(longer)
        for backbone in given.backbone:
            for fit in given.fits:
                model = _fitted(backbone, fit, train, given, seed)
                examples = [
                    Example(t, s.ranking.prompt)
                    for s in held_out
                    for t in s.ranking.texts
                ]
                ends = np.cumsum([len(segment.ranking.texts) for segment in held_out])[
                    :-1
                ]
                tau = tau_of(
                    np.split(model.score_all(examples).values, ends),
                    held_out,
                    given.resamples,
                )
                taus.setdefault(backbone, {}).setdefault(fit, []).append(tau)
                print(f"{backbone}, {fit}, seed {seed}: {tau}", file=sys.stderr)
    table = {
        backbone: {
            fit: {**spread([run["tau"] for run in runs]), "runs": runs}
            for fit, runs in by_fit.items()
        }
        for backbone, by_fit in taus.items()
    }
    line = {
        "benchmark": "mqm",
        "seeds": given.seeds,
        "segments": sizes,
        "kendall_tau": table,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
