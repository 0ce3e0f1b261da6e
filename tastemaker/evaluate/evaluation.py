"""Which judgements are not independent of each other: the bootstrap draws them together or not at all.

How far to trust a reward model: its figures on judgements it has not seen, beside rivals that know less.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tastemaker.data.judgements import Example, Judgement, fingerprint, fingerprints, plain
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.evaluate.findings import Duplicates, Evaluation, KindFindings, LengthSlice
from tastemaker.evaluate.measures import Estimate, Measures, measure
from tastemaker.kinds.base import NO_AIDS, Link
from tastemaker.kinds.metrics import Judged, KindMetrics, Predictions
from tastemaker.maths.statistics import Floats, spearman
from tastemaker.scores import Scores

_LARGEST = 0.5  # of the judgements; a cluster beyond it leaves the bootstrap nothing to draw


def clusters(judgements: Sequence[Judgement]) -> NDArray[np.uint64]:
    """Return the name of the cluster of each judgement, uint64 [m]: the same in whatever order they come.

    Judgements of one prompt are a cluster; without a prompt, those whose texts are connected: the same text, or
    compared with the same one, directly or through others. Where this puts more than half of the judgements into one
    cluster (one prompt for all, a tournament), the clusters are the judgements of the very same texts.
    """
    texts = [fingerprints(judgement.texts) for judgement in judgements]
    connected = _connected(texts)
    prompts: dict[object, int] = {}
    for judgement in judgements:
        if judgement.prompt is not None and judgement.prompt not in prompts:
            prompts[judgement.prompt] = fingerprint("prompt\0" + plain(judgement.prompt))
    by_prompt = [
        int(at) if judgement.prompt is None else prompts[judgement.prompt]
        for judgement, at in zip(judgements, connected, strict=True)
    ]
    for names in (np.array(by_prompt, dtype=np.uint64), connected):
        if not len(names) or np.unique(names, return_counts=True)[1].max() <= _LARGEST * len(names):
            return names
    return np.array(
        [fingerprint("\0".join(map(str, sorted(found.tolist())))) for found in texts],
        dtype=np.uint64,
    )


def _connected(texts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the connected component of each judgement, named by the smallest fingerprint in it."""
    if not texts:
        return np.zeros(0, dtype=np.uint64)
    names, number = np.unique(np.concatenate(texts), return_inverse=True)
    first = np.repeat(
        np.cumsum([0, *(len(found) for found in texts[:-1])]), [len(found) for found in texts]
    )
    edges = coo_array(
        (np.ones(len(number)), (number[first], number)), shape=(len(names), len(names))
    )
    count, component = connected_components(edges, directed=False)
    smallest = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, component, names)
    answer: NDArray[np.uint64] = smallest[component[number[np.unique(first)]]]
    return answer


__all__ = ["Evaluation", "Scorer", "evaluate"]

_SLICES = 4
_NONE = np.zeros(0, dtype=np.uint64)
_NEW = "new"  # the subset of judgements about texts that do not occur in the training data


class Scorer(Protocol):
    """What can be evaluated: it scores texts, and its links turn scores into what people would say."""

    @property
    def links(self) -> Mapping[type[Judgement], Link]:
        """The link of each kind of judgement that the model learned from."""
        ...

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Score the examples, in their order."""
        ...


def evaluate(
    model: Scorer,
    judgements: Sequence[Judgement],
    *,
    baseline: Scorer | None = None,
    training_fingerprints: NDArray[np.uint64] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Evaluation:
    """Compare the model with judgements it has not seen.

    baseline: the linear model fitted on the same training data. training_fingerprints: those of the training texts, to
    find duplicates. seed, resamples: of the bootstrap, which draws clusters of judgements (see `clusters`).

    Raises DataError when there is nothing that the model learned to judge, or grades on another scale; ModelError when
    a score is not finite.
    """
    if resamples < 1:
        raise UsageError(f"resamples: {resamples}, but an interval needs at least 1. Take 1000.")
    links, judged, not_evaluated = _covered(model, judgements)
    for kind, link in links.items():  # refuses an unlike scale before the long work of scoring
        link.targets([judgement for judgement in judged if type(judgement) is kind])
    numbers: dict[Example, int] = {}
    for example in chain.from_iterable(judgement.examples for judgement in judged):
        numbers.setdefault(example, len(numbers))
    examples = list(numbers)
    scores = _scored(model, examples, "the model")
    scorers = [(model, scores.values)]
    if baseline is not None:
        scorers.append((baseline, _scored(baseline, examples, "the linear baseline").values))

    names = fingerprints([example.text for example in examples])
    in_training = np.isin(names, _NONE if training_fingerprints is None else training_fingerprints)
    lengths = np.array([len(example.text) for example in examples])
    slices = _length_slices(lengths)
    kinds = []
    for kind, link in links.items():
        of_kind = [judgement for judgement in judged if type(judgement) is kind]
        found = _judged(link.kind_metrics, of_kind, numbers, lengths)
        subsets = _subsets(link.kind_metrics, found, slices, in_training)
        kinds.append(
            _findings(kind, found, scorers, subsets=subsets, seed=seed, resamples=resamples)
        )
    known = training_fingerprints is not None
    return Evaluation(
        kinds=tuple(kinds),
        slices=tuple(
            _slice(name, kinds, lengths[where], scores.values[where])
            for name, where in slices.items()
        ),
        duplicates=Duplicates(
            texts=len(np.unique(names[in_training])) if known else None,
            within=_repeated(judged),
            without=_of_subset(kinds, _NEW) if known else {},
            in_training=in_training,
        ),
        score_length_correlation=spearman(scores.values, lengths),
        truncated=int(scores.truncated.sum()),
        not_evaluated=not_evaluated,
        examples=examples,
        scores=scores.values,
    )


def _covered(
    model: Scorer, judgements: Sequence[Judgement]
) -> tuple[dict[type[Judgement], Link], list[Judgement], dict[str, int]]:
    """Return the links to evaluate, the judgements they cover, and by kind how many judgements none covers."""
    counts = Counter(type(judgement) for judgement in judgements)
    links = {kind: link for kind, link in model.links.items() if counts[kind]}
    left_out = {kind.kind: count for kind, count in counts.items() if kind not in links}
    if not judgements:
        raise DataError(
            "there are no judgements to evaluate on: the source or the chosen split of it is empty."
        )
    if not links:
        learned = " and ".join(f"{link.kind}s" for link in model.links.values()) or "nothing"
        held = " and ".join(f"{count:,} {kind}s" for kind, count in left_out.items())
        raise DataError(
            f"the model learned {learned}, but the source holds {held}: nothing to compare. "
            "Name the column or the target that the model learned."
        )
    return links, [judgement for judgement in judgements if type(judgement) in links], left_out


def _scored(scorer: Scorer, examples: Sequence[Example], who: str) -> Scores:
    """Return the scores; ModelError when one of them is not a number to count with."""
    scores = scorer.score_all(examples)
    bad = np.flatnonzero(~np.isfinite(scores.values))
    if len(bad):
        text = examples[bad[0]].text[:40]
        raise ModelError(
            f"{who} scored {len(bad):,} of {len(examples):,} texts as {scores.values[bad[0]]}, the first one {text!r}. "
            "Its weights are damaged or its fit diverged: fit it again with a lower learning rate."
        )
    return scores


def _judged(
    kind_metrics: KindMetrics,
    found: Sequence[Judgement],
    numbers: Mapping[Example, int],
    lengths: NDArray[np.int_],
) -> Judged:
    """Gather the m judgements of one kind. numbers: of each example. lengths: [n], the characters of each."""
    answers = kind_metrics.answers(found)
    text = np.zeros(answers.shape, dtype=np.intp)
    for i, judgement in enumerate(found):
        about = [numbers[example] for example in judgement.examples]
        text.reshape(len(found), -1)[i, : len(about)] = about
    return Judged(found, answers, text, lengths[text].astype(np.float64))


def _findings(
    kind: type[Judgement],
    judged: Judged,
    scorers: Sequence[tuple[Scorer, Floats]],
    *,
    subsets: Mapping[str, NDArray[np.bool_]],
    seed: int,
    resamples: int,
) -> KindFindings:
    """Measure one kind. scorers: the model, then the baseline if any, with the scores [n] of the examples."""
    kind_metrics = scorers[0][0].links[kind].kind_metrics
    made = [
        _predictions(scorer.links[kind], judged, scores[judged.text])
        for scorer, scores in scorers
        if kind in scorer.links
    ]
    model, linear = made[0], made[1] if len(made) > 1 else None
    groups = clusters(judged.judgements)
    measured = measure(
        kind_metrics,
        judged,
        model,
        linear,
        groups=groups,
        subsets=subsets,
        seed=seed,
        resamples=resamples,
    )
    return KindFindings(
        kind.kind, kind_metrics, measured, judged, model, linear, len(np.unique(groups))
    )


def _predictions(link: Link, judged: Judged, scores: Floats) -> Predictions:
    """Turn the scores into predictions, in float64 on the CPU wherever the model lives, and without aids to the fit."""
    precise = deepcopy(link).to("cpu", torch.float64)
    precise.aids = NO_AIDS
    return link.kind_metrics.predictions(precise, judged, scores)


def _subsets(
    kind_metrics: KindMetrics,
    judged: Judged,
    slices: Mapping[str, NDArray[np.bool_]],
    in_training: NDArray[np.bool_],
) -> dict[str, NDArray[np.bool_]]:
    """Return by name, True [m] for the judgements of which none of the texts is known, or whose text is in a slice."""
    texts = judged.text.reshape(len(judged), -1)
    is_known = in_training[texts] & ~np.isnan(judged.answers.reshape(texts.shape))
    new = np.logical_not(is_known.any(axis=1))
    by_length = (
        {name: belongs[judged.text] for name, belongs in slices.items()}
        if kind_metrics.of_one_text
        else {}
    )
    return by_length | {_NEW: new}


def _length_slices(lengths: NDArray[np.int_]) -> dict[str, NDArray[np.bool_]]:
    """Return by quarter, the shortest first, True [n] for the texts in it; texts of one length share a quarter."""
    edges = np.quantile(lengths, np.arange(1, _SLICES) / _SLICES)
    quarter = np.searchsorted(edges, lengths, side="left")
    return {f"quarter {i + 1}": quarter == i for i in np.unique(quarter)}


def _slice(
    name: str, kinds: Sequence[KindFindings], lengths: NDArray[np.int_], scores: Floats
) -> LengthSlice:
    shortest, longest = int(lengths.min()), int(lengths.max())
    return LengthSlice(
        shortest, longest, len(lengths), float(scores.mean()), _of_subset(kinds, name)
    )


def _of_subset(kinds: Sequence[KindFindings], name: str) -> Measures:
    """Return each kind's headline figure over the named subset; of two kinds with one headline, the first one's."""
    figures: dict[str, Estimate] = {}
    for found in kinds:
        if name in found.measured.subsets:
            figures.setdefault(found.kind_metrics.headline, found.measured.subsets[name])
    return figures


def _repeated(judgements: Sequence[Judgement]) -> int:
    """Return how many judgements are about texts that the same judge has already judged in the same way."""
    names = {
        (type(j), j.prompt, j.judge, frozenset(text.strip() for text in j.texts))
        for j in judgements
    }
    return len(judgements) - len(names)
