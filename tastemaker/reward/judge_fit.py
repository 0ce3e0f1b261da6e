"""Estimates of how judges differ, from scores of texts that no fit has seen.

Links and judges are fitted in turns, under three models: judges do not differ, they differ in
leniency, they differ in leniency and discrimination. The posterior of a judge is computed on a grid
of both: it may have two peaks, where a Normal approximation would fail. The simplest model is
chosen that none predicts held-out judgements better than by more than its standard error.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from tastemaker.data.judgements import Judgement
from tastemaker.fast.processor import one_thread
from tastemaker.kinds.base import Link
from tastemaker.maths.likelihoods import (
    Grid,
    Population,
    curvatures,
    learned_population,
    minimise,
    posterior_on,
    weighted_quantiles,
)
from tastemaker.reward.comparison_effects import ComparisonEffects
from tastemaker.reward.corpus import Evidence
from tastemaker.reward.judges import (
    Effects,
    JudgeEstimates,
    JudgeModel,
    expected_scores,
    log_likelihood_by_judges,
)

_POINTS = 25  # of the grid of discriminations
_LENIENCY_POINTS = 13
# the first grid of discriminations, the same for all judges
_COARSE = (
    -2.0,
    3.0,
)
_SMALLEST_SD = 0.03  # a grid would miss what is narrower
_WIDTH = 4.5  # half of the grid, in standard deviations
_LARGEST_LENIENCY_SD = 2.0
_ROUNDS = 2  # links and judges are fitted in turns
_SCORES = 64  # quantiles of the scores, over which informations are averaged
_SLIM_GAIN = 1.0  # standard errors that a richer model must gain to be chosen
_FOLDS = 4
_MOST_ITERATIONS = 60  # of the first search
# of those that start where another one ended
_SOME_ITERATIONS, _FEW_ITERATIONS = (
    20,
    8,
)
_STEP = 1e-3  # of the difference that measures curvature
_SMALLEST_SLOPE = 1e-3

Evidences = Mapping[type[Judgement], Evidence]
Links = Mapping[type[Judgement], Link]


def estimate_judges(
    links: Links,
    evidence: Evidences,
    scores: Tensor,
    pair: Tensor,
    names: tuple[str, ...],
    *,
    comparing: ComparisonEffects | None = None,
    chooses: bool = True,
) -> JudgeEstimates:
    """Return what differs between judges, given scores of texts that no fit has seen.

    links: where the search starts. scores: float64 [texts]. pair: [2, texts], scores of two fits
    that share no judgement. comparing: the position biases and tie widths. chooses: whether a
    simpler model may be chosen; not before the last round, whose scores are better.
    """
    judges = len(names)
    judged = {}
    for kind, of_kind in evidence.items():
        if len(of_kind):
            index = of_kind.index
            is_text = of_kind.is_text if index.ndim == 2 else None
            judged[kind] = expected_scores(
                scores[index], pair[:, index], is_text, of_kind.judge, judges
            )
    in_float64 = {kind: of_kind.double() for kind, of_kind in evidence.items()}
    data = _Data(in_float64, judged, scores, judges, comparing)
    fits: dict[JudgeModel, _Fit] = {"none": _Fit.of(data, links, "none")}
    if chooses:
        fits["leniency"] = _Fit.of(data, fits["none"].links, "leniency")
    rounds = _ROUNDS if chooses else 1
    fits["full"] = _Fit.of(data, fits["none"].links, "full", rounds)
    gains = {name: _gain(fit, fits["none"]) for name, fit in fits.items()}
    means = {name: gain[:2] for name, gain in gains.items()}
    # the full model tells the reliabilities, whichever model the fit that follows makes use of
    chosen = _choose(gains) if chooses else "full"
    return fits["full"].estimates(names, fits[chosen], means)


@dataclass(frozen=True)
class _Data:
    """What judges are estimated from: judgements, and scores of texts that no fit has seen.

    judged: by kind, the scores of the judged texts, corrected for which texts a judge was given.
    """

    evidence: Evidences
    judged: Mapping[type[Judgement], Tensor]
    scores: Tensor
    judges: int
    comparing: ComparisonEffects | None


@dataclass
class _Fit:
    """Links and judges fitted in turns, under one of the models of judges."""

    data: "_Data"
    links: Links
    model: JudgeModel
    discrimination: Tensor
    leniency: Tensor
    population: Population
    grid: Grid | None = None

    @staticmethod
    def of(
        data: "_Data", links: Links, model: JudgeModel, rounds: int = _ROUNDS
    ) -> "_Fit":
        """Fit links and judges to scores. links: where the search starts."""
        copies = {}
        for kind, link in links.items():
            copies[kind] = copy.deepcopy(link).double().requires_grad_(True)
        zeros = torch.zeros(data.judges, dtype=torch.float64)
        fit = _Fit(data, copies, model, zeros + 1, zeros, Population.prior())
        with one_thread():
            # discriminations are 1 here: slopes and discriminations have only a product
            first = _MOST_ITERATIONS if model == "none" else _SOME_ITERATIONS
            fit._climb(first, moves_leniency=fit.uses_leniency)
            if model != "none":
                fit._alternate(rounds)
        return fit

    def _alternate(self, rounds: int) -> None:
        """Learn the population and the links in turns; end with a finer grid."""
        low, high = _COARSE
        coarse = torch.linspace(low, high, _POINTS, dtype=torch.float64)
        for _ in range(rounds):
            self._learn_population(coarse.expand(self.data.judges, -1))
            self._climb(_FEW_ITERATIONS, moves_leniency=False)
        posterior = self._learn_population(coarse.expand(self.data.judges, -1))
        assert self.grid is not None
        if self.model != "full":
            return
        chances = posterior.sum(2)
        mean = (chances * self.grid.discrimination).sum(1)
        square = (chances * self.grid.discrimination**2).sum(1)
        sd = (square - mean**2).clamp(min=_SMALLEST_SD**2).sqrt()
        steps = torch.linspace(-_WIDTH, _WIDTH, _POINTS, dtype=torch.float64)
        self._learn_population(mean[:, None] + sd[:, None] * steps)

    @property
    def has_leniency(self) -> bool:
        """Whether a judgement is about one text: elsewhere leniency has no meaning."""
        return any(link.is_of_one_text for link in self.links.values())

    @property
    def uses_leniency(self) -> bool:
        """Whether judges differ in leniency under this model."""
        return self.has_leniency and self.model != "none"

    def log_likelihood(
        self, discrimination: Tensor, leniency: Tensor
    ) -> Tensor:
        """Return the summed log-likelihood of the judgements with these judges [J]."""
        effects = Effects.of(discrimination, leniency, self.data.comparing)
        parts = []
        for kind, evidence in self.data.evidence.items():
            if len(evidence):
                judged = self.data.judged[kind]
                rows = self._rows(kind, judged, evidence, effects)
                parts.append((evidence.weight * rows).sum())
        return torch.stack(parts).sum()

    def _rows(
        self,
        kind: type[Judgement],
        judged: Tensor,
        evidence: Evidence,
        effects: Effects,
    ) -> Tensor:
        """Return the log-likelihood of each judgement of a kind."""
        unit = next(iter(self.links.values())).slope
        return log_likelihood_by_judges(
            self.links[kind], judged, evidence, effects, unit
        )

    def _climb(self, iterations: int, *, moves_leniency: bool) -> None:
        """Move the links, and the leniencies if told so, towards the highest posterior."""
        learned: list[Tensor] = []
        for link in self.links.values():
            learned.extend(link.parameters())
        leniency = self.leniency.clone()
        if moves_leniency:
            learned.append(leniency.requires_grad_())

        def loss() -> Tensor:
            prior = 0.5 * ((leniency / _LARGEST_LENIENCY_SD) ** 2).sum()
            cost = prior - self.log_likelihood(self.discrimination, leniency)
            return cost / len(self.data.scores)

        minimise(loss, learned, iterations=iterations)
        for link in self.links.values():
            link.slope.data.clamp_(min=_SMALLEST_SLOPE)
        self.leniency = leniency.detach()

    def _learn_population(self, discrimination: Tensor) -> Tensor:
        """Learn the population of judges and each judge's posterior mean on a grid [J, D].

        Return the posterior [J, D, B].
        """
        self.grid = self._grid(discrimination)
        total = self.grid.log_likelihood.sum(0)
        self.population = learned_population(self.grid, total, self.population)
        posterior = posterior_on(self.grid, total, self.population)
        self.leniency = (posterior.sum(1) * self.grid.leniency).sum(1)
        if self.model == "full":
            mean = (posterior.sum(2) * self.grid.discrimination).sum(1)
            # the typical judge is 1: a common factor belongs to the slopes
            self.discrimination = mean / self.population.centre
        return posterior

    def _grid(self, discrimination: Tensor) -> Grid:
        """Return the log-likelihoods on a grid of discriminations [J, D], around each leniency."""
        if self.model != "full":
            discrimination = torch.ones_like(self.discrimination)[:, None]
        leniency = torch.zeros_like(self.leniency)[:, None]
        if self.has_leniency:
            steps = torch.linspace(
                -_WIDTH, _WIDTH, _LENIENCY_POINTS, dtype=torch.float64
            )
            deviations = self._leniency_deviations()
            leniency = self.leniency[:, None] + deviations[:, None] * steps
        parts = [
            self._on_grid(kind, discrimination, leniency)
            for kind, evidence in self.data.evidence.items()
            if len(evidence)
        ]
        return Grid(discrimination, leniency, torch.stack(parts).sum(0))

    def _on_grid(
        self, kind: type[Judgement], discrimination: Tensor, leniency: Tensor
    ) -> Tensor:
        """Return the log-likelihood of one kind's judgements on a grid [F, J, D, B]."""
        evidence, judges = self.data.evidence[kind], self.data.judges
        named = torch.nonzero(evidence.judge >= 0).squeeze(1)
        # judgements are dealt to the parts in turns
        part = (torch.arange(len(evidence)) % _FOLDS)[named]
        columns = (
            leniency.T if self.links[kind].is_of_one_text else leniency.T[:1]
        )
        count = len(columns)
        # each leniency of the grid gets judges of its own, so that one call gives all of them
        copies = evidence.repeated(named, count, judges)
        judged = self.data.judged[kind][named]
        judged = judged.repeat(count, *[1] * (judged.ndim - 1))
        cell = part.repeat(count) * (count * judges) + copies.judge
        comparing = self.data.comparing
        if comparing is not None:
            comparing = comparing.repeated(count)
        result = []
        with torch.no_grad():
            for d in discrimination.T:
                effects = Effects.of(
                    d.repeat(count), columns.flatten(), comparing
                )
                rows = self._rows(kind, judged, copies, effects)
                sums = torch.zeros(
                    _FOLDS * count * judges, dtype=torch.float64
                )
                sums.index_add_(0, cell, copies.weight * rows)
                result.append(sums.reshape(_FOLDS, count, judges))
        table = torch.stack(result, dim=-1)  # [F, B, J, D]
        table = table.permute(0, 2, 3, 1)
        return table.expand(-1, -1, -1, leniency.shape[1])

    def _leniency_deviations(self) -> Tensor:
        """Return the standard deviations of the leniencies near the peak [J]."""
        leniency = self.leniency.clone()

        def loss() -> Tensor:
            return -self.log_likelihood(self.discrimination, leniency)

        curvature = curvatures(loss, leniency, _STEP)
        precision = curvature.clamp(min=0) + _LARGEST_LENIENCY_SD**-2
        return precision.rsqrt()

    def estimates(
        self,
        names: tuple[str, ...],
        chosen: "_Fit",
        gains: Mapping[JudgeModel, tuple[float, float]],
    ) -> JudgeEstimates:
        """Return the reliabilities of this fit, beside the judges of the chosen one."""
        counts = torch.zeros(self.data.judges, dtype=torch.long)
        for evidence in self.data.evidence.values():
            numbers = evidence.judge[evidence.judge >= 0]
            counts += torch.bincount(numbers, minlength=self.data.judges)
        assert self.grid is not None  # that of the full model
        total = self.grid.log_likelihood.sum(0)
        posterior = posterior_on(self.grid, total, self.population)
        information = self._kept_information(self.grid)
        relative = self.grid.discrimination / self.population.centre
        reliability = relative[:, :, None] * information
        ends = weighted_quantiles(reliability, posterior, (0.5, 0.025, 0.975))
        return JudgeEstimates(
            names,
            chosen.model,
            chosen.discrimination.float(),
            chosen.leniency.float(),
            ends[0],
            ends[1],
            ends[2],
            counts,
            self._varies(),
            self.population.spread,
            chosen.population.leniency_sd if chosen.uses_leniency else 0.0,
            gains,
        )

    def _varies(self) -> Tensor:
        """Return whether a judge gave two different answers, or compared texts: bool [judges]."""
        varies = torch.zeros(self.data.judges, dtype=torch.bool)
        for kind, evidence in self.data.evidence.items():
            targets = evidence.targets
            for number in range(self.data.judges):
                answers = targets[evidence.judge == number]
                if not len(answers):
                    continue
                is_different = bool((answers != answers[0]).any())
                varies[number] |= (
                    is_different or not self.links[kind].is_of_one_text
                )
        return varies

    def _kept_information(self, grid: Grid) -> Tensor:
        """Return the root of the share of information that leniency leaves [J, D, B]."""
        shape = (
            self.data.judges,
            grid.discrimination.shape[1],
            grid.leniency.shape[1],
        )
        total = torch.zeros(shape, dtype=torch.float64)
        number = torch.zeros(self.data.judges, dtype=torch.float64)
        unit = next(iter(self.links.values())).slope.detach()
        quantiles = torch.linspace(0.01, 0.99, _SCORES, dtype=torch.float64)
        scores = torch.quantile(self.data.scores, quantiles)
        for kind, evidence in self.data.evidence.items():
            link = self.links[kind]
            judged = evidence.judge[evidence.judge >= 0]
            count = torch.bincount(judged, minlength=self.data.judges).double()
            neutral = link.neutral().detach()
            distance = scores - neutral
            discrimination = grid.discrimination[:, :, None, None]
            fair = neutral + discrimination * distance  # [J, D, 1, S]
            share = torch.ones(shape, dtype=torch.float64)
            if link.is_of_one_text:
                lenient = fair + grid.leniency[:, None, :, None] / unit
                with torch.no_grad():
                    lost = link.information(lenient).mean(-1)
                    full = link.information(fair).mean(-1)
                share = (lost / full.clamp(min=1e-12)).clamp(max=1.0)
            total += count[:, None, None] * share
            number += count
        return (total / number.clamp(min=1)[:, None, None]).clamp(min=0).sqrt()


def _gain(fit: _Fit, none: _Fit) -> tuple[float, float, Tensor]:
    """Return the gain of a held-out judgement's log-likelihood over no differences, its standard
    error, and the gains of all cells (a part of a judge's judgements).
    """
    cells = _predicted(fit) - _predicted(none)
    counts = torch.zeros(fit.data.judges, dtype=torch.long)
    for evidence in fit.data.evidence.values():
        numbers = evidence.judge[evidence.judge >= 0]
        counts += torch.bincount(numbers, minlength=fit.data.judges)
    # what a part of the judgements tells can only help where the judge has other parts
    cells = cells[:, counts >= _FOLDS]
    count = max(int(counts[counts >= _FOLDS].sum()), 1)
    error = (
        float(cells.std()) * math.sqrt(cells.numel())
        if cells.numel() > 1
        else 0.0
    )
    return float(cells.sum()) / count, error / count, cells


def _predicted(fit: _Fit) -> Tensor:
    """Return the log-likelihood of each part of each judge's judgements given the other parts [F,
    J].
    """
    if fit.grid is None or fit.model == "none":
        neutral = torch.ones(fit.data.judges, 1, dtype=torch.float64)
        parts = [
            fit._on_grid(kind, neutral, neutral * 0)
            for kind, evidence in fit.data.evidence.items()
            if len(evidence)
        ]
        return torch.stack(parts).sum(0)[:, :, 0, 0]
    total = fit.grid.log_likelihood.sum(0)
    cells = []
    for part in fit.grid.log_likelihood:
        posterior = posterior_on(fit.grid, total - part, fit.population)
        joint = posterior.clamp(min=1e-300).log() + part
        cells.append(joint.flatten(1).logsumexp(1))
    return torch.stack(cells)


def _choose(
    gains: Mapping[JudgeModel, tuple[float, float, Tensor]],
) -> JudgeModel:
    """Return the simplest model that none other beats by more than its standard error."""
    chosen: JudgeModel = "none"
    rivals: tuple[JudgeModel, ...] = ("leniency", "full")
    for rival in rivals:
        difference = gains[rival][2] - gains[chosen][2]
        if difference.numel() < 2:
            continue
        error = float(difference.std()) * math.sqrt(difference.numel())
        if float(difference.sum()) > _SLIM_GAIN * error:
            chosen = rival
    return chosen
