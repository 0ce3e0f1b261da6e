"""The convex fit of a linear backbone: the same likelihood as a network's, maximised in seconds.

L-BFGS maximises ln P(evidence | scores Xw, links) − ½ · strength · |w|² over the weights w and the links' intercepts
and thresholds. PyTorch differentiates the n scores' log-likelihood, whatever mixture of judgements it is; the chain
rule through the sparse X is one product. The backbone needs no intercept here: every link has its own.
"""

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import rankdata
from torch import nn

from tastemaker.data.judgements import Judgement
from tastemaker.errors import DataError, TrainingError
from tastemaker.learning.corpus import Corpus, Evidence, Links, log_likelihood
from tastemaker.models.backbones.linear import Linear, LinearBackbone, features
from tastemaker.models.backbones.ngrams import TokenNames, chunks, counts, vocabulary
from tastemaker.models.template import joined
from tastemaker.progress import progress

_MOST_ITERATIONS = 500
_REMEMBERED = 8  # steps that L-BFGS keeps of 10⁶ weights each


def fit_linear(
    corpus: Corpus, links: Links, settings: Linear, seed: int = 0, *, tolerance: float = 1e-7
) -> LinearBackbone:
    """Return the most probable linear backbone; the links' parameters are updated in place.

    seed: accepted as every backbone's; nothing here is random. tolerance: the fit ends when a step gains less than this
    per text. Raises DataError when no n-gram occurs in `min_count` texts, TrainingError when the fit does not converge
    to finite weights.
    """
    names, occurrences = _read(corpus, settings)
    if settings.weighting == "nb":
        scales = log_count_ratios(occurrences, positivity(corpus.evidence, len(corpus)), settings.smoothing)
    else:
        scales = inverse_document_frequencies(occurrences)
    said = sum(len(found.index) for found in corpus.evidence.values())
    strength = settings.strength * said / len(corpus)
    objective = Objective(features(occurrences, settings, scales), corpus.evidence, links, strength)
    weights = _maximise(objective, tolerance)
    if settings.weighting == "nb":
        weights, scales = weights * scales, np.ones_like(scales)
    return LinearBackbone(settings, names, weights.astype(np.float32), scales.astype(np.float32))


def positivity(evidence: Mapping[type[Judgement], Evidence], texts: int) -> NDArray[np.float64]:
    """Return how positively each text was judged, 0 … 1 [texts]: its judgements' mean rank among those of their kind.

    The lowest judgement of a kind counts 0 and the highest 1, so labels are 0 and 1; a text without judgements is 0.5.
    """
    total, number = np.zeros(texts), np.zeros(texts)
    for found in evidence.values():
        ranks = rankdata(found.targets.double().numpy())
        spread = max(float(np.ptp(ranks)), 1e-12) if len(ranks) else 1.0
        index = found.index.numpy()
        np.add.at(total, index, (ranks - ranks.min(initial=np.inf)) / spread)
        np.add.at(number, index, 1)
    return np.where(number > 0, total / np.maximum(number, 1), 0.5)


def log_count_ratios(
    occurrences: sp.csr_matrix, positive: NDArray[np.float64], smoothing: float
) -> NDArray[np.float64]:
    """Return each n-gram's naive-Bayes evidence r = ln (p/|p|₁)/(q/|q|₁) (Wang & Manning 2012), from soft classes.

    p = smoothing + Σ over the texts that hold the n-gram of `positive`; q the same of 1 − `positive`.
    """
    holds = sp.csr_matrix((np.ones_like(occurrences.data), occurrences.indices, occurrences.indptr), occurrences.shape)
    p, q = smoothing + holds.T @ positive, smoothing + holds.T @ (1 - positive)
    ratios: NDArray[np.float64] = np.log(p / p.sum()) - np.log(q / q.sum())
    return ratios


def inverse_document_frequencies(occurrences: sp.csr_matrix) -> NDArray[np.float64]:
    """Return ln((1 + texts)/(1 + texts that hold it)) + 1 of each n-gram: scikit-learn's smoothed idf."""
    held = np.bincount(occurrences.indices, minlength=occurrences.shape[1])
    return np.asarray(np.log((1 + occurrences.shape[0]) / (1 + held)) + 1)


class Objective:
    """What the fit minimises, per text, and its gradient, as functions of one vector: weights, then links' parameters.

    rows: float64 [n, f], the texts' features. The links' parameters are counted in units in which moving one changes
    the scores about as much as moving the weight of the most telling n-gram does: L-BFGS needs a fifth of the steps.
    """

    def __init__(
        self, rows: sp.csr_matrix, evidence: Mapping[type[Judgement], Evidence], links: Links, strength: float
    ) -> None:
        self.rows, self.evidence, self.links, self.strength = rows, evidence, links, strength
        self.learned = learned_parameters(links)
        squares = np.bincount(rows.indices, weights=rows.data**2, minlength=rows.shape[1])
        self.unit = max(float(np.sqrt(squares.max() / rows.shape[0])), 1e-3)

    def start(self) -> NDArray[np.float64]:
        """Return weights of 0 and the links' parameters as they are."""
        flat = [p.detach().double().numpy().ravel() / self.unit for p in self.learned]
        return np.concatenate([np.zeros(self.rows.shape[1]), *flat])

    def put(self, values: NDArray[np.float64]) -> None:
        """Set the links' parameters, given one after the other in units of `unit`."""
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
        loss = -log_likelihood(scores, self.evidence, self.links)
        by_scores, *by_links = torch.autograd.grad(loss, [scores, *self.learned])
        by_weights = self.rows.T @ by_scores.numpy() + self.strength * weights
        gradient = np.concatenate([by_weights, *(g.double().numpy().ravel() * self.unit for g in by_links)])
        value = loss.item() + 0.5 * self.strength * float(weights @ weights)
        return value / texts, gradient / texts


def learned_parameters(links: Links) -> list[nn.Parameter]:
    """Return the links' parameters that the fit may move: intercepts and thresholds.

    Slopes stay, for a growing slope would stand in for growing weights and evade the penalty. So does the ratings'
    noise: weights outnumber texts, so it would shrink to nothing. Calibration finds both on texts the fit never saw.
    """
    held = ("slope", "log_sd")
    return [p for link in links.values() for name, p in link.named_parameters() if name not in held and p.requires_grad]


def _read(corpus: Corpus, settings: Linear) -> tuple[NDArray[np.int64], sp.csr_matrix]:
    """Return the kept n-grams' names and how often each text holds them."""
    texts = [joined(example, settings.template) for example in corpus.examples]
    read = []
    with progress("reading words", len(texts)) as advance:
        for chunk in chunks(texts):
            read.append(TokenNames.of(chunk))
            advance(len(chunk), "")
    names = vocabulary(read, settings.ngrams, settings.min_count)
    occurrences = sp.vstack([counts(chunk, settings.ngrams, names) for chunk in read], format="csr")
    held = np.bincount(occurrences.indices, minlength=len(names)) >= settings.min_count  # texts, not occurrences
    if not held.any():
        raise DataError(
            f"no word is held by {settings.min_count} of the {len(texts)} texts: nothing to learn from. "
            f"Add texts, or lower min_count."
        )
    return names[held], occurrences[:, held]


def _maximise(objective: Objective, tolerance: float) -> NDArray[np.float64]:
    """Run L-BFGS in float64; leave the links at the optimum and return the weights."""
    features = objective.rows.shape[1]
    for link in objective.links.values():
        link.double()
    with progress("fitting the linear model", None) as advance:
        found = minimize(
            objective,
            objective.start(),
            jac=True,
            method="L-BFGS-B",
            callback=lambda intermediate_result: advance(1, f"{intermediate_result.fun:.4f}"),
            options={"maxiter": _MOST_ITERATIONS, "maxcor": _REMEMBERED, "ftol": tolerance, "gtol": 1e-9},
        )
    if not np.isfinite(found.x).all():
        raise TrainingError(f"the linear fit left the finite numbers ({found.message}). Raise its strength.")
    objective.put(found.x[features:])
    for link in objective.links.values():
        link.float()
    weights: NDArray[np.float64] = found.x[:features]
    return weights
