"""The convex fit of a linear backbone: the same likelihood as a network's, maximised in seconds.

L-BFGS maximises ln P(evidence | scores Xw) − ½ · strength · |w|² over the weights w and the
observation model's parameters (intercepts, thresholds, ties). PyTorch differentiates the
log-likelihood of the n scores for any mixture of judgements; the chain rule through the sparse X is
one product. The backbone needs no intercept here: each link has its own.
"""

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import nn

from tastemaker.data.judgements import joined
from tastemaker.errors import DataError, TrainingError
from tastemaker.fast.processor import one_thread
from tastemaker.progress import progress
from tastemaker.reward.backbones.linear import (
    Linear,
    LinearBackbone,
    TokenNames,
    chunks,
    counts,
    features,
    vocabulary,
)
from tastemaker.reward.corpus import Corpus
from tastemaker.reward.observation import ObservationModel

_MOST_ITERATIONS = 500
_REMEMBERED = 8  # steps that L-BFGS keeps of 10⁶ weights each


def fit_linear(
    corpus: Corpus,
    model: ObservationModel,
    settings: Linear,
    seed: int = 0,
    *,
    tolerance: float = 1e-7,
) -> LinearBackbone:
    """Return the most probable linear backbone, and update the observation model in place.

    seed: accepted like any backbone's; nothing here is random. tolerance: the fit ends when a step
    gains less than this per text. Raises DataError when no n-gram occurs in `min_count` texts,
    TrainingError when the fit does not converge to finite weights.
    """
    names, occurrences = _read(corpus, settings)
    strength = settings.strength * _said(corpus) / len(corpus)
    if settings.weighting == "nb":
        scales = log_count_ratios(
            occurrences, positivity(corpus, model), settings.smoothing
        )
    else:
        scales = inverse_document_frequencies(occurrences)
    weights = _maximise(
        Objective(features(occurrences, settings, scales), corpus, model, strength),
        tolerance,
    )
    if settings.weighting == "nb":
        weights, scales = weights * scales, np.ones_like(scales)
    return LinearBackbone(
        settings, names, weights.astype(np.float32), scales.astype(np.float32)
    )


def _said(corpus: Corpus) -> float:
    """Return the amount of evidence: one for a judgement of one text, K − 1 for K texts."""
    parts = []
    for evidence in corpus.evidence.values():
        width = 1
        if evidence.index.ndim == 2:
            width = max(1, evidence.index.shape[1] - 1)
        parts.append(width * float(evidence.weight.sum()))
    return sum(parts)


def positivity(corpus: Corpus, model: ObservationModel) -> NDArray[np.float64]:
    """Return how favourably each text was judged, 0 … 1 [texts]: a weighted mean.

    The link of a kind gives each judgement's leaning: a label 0 or 1, a grade its rank, a chosen
    text 1, a tie ½. An unreliable judge's leaning is drawn towards ½. A text without judgements is
    0.5.
    """
    total = torch.zeros(len(corpus), dtype=torch.float64)
    number = torch.zeros(len(corpus), dtype=torch.float64)
    for kind, evidence in corpus.evidence.items():
        if not len(evidence):
            continue
        leaning = model.links[kind].leaning(evidence.targets)  # [m] or [m, K]
        weight = evidence.weight.double()
        if model.reliabilities is not None:
            reliability = model.reliabilities(evidence.judge).detach().double()
            if leaning.ndim == 2:
                reliability = reliability[:, None]
            leaning = 0.5 + reliability * (leaning - 0.5)
        if leaning.ndim == 2:
            weight = weight[:, None].expand_as(leaning)
        is_text = ~leaning.isnan()
        index = (evidence.index[is_text],)
        total.index_put_(index, (weight * leaning)[is_text], accumulate=True)
        number.index_put_(index, weight[is_text], accumulate=True)
    return torch.where(number > 0, total / number.clamp(min=1e-12), 0.5).numpy()


def log_count_ratios(
    occurrences: sp.csr_matrix, positive: NDArray[np.float64], smoothing: float
) -> NDArray[np.float64]:
    """Return each n-gram's r = ln (p/|p|₁)/(q/|q|₁) (Wang & Manning 2012), from soft classes.

    p = smoothing + Σ over the texts that hold the n-gram of `positive`; q the same of 1 −
    `positive`.
    """
    holds = sp.csr_matrix(
        (np.ones_like(occurrences.data), occurrences.indices, occurrences.indptr),
        occurrences.shape,
    )
    p, q = smoothing + holds.T @ positive, smoothing + holds.T @ (1 - positive)
    ratios: NDArray[np.float64] = np.log(p / p.sum()) - np.log(q / q.sum())
    return ratios


def inverse_document_frequencies(occurrences: sp.csr_matrix) -> NDArray[np.float64]:
    """Return scikit-learn's smoothed idf: ln((1 + texts)/(1 + texts with the n-gram)) + 1."""
    held = np.bincount(occurrences.indices, minlength=occurrences.shape[1])
    return np.asarray(np.log((1 + occurrences.shape[0]) / (1 + held)) + 1)


class Objective:
    """The objective per text, and its gradient, at one vector: weights, then other parameters.

    rows: float64 [n, f], the texts' features. The observation model's parameters are scaled so that
    a step in one changes the scores about as much as a step in the weight of the strongest n-gram:
    L-BFGS then needs a fifth of the steps.
    """

    def __init__(
        self,
        rows: sp.csr_matrix,
        corpus: Corpus,
        model: ObservationModel,
        strength: float,
    ) -> None:
        self.rows, self.corpus = rows, corpus
        self.model, self.strength = model, strength
        self.learned = learned_parameters(model)
        squares = np.bincount(
            rows.indices, weights=rows.data**2, minlength=rows.shape[1]
        )
        self.unit = max(float(np.sqrt(squares.max() / rows.shape[0])), 1e-3)

    def start(self) -> NDArray[np.float64]:
        """Return weights of 0 and the other parameters as they are."""
        flat = [p.detach().double().numpy().ravel() / self.unit for p in self.learned]
        return np.concatenate([np.zeros(self.rows.shape[1]), *flat])

    def put(self, values: NDArray[np.float64]) -> None:
        """Set the observation model's parameters, given one after the other in units of `unit`."""
        start = 0
        for parameter in self.learned:
            part = values[start : start + parameter.numel()] * self.unit
            parameter.data.copy_(torch.from_numpy(part).reshape(parameter.shape))
            start += parameter.numel()

    def __call__(self, point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the value and the gradient at a point."""
        weights, texts = point[: self.rows.shape[1]], self.rows.shape[0]
        self.put(point[self.rows.shape[1] :])
        scores = torch.from_numpy(self.rows @ weights).requires_grad_()
        evidence, log_lengths = self.corpus.evidence, self.corpus.log_lengths
        penalty = self.model.penalty(scores, evidence, log_lengths)
        loss = penalty - self.model.log_likelihood(scores, evidence, log_lengths)
        by_scores, *by_links = torch.autograd.grad(loss, [scores, *self.learned])
        by_weights = self.rows.T @ by_scores.numpy() + self.strength * weights
        others = [g.double().numpy().ravel() * self.unit for g in by_links]
        gradient = np.concatenate([by_weights, *others])
        value = loss.item() + 0.5 * self.strength * float(weights @ weights)
        return value / texts, gradient / texts


def learned_parameters(model: ObservationModel) -> list[nn.Parameter]:
    """Return the parameters that the fit may move: intercepts, thresholds, ties, the length effect.

    Slopes stay, for a growing slope would stand in for growing weights and evade the penalty. So
    does the ratings' noise: weights outnumber texts, so it would shrink to nothing. Calibration
    finds both on texts the fit never saw.
    """
    held = set()
    for link in model.links.values():
        held |= {id(getattr(link, name)) for name in link.scale_parameters}
    learned = [p for p in model.parameters() if p.requires_grad and p.numel()]
    return [p for p in learned if id(p) not in held]


def _read(corpus: Corpus, settings: Linear) -> tuple[NDArray[np.int64], sp.csr_matrix]:
    """Return the names of the frequent n-grams, and their counts in each text."""
    texts = [joined(example, settings.template) for example in corpus.examples]
    read = []
    with progress("reading words", len(texts)) as advance:
        for chunk in chunks(texts):
            read.append(TokenNames.of(chunk))
            advance(len(chunk), "")
    names = vocabulary(
        read, settings.ngrams, settings.min_count, repeats=settings.repeats
    )
    blocks = [
        counts(chunk, settings.ngrams, names, repeats=settings.repeats)
        for chunk in read
    ]
    occurrences = sp.vstack(blocks, format="csr")
    texts_with = np.bincount(occurrences.indices, minlength=len(names))
    is_frequent = texts_with >= settings.min_count
    if not is_frequent.any():
        raise DataError(
            f"no word is held by {settings.min_count} of the {len(texts)} texts: "
            "nothing to learn from. "
            f"Add texts, or lower min_count."
        )
    return names[is_frequent], occurrences[:, is_frequent]


def _maximise(objective: Objective, tolerance: float) -> NDArray[np.float64]:
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
    weights: NDArray[np.float64] = result.x[:features]
    return weights
