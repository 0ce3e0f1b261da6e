"""The observation model: the probability of judgements given scores.

It holds all that is learned besides the backbone. Links map a score to a judgement. Judge effects
say how each judge differs from the typical one. Feature effects absorb what judgements owe to the
length of texts, or to other features of how these are written. A backbone is fitted by maximising
this model's log-likelihood.

A fitted backbone is overconfident on its training texts. So `calibrated` fits the links again to
scores of texts that no fit has seen: temperature scaling (Guo et al. 2017) for labels, the same
idea for other kinds.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tastemaker.data.judgements import Example, Judgement
from tastemaker.data.texts import features_of
from tastemaker.evaluate.estimates import json_number
from tastemaker.evaluate.evaluation import Scorer
from tastemaker.fast.processor import one_thread
from tastemaker.kinds.base import Likelihood, Link
from tastemaker.kinds.registry import links_from
from tastemaker.maths.likelihoods import SMALLEST_GRADIENT, minimise
from tastemaker.maths.statistics import spearman
from tastemaker.reward.corpus import AllEvidence, Corpus, Evidence, Links
from tastemaker.reward.division import Division
from tastemaker.reward.judges import JudgeEffects, log_likelihood_by_judges
from tastemaker.scores import Scores

_SLOPES = 13  # over which a link's slope is averaged
_REACH = 5.0  # standard deviations of the slope, on both sides
# The prior sd of a link's slope, in standard deviations of the score, is 0.5 for 60 judgements and
# grows with the square root of their number: the more there are, the more a score can tell.
_PRIOR_SD, _PRIOR_JUDGEMENTS, _LARGEST_PRIOR_SD = 0.5, 60, 2.0
_NOTHING = 0.1  # prior probability that the score tells nothing
_WHOLE_FIT = 1.08  # slope of a fit to all texts, relative to that of fits to nine tenths of them
_LEAST_SLOPE = 1e-4  # in the same unit: a link divides by its slope
_STEEPEST = 1e-5  # n g², g: derivative of the mean loss of n judgements; their sum is right to 1e-4
_HOLD = 0.005  # precision of intercepts and thresholds around their start

_CONTROL_PULL = 30.0
"""How strongly score and features are held uncorrelated, per text; large enough to leave little,
small enough to fit.
"""

_MEMORY = 0.95  # of the covariances of score and features, from step to step


class FeatureEffects(nn.Module):
    """The effects of features of texts on judgements, such as length alone.

    names: of the features. effects: units of score for one standard deviation of each [features].
    """

    covariance: Tensor

    def __init__(self, names: Sequence[str], features: Tensor) -> None:
        """Set up for the features of the training texts [n, features]."""
        super().__init__()
        self.names = tuple(names)
        self.centre = features.double().mean(0)
        spread = features.double().std(0, unbiased=False)
        # what is the same in all training texts has no effect, whatever it is in another text
        self.spread = torch.where(spread > 1e-6, spread, torch.inf)
        self.effects = nn.Parameter(torch.zeros(len(self.names)))
        self.register_buffer("covariance", torch.zeros(len(self.names)))

    def standardised(self, features: Tensor) -> Tensor:
        """Return features as distances from the mean in standard deviations."""
        centre, spread = self.centre.to(features), self.spread.to(features)
        return (features - centre) / spread

    def total(self, features: Tensor) -> Tensor:
        """Return what the features of texts [n, features] add to their scores [n]."""
        z = self.standardised(features)
        return z @ self.effects.to(z.dtype)


class ObservationModel(nn.Module):
    """ln P(judgements | scores), and all parameters that are learned beside the backbone."""

    def __init__(
        self,
        links: Links,
        likelihood: Likelihood,
        corpus: Corpus | None = None,
    ) -> None:
        """Set up for the judges and texts of the training corpus; None: links alone."""
        super().__init__()
        self.links = dict(links)
        self.likelihood = likelihood
        self.link = nn.ModuleDict({link.kind: link for link in links.values()})
        judges = corpus.judges if corpus is not None else ()
        self.texts = len(corpus) if corpus is not None else 0
        has_order = corpus is not None and corpus.has_order
        self.judges = (
            JudgeEffects(tuple(judges)) if judges or has_order else None
        )
        self.control: FeatureEffects | None = None
        names = likelihood.controlled
        if names and corpus is not None:
            self.control = FeatureEffects(names, corpus.features(names))

    @classmethod
    def untrained(cls, division: Division) -> "ObservationModel":
        """Return a fresh model of a division's training judgements."""
        links = links_from(division.train_judgements, division.likelihood)
        return cls(links, division.likelihood, division.train)

    def log_likelihood(
        self,
        scores: Tensor,
        evidence: AllEvidence,
        features: Tensor | None = None,
    ) -> Tensor:
        """Return the summed log-likelihood of the evidence.

        scores: of the texts [n]. features: the controlled ones of the texts [n, features].
        """
        if self.control is not None and features is not None:
            scores = scores + self.control.total(features.to(scores.dtype))
        parts = []
        for kind, of_kind in evidence.items():
            if len(of_kind):
                parts.append(self.of_kind(self.links[kind], scores, of_kind))
        return torch.stack(parts).sum() if parts else scores.sum() * 0

    def of_kind(
        self, link: Link, scores: Tensor, evidence: Evidence
    ) -> Tensor:
        """Return the summed log-likelihood of one kind's evidence under a link.

        Each judge sees the scores in their own way (`JudgeEffects`).
        """
        judged = scores[evidence.index]  # [m] or [m, K]
        weight = evidence.weight.to(scores.dtype)
        if self.judges is None:
            return (
                weight * link.log_likelihood(judged, evidence.targets)
            ).sum()
        first = next(iter(self.links.values()))
        unit = link if link.record is first.record else first
        effects = self.judges.effects()
        rows = log_likelihood_by_judges(
            link, judged, evidence, effects, unit.slope
        )
        return (weight * rows).sum()

    def penalty(
        self,
        scores: Tensor,
        evidence: AllEvidence,
        features: Tensor | None = None,
        *,
        whole: bool = True,
    ) -> Tensor:
        """Return the penalties of the settings: for centring and for controlled features.

        features: the controlled ones of the texts [n, features]. whole: these are all texts.
        Otherwise the covariances of score and features are averaged over steps: those of a few
        texts are mostly noise, and their squares would pull all scores towards 0.
        """
        cost = scores.sum() * 0
        if self.likelihood.centring:
            for of_kind in evidence.values():
                if of_kind.index.ndim == 2:
                    squares = _row_means(scores, of_kind) ** 2
                    cost = cost + self.likelihood.centring * squares.sum()
        if self.control is not None and features is not None:
            z = self.control.standardised(features.to(scores.dtype))
            covariance = _covariance(scores, z, evidence)
            squared = self._squared(covariance, whole=whole).sum()
            cost = cost + _CONTROL_PULL * len(scores) * squared
        if self.judges is not None:
            share = 1.0 if whole else len(scores) / self.texts
            cost = cost - share * self.judges.log_prior()
        return cost

    def _squared(self, covariance: Tensor, *, whole: bool) -> Tensor:
        """Return squared covariances, or values with their gradients on average over steps."""
        assert self.control is not None
        if whole:
            return covariance**2
        average = self.control.covariance
        average.mul_(_MEMORY).add_((1 - _MEMORY) * covariance.detach())
        return 2 * average.clone() * covariance


def links_alone(links: Links) -> ObservationModel:
    """Return the observation model of the average judge, without aids to fitting.

    Evaluation uses it.
    """
    copies = {}
    for kind, link in links.items():
        copies[kind] = type(link).from_dict(link.as_dict())
    return ObservationModel(copies, Likelihood())


def _row_means(values: Tensor, evidence: Evidence) -> Tensor:
    """Return the mean over the texts of each judgement [m]."""
    is_text = evidence.is_text  # [m, K]
    return (values[evidence.index] * is_text).sum(1) / is_text.sum(1)


def _covariance(scores: Tensor, z: Tensor, evidence: AllEvidence) -> Tensor:
    """Return the covariance of the score and each standardised feature z [n, features].

    It is within each comparison or ranking, and across the other texts.
    """
    total, count = scores.sum() * z[:0].sum(0), 0
    for of_kind in evidence.values():
        if not len(of_kind):
            continue
        s, feature = scores[of_kind.index], z[of_kind.index]
        if of_kind.index.ndim == 2:
            is_text = of_kind.is_text
            ds = s - _row_means(scores, of_kind)[:, None]
            total = total + ((ds * is_text)[:, :, None] * feature).sum((0, 1))
            count += int(is_text.sum())
        else:
            total = total + (s - s.mean()) @ feature
            count += len(of_kind)
    return total / max(count, 1)


# --- what control costs ---


class Uncontrolled:
    """A model before control: the effects of the features are added back to its score.

    It measures what control costs. unit: the standard deviation of the score by which the finished
    model was divided.
    """

    def __init__(
        self, model: Scorer, control: FeatureEffects, unit: float
    ) -> None:
        self.model, self.control, self.links = model, control, model.links
        self.effects: NDArray[np.float64] = (
            control.effects.detach().double().numpy() / unit
        )

    def score_all(self, examples: Sequence[Example]) -> Scores:
        """Score the examples, in their order."""
        scores = self.model.score_all(examples)
        features = features_of([e.text for e in examples], self.control.names)
        z = (
            features - self.control.centre.numpy()
        ) / self.control.spread.numpy()
        return Scores(scores.values + z @ self.effects, scores.truncated)

    def figures(
        self, examples: Sequence[Example]
    ) -> dict[str, dict[str, Any]]:
        """Return by feature: its effect, and Spearman's correlation with the score.

        effect: units of the controlled score for one standard deviation of the feature. The
        correlations are over the examples, before control and after.
        """
        features = features_of([e.text for e in examples], self.control.names)
        before = self.score_all(examples).values
        after = self.model.score_all(examples).values
        figures = {}
        for column, name in enumerate(self.control.names):
            values = features[:, column]
            figures[name] = {
                "effect": float(self.effects[column]),
                "correlation_before": json_number(spearman(before, values)),
                "correlation": json_number(spearman(after, values)),
            }
        return figures


# --- calibration ---


def calibrated(
    model: ObservationModel,
    scores: Scores,
    evidence: AllEvidence,
    *,
    are_cross_fitted: bool = False,
) -> dict[type[Judgement], Link]:
    """Return the typical judge's links, fitted to judgements of texts that no fit has seen.

    scores: of these texts. are_cross_fitted: whether each text was scored by a fit on the others;
    then a judgement counts half, because two texts that share words have each other's judgement in
    their scores, which doubles the variance of what they tell about the slope. Judges keep their
    differences. Aids to fitting (smoothing, margins) are off. A kind without a judgement keeps its
    link.
    """
    values = torch.from_numpy(scores.values)
    # the scores are on the CPU, wherever the model was learned
    model_copy = copy.deepcopy(model).cpu().double()
    if model_copy.judges is not None:
        leniency = model_copy.judges.unseen_leniency
        model_copy.judges.leniency.data.copy_(leniency)
    links = {}
    for kind, link in model.links.items():
        of_kind = evidence.get(kind)
        links[kind] = type(link).from_dict(link.as_dict())
        if of_kind is not None and len(of_kind):
            factor = 1.0
            if are_cross_fitted:
                of_kind = replace(of_kind, weight=0.5 * of_kind.weight)
                factor = _WHOLE_FIT
            with one_thread():
                calibration = _Calibration(
                    links[kind], model_copy, values, of_kind
                )
                links[kind] = calibration.link(factor)
    return links


class _Calibration:
    """Fits one link to scores of unseen texts, by the posterior mean of its slope.

    Few judgements do not tell the slope well, and a slope that is too large makes probabilities
    too sure. So it is averaged over its posterior. Its prior is half Normal, with some mass at 0:
    where scores tell nothing, the link gives the base rate. Its unit is a standard deviation of the
    score, or of the difference of two scores that are compared. The other parameters are those that
    are likeliest, given the slope.
    """

    def __init__(
        self,
        link: Link,
        model: ObservationModel,
        scores: Tensor,
        evidence: Evidence,
    ) -> None:
        """Set the prior from the spread of the judged scores, and the start of the search."""
        targets = evidence.targets
        if targets.is_floating_point():
            targets = targets.double()
        self.model, self.scores = model, scores
        self.evidence = replace(evidence, targets=targets)
        judged = scores[evidence.index]
        if judged.ndim == 2:
            distances = (judged - _row_means(scores, evidence)[:, None])[
                evidence.is_text
            ]
            # a comparison depends on the difference of two scores, whose variance is twice theirs
            freedom = int(evidence.is_text.sum()) - len(judged)
            variance = float((distances**2).sum()) / max(freedom, 1)
            self.sd = max(math.sqrt(2 * variance), 1e-9)
        else:
            self.sd = max(float(judged.std(unbiased=False)), 1e-9)
        growth = (len(evidence) / _PRIOR_JUDGEMENTS) ** 0.5
        self.prior_sd: float = (
            min(_PRIOR_SD * growth, _LARGEST_PRIOR_SD) / self.sd
        )
        self.fallback = link
        self.fitted = copy.deepcopy(link).double()
        with torch.no_grad():  # where the search starts, about the right size
            self.fitted.slope.copy_(torch.tensor(1 / self.sd))
        self.start = [p.detach().clone() for p in self.fitted.parameters()]
        self.steepest = math.sqrt(_STEEPEST / len(evidence))

    def link(self, factor: float) -> Link:
        """Return the calibrated link; the given one where the fit is not finite.

        factor: what its slope is multiplied with.
        """
        self._climb(move_slope=True)
        best = float(self.fitted.slope.detach())
        deviation = self._deviation(best)
        if not (math.isfinite(best) and math.isfinite(deviation)):
            return self.fallback
        largest = max(best, 0.0) + _REACH * deviation
        smallest = max(best - _REACH * deviation, 0.0)
        slopes = torch.linspace(
            smallest, largest, _SLOPES, dtype=torch.float64
        )
        heights = torch.tensor(
            [self._height(float(slope)) for slope in slopes]
        )
        at_zero = self._height(0.0)
        unit = self.prior_sd
        log_prior = -0.5 * (slopes / unit) ** 2 + math.log(
            2 / (unit * math.sqrt(2 * math.pi))
        )
        log_posterior = heights + log_prior + math.log(1 - _NOTHING)
        at_zero += math.log(_NOTHING)
        top = max(float(log_posterior.max()), at_zero)
        density = (log_posterior - top).exp()
        mass = float(torch.trapezoid(density, slopes))
        mean = float(torch.trapezoid(density * slopes, slopes))
        slope = mean / (mass + math.exp(at_zero - top))
        self.steepest = SMALLEST_GRADIENT  # the link that remains is exact
        self._height(factor * slope)
        if not all(
            bool(torch.isfinite(p).all()) for p in self.fitted.parameters()
        ):
            return self.fallback
        return type(self.fitted).from_dict(self.fitted.float().as_dict())

    def _height(self, slope: float) -> float:
        """Return the highest log-likelihood with this slope, and leave the link there."""
        with torch.no_grad():
            self.fitted.slope.fill_(max(slope, _LEAST_SLOPE / self.sd))
        return self._climb(move_slope=False)

    def _climb(self, *, move_slope: bool) -> float:
        """Move the parameters to the highest posterior; return the log-likelihood there."""
        slope = self.fitted.slope
        learned = [p for p in self.fitted.parameters() if p.numel()]
        if not move_slope:
            learned = [p for p in learned if p is not slope]
        for parameter in self.fitted.parameters():
            parameter.requires_grad_(any(parameter is p for p in learned))
        if learned:
            minimise(
                self._loss, learned, iterations=100, steepest=self.steepest
            )
        with torch.no_grad():
            return float(self._log_likelihood())

    def _loss(self) -> Tensor:
        return (self._prior() - self._log_likelihood()) / len(self.evidence)

    def _prior(self) -> Tensor:
        """Return what holds thresholds and intercepts where nothing else does: a weak prior."""
        # separable judgements have no likeliest slope, so the search for the peak needs the prior
        cost = 0.5 * (self.fitted.slope / self.prior_sd) ** 2
        for parameter, start in zip(
            self.fitted.parameters(), self.start, strict=True
        ):
            if parameter is not self.fitted.slope:
                cost = cost + _HOLD * ((parameter - start) ** 2).sum()
        return cost

    def _log_likelihood(self) -> Tensor:
        return self.model.of_kind(self.fitted, self.scores, self.evidence)

    def _deviation(self, best: float) -> float:
        """Return the standard deviation of the slope from the curvature at its peak."""
        step = 0.05 / self.sd
        heights = []
        for slope in (best - step, best, best + step):
            with torch.no_grad():
                self.fitted.slope.fill_(slope)
                heights.append(float(self._log_likelihood()))
        curvature = (2 * heights[1] - heights[0] - heights[2]) / step**2
        precision = max(curvature, 0.0) + self.prior_sd**-2
        return 1 / math.sqrt(precision)


def positivity(corpus: Corpus, model: ObservationModel) -> NDArray[np.float64]:
    """Return how favourably each text was judged, 0 … 1 [texts]: a weighted mean.

    The link of a kind gives each judgement's leaning: a label 0 or 1, a grade its rank, a chosen
    text 1, a tie ½. A careless judge's leaning is drawn towards ½, a lenient judge's is lowered. A
    text without judgements is 0.5.
    """
    total = torch.zeros(len(corpus), dtype=torch.float64)
    number = torch.zeros(len(corpus), dtype=torch.float64)
    for kind, evidence in corpus.evidence.items():
        if not len(evidence):
            continue
        leaning = model.links[kind].leaning(evidence.targets)  # [m] or [m, K]
        weight = evidence.weight.double()
        if model.judges is not None:
            leaning = model.judges.fair(leaning, evidence.judge)
        if leaning.ndim == 2:
            weight = weight[:, None].expand_as(leaning)
        is_text = ~leaning.isnan()
        index = (evidence.index[is_text],)
        total.index_put_(index, (weight * leaning)[is_text], accumulate=True)
        number.index_put_(index, weight[is_text], accumulate=True)
    return torch.where(
        number > 0, total / number.clamp(min=1e-12), 0.5
    ).numpy()


def fitted_to_scores(
    corpus: Corpus, model: ObservationModel, scores: Tensor
) -> ObservationModel:
    """Return the model fitted to scores, in float64, from the model's parameters on."""
    model = model.double().requires_grad_(True)

    def loss() -> Tensor:
        # no lengths: the scores of a controlled fit carry none, and the rest is noise
        return -model.log_likelihood(scores, corpus.evidence) / len(corpus)

    with one_thread():
        learned = list(model.parameters())
        minimise(loss, learned, iterations=200, steepest=1e-5)
    return model.float()
