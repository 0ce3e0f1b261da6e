"""How far to trust a reward model: its figures on judgements it has not seen, beside a linear model and a constant."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tastemaker.data.fingerprints import fingerprints
from tastemaker.data.judgements import Example, Judgement
from tastemaker.errors import DataError, ModelError, UsageError
from tastemaker.evaluation.findings import Duplicates, Evaluation, KindFindings, LengthSlice
from tastemaker.evaluation.measures import YARDSTICKS, Estimate, Measures, Predictions, measure
from tastemaker.learning.corpus import Corpus, Links
from tastemaker.maths.statistics import Floats, spearman
from tastemaker.models.links import LINKS, Link
from tastemaker.models.scores import Scores

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
    find duplicates. seed, resamples: of the bootstrap, which draws texts.

    Raises DataError when there is nothing that the model learned to judge, or grades on another scale; ModelError when
    a score is not finite.
    """
    if resamples < 1:
        raise UsageError(f"resamples: {resamples}, but an interval needs at least 1. Take 1000.")
    links, judged, not_evaluated = _covered(model, judgements)
    corpus = Corpus.of(judged, links)  # refuses an unlike scale before the long work of scoring
    scores = _scored(model, corpus.examples, "the model")
    scorers = [(model, scores.values)]
    if baseline is not None:
        scorers.append((baseline, _scored(baseline, corpus.examples, "the linear baseline").values))

    names = fingerprints([example.text for example in corpus.examples])
    in_training = np.isin(names, _NONE if training_fingerprints is None else training_fingerprints)
    lengths = np.array([len(example.text) for example in corpus.examples])
    slices = _length_slices(lengths)
    subsets = slices | {_NEW: ~in_training}
    kinds = tuple(
        _findings(kind, judged, corpus, scorers, names=names, subsets=subsets, seed=seed, resamples=resamples)
        for kind in links
    )
    known = training_fingerprints is not None
    return Evaluation(
        kinds=kinds,
        slices=tuple(_slice(name, kinds, lengths[where], scores.values[where]) for name, where in slices.items()),
        duplicates=Duplicates(
            texts=len(np.unique(names[in_training])) if known else None,
            within=_repeated(judged),
            without=_of_subset(kinds, _NEW) if known else {},
            in_training=in_training,
        ),
        score_length_correlation=spearman(scores.values, lengths),
        truncated=int(scores.truncated.sum()),
        not_evaluated=not_evaluated,
        examples=corpus.examples,
        scores=scores.values,
    )


def _covered(model: Scorer, judgements: Sequence[Judgement]) -> tuple[Links, list[Judgement], dict[str, int]]:
    """Return the links to evaluate, the judgements they cover, and by kind how many judgements none covers."""
    counts = Counter(type(judgement) for judgement in judgements)
    links = {kind: link for kind, link in model.links.items() if counts[kind]}
    left_out = {LINKS[kind].kind: count for kind, count in counts.items() if kind not in links}
    if not judgements:
        raise DataError("there are no judgements to evaluate on: the source or the chosen split of it is empty.")
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


def _findings(
    kind: type[Judgement],
    judged: Sequence[Judgement],
    corpus: Corpus,
    scorers: Sequence[tuple[Scorer, Floats]],
    *,
    names: NDArray[np.uint64],
    subsets: Mapping[str, NDArray[np.bool_]],
    seed: int,
    resamples: int,
) -> KindFindings:
    """Measure one kind. scorers: the model, then the baseline if any, with the scores [n] of the corpus's examples.

    names, subsets: [n] each, the fingerprint of each example and whether it belongs to each subset.
    """
    found = [judgement for judgement in judged if type(judgement) is kind]
    text = corpus.evidence[kind].index.numpy()
    made = [_predictions(scorer.links[kind], found, scores[text]) for scorer, scores in scorers if kind in scorer.links]
    model, linear = made[0], made[1] if len(made) > 1 else None
    yardstick = YARDSTICKS[kind]
    said = np.array([yardstick.said(judgement) for judgement in found], dtype=np.float64)
    parts = {name: belongs[text] for name, belongs in subsets.items()}
    measured = measure(
        yardstick, said, model, linear, groups=names[text], subsets=parts, seed=seed, resamples=resamples
    )
    where = [judgement.where for judgement in found]
    return KindFindings(LINKS[kind].kind, yardstick, measured, text, said, model, linear, where)


def _predictions(link: Link, judgements: Sequence[Judgement], scores: Floats) -> Predictions:
    """Turn the scores [m] into predictions, in float64 on the CPU wherever the model lives."""
    precise = deepcopy(link).to("cpu", torch.float64)
    with torch.no_grad():
        s = torch.from_numpy(scores)
        loss = -precise.log_likelihood(s, precise.targets(judgements))
        return Predictions(scores, precise.predict(s).numpy(), loss.numpy())


def _length_slices(lengths: NDArray[np.int_]) -> dict[str, NDArray[np.bool_]]:
    """Return by quarter, the shortest first, True [n] for the texts in it; texts of one length share a quarter."""
    edges = np.quantile(lengths, np.arange(1, _SLICES) / _SLICES)
    quarter = np.searchsorted(edges, lengths, side="left")
    return {f"quarter {i + 1}": quarter == i for i in np.unique(quarter)}


def _slice(name: str, kinds: Sequence[KindFindings], lengths: NDArray[np.int_], scores: Floats) -> LengthSlice:
    shortest, longest = int(lengths.min()), int(lengths.max())
    return LengthSlice(shortest, longest, len(lengths), float(scores.mean()), _of_subset(kinds, name))


def _of_subset(kinds: Sequence[KindFindings], name: str) -> Measures:
    """Return each kind's headline figure over the named subset; of two kinds with one headline, the first one's."""
    figures: dict[str, Estimate] = {}
    for found in kinds:
        figures.setdefault(found.yardstick.headline, found.measured.subsets[name])
    return figures


def _repeated(judgements: Sequence[Judgement]) -> int:
    """Return how many judgements are about a text that the same judge has already judged in the same way."""
    prompts_and_judges = [(type(j), j.prompt, j.judge, j.text.strip()) for j in judgements]
    return len(judgements) - len(set(prompts_and_judges))
