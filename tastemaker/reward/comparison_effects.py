"""Effects of who compares and of the order shown: position bias, and how wide a judge's ties are.

Somebody who compares texts may favour the one that was shown first, and may call more or fewer
texts equal than others do. Both are estimated from scores of texts that no fit has seen:

- A position bias is what the place adds to the log-odds that the text shown first beats the one
  shown last. Texts between them get a part in proportion. It has a mean over all judges, which also
  holds for judgements without a named judge, and each judge's deviation from it.
- A tie width is added to the logarithm of the parameter of ties.

Deviations have Normal priors around 0 whose standard deviations are learned from all judges
(empirical Bayes), so the bias of a judge with few judgements is pulled to the mean. The score and
the saved links are those of no position bias and the typical tie width.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tastemaker.data.judgements import Judgement
from tastemaker.fast.processor import one_thread
from tastemaker.kinds.base import Link
from tastemaker.maths.likelihoods import curvatures, minimise
from tastemaker.reward.corpus import Evidence

_MEAN_SD = 1.0  # prior standard deviation of the mean position bias
_FIRST_SD = 0.3  # of the deviations, before any is known
# what their learned variance is pulled to, and how strongly
_PRIOR_SD, _PRIOR_JUDGES = (
    0.2,
    1.0,
)
_ROUNDS = 4  # of estimates and of their standard deviations, in turns
_FIRST_ITERATIONS, _MORE_ITERATIONS = 30, 10
_HALF_95 = 1.96  # half of a 95 % interval, in standard errors
_STEP = 1e-3  # of the difference that measures curvature


@dataclass(frozen=True)
class ComparisonEffects:
    """Position biases and tie widths, float64 [judges + 1]; the last is for nobody's name.

    mean, error: the mean position bias and its standard error. sd, tie_sd: the spread over judges.
    ordered: how many judgements tell in which order their texts were shown.
    """

    position: Tensor
    tie_width: Tensor
    mean: float
    error: float
    sd: float
    tie_sd: float
    ordered: int

    def repeated(self, count: int) -> "ComparisonEffects":
        """Return the effects for `count` copies of the judges, one after the other."""
        position = torch.cat(
            [self.position[:-1].repeat(count), self.position[-1:]]
        )
        width = torch.cat(
            [self.tie_width[:-1].repeat(count), self.tie_width[-1:]]
        )
        return replace(self, position=position, tie_width=width)

    def as_dict(self) -> dict[str, float]:
        """Return the mean position bias with its 95 % interval, its spread, and on how many."""
        return {
            "mean": self.mean,
            "low": self.mean - _HALF_95 * self.error,
            "high": self.mean + _HALF_95 * self.error,
            "spread": self.sd,
            "judgements": self.ordered,
        }


def estimate_comparison_effects(
    links: Mapping[type[Judgement], Link],
    evidence: Mapping[type[Judgement], Evidence],
    scores: Tensor,
    judges: int,
) -> ComparisonEffects | None:
    """Return the effects, given scores [texts] of texts that no fit has seen.

    Returns None where there is nothing to learn: no order is known, and no named judge gave ties.
    """
    fits = [
        _OfKind(copy.deepcopy(links[kind]).double(), of_kind, scores)
        for kind, of_kind in evidence.items()
        if len(of_kind) and of_kind.index.ndim == 2
    ]
    ordered = sum(int((fit.order != 0).any(1).sum()) for fit in fits)
    has_ties = judges > 0 and any(fit.link.has_ties for fit in fits)
    if not ordered and not has_ties:
        return None
    search = _Search(
        fits, judges, moves_position=ordered > 0, moves_ties=has_ties
    )
    with one_thread():
        search.run()
    return search.result(ordered)


class _OfKind:
    """The judgements of one kind, and their likelihood given position biases and tie widths."""

    def __init__(self, link: Link, evidence: Evidence, scores: Tensor) -> None:
        self.link = link
        self.judge = evidence.judge
        self.weight = evidence.weight.double()
        self.order = evidence.order.double()
        self.judged = scores[evidence.index].double()
        targets = evidence.targets
        self.targets = (
            targets.double() if targets.is_floating_point() else targets
        )
        for parameter in link.parameters():
            parameter.requires_grad_(True)

    def log_likelihood(self, position: Tensor, width: Tensor) -> Tensor:
        """position, width: [judges + 1]."""
        # [m, K], in log-odds
        bias = position[self.judge][:, None] * self.order
        judged = self.judged + bias / self.link.slope
        if self.link.has_ties:
            rows = self.link.log_likelihood_with_ties(
                judged, self.targets, width[self.judge]
            )
        else:
            rows = self.link.log_likelihood(judged, self.targets)
        return (self.weight * rows).sum()


class _Search:
    """Moves links and effects to the highest posterior, and learns the spreads over judges."""

    def __init__(
        self,
        fits: list[_OfKind],
        judges: int,
        *,
        moves_position: bool,
        moves_ties: bool,
    ) -> None:
        self.fits, self.judges = fits, judges
        self.mean = torch.zeros(1, dtype=torch.float64)
        self.deviation = torch.zeros(judges, dtype=torch.float64)
        self.ties = torch.zeros(judges, dtype=torch.float64)
        self.moved: list[Tensor] = []
        if moves_position:
            self.moved += [self.mean, self.deviation]
        if moves_ties:
            self.moved.append(self.ties)
        self.sd = _FIRST_SD if moves_position and judges else 0.0
        self.tie_sd = _FIRST_SD if moves_ties else 0.0

    def run(self) -> None:
        """Search with the spreads as they are, then learn the spreads, in turns."""
        for number in range(_ROUNDS):
            self._climb(_MORE_ITERATIONS if number else _FIRST_ITERATIONS)
            if self.sd > 0:
                variance = 1 / self._precision(self.deviation, self.sd)
                self.sd = _learned_sd(self.deviation, variance)
            if self.tie_sd > 0:
                variance = 1 / self._precision(self.ties, self.tie_sd)
                self.tie_sd = _learned_sd(self.ties, variance)

    def result(self, ordered: int) -> ComparisonEffects:
        """Return what was learned."""
        zero = torch.zeros(1, dtype=torch.float64)
        error = 0.0
        if ordered:
            variance = float(1 / self._precision(self.mean, _MEAN_SD)[0])
            error = math.sqrt(variance + self.sd**2 / max(self.judges, 1))
        return ComparisonEffects(
            torch.cat([self.mean + self.deviation, self.mean]),
            torch.cat([self.ties, zero]),
            float(self.mean[0]),
            error,
            self.sd,
            self.tie_sd,
            ordered,
        )

    def _loss(self) -> Tensor:
        zero = torch.zeros(1, dtype=torch.float64)
        position = torch.cat([self.mean + self.deviation, self.mean])
        width = torch.cat([self.ties, zero])
        likelihoods = [
            fit.log_likelihood(position, width) for fit in self.fits
        ]
        loss = (
            0.5 * (self.mean / _MEAN_SD).square().sum()
            - torch.stack(likelihoods).sum()
        )
        if self.sd > 0:
            loss = loss + 0.5 * (self.deviation / self.sd).square().sum()
        if self.tie_sd > 0:
            loss = loss + 0.5 * (self.ties / self.tie_sd).square().sum()
        return loss

    def _climb(self, iterations: int) -> None:
        links = [
            p for fit in self.fits for p in fit.link.parameters() if p.numel()
        ]
        moved = [
            tensor.requires_grad_(True)
            for tensor in self.moved
            if tensor.numel()
        ]
        rows = sum(len(fit.judge) for fit in self.fits)
        minimise(
            lambda: self._loss() / rows, links + moved, iterations=iterations
        )
        for tensor in moved:
            tensor.requires_grad_(False)

    def _precision(self, values: Tensor, sd: float) -> Tensor:
        """Return the posterior precision of each value, the others given."""
        return curvatures(self._loss, values, _STEP).clamp(min=sd**-2)


def _learned_sd(values: Tensor, variances: Tensor) -> float:
    """Return the standard deviation over judges (EM), with a weak prior."""
    squares = (
        float((values**2 + variances).sum()) + _PRIOR_JUDGES * _PRIOR_SD**2
    )
    return math.sqrt(squares / (len(values) + _PRIOR_JUDGES))
