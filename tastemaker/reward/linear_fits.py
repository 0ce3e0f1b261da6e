"""Fits of the linear backbone, and what is learned about judges and kinds from them.

`fit_linear` maximises the same likelihood as a network's training, in seconds. L-BFGS maximises
ln P(evidence | scores Xw) − ½ · strength · |w|² over the weights w and the observation model's
parameters (intercepts, thresholds, ties). PyTorch differentiates the log-likelihood of the n scores
for any mixture of judgements; the chain rule through the sparse X is one product. The backbone
needs no intercept here: each link has its own.

`cross_fit` estimates how judges differ, or the scales of kinds, on unseen texts: a fit of more
weights than texts would explain careless judges as well as careful ones. The backbone is fitted on
two thirds of the units and scores the last third, for each third. Links and judges are fitted to
those scores (`judge_fit.py`), again in further rounds. The final fit holds what was estimated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from tastemaker.data.judgements import Judgement, joined
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
    vocabulary,
)
from tastemaker.reward.comparison_effects import (
    ComparisonEffects,
    estimate_comparison_effects,
)
from tastemaker.reward.corpus import Corpus, Links, Unit
from tastemaker.reward.division import Division
from tastemaker.reward.judge_fit import estimate_judges
from tastemaker.reward.judges import JudgeEstimates
from tastemaker.reward.observation import (
    ObservationModel,
    fitted_to_scores,
    positivity,
)
from tastemaker.scores import Scores

_MOST_ITERATIONS = 500
_TOLERANCE = 1e-7  # the fit ends when a step gains less than this per text
_CROSS_TOLERANCE = 1e-6  # of fits whose scores are only estimated from
_REMEMBERED = 8  # steps that L-BFGS keeps of 10⁶ weights each

FOLDS = 3
# for calibration; more folds are nearer to the whole fit, which matters where data is small
_MANY_FOLDS, _SOME_FOLDS = 10, 5
_FEW_JUDGEMENTS = 400
_ROUNDS = 3  # of scores from other folds, and of estimates from these scores
# that are cross-fitted; more would take longer, and tell no more
_MOST_TEXTS = 10_000
_FEWEST_UNITS = 60  # needed to compare kinds
_MOST_UNLIKE = 10.0  # largest ratio of the slopes of two kinds


def fit_linear(
    corpus: Corpus,
    model: ObservationModel,
    settings: Linear,
    seed: int = 0,
    *,
    tolerance: float = _TOLERANCE,
    start: LinearBackbone | None = None,
) -> LinearBackbone:
    """Return the most probable linear backbone, and update the observation model in place.

    seed: accepted like any backbone's; nothing here is random. tolerance: the fit ends when a step
    gains less than this per text. start: the result of another fit to the same texts, where the
    search starts; None: at 0. Raises DataError when no n-gram occurs in `min_count` texts,
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
    objective = Objective(
        features(occurrences, settings, scales), corpus, model, strength
    )
    if start is not None and np.array_equal(start.names, names):
        objective.begin_at(
            start.weights.astype(np.float64) * start.scales, scales
        )
    weights = _maximise(objective, tolerance)
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
        self.features = corpus.features(model.likelihood.controlled)
        self.learned = learned_parameters(model)
        squares = np.bincount(
            rows.indices, weights=rows.data**2, minlength=rows.shape[1]
        )
        self.unit = max(float(np.sqrt(squares.max() / rows.shape[0])), 1e-3)
        self.first_weights = np.zeros(rows.shape[1])

    def begin_at(self, weights: Floats, scales: Floats) -> None:
        """Let the search begin at weights of n-grams; scales: what features are multiplied with."""
        large = np.abs(scales) > 1e-3
        self.first_weights = np.divide(
            weights, scales, out=np.zeros(len(scales)), where=large
        )

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
        by_weights = self.rows.T @ by_scores.numpy() + self.strength * weights
        parts = [by_weights]
        for by_link in by_links:
            parts.append(by_link.double().numpy().ravel() * self.unit)
        gradient = np.concatenate(parts)
        value = loss.item() + 0.5 * self.strength * float(weights @ weights)
        return value / texts, gradient / texts


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


# --- cross-fitting ---


@dataclass(frozen=True)
class CrossFit:
    """The estimates from unseen texts.

    scales: by kind, the values of its link's `scale_parameters`, slopes relative to the first
    kind's. comparing: position biases and tie widths.
    """

    scales: dict[type[Judgement], dict[str, float]]
    judges: JudgeEstimates | None = None
    comparing: ComparisonEffects | None = None

    def prepared(self, model: ObservationModel) -> ObservationModel:
        """Return the observation model with these scales and judges, for the kinds it has."""
        for kind, values in self.scales.items():
            if kind not in model.links:
                continue
            for name, value in values.items():
                getattr(model.links[kind], name).data.fill_(value)
        if self.judges is not None and model.judges is not None:
            self.judges.put_into(model.judges)
        if self.comparing is not None and model.judges is not None:
            model.judges.put(self.comparing)
        return model


def cross_fit(division: Division, seed: int = 0) -> CrossFit:
    """Return the estimates from unseen texts.

    They are empty for few texts, and for one kind without judges or orders to learn about.
    """
    corpus = division.train
    estimates = CrossFit({})
    kinds = [
        kind for kind, evidence in corpus.evidence.items() if len(evidence)
    ]
    units = corpus.units[:: -(-len(corpus) // _MOST_TEXTS)]
    has_more = len(kinds) > 1 or corpus.has_order
    if not corpus.judges and (not has_more or len(units) < _FEWEST_UNITS):
        return estimates
    part = corpus if len(units) == len(corpus.units) else corpus.subset(units)
    fresh_model = partial(ObservationModel.untrained, division)
    if not corpus.judges and len(kinds) == 1:
        scores = cross_fitted_scores(part, fresh_model, estimates, seed)
        return CrossFit(
            {}, comparing=_comparing(part, fresh_model().links, scores)
        )
    pair: Tensor | None = None
    starts: dict[int, LinearBackbone] = {}
    for number in range(_ROUNDS):
        scores = cross_fitted_scores(
            part, fresh_model, estimates, seed, starts=starts
        )
        links = fresh_model().links
        comparing = _comparing(part, links, scores)
        if corpus.judges:
            if pair is None:
                pair = independent_scores(part, fresh_model, estimates, seed)
            judges = estimate_judges(
                links,
                part.evidence,
                scores,
                pair,
                corpus.judges,
                comparing=comparing,
                chooses=number + 1 == _ROUNDS,
            )
            # with relative scales too, the penalty of the fit that follows would meet another scale
            # than it is meant for: measured worse
            estimates = CrossFit({}, judges, comparing)
        else:
            model = fitted_to_scores(
                part, estimates.prepared(fresh_model()), scores
            )
            estimates = CrossFit(
                relative_scales(model, kinds), comparing=comparing
            )
    return estimates


def _comparing(
    corpus: Corpus, links: Links, scores: Tensor
) -> ComparisonEffects | None:
    """Return the effects of the order shown and of tie widths, if there are any to learn."""
    return estimate_comparison_effects(
        links, corpus.evidence, scores, len(corpus.judges)
    )


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
        slope
        for link, slope in zip(links, slopes, strict=True)
        if link.is_logit
    )
    scales = {}
    for kind, link, slope in zip(kinds, links, slopes, strict=True):
        values = {
            name: getattr(link, name).item() for name in link.scale_parameters
        }
        values["slope"] = min(
            max(slope / unit, 1 / _MOST_UNLIKE), _MOST_UNLIKE
        )
        scales[kind] = values
    return scales


def cross_fitted_scores(
    corpus: Corpus,
    fresh_model: Callable[[], ObservationModel],
    estimates: CrossFit,
    seed: int,
    *,
    count: int = FOLDS,
    settings: Linear | None = None,
    starts: dict[int, LinearBackbone] | None = None,
) -> Tensor:
    """Return the score of every text [n] from a fit on the other folds.

    The fits use the estimates so far. count: of folds. starts: by fold, the backbone of an earlier
    call, where the search starts; it is replaced by the new one.
    """
    starts = starts if starts is not None else {}
    folds = corpus.folds(seed, count)
    scores = torch.zeros(len(corpus), dtype=torch.float64)
    for number, fold in enumerate(folds):
        others = [
            unit
            for other in folds[:number] + folds[number + 1 :]
            for unit in other
        ]
        if not fold or not others:
            continue
        model = estimates.prepared(fresh_model())
        backbone = fit_linear(
            corpus.subset(others),
            model,
            settings or Linear(),
            tolerance=_CROSS_TOLERANCE,
            start=starts.get(number),
        )
        starts[number] = backbone
        texts, values = _scored(corpus, fold, backbone)
        scores[texts] = values
    return scores


def independent_scores(
    corpus: Corpus,
    fresh_model: Callable[[], ObservationModel],
    estimates: CrossFit,
    seed: int,
) -> Tensor:
    """Return two scores of every text, from fits on two folds that share nothing: [2, n].

    How well the two agree tells how much of a score is error.
    """
    folds = corpus.folds(seed, FOLDS)
    scores = torch.zeros(2, len(corpus), dtype=torch.float64)
    is_scored = torch.zeros(len(corpus), dtype=torch.long)
    for number, fold in enumerate(folds):
        others = folds[number + 1 :] + folds[:number]
        rest = [unit for other in others for unit in other]
        if not fold or not rest:
            continue
        model = estimates.prepared(fresh_model())
        backbone = fit_linear(
            corpus.subset(fold), model, Linear(), tolerance=_CROSS_TOLERANCE
        )
        texts, values = _scored(corpus, rest, backbone)
        scores[is_scored[texts].clamp(max=1), texts] = values
        is_scored[texts] += 1
    return scores


def _scored(
    corpus: Corpus, units: Sequence[Unit], backbone: LinearBackbone
) -> tuple[list[int], Tensor]:
    """Return the texts of some units, and their scores."""
    texts = sorted({text for unit in units for text in unit.texts})
    values = backbone.score([corpus.examples[text] for text in texts]).values
    return texts, torch.from_numpy(values)


def scores_for_calibration(
    division: Division, estimates: CrossFit, settings: Linear, seed: int
) -> Scores:
    """Return the score of every training text from a fit without it, to calibrate links on.

    Where a fold's words are too few to fit anything, its scores are 0: they tell nothing.
    """
    corpus = division.train
    judgements = sum(len(evidence) for evidence in corpus.evidence.values())
    count = _MANY_FOLDS if judgements <= _FEW_JUDGEMENTS else _SOME_FOLDS
    fresh_model = partial(ObservationModel.untrained, division)
    try:
        values = cross_fitted_scores(
            corpus,
            fresh_model,
            estimates,
            seed,
            count=count,
            settings=settings,
        )
    except DataError:
        values = torch.zeros(len(corpus), dtype=torch.float64)
    return Scores(values.numpy(), np.zeros(len(corpus), dtype=bool))
