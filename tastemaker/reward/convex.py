"""The convex fit of a linear backbone: the same likelihood as a network's, maximised in seconds.

L-BFGS maximises ln P(evidence | scores Xw) − ½ · strength · |w|² over the weights w and what the
observation model has to learn beside them (intercepts, thresholds, ties). PyTorch differentiates
the n scores' log-likelihood, whatever mixture of judgements it is; the chain rule through the
sparse X is one product. The backbone needs no intercept here: every link has its own.
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
    """Return the most probable linear backbone; the observation model's parameters are updated in
    place.

    seed: accepted as every backbone's; nothing here is random. tolerance: the fit ends when a step
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
    """Return how much was said: a judgement about one text counts one, about K texts K − 1."""
    widths = [
        max(1, found.index.shape[1] - 1) if found.index.ndim == 2 else 1
        for found in corpus.evidence.values()
    ]
    return sum(
        width * float(found.weight.sum())
        for width, found in zip(widths, corpus.evidence.values(), strict=True)
    )


def positivity(corpus: Corpus, model: ObservationModel) -> NDArray[np.float64]:
    """Return how favourably each text was judged, 0 … 1 [texts]: the mean over its judgements, by
    their weights.

    Each judgement's leaning is what its link says (a label 0 or 1, a grade its rank, a chosen text
    1, a tie ½), drawn towards ½ by an unreliable judge. A text without judgements is 0.5.
    """
    total, number = (
        torch.zeros(len(corpus), dtype=torch.float64),
        torch.zeros(len(corpus), dtype=torch.float64),
    )
    for kind, found in corpus.evidence.items():
        if not len(found):
            continue
        leaning = model.links[kind].leaning(found.targets)
        weight = found.weight.double()
        if model.reliabilities is not None:
            reliability = model.reliabilities(found.judge).detach().double()
            leaning = 0.5 + (
                reliability[:, None] if leaning.ndim == 2 else reliability
            ) * (leaning - 0.5)
        weight = weight[:, None].expand_as(leaning) if leaning.ndim == 2 else weight
        there = ~leaning.isnan()
        total.index_put_(
            (found.index[there],), (weight * leaning)[there], accumulate=True
        )
        number.index_put_((found.index[there],), weight[there], accumulate=True)
    return torch.where(number > 0, total / number.clamp(min=1e-12), 0.5).numpy()


def log_count_ratios(
    occurrences: sp.csr_matrix, positive: NDArray[np.float64], smoothing: float
) -> NDArray[np.float64]:
    """Return each n-gram's naive-Bayes evidence r = ln (p/|p|₁)/(q/|q|₁) (Wang & Manning 2012),
    from soft classes.

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
    """Return ln((1 + texts)/(1 + texts that hold it)) + 1 of each n-gram: scikit-learn's smoothed
    idf.
    """
    held = np.bincount(occurrences.indices, minlength=occurrences.shape[1])
    return np.asarray(np.log((1 + occurrences.shape[0]) / (1 + held)) + 1)


class Objective:
    """What the fit minimises, per text, and its gradient, as functions of one vector: weights, then
    other parameters.

    rows: float64 [n, f], the texts' features. The observation model's parameters are counted in
    units in which moving one changes the scores about as much as moving the weight of the most
    telling n-gram does: L-BFGS needs a fifth of the steps.
    """

    def __init__(
        self,
        rows: sp.csr_matrix,
        corpus: Corpus,
        model: ObservationModel,
        strength: float,
    ) -> None:
        self.rows, self.corpus, self.model, self.strength = (
            rows,
            corpus,
            model,
            strength,
        )
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
        said = (self.corpus.evidence, self.corpus.log_lengths)
        loss = self.model.penalty(scores, *said) - self.model.log_likelihood(
            scores, *said
        )
        by_scores, *by_links = torch.autograd.grad(loss, [scores, *self.learned])
        by_weights = self.rows.T @ by_scores.numpy() + self.strength * weights
        gradient = np.concatenate(
            [by_weights, *(g.double().numpy().ravel() * self.unit for g in by_links)]
        )
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
    """Return the kept n-grams' names and how often each text holds them."""
    texts = [joined(example, settings.template) for example in corpus.examples]
    read = []
    with progress("reading words", len(texts)) as advance:
        for chunk in chunks(texts):
            read.append(TokenNames.of(chunk))
            advance(len(chunk), "")
    names = vocabulary(
        read, settings.ngrams, settings.min_count, repeats=settings.repeats
    )
    found = [
        counts(chunk, settings.ngrams, names, repeats=settings.repeats)
        for chunk in read
    ]
    occurrences = sp.vstack(found, format="csr")
    held = (
        np.bincount(occurrences.indices, minlength=len(names)) >= settings.min_count
    )  # texts, not occurrences
    if not held.any():
        raise DataError(
            f"no word is held by {settings.min_count} of the {len(texts)} texts: "
            "nothing to learn from. "
            f"Add texts, or lower min_count."
        )
    return names[held], occurrences[:, held]


def _maximise(objective: Objective, tolerance: float) -> NDArray[np.float64]:
    """Run L-BFGS in float64; leave the links at the optimum and return the weights."""
    features = objective.rows.shape[1]
    objective.model.double()
    with progress("fitting the linear model", None) as advance, one_thread():
        found = minimize(
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
    if not np.isfinite(found.x).all():
        raise TrainingError(
            f"the linear fit left the finite numbers ({found.message}). Raise its strength."
        )
    objective.put(found.x[features:])
    objective.model.float()
    weights: NDArray[np.float64] = found.x[:features]
    return weights
