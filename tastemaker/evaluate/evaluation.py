"""Measures of a reward model on held-out judgements, beside simpler baselines.

The model is measured beside the linear baseline and rivals that learn nothing, with intervals. The
`KindMetrics` of a kind (`tastemaker/kinds`) define its figures.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tastemaker.data.judgements import (
    Example,
    Judgement,
    fingerprint,
    fingerprints,
    plain,
)
from tastemaker.data.source_names import told_apart
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.evaluate.estimates import Estimate, Measures
from tastemaker.evaluate.figures import Bools, measure
from tastemaker.evaluate.findings import (
    Duplicates,
    Evaluation,
    KindFindings,
    LengthSlice,
)
from tastemaker.kinds.base import NO_AIDS, Link
from tastemaker.kinds.metrics import Judged, KindMetrics, Predictions
from tastemaker.maths.resampling import Clusters
from tastemaker.maths.statistics import Floats, spearman
from tastemaker.near_copies import STORED, Sketches, have_copy, sketches
from tastemaker.readable import listed
from tastemaker.scores import Scores

_SLICES = 4
_NEW = "new"  # the judgements about texts that are not in the training data
_LARGEST_CLUSTER = 0.5  # share of the judgements; beyond it there is nothing to tell the error from


class Scorer(Protocol):
    """What can be evaluated: it scores texts, and its links turn scores into predictions."""

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
    training_sketches: Sketches | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Evaluation:
    """Compare the model with judgements that it was not trained on.

    baseline: the linear model fitted on the same training data.
    training_fingerprints, training_sketches: of the training texts, to find duplicates and
    near-copies of them.
    seed, resamples: of the bootstrap, which draws clusters of judgements (see `clusters`) if there
    are many.

    A judgement of weight 2 counts as two, one of weight 0 is left out.

    Raises DataError if the model learned none of these kinds, grades on another scale, or if all
    weights are 0.
    Raises ModelError if a score is not finite.
    """
    if resamples < 1:
        raise UsageError(
            f"resamples: {resamples}, but an interval needs at least 1. Take 1000."
        )
    links, judged, not_evaluated = _covered(model, *told_apart(judgements))
    by_kind = {}
    for kind, link in links.items():
        by_kind[kind] = [j for j in judged if type(j) is kind]
        link.targets(by_kind[kind])  # raises for another scale

    examples = list(dict.fromkeys(e for j in judged for e in j.examples))
    scores = _scored(model, examples, "the model")
    scorers = [(model, scores.values)]
    if baseline is not None:
        others = _scored(baseline, examples, "the linear baseline")
        scorers.append((baseline, others.values))

    names = fingerprints([example.text for example in examples])
    in_training = np.zeros(len(names), dtype=bool)
    if training_fingerprints is not None:
        in_training = np.isin(names, training_fingerprints)
    lengths = np.array([len(example.text) for example in examples])
    slices = _length_slices(lengths)
    numbers = {example: number for number, example in enumerate(examples)}
    kinds = []
    for kind, link in links.items():
        of_kind = _judged(link.kind_metrics, by_kind[kind], numbers, lengths)
        subsets = _subsets(link.kind_metrics, of_kind, slices, in_training)
        findings = _findings(
            kind,
            of_kind,
            scorers,
            subsets=subsets,
            seed=seed,
            resamples=resamples,
        )
        kinds.append(findings)

    near_copies = _near_copies(examples, in_training, training_sketches)
    duplicates = Duplicates(
        None, _repeated(judged), {}, in_training, near_copies
    )
    if training_fingerprints is not None:
        count = len(np.unique(names[in_training]))
        new = _of_subset(kinds, _NEW)
        duplicates = replace(duplicates, texts=count, without=new)
    return Evaluation(
        kinds=tuple(kinds),
        slices=tuple(_measured_slices(kinds, slices, lengths, scores.values)),
        duplicates=duplicates,
        score_length_correlation=spearman(scores.values, lengths),
        truncated=int(scores.truncated.sum()),
        not_evaluated=not_evaluated,
        examples=examples,
        scores=scores.values,
    )


def _covered(
    model: Scorer, judgements: Sequence[Judgement]
) -> tuple[dict[type[Judgement], Link], list[Judgement], dict[str, int]]:
    """Return the links to evaluate, their judgements, and the count of all others by kind."""
    if not judgements:
        raise DataError(
            "there are no judgements to evaluate on: the source or the chosen split of it is empty."
        )
    if not any(judgement.weight for judgement in judgements):
        raise DataError(
            f"all {len(judgements):,} judgements have weight 0: nothing to evaluate on."
        )
    judgements = [judgement for judgement in judgements if judgement.weight]
    counts = Counter(type(judgement) for judgement in judgements)
    links = {kind: link for kind, link in model.links.items() if counts[kind]}
    others = {
        kind.kind: count for kind, count in counts.items() if kind not in links
    }
    if not links:
        learned = (
            listed(f"{link.kind}s" for link in model.links.values())
            or "nothing"
        )
        judged = listed(f"{count:,} {kind}s" for kind, count in others.items())
        raise DataError(
            f"the model learned {learned}, but the source holds {judged}: nothing to compare. "
            "Name the column or the target that the model learned."
        )
    return (
        links,
        [judgement for judgement in judgements if type(judgement) in links],
        others,
    )


def _scored(scorer: Scorer, examples: Sequence[Example], who: str) -> Scores:
    """Return the scores. Raises ModelError if one of them is not finite."""
    scores = scorer.score_all(examples)
    bad = np.flatnonzero(~np.isfinite(scores.values))
    if len(bad):
        first = bad[0]
        text, value = examples[first].text[:40], scores.values[first]
        raise ModelError(
            f"{who} scored {len(bad):,} of {len(examples):,} texts as {value}, "
            f"the first one {text!r}. Its weights are damaged or its fit diverged: "
            "fit it again with a lower learning rate."
        )
    return scores


def _judged(
    kind_metrics: KindMetrics,
    judgements: Sequence[Judgement],
    numbers: Mapping[Example, int],
    lengths: NDArray[np.int_],
) -> Judged:
    """Gather the m judgements of one kind.

    numbers: the number of each example. lengths: [n], the characters of each.
    """
    answers = kind_metrics.answers(judgements)  # [m] or [m, K]
    text = np.zeros(answers.shape, dtype=np.intp)
    rows = text.reshape(len(judgements), -1)
    for row, judgement in zip(rows, judgements, strict=True):
        examples = [numbers[example] for example in judgement.examples]
        row[: len(examples)] = examples
    weights = np.array([judgement.weight for judgement in judgements])
    characters = lengths[text].astype(np.float64)
    return Judged(judgements, answers, text, characters, weights)


def _findings(
    kind: type[Judgement],
    judged: Judged,
    scorers: Sequence[tuple[Scorer, Floats]],
    *,
    subsets: Mapping[str, Bools],
    seed: int,
    resamples: int,
) -> KindFindings:
    """Measure one kind.

    scorers: the model, then the baseline if any, each with the scores [n] of the examples.
    """
    kind_metrics = scorers[0][0].links[kind].kind_metrics
    predictions = []
    for scorer, scores in scorers:
        if kind in scorer.links:
            values = scores[judged.text]
            predictions.append(
                _predictions(scorer.links[kind], judged, values)
            )
    model = predictions[0]
    linear = predictions[1] if len(predictions) > 1 else None
    of_judgement = clusters(judged.judgements)
    groups = Clusters.of(of_judgement, judged.weights)
    measured = measure(
        kind_metrics,
        judged,
        model,
        linear,
        clusters=groups,
        subsets=subsets,
        slices=[name for name in subsets if name != _NEW],
        seed=seed,
        resamples=resamples,
    )
    return KindFindings(
        kind.kind,
        kind_metrics,
        measured,
        judged,
        model,
        linear,
        groups.count,
        len(np.unique(of_judgement[subsets[_NEW]])),
    )


def _predictions(link: Link, judged: Judged, scores: Floats) -> Predictions:
    """Return the predictions, in float64 on the CPU and without the aids to fitting."""
    precise = deepcopy(link).to("cpu", torch.float64)
    precise.aids = NO_AIDS
    return link.kind_metrics.predictions(precise, judged, scores)


def _subsets(
    kind_metrics: KindMetrics,
    judged: Judged,
    slices: Mapping[str, Bools],
    in_training: Bools,
) -> dict[str, Bools]:
    """Return subsets of the judgements by name, True [m] for those in it.

    There is one for each length slice if a judgement is about one text, and one for the
    judgements of which no text is in the training data.
    """
    subsets = {}
    if kind_metrics.of_one_text:
        for name, is_in_slice in slices.items():
            subsets[name] = is_in_slice[judged.text]
    texts = judged.text.reshape(len(judged), -1)  # [m, K]
    is_text = ~np.isnan(judged.answers.reshape(texts.shape))
    is_old = (in_training[texts] & is_text).any(axis=1)
    subsets[_NEW] = np.logical_not(is_old)
    return subsets


def _length_slices(lengths: NDArray[np.int_]) -> dict[str, Bools]:
    """Return quarters by length, the shortest first: True [n] for the texts in each.

    Texts of the same length share a quarter.
    """
    edges = np.quantile(lengths, np.arange(1, _SLICES) / _SLICES)
    quarter = np.searchsorted(edges, lengths, side="left")
    return {f"quarter {i + 1}": quarter == i for i in np.unique(quarter)}


def _measured_slices(
    kinds: Sequence[KindFindings],
    slices: Mapping[str, Bools],
    lengths: NDArray[np.int_],
    scores: Floats,
) -> list[LengthSlice]:
    """Return the figures of the texts of each length slice."""
    measured = []
    for name, is_in_slice in slices.items():
        part = lengths[is_in_slice]
        ends = int(part.min()), int(part.max())
        mean = float(scores[is_in_slice].mean())
        measures, p = _of_subset(kinds, name), _slice_p(kinds, name)
        measured.append(LengthSlice(*ends, len(part), mean, measures, p))
    return measured


def _of_subset(kinds: Sequence[KindFindings], name: str) -> Measures:
    """Return the headline measures over a subset; the first kind's where two share a name."""
    measures: dict[str, Estimate] = {}
    for findings in kinds:
        subsets = findings.measured.subsets
        if name in subsets:
            measures.setdefault(findings.kind_metrics.headline, subsets[name])
    return measures


def _slice_p(kinds: Sequence[KindFindings], name: str) -> float:
    """Return the p of a slice's accuracy being that of the others; NaN where it has none."""
    for findings in kinds:
        p = findings.measured.subset_p.get(name, math.nan)
        if not math.isnan(p):
            return p
    return math.nan


def _near_copies(
    examples: Sequence[Example],
    in_training: Bools,
    training_sketches: Sketches | None,
) -> int | None:
    """Return how many texts are near-copies of training texts, but not equal to one.

    Returns None without sketches of the training texts.
    """
    if training_sketches is None:
        return None
    texts = set()
    for example, is_equal in zip(examples, in_training, strict=True):
        if not is_equal:
            texts.add(example.text.strip())
    of_texts = sketches(sorted(texts))[:, :STORED]
    return int(have_copy(of_texts, training_sketches).sum())


def _repeated(judgements: Sequence[Judgement]) -> int:
    """Return how many judgements repeat one of the same judge about the same texts."""
    unique = set()
    for judgement in judgements:
        texts = frozenset(map(str.strip, judgement.texts))
        key = (type(judgement), judgement.prompt, judgement.judge, texts)
        unique.add(key)
    return len(judgements) - len(unique)


# --- clusters ---------------------------------------------------------------------------------


def clusters(judgements: Sequence[Judgement]) -> NDArray[np.uint64]:
    """Return the cluster of each judgement, uint64 [m]. The order of judgements does not matter.

    Judgements in a cluster are not independent: an interval draws or leaves out all of them.
    Judgements with the same prompt are a cluster. Without a prompt, they are a cluster if
    their texts are connected: the same text, or compared with the same one, also through others.
    If that puts more than half of the judgements into one cluster (one prompt for all, a
    tournament), prompts are ignored; if that does not help, a cluster is the same set of texts.
    """
    texts = [fingerprints(judgement.texts) for judgement in judgements]
    connected = _connected(texts)
    by_prompt = connected.copy()
    prompts: dict[object, int] = {}
    for i, judgement in enumerate(judgements):
        prompt = judgement.prompt
        if prompt is not None:
            if prompt not in prompts:
                prompts[prompt] = fingerprint("prompt\0" + plain(prompt))
            by_prompt[i] = prompts[prompt]
    for names in (by_prompt, connected):
        sizes = np.unique(names, return_counts=True)[1]
        if sizes.max(initial=0) <= _LARGEST_CLUSTER * len(names):
            return names
    same_texts = []
    for prints in texts:
        name = "\0".join(map(str, sorted(prints.tolist())))
        same_texts.append(fingerprint(name))
    return np.array(same_texts, dtype=np.uint64)


def _connected(texts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the connected component of each judgement, named by its smallest fingerprint."""
    if not texts:
        return np.zeros(0, dtype=np.uint64)
    names, number = np.unique(np.concatenate(texts), return_inverse=True)
    sizes = [len(prints) for prints in texts]
    starts = np.cumsum([0, *sizes[:-1]])
    first = np.repeat(starts, sizes)  # the first text of the same judgement
    edges = (number[first], number)
    shape = (len(names), len(names))
    graph = coo_array((np.ones(len(number)), edges), shape=shape)
    count, component = connected_components(graph, directed=False)
    smallest = np.full(count, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, component, names)
    component_of_judgement = component[number[starts]]
    by_judgement: NDArray[np.uint64] = smallest[component_of_judgement]
    return by_judgement
