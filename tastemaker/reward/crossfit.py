"""Cross-fitting: estimate judges' reliabilities, or the scales of kinds, on unseen texts.

A fit has more weights than texts. If it learned these beside its weights, it would explain careless
judges as well as careful ones. So the linear backbone is fitted on two thirds of the units and
scores the last third, for each third. The links and all reliabilities are then fitted to those
scores. A second round starts from the estimates of the first. With judges, a third round has the
prior that most of them are alike. The final fit holds the estimates fixed: the reliabilities, or
without judges the relative slopes of the links and the noise of ratings.

This module also fits the router of experts, which tells a prompt's source from its words.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from tastemaker.data.judgements import Judgement, Prompt, lot
from tastemaker.errors import DataError
from tastemaker.fast.processor import one_thread
from tastemaker.reward.backbones.ensembles import READING, Router, read_prompt
from tastemaker.reward.backbones.linear import (
    Linear,
    TokenNames,
    chunks,
    counts,
    features,
    vocabulary,
)
from tastemaker.reward.convex import fit_linear, inverse_document_frequencies
from tastemaker.reward.corpus import Corpus, Unit
from tastemaker.reward.division import Division
from tastemaker.reward.observation import ObservationModel

FOLDS = 3
_INTERVAL = 1.96
_STEP = 1e-3  # of the difference that measures curvature
# texts that are cross-fitted; more would take longer than the fit, and tell no more
_MOST_TEXTS = 10_000
_FEWEST_UNITS = 60  # needed to compare kinds
_MOST_UNLIKE = 10.0  # largest ratio of the slopes of two kinds


@dataclass(frozen=True)
class Judges:
    """Estimates of the judges. All tensors are [judges].

    raw: the reliability is tanh(raw). sd: the standard deviation of raw. judgements: how many.
    """

    names: tuple[str, ...]
    raw: Tensor
    sd: Tensor
    judgements: Tensor

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return by name: reliability, its 95 % interval, and the number of judgements it rests on.

        The interval is that of the Normal approximation to the posterior given the scores. It
        leaves out the uncertainty of the scores.
        """
        ends = torch.stack(
            [self.raw, self.raw - _INTERVAL * self.sd, self.raw + _INTERVAL * self.sd]
        )
        rows = zip(
            self.names,
            torch.tanh(ends).T.tolist(),
            self.judgements.tolist(),
            strict=True,
        )
        return {
            name: {"reliability": value, "interval": [low, high], "judgements": int(n)}
            for name, (value, low, high), n in rows
        }


@dataclass(frozen=True)
class CrossFit:
    """The estimates from unseen texts.

    scales: by kind, the values of its link's `scale_parameters`, slopes relative to the first
    kind's.
    """

    scales: dict[type[Judgement], dict[str, float]]
    judges: Judges | None

    def prepared(self, model: ObservationModel) -> ObservationModel:
        """Return the observation model with these scales and judges, for the kinds it has."""
        for kind, values in self.scales.items():
            if kind not in model.links:
                continue
            for name, value in values.items():
                getattr(model.links[kind], name).data.fill_(value)
        if self.judges is not None and model.reliabilities is not None:
            model.reliabilities.raw.data.copy_(self.judges.raw)
        return model


def cross_fit(division: Division, seed: int = 0) -> CrossFit:
    """Return the estimates from unseen texts.

    They are empty for one kind without judges to learn about, and for few texts.
    """
    corpus = division.train
    estimates = CrossFit({}, None)
    kinds = [kind for kind, evidence in corpus.evidence.items() if len(evidence)]
    units = corpus.units[:: -(-len(corpus) // _MOST_TEXTS)]
    if not corpus.judges and (len(kinds) < 2 or len(units) < _FEWEST_UNITS):
        return estimates
    part = corpus if len(units) == len(corpus.units) else corpus.subset(units)
    made = torch.cat(
        [evidence.judge[evidence.judge >= 0] for evidence in corpus.evidence.values()]
    )
    counts = torch.bincount(made, minlength=len(corpus.judges))
    for most_alike in (False, False, True) if corpus.judges else (False, False):
        scores = cross_fitted_scores(part, division.fresh_model, estimates, seed)
        start = estimates.prepared(division.fresh_model())
        model, sd = fitted_to_scores(part, start, scores, most_alike=most_alike)
        judges = None
        if sd is not None and model.reliabilities is not None:
            raw = model.reliabilities.raw.detach()
            judges = Judges(corpus.judges, raw, sd, counts)
        # with both, the penalty of the fit that follows would meet another scale than it is meant
        # for: measured worse
        scales = {} if corpus.judges else relative_scales(model, kinds)
        estimates = CrossFit(scales, judges)
    return estimates


def relative_scales(
    model: ObservationModel, kinds: Sequence[type[Judgement]]
) -> dict[type[Judgement], dict[str, float]]:
    """Return the scale parameters of the kinds, slopes in units of the first one that is a logit.

    Returns nothing where a slope is not positive: then no scale is adjusted.
    """
    links = [model.links[kind] for kind in kinds]
    slopes = [link.slope.item() for link in links]
    if min(slopes) <= 0:
        return {}
    unit = next(
        slope for link, slope in zip(links, slopes, strict=True) if link.is_logit
    )
    scales = {}
    for kind, link, slope in zip(kinds, links, slopes, strict=True):
        values = {name: getattr(link, name).item() for name in link.scale_parameters}
        values["slope"] = min(max(slope / unit, 1 / _MOST_UNLIKE), _MOST_UNLIKE)
        scales[kind] = values
    return scales


def cross_fitted_scores(
    corpus: Corpus,
    fresh_model: Callable[[], ObservationModel],
    estimates: CrossFit,
    seed: int,
) -> Tensor:
    """Return the score of every text [n] from fits on the other folds.

    The fits use the scales and judges estimated so far.
    """
    units, scores = corpus.units, torch.zeros(len(corpus), dtype=torch.float64)
    # the fold depends on a text of the unit, not on the order of rows
    names = [min(corpus.examples[text].text for text in unit.texts) for unit in units]
    folds = [lot(seed, "fold", name) % FOLDS for name in names]
    for fold in range(FOLDS):
        train_units: list[Unit] = []
        scored_texts: set[int] = set()
        for unit, unit_fold in zip(units, folds, strict=True):
            if unit_fold == fold:
                scored_texts.update(unit.texts)
            else:
                train_units.append(unit)
        train = corpus.subset(train_units)
        backbone = fit_linear(train, estimates.prepared(fresh_model()), Linear())
        texts = sorted(scored_texts)
        fold_scores = backbone.score([corpus.examples[text] for text in texts])
        scores[texts] = torch.from_numpy(fold_scores.values)
    return scores


def fitted_to_scores(
    corpus: Corpus, model: ObservationModel, scores: Tensor, *, most_alike: bool
) -> tuple[ObservationModel, Tensor | None]:
    """Return the observation model fitted to scores, and the sd of raw reliabilities, if any.

    The search is in float64 and starts at the model's parameters.
    """
    model = model.double().requires_grad_(True)
    reliabilities = model.reliabilities
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )

    def negative_posterior() -> Tensor:
        prior: Tensor | float = 0.0
        if reliabilities is not None:
            prior = reliabilities.log_prior(most_alike=most_alike)
        # no lengths: the scores of a controlled fit carry none, and the rest is noise
        return -(model.log_likelihood(scores, corpus.evidence) + prior)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = negative_posterior() / len(corpus)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with one_thread():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    sd = None
    if reliabilities is not None:
        sd = deviations(reliabilities.raw, negative_posterior)
    return model.float(), sd


def deviations(raw: nn.Parameter, negative_posterior: Callable[[], Tensor]) -> Tensor:
    """Return each judge's standard deviation from the curvature of the posterior [judges].

    The curvature is measured by a small step both ways. No judgement has two judges, so all
    reliabilities may be moved at once.
    """
    optimum = raw.detach().clone()

    def slope_at(step: float) -> Tensor:
        raw.data.copy_(optimum + step)
        return torch.autograd.grad(negative_posterior(), raw)[0]

    curvature = (slope_at(_STEP) - slope_at(-_STEP)) / (2 * _STEP)
    raw.data.copy_(optimum)
    return (1 / curvature.clamp(min=1.0).sqrt()).float()


_SURENESS = 10.0  # scikit-learn's C
_MOST_ITERATIONS = 1000


def fit_router(prompts: Mapping[str, Sequence[Prompt | None]]) -> Router:
    """Return a router that knows the prompts of each source by name; two sources or more.

    A prompt counts once for each source that it comes from. Raises DataError where no two prompts
    share a word.
    """
    sources = list(prompts)
    texts: list[str] = []
    source_numbers: list[int] = []
    for number, source in enumerate(sources):
        for prompt in dict.fromkeys(prompts[source]):
            texts.append(read_prompt(prompt))
            source_numbers.append(number)
    token_chunks = [TokenNames.of(chunk) for chunk in chunks(texts)]
    names = vocabulary(token_chunks, READING.ngrams, READING.min_count)
    blocks = [counts(chunk, READING.ngrams, names) for chunk in token_chunks]
    occurrences = sp.vstack(blocks, format="csr")
    if not len(names):
        raise DataError(
            "experts: no two prompts share a word, so nothing tells the sources "
            "apart. Leave experts out."
        )
    idf = inverse_document_frequencies(occurrences)
    regression = LogisticRegression(C=_SURENESS, max_iter=_MOST_ITERATIONS)
    regression.fit(features(occurrences, READING, idf), source_numbers)
    weights, intercepts = regression.coef_.T, regression.intercept_
    if len(sources) == 2:  # scikit-learn gives the second one's log-odds alone
        weights = np.concatenate([np.zeros_like(weights), weights], axis=-1)
        intercepts = np.concatenate([np.zeros_like(intercepts), intercepts], axis=-1)
    return Router(
        sources,
        names,
        idf.astype(np.float32),
        weights.astype(np.float32),
        intercepts.astype(np.float32),
    )
