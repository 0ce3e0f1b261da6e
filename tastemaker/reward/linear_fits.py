"""Fits of the linear backbone.

`fit_linear` maximises the same likelihood as a network's training, in seconds. L-BFGS maximises
ln P(evidence | scores Xw) − ½ · strength · |w|² over the weights w and the observation model's
parameters (intercepts, thresholds, ties). PyTorch differentiates the log-likelihood of the n scores
for any mixture of judgements; the chain rule through the sparse X is one product. The backbone
needs no intercept here: each link has its own.
"""

import numpy as np
import scipy.sparse as sp
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from tastemaker.data.judgements import joined
from tastemaker.errors import DataError, TrainingError
from tastemaker.fast.processor import one_thread
from tastemaker.maths.statistics import Floats
from tastemaker.progress import progress
from tastemaker.reward.backbones.linear import (
    Linear,
    LinearBackbone,
    NgramNames,
    TokenNames,
    chunks,
    counts,
    features,
    inverse_document_frequencies,
    log_count_ratios,
    repetition_counts,
    vocabulary,
)
from tastemaker.reward.corpus import Corpus
from tastemaker.reward.observation import (
    ObservationModel,
    positivity,
)

_MOST_ITERATIONS = 500
_TOLERANCE = 1e-7  # the fit ends when a step gains less than this per text
# the prior's precision for the weights of repetition counts, as a share of the usual one: naive
# Bayes takes its ratios from texts of all worths, but a repetition costs a good text most
_COUNTS_PRIOR = 0.001
# a count that a larger share of the texts has keeps the usual prior: too few texts lack it
_MOST_TEXTS = 0.9
_REMEMBERED = 8  # steps that L-BFGS keeps of 10⁶ weights each


def fit_linear(
    corpus: Corpus,
    model: ObservationModel,
    settings: Linear,
    seed: int = 0,
    *,
    tolerance: float = _TOLERANCE,
    search: "Search | None" = None,
) -> LinearBackbone:
    """Return the most probable linear backbone, and update the observation model in place.

    seed: accepted like any backbone's; nothing here is random. tolerance: the fit ends when a step
    gains less than this per text. search: where the search starts, and where its end is left; None:
    it starts at 0. Raises DataError when no n-gram occurs in `min_count` texts,
    TrainingError when the fit does not converge to finite weights.
    """
    names, occurrences = _read(corpus, settings)
    strength = settings.strength * _evidence_amount(corpus) / len(corpus)
    if settings.weighting == "nb":
        scales = log_count_ratios(
            occurrences, positivity(corpus, model), settings.smoothing
        )
    else:
        scales = inverse_document_frequencies(occurrences)
    strengths = np.full(len(names), strength)
    if settings.repeats:
        texts_with = np.bincount(occurrences.indices, minlength=len(names))
        share = texts_with / len(corpus)
        is_count = np.isin(names, repetition_counts())
        is_free = is_count & (share < _MOST_TEXTS)
        scales[is_free] = 1.0
        strengths[is_free] *= _COUNTS_PRIOR
    objective = Objective(
        features(occurrences, settings, scales), corpus, model, strengths
    )
    if search is not None:
        search.begin(objective, names)
    weights = _maximise(objective, tolerance)
    if search is not None:
        search.end(objective, names, weights)
    if settings.weighting == "nb":
        weights, scales = weights * scales, np.ones_like(scales)
    return LinearBackbone(
        settings, names, weights.astype(np.float32), scales.astype(np.float32)
    )


def _evidence_amount(corpus: Corpus) -> float:
    """Return the amount of evidence: one for a judgement of one text, K − 1 for K texts."""
    parts = []
    for evidence in corpus.evidence.values():
        width = 1
        if evidence.index.ndim == 2:
            width = max(1, evidence.index.shape[1] - 1)
        parts.append(width * float(evidence.weight.sum()))
    return sum(parts)


class Objective:
    """The objective per text, and its gradient, at one vector: weights, then other parameters.

    rows: float64 [n, f], the texts' features. strengths: float64 [f], the precision of each
    weight's prior. The observation model's parameters are scaled so that a step in one changes the
    scores about as much as a step in the weight of the strongest n-gram: L-BFGS then needs a fifth
    of the steps.
    """

    def __init__(
        self,
        rows: sp.csr_matrix,
        corpus: Corpus,
        model: ObservationModel,
        strengths: Floats,
    ) -> None:
        self.rows, self.corpus = rows, corpus
        self.model, self.strengths = model, strengths
        self.features = corpus.features(model.likelihood.controlled)
        self.learned = learned_parameters(model)
        squares = np.bincount(
            rows.indices, weights=rows.data**2, minlength=rows.shape[1]
        )
        self.unit = max(float(np.sqrt(squares.max() / rows.shape[0])), 1e-3)
        self.first_weights = np.zeros(rows.shape[1])

    def named(self) -> list[tuple[str, nn.Parameter]]:
        """Return the learned parameters by name."""
        learned = {id(parameter) for parameter in self.learned}
        named = self.model.named_parameters()
        return [(name, p) for name, p in named if id(p) in learned]

    def start(self) -> Floats:
        """Return the first weights and the other parameters as they are."""
        flat = [
            p.detach().double().numpy().ravel() / self.unit
            for p in self.learned
        ]
        return np.concatenate([self.first_weights, *flat])

    def put(self, values: Floats) -> None:
        """Set the observation model's parameters, given one after the other in units of `unit`."""
        start = 0
        for parameter in self.learned:
            part = values[start : start + parameter.numel()] * self.unit
            parameter.data.copy_(
                torch.from_numpy(part).reshape(parameter.shape)
            )
            start += parameter.numel()

    def __call__(self, point: Floats) -> tuple[float, Floats]:
        """Return the value and the gradient at a point."""
        texts, ngrams = self.rows.shape
        weights = point[:ngrams]
        self.put(point[ngrams:])
        scores = torch.from_numpy(self.rows @ weights).requires_grad_()
        judged = scores, self.corpus.evidence, self.features
        loss = self.model.penalty(*judged) - self.model.log_likelihood(*judged)
        by_scores, *by_links = torch.autograd.grad(
            loss, [scores, *self.learned]
        )
        by_weights = self.rows.T @ by_scores.numpy() + self.strengths * weights
        parts = [by_weights]
        for by_link in by_links:
            parts.append(by_link.double().numpy().ravel() * self.unit)
        gradient = np.concatenate(parts)
        penalty = 0.5 * float(self.strengths @ weights**2)
        value = loss.item() + penalty
        return value / texts, gradient / texts


class Search:
    """Where a search starts: the end of another fit to much the same texts."""

    def __init__(self) -> None:
        self.names: NgramNames | None = None
        self.weights = np.zeros(0)
        self.parameters: dict[str, Tensor] = {}

    def begin(self, objective: Objective, names: NgramNames) -> None:
        """Let an objective start here; n-grams that are new start at 0."""
        if self.names is None:
            return
        places = np.searchsorted(self.names, names)
        places = places.clip(max=len(self.names) - 1)
        is_there = self.names[places] == names
        objective.first_weights = np.where(is_there, self.weights[places], 0.0)
        for name, parameter in objective.named():
            if name in self.parameters:
                parameter.data.copy_(self.parameters[name])

    def end(
        self, objective: Objective, names: NgramNames, weights: Floats
    ) -> None:
        """Keep where a search ended."""
        self.names, self.weights = names, weights
        self.parameters = {}
        for name, parameter in objective.named():
            self.parameters[name] = parameter.detach().clone()


def learned_parameters(model: ObservationModel) -> list[nn.Parameter]:
    """Return the parameters that the fit may move: intercepts, thresholds, ties, features' effects.

    Slopes stay, for a growing slope would stand in for growing weights and evade the penalty. So
    does the ratings' noise: weights outnumber texts, so it would shrink to nothing. Calibration
    finds both on texts the fit never saw.
    """
    fixed = set()
    for link in model.links.values():
        fixed |= {id(getattr(link, name)) for name in link.scale_parameters}
    learned = []
    for parameter in model.parameters():
        is_free = parameter.requires_grad and id(parameter) not in fixed
        if is_free and parameter.numel():
            learned.append(parameter)
    return learned


def _read(
    corpus: Corpus, settings: Linear
) -> tuple[NgramNames, sp.csr_matrix]:
    """Return the names of the frequent n-grams, and their counts in each text."""
    texts = [joined(example, settings.template) for example in corpus.examples]
    token_chunks = []
    with progress("reading words", len(texts)) as advance:
        for chunk in chunks(texts):
            token_chunks.append(TokenNames.of(chunk))
            advance(len(chunk), "")
    longest, repeats = settings.ngrams, settings.repeats
    names = vocabulary(
        token_chunks, longest, settings.min_count, repeats=repeats
    )
    blocks = []
    for tokens in token_chunks:
        blocks.append(counts(tokens, longest, names, repeats=repeats))
    occurrences = sp.vstack(blocks, format="csr")
    texts_with = np.bincount(occurrences.indices, minlength=len(names))
    is_frequent = texts_with >= settings.min_count
    if not is_frequent.any():
        raise DataError(
            f"no word occurs in {settings.min_count} of the {len(texts)} texts: "
            "nothing to learn from. Add texts, or lower min_count."
        )
    return names[is_frequent], occurrences[:, is_frequent]


def _maximise(objective: Objective, tolerance: float) -> Floats:
    """Run L-BFGS in float64; leave the links at the optimum and return the weights."""
    features = objective.rows.shape[1]
    objective.model.double()
    with progress("fitting the linear model", None) as advance, one_thread():
        result = minimize(
            objective,
            objective.start(),
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: advance(
                1, f"{intermediate_result.fun:.4f}"
            ),
            options={
                "maxiter": _MOST_ITERATIONS,
                "maxcor": _REMEMBERED,
                "ftol": tolerance,
                "gtol": 1e-9,
            },
        )
    if not np.isfinite(result.x).all():
        raise TrainingError(
            f"the linear fit left the finite numbers ({result.message}). Raise its strength."
        )
    objective.put(result.x[features:])
    objective.model.float()
    weights: Floats = result.x[:features]
    return weights
