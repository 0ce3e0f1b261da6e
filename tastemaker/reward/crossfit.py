"""What only unseen texts can tell: how reliable each judge is, or what one kind is worth beside the
others.

A fit that learned these beside its weights would explain careless judges as well as careful ones,
and noisy kinds as well as exact ones: it has more weights than texts. So the linear backbone is
fitted on two thirds of the units and scores the last third, for each third; on those scores the
links and all reliabilities are fitted together. That is done twice, the second time believing what
the first found, and, where judges are known, a third time with the prior that most of them are
alike. The fit that follows, linear or network, takes what was found as it is: the reliabilities, or
without judges the links' slopes beside each other and the noise of ratings.

How a router of experts is learned: which source a prompt is of, from its words.
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
from tastemaker.reward.corpus import Corpus
from tastemaker.reward.division import Division
from tastemaker.reward.observation import ObservationModel

FOLDS = 3
_INTERVAL = 1.96
_STEP = 1e-3  # of the difference that measures curvature
_MOST_TEXTS = (
    10_000  # are cross-fitted; more would take longer than the fit, and tell no more
)
_FEWEST_UNITS = 60  # tell something of kinds beside each other
_MOST_UNLIKE = 10.0  # slopes of two kinds


@dataclass(frozen=True)
class Judges:
    """What was found about each judge: raw [judges], ρ = tanh(raw); sd of raw [judges]; how many
    judgements each.
    """

    names: tuple[str, ...]
    raw: Tensor
    sd: Tensor
    judgements: Tensor

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return by name: reliability, its 95 % interval, and the number of judgements it rests on.

        The interval is that of the Normal approximation to the posterior given the scores; that
        these are uncertain themselves is not in it.
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
    """What unseen texts told.

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
    """Return what unseen texts tell; nothing for one kind of judgement without judges to learn
    about, or few texts.
    """
    corpus = division.train
    found = CrossFit({}, None)
    kinds = [kind for kind, evidence in corpus.evidence.items() if len(evidence)]
    units = corpus.units[:: -(-len(corpus) // _MOST_TEXTS)]
    if not corpus.judges and (len(kinds) < 2 or len(units) < _FEWEST_UNITS):
        return found
    part = corpus if len(units) == len(corpus.units) else corpus.subset(units)
    made = torch.cat(
        [evidence.judge[evidence.judge >= 0] for evidence in corpus.evidence.values()]
    )
    counts = torch.bincount(made, minlength=len(corpus.judges))
    for most_alike in (False, False, True) if corpus.judges else (False, False):
        scores = cross_fitted_scores(part, division.fresh_model, found, seed)
        model, sd = fitted_to_scores(
            part, found.prepared(division.fresh_model()), scores, most_alike=most_alike
        )
        judges = (
            None
            if sd is None or model.reliabilities is None
            else (model.reliabilities.raw.detach(), sd)
        )
        # with both, the penalty of the fit that follows would meet another scale than it is meant
        # for: measured worse
        scales = {} if corpus.judges else relative_scales(model, kinds)
        found = CrossFit(scales, judges and Judges(corpus.judges, *judges, counts))
    return found


def relative_scales(
    model: ObservationModel, kinds: Sequence[type[Judgement]]
) -> dict[type[Judgement], dict[str, float]]:
    """Return the scale parameters of the kinds, slopes in units of the first one that is a logit.

    Returns nothing where a kind seems to turn the score around: then all count as they come.
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
    found: CrossFit,
    seed: int,
) -> Tensor:
    """Return the score of every text [n] from fits on the other folds.

    The fits use the scales and judges estimated so far.
    """
    units, scores = corpus.units, torch.zeros(len(corpus), dtype=torch.float64)
    names = [
        min(corpus.examples[text].text for text in unit.texts) for unit in units
    ]  # no row order in them
    folds = [lot(seed, "fold", name) % FOLDS for name in names]
    for fold in range(FOLDS):
        seen = corpus.subset(
            [unit for unit, at in zip(units, folds, strict=True) if at != fold]
        )
        backbone = fit_linear(seen, found.prepared(fresh_model()), Linear())
        texts = sorted(
            {
                text
                for unit, at in zip(units, folds, strict=True)
                if at == fold
                for text in unit.texts
            }
        )
        scores[texts] = torch.from_numpy(
            backbone.score([corpus.examples[i] for i in texts]).values
        )
    return scores


def fitted_to_scores(
    corpus: Corpus, model: ObservationModel, scores: Tensor, *, most_alike: bool
) -> tuple[ObservationModel, Tensor | None]:
    """Return the observation model fitted to given scores, and the standard deviations of raw
    reliabilities, if any.

    In float64; the search begins at what the model believes already.
    """
    model = model.double().requires_grad_(True)
    reliabilities = model.reliabilities
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=200, line_search_fn="strong_wolfe"
    )

    def negative_posterior() -> Tensor:
        prior = (
            0.0
            if reliabilities is None
            else reliabilities.log_prior(most_alike=most_alike)
        )
        # without lengths: scores of a controlled fit carry none, and what is left of it is noise to
        # every judge
        return -(model.log_likelihood(scores, corpus.evidence) + prior)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = negative_posterior() / len(corpus)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with one_thread():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    sd = (
        None
        if reliabilities is None
        else deviations(reliabilities.raw, negative_posterior)
    )
    return model.float(), sd


def deviations(raw: nn.Parameter, negative_posterior: Callable[[], Tensor]) -> Tensor:
    """Return each judge's standard deviation from the curvature of the posterior, measured by a
    small step both ways.

    No judgement has two judges, so all reliabilities may be moved at once.
    """
    found = raw.detach().clone()

    def slope_at(step: float) -> Tensor:
        raw.data.copy_(found + step)
        return torch.autograd.grad(negative_posterior(), raw)[0]

    curvature = (slope_at(_STEP) - slope_at(-_STEP)) / (2 * _STEP)
    raw.data.copy_(found)
    return (1 / curvature.clamp(min=1.0).sqrt()).float()


_SURENESS = 10.0  # scikit-learn's C
_MOST_ITERATIONS = 1000


def fit_router(prompts: Mapping[str, Sequence[Prompt | None]]) -> Router:
    """Return a router that knows the prompts of each source by name; two sources or more.

    A prompt counts once for each source that it comes from. Raises DataError where no two prompts
    share a word.
    """
    sources = list(prompts)
    said = [
        (k, prompt)
        for k, source in enumerate(sources)
        for prompt in dict.fromkeys(prompts[source])
    ]
    read = [
        TokenNames.of(chunk)
        for chunk in chunks([read_prompt(prompt) for _, prompt in said])
    ]
    names = vocabulary(read, READING.ngrams, READING.min_count)
    occurrences = sp.vstack(
        [counts(chunk, READING.ngrams, names) for chunk in read], format="csr"
    )
    if not len(names):
        raise DataError(
            "experts: no two prompts share a word, so nothing tells the sources "
            "apart. Leave experts out."
        )
    idf = inverse_document_frequencies(occurrences)
    found = LogisticRegression(C=_SURENESS, max_iter=_MOST_ITERATIONS)
    found.fit(features(occurrences, READING, idf), [k for k, _ in said])
    weights, intercepts = found.coef_.T, found.intercept_
    if len(sources) == 2:  # scikit-learn gives the second one's log-odds alone
        weights, intercepts = (
            np.concatenate([np.zeros_like(x), x], axis=-1)
            for x in (weights, intercepts)
        )
    return Router(
        sources, names, *(x.astype(np.float32) for x in (idf, weights, intercepts))
    )
