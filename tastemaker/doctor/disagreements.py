"""Check of two columns about the same texts: labels that go against grades or ratings."""

from collections.abc import Iterator

import numpy as np

from tastemaker.doctor.catalogue import Catalogue, Problem
from tastemaker.maths.statistics import spearman

_FEWEST = 20
"""Texts with both; the correlation of fewer says little."""
_LEAST = 0.2
"""Spearman's correlation below which two columns do not say the same."""


def disagreements(catalogue: Catalogue) -> Iterator[Problem]:
    """Yield pairs of kinds that judge the same texts, but not alike."""
    means = _means(catalogue)
    labels = means.get("label", {})
    for kind in ("grade", "rating"):
        others = means.get(kind, {})
        shared = sorted(labels.keys() & others.keys())
        if len(shared) < _FEWEST:
            continue
        first = np.array([labels[item] for item in shared])
        second = np.array([others[item] for item in shared])
        correlation = spearman(first, second)
        if not correlation < _LEAST:
            continue
        yield Problem(
            "columns_disagree",
            f"labels and {kind}s of the same {len(shared):,} texts do not agree: "
            f"Spearman correlation {correlation:+.2f}",
            len(shared),
            "warning",
            f"One of the two columns judges something else: leave it out (--{kind}-column none "
            "or --label-column none).",
            catalogue.places([catalogue.items[item] for item in shared]),
        )


def _means(catalogue: Catalogue) -> dict[str, dict[tuple[int, int], float]]:
    """Return by kind the mean judgement of each (prompt, text)."""
    values: dict[str, dict[tuple[int, int], list[float]]] = {}
    prompts = catalogue.prompt.tolist()
    for row, judgement in enumerate(catalogue.judgements):
        if judgement.ranks:
            continue
        item = (prompts[row], catalogue.texts_of[row][0])
        of_kind = values.setdefault(judgement.kind, {})
        of_kind.setdefault(item, []).append(judgement.value)
    means = {}
    for kind, of_kind in values.items():
        means[kind] = {
            item: sum(each) / len(each) for item, each in of_kind.items()
        }
    return means
