"""Measures of a reward model on held-out judgements, beside simpler baselines.

The model is measured beside the linear baseline and rivals that learn nothing, with intervals. The
`KindMetrics` of a kind (`tastemaker/kinds`) define its figures.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Protocol

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
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.evaluate.findings import (
    Duplicates,
    Estimate,
    Evaluation,
    KindFindings,
    LengthSlice,
    Measured,
    MeasuredPart,
    Measures,
)
from tastemaker.kinds.base import NO_AIDS, Link
from tastemaker.kinds.metrics import Judged, KindMetrics, Predictions
from tastemaker.maths.statistics import (
    Floats,
    Statistic,
    bootstrap,
    jackknife,
    jackknife_interval,
    percentile_interval,
    restricted,
    spearman,
    value_of,
)
from tastemaker.readable import listed
from tastemaker.scores import Scores

_SLICES = 4
_NEW = "new"  # the judgements about texts that are not in the training data
_LARGEST_CLUSTER = (
    0.5  # share of the judgements; beyond it the bootstrap has nothing to draw
)

_FEW_CLUSTERS = 200  # with more, a percentile bootstrap covers as it should
_SHARE, _CORRELATION = (0.0, 1.0), (-1.0, 1.0)
_BOUNDS = {
    "accuracy": _SHARE,
    "auroc": _SHARE,
    "longer_baseline": _SHARE,
    "ndcg": _SHARE,
    "top1": _SHARE,
    "kendall_tau": _CORRELATION,
    "pearson": _CORRELATION,
    "spearman": _CORRELATION,
}
"""The smallest and largest value of a figure, where it has both."""

Bools = NDArray[np.bool_]


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
    seed: int = 0,
    resamples: int = 1000,
) -> Evaluation:
    """Compare the model with judgements that it was not trained on.

    baseline: the linear model fitted on the same training data.
    training_fingerprints: of the training texts, to find duplicates.
    seed, resamples: of the bootstrap, which draws clusters of judgements (see `clusters`).

    Raises DataError if the model learned none of these kinds, or grades on another scale.
    Raises ModelError if a score is not finite.
    """
    if resamples < 1:
        raise UsageError(
            f"resamples: {resamples}, but an interval needs at least 1. Take 1000."
        )
    links, judged, not_evaluated = _covered(model, judgements)
    by_kind = {}
    for kind, link in links.items():
        by_kind[kind] = [judgement for judgement in judged if type(judgement) is kind]
        link.targets(by_kind[kind])  # raises for another scale, before the slow scoring

    examples = list(dict.fromkeys(example for j in judged for example in j.examples))
    scores = _scored(model, examples, "the model")
    scorers = [(model, scores.values)]
    if baseline is not None:
        scorers.append(
            (baseline, _scored(baseline, examples, "the linear baseline").values)
        )

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
        kinds.append(
            _findings(
                kind, of_kind, scorers, subsets=subsets, seed=seed, resamples=resamples
            )
        )

    length_slices = []
    for name, is_in_slice in slices.items():
        part, values = lengths[is_in_slice], scores.values[is_in_slice]
        ends = int(part.min()), int(part.max())
        mean = float(values.mean())
        length_slices.append(
            LengthSlice(*ends, len(part), mean, _of_subset(kinds, name))
        )
    duplicates = Duplicates(None, _repeated(judged), {}, in_training)
    if training_fingerprints is not None:
        count = len(np.unique(names[in_training]))
        new = _of_subset(kinds, _NEW)
        duplicates = Duplicates(count, duplicates.within, new, in_training)
    return Evaluation(
        kinds=tuple(kinds),
        slices=tuple(length_slices),
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
    counts = Counter(type(judgement) for judgement in judgements)
    links = {kind: link for kind, link in model.links.items() if counts[kind]}
    others = {kind.kind: count for kind, count in counts.items() if kind not in links}
    if not links:
        learned = listed(f"{link.kind}s" for link in model.links.values()) or "nothing"
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
    return Judged(judgements, answers, text, lengths[text].astype(np.float64))


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
            predictions.append(_predictions(scorer.links[kind], judged, values))
    model = predictions[0]
    linear = predictions[1] if len(predictions) > 1 else None
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
    count = len(np.unique(groups))
    return KindFindings(kind.kind, kind_metrics, measured, judged, model, linear, count)


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


def _of_subset(kinds: Sequence[KindFindings], name: str) -> Measures:
    """Return the headline measures over a subset; the first kind's where two share a name."""
    measures: dict[str, Estimate] = {}
    for findings in kinds:
        subsets = findings.measured.subsets
        if name in subsets:
            measures.setdefault(findings.kind_metrics.headline, subsets[name])
    return measures


def _repeated(judgements: Sequence[Judgement]) -> int:
    """Return how many judgements repeat one of the same judge about the same texts."""
    unique = set()
    for judgement in judgements:
        texts = frozenset(map(str.strip, judgement.texts))
        key = (type(judgement), judgement.prompt, judgement.judge, texts)
        unique.add(key)
    return len(judgements) - len(unique)


# --- the figures of one kind, with intervals ---------------------------------------------------


def measure(
    kind_metrics: KindMetrics,
    judged: Judged,
    model: Predictions,
    linear: Predictions | None,
    *,
    groups: NDArray[Any],
    subsets: Mapping[str, NDArray[np.bool_]],
    seed: int,
    resamples: int,
) -> Measured:
    """Measure m judgements of one kind.

    groups: [m], the cluster of each; the bootstrap draws clusters. subsets: by name, True [m] where
    a judgement belongs to it.
    """
    sources: dict[str, Mapping[str, Statistic]] = {
        "model": kind_metrics.statistics(judged, model)
    }
    if linear is not None:
        sources["linear"] = kind_metrics.statistics(judged, linear)
    sources["longer"] = kind_metrics.longer(judged)
    sources["people"] = kind_metrics.people(judged)
    sources["subsets"] = {
        name: _within(kind_metrics, judged, model, where)
        for name, where in subsets.items()
    }
    tables = kind_metrics.parts(judged, model)
    for table, parts in tables.items():
        for number, part in enumerate(parts):
            sources[f"{table} {number}"] = part.statistics
    figures = _Figures(
        sources, groups, len(judged), seed, resamples, headline=kind_metrics.headline
    )

    model_measures = figures.of("model")
    model_measures.update(_points(kind_metrics.points(judged, model)))
    linear_measures = difference = None
    if linear is not None:
        linear_measures = figures.of("linear")
        linear_measures.update(_points(kind_metrics.points(judged, linear)))
        difference = figures.difference("linear")
    measured_parts: dict[str, list[MeasuredPart]] = {}
    for table, parts in tables.items():
        measured_parts[table] = []
        for number, part in enumerate(parts):
            measures = figures.of(f"{table} {number}")
            measured_parts[table].append(MeasuredPart(part.name, part.n, measures))
    return Measured(
        model=model_measures,
        linear=linear_measures,
        longer=figures.of("longer"),
        constant=_points(kind_metrics.constant(judged)),
        difference=difference,
        over_longer=figures.difference("longer"),
        people=figures.of("people"),
        counts=kind_metrics.counts(judged),
        subsets=figures.of("subsets"),
        parts=measured_parts,
    )


def _points(values: Mapping[str, float]) -> dict[str, Estimate]:
    """Return figures without intervals."""
    return {name: Estimate(value) for name, value in values.items()}


class _Figures:
    """Statistics by source and name, with intervals: their values and shared replicates.

    A replicate is the statistic of a bootstrap resample of the clusters, or, of few clusters,
    without one of them.
    """

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, Statistic]],
        groups: NDArray[Any],
        n: int,
        seed: int,
        resamples: int,
        *,
        headline: str,
    ) -> None:
        self.sources, self.headline = sources, headline
        everything = {}
        for source, statistics in sources.items():
            for name, statistic in statistics.items():
                everything[f"{source}.{name}"] = statistic
        self.clusters = len(np.unique(groups))
        self.are_few = self.clusters <= _FEW_CLUSTERS
        if self.are_few:
            self.replicates = jackknife(everything, groups)
        else:
            self.replicates = bootstrap(
                everything, groups, seed=seed, resamples=resamples
            )
        self.values = {
            name: value_of(statistic, n) for name, statistic in everything.items()
        }

    def of(self, source: str) -> dict[str, Estimate]:
        """Return a source's figures with their intervals."""
        estimates = {}
        for name in self.sources[source]:
            key = f"{source}.{name}"
            bounds = _BOUNDS.get(self.headline if source == "subsets" else name)
            estimates[name] = self._estimate(
                self.values[key], self.replicates[key], bounds
            )
        return estimates

    def difference(self, rival: str) -> dict[str, Estimate]:
        """Return model − rival for each figure that both have, from the same replicates."""
        estimates = {}
        for name in self.sources["model"]:
            if name not in self.sources[rival]:
                continue
            ours, theirs = f"model.{name}", f"{rival}.{name}"
            value = self.values[ours] - self.values[theirs]
            replicates = self.replicates[ours] - self.replicates[theirs]
            bounds = None
            if name in _BOUNDS:
                width = _BOUNDS[name][1] - _BOUNDS[name][0]
                bounds = (-width, width)
            estimates[name] = self._estimate(value, replicates, bounds)
        return estimates

    def _estimate(
        self, value: float, replicates: Floats, bounds: tuple[float, float] | None
    ) -> Estimate:
        if not self.are_few:
            return Estimate(value, *percentile_interval(replicates))
        return Estimate(value, *jackknife_interval(value, replicates, bounds))


def _within(
    kind_metrics: KindMetrics,
    judged: Judged,
    predictions: Predictions,
    where: NDArray[np.bool_],
) -> Statistic:
    """Return the headline figure of a subset, as a statistic of all the judgements."""
    statistics = kind_metrics.statistics(judged.only(where), predictions.only(where))
    return restricted(statistics[kind_metrics.headline], where)


# --- clusters ---------------------------------------------------------------------------------


def clusters(judgements: Sequence[Judgement]) -> NDArray[np.uint64]:
    """Return the cluster of each judgement, uint64 [m]. The order of judgements does not matter.

    Judgements in a cluster are not independent: the bootstrap draws all of them or none.
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
