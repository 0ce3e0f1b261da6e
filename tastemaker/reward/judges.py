"""How judges differ: how closely each follows the score, and how lenient each one is.

The model is that of item response theory. The typical judge answers by the link of the kind. Judge
j answers as the typical judge would answer a text of score

    neutral + discrimination_j · (score − neutral) + leniency_j / slope

where `neutral` is the score at which the link leans neither way and `slope` is that of the first
link, so that a leniency is a log-odds. Leniency has no meaning where texts are compared.

Discriminations come from a population of three groups whose shares are learned: attentive judges,
Normal(1, spread²); careless ones near 0; reversed ones, Normal(−1, spread²). Leniencies are
Normal(0, leniency_sd²). Shares and spreads are learned from all judges (empirical Bayes), so a
judge of few judgements is pulled to what is common. The posterior of a judge is computed on a grid
of discrimination and leniency: it may have two peaks, where a Normal approximation would fail.

`reliability` is how much a judge's answers tell about the score, relative to the typical judge:
the discrimination, times the root of the share of Fisher information that leniency leaves.
Somebody who answers "yes" to every text tells nothing, whatever the discrimination may be.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tastemaker.data.judgements import Judgement
from tastemaker.fast.processor import one_thread
from tastemaker.kinds.base import Link
from tastemaker.reward.corpus import Evidence

JudgeModel = Literal["none", "leniency", "full"]
"""What differs between judges: nothing, the leniency, or leniency and discrimination."""

_REASONS: dict[JudgeModel, str] = {
    "none": "judges are believed alike: to tell them apart did not predict held-out judgements "
    "better",
    "leniency": "judges differ in leniency and are believed alike otherwise: this predicted "
    "held-out judgements best",
    "full": "judges differ in reliability, and in leniency where single texts are judged: this "
    "predicted held-out judgements best",
}

_POINTS = 25  # of the grid of discriminations
_LENIENCY_POINTS = 13
_COARSE = (-2.0, 3.0)  # the first grid of discriminations, the same for all judges
_SMALLEST_SD, _SMALLEST_SPREAD = 0.03, 0.1  # a grid would miss what is narrower
_WIDTH = 4.5  # half of the grid, in standard deviations
_LARGEST_LENIENCY_SD = 2.0
_CARELESS_SD = 0.15  # of the discriminations of careless judges
# the prior of the shares, in judges: two in three are attentive until the data say otherwise
_SHARES = (2.0, 0.6, 0.4)
_SPREAD, _SPREAD_JUDGES = (
    0.25,
    4.0,
)  # prior of the attentive judges' spread, worth four judges
_LENIENCY_SD, _LENIENCY_JUDGES = 0.5, 1.0
_EM_STEPS = 50
_ROUNDS = 2  # links and judges are fitted in turns
_SCORES = 64  # quantiles of the scores, over which informations are averaged
_SLIM_GAIN = 1.0  # standard errors that a richer model must gain to be chosen
_FOLDS = 4
_MOST_ITERATIONS = 60  # of the first search
_SOME_ITERATIONS, _FEW_ITERATIONS = 20, 8  # of those that start where another one ended
_STEP = 1e-3  # of the difference that measures curvature
_SMALLEST_SLOPE = 1e-3
_PRIOR_TEXTS = (
    10.0  # that the spread of all texts is worth, beside the texts of a judge
)
_PULL = 4.0  # judgements that the mean of all judges is worth
_SMALLEST_CENTRE = 0.2
_CENTRE_JUDGES = 0.5


class JudgeEffects(nn.Module):
    """The discrimination and leniency of each judge, by number."""

    discrimination: Tensor
    unseen_leniency: Tensor

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names
        # estimated on unseen texts: a fit that learned them would trust all judges
        self.register_buffer("discrimination", torch.ones(len(names)))
        # one number a judge cannot explain texts, so the final fit may learn it
        self.leniency = nn.Parameter(torch.zeros(len(names)), requires_grad=False)
        self.register_buffer("unseen_leniency", torch.zeros(len(names)))
        self.leniency_sd = 0.0

    def applied(
        self, judged: Tensor, judge: Tensor, link: Link, unit: Tensor
    ) -> Tensor:
        """Return the scores [m] or [m, K] as each judge sees them (see `as_read_by_judges`)."""
        return as_read_by_judges(
            judged, judge, (self.discrimination, self.leniency), link, unit
        )

    def fair(self, leaning: Tensor, judge: Tensor) -> Tensor:
        """Return how much judgements favour their texts, as the typical judge would have answered.

        leaning: [m] or [m, K], 0 … 1. judge: [m]. A judge's mean is moved to everybody's mean where
        judges differ in leniency, and a careless judge's leaning is drawn towards ½.
        """
        is_named = judge >= 0
        number = judge.clamp(min=0)
        discrimination = torch.where(is_named, self.discrimination[number], 1.0)
        if leaning.ndim == 2:
            fair = 0.5 + discrimination[:, None].double() * (leaning - 0.5)
            return fair.clamp(0.0, 1.0)
        if self.leniency_sd > 0:
            everybody = leaning.mean()
            counts = torch.bincount(number[is_named], minlength=len(self.names))
            sums = torch.zeros(len(self.names), dtype=leaning.dtype)
            sums.index_add_(0, number[is_named], leaning[is_named] - everybody)
            excess = sums / (counts + _PULL)
            leaning = leaning - torch.where(is_named, excess[number], 0.0)
        fair = 0.5 + discrimination.double() * (leaning - 0.5)
        return fair.clamp(0.0, 1.0)

    def log_prior(self) -> Tensor:
        """Return the log-density of the leniencies, less its constant; 0 where they are fixed."""
        if not self.leniency.requires_grad or self.leniency_sd <= 0:
            return self.leniency.sum() * 0
        return -0.5 * ((self.leniency / self.leniency_sd) ** 2).sum()


def as_read_by_judges(
    judged: Tensor,
    judge: Tensor,
    effects: tuple[Tensor, Tensor],
    link: Link,
    unit: Tensor,
) -> Tensor:
    """Return the scores [m] or [m, K] as each judge sees them.

    judge: [m], −1 for nobody. effects: discrimination and leniency, [judges] each. unit: the slope
    of the first link.
    """
    is_named = judge >= 0
    number = judge.clamp(min=0)
    discrimination = torch.where(is_named, effects[0][number], 1.0)
    neutral = link.neutral()
    if judged.ndim == 2:
        return neutral + discrimination[:, None] * (judged - neutral)
    leniency = torch.where(is_named, effects[1][number], 0.0)
    return neutral + discrimination * (judged - neutral) + leniency / unit


@dataclass(frozen=True)
class JudgeEstimates:
    """What unseen texts say about the judges. All tensors are [judges].

    model: what was found to differ between judges. discrimination, leniency: posterior means.
    reliability, low, high: median and ends of the 95 % interval of the posterior.
    varies: whether a judge gave different answers. gains: by model, the mean gain of the
    log-likelihood of a held-out judgement over no differences, and its standard error.
    """

    names: tuple[str, ...]
    model: JudgeModel
    discrimination: Tensor
    leniency: Tensor
    reliability: Tensor
    low: Tensor
    high: Tensor
    judgements: Tensor
    varies: Tensor
    spread: float
    leniency_sd: float
    gains: Mapping[JudgeModel, tuple[float, float]]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return by name: reliability, its 95 % interval, leniency, and number of judgements."""
        rows = {}
        for number, name in enumerate(self.names):
            interval = [float(self.low[number]), float(self.high[number])]
            rows[name] = {
                "reliability": float(self.reliability[number]),
                "interval": interval,
                "leniency": float(self.leniency[number]),
                "judgements": int(self.judgements[number]),
            }
        return rows

    def summary(self) -> dict[str, Any]:
        """Return which model of judges the fit uses, why, and what could not be learned."""
        gains = {}
        for model, (gain, error) in self.gains.items():
            if model != "none":
                gains[model] = {"gain": gain, "standard_error": error}
        silent = []
        for name, varies in zip(self.names, self.varies.tolist(), strict=True):
            if not varies:
                silent.append(name)
        return {
            "model": self.model,
            "reason": _REASONS[self.model],
            "gain_per_judgement": gains,
            "spread": self.spread,
            "leniency_sd": self.leniency_sd,
            "always_the_same_answer": silent,
        }

    def put_into(self, effects: JudgeEffects) -> None:
        """Set the judges of an observation model."""
        effects.discrimination.copy_(self.discrimination)
        effects.unseen_leniency.copy_(self.leniency)
        effects.leniency.data.copy_(self.leniency)
        effects.leniency_sd = self.leniency_sd
        effects.leniency.requires_grad_(self.leniency_sd > 0)


@dataclass
class Population:
    """The distribution of judges: shares of the three groups, and the two spreads."""

    shares: Tensor
    centre: float = 1.0
    spread: float = _SPREAD
    leniency_sd: float = _LENIENCY_SD

    @staticmethod
    def prior() -> "Population":
        """Return the population before any judge is known."""
        shares = torch.tensor(_SHARES, dtype=torch.float64)
        return Population(shares / shares.sum())

    def log_groups(self, discrimination: Tensor) -> Tensor:
        """Return ln(share · density) of each group at discriminations: [..., 3]."""
        return torch.stack(
            [
                _log_normal(discrimination, self.centre, self.spread),
                _log_normal(discrimination, 0.0, _CARELESS_SD),
                _log_normal(discrimination, -self.centre, self.spread),
            ],
            dim=-1,
        ) + torch.log(self.shares)

    def log_density(self, discrimination: Tensor, leniency: Tensor) -> Tensor:
        """Return the log-density of judges [J, D, B] of grids [J, D] and [J, B]."""
        of_discrimination = self.log_groups(discrimination).logsumexp(-1)
        of_leniency = _log_normal(leniency, 0.0, self.leniency_sd)
        return of_discrimination[:, :, None] + of_leniency[:, None, :]


@dataclass(frozen=True)
class Grid:
    """The log-likelihood of each judge's judgements on a grid around its peak.

    discrimination: [J, D]. leniency: [J, B]. log_likelihood: [F, J, D, B], apart for F parts of the
    judgements.
    """

    discrimination: Tensor
    leniency: Tensor
    log_likelihood: Tensor


def _log_normal(values: Tensor, mean: float, sd: float) -> Tensor:
    return -0.5 * ((values - mean) / sd) ** 2 - math.log(sd)


Evidences = Mapping[type[Judgement], Evidence]
Links = Mapping[type[Judgement], Link]


def estimate_judges(
    links: Links,
    evidence: Evidences,
    scores: Tensor,
    pair: Tensor,
    names: tuple[str, ...],
    *,
    chooses: bool = True,
) -> JudgeEstimates:
    """Return what differs between judges, given scores of texts that no fit has seen.

    links: where the search starts. scores: float64 [texts]. pair: [2, texts], scores of two fits
    that share no judgement. chooses: whether a simpler model may be chosen; not before the last
    round, whose scores are better.
    """
    judges = len(names)
    judged = {}
    for kind, of_kind in evidence.items():
        if len(of_kind):
            judged[kind] = _expected_scores(of_kind, scores, pair, judges)
    data = _Data(evidence, judged, scores, judges)
    fits: dict[JudgeModel, _Fit] = {"none": _Fit.of(data, links, "none")}
    if chooses:
        fits["leniency"] = _Fit.of(data, fits["none"].links, "leniency")
    fits["full"] = _Fit.of(data, fits["none"].links, "full")
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
    def of(data: "_Data", links: Links, model: JudgeModel) -> "_Fit":
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
                fit._alternate()
        return fit

    def _alternate(self) -> None:
        """Learn the population and the links in turns; end with a finer grid."""
        low, high = _COARSE
        coarse = torch.linspace(low, high, _POINTS, dtype=torch.float64)
        for _ in range(_ROUNDS):
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

    def log_likelihood(self, discrimination: Tensor, leniency: Tensor) -> Tensor:
        """Return the summed log-likelihood of the judgements with these judges [J]."""
        parts = [
            (
                evidence.weight.double() * self._rows(kind, discrimination, leniency)
            ).sum()
            for kind, evidence in self.data.evidence.items()
            if len(evidence)
        ]
        return torch.stack(parts).sum()

    def _rows(
        self, kind: type[Judgement], discrimination: Tensor, leniency: Tensor
    ) -> Tensor:
        """Return the log-likelihood of each judgement of a kind, with judges [J]."""
        link, evidence = self.links[kind], self.data.evidence[kind]
        unit = next(iter(self.links.values())).slope
        effects = (discrimination, leniency)
        judged = as_read_by_judges(
            self.data.judged[kind], evidence.judge, effects, link, unit
        )
        targets = evidence.targets
        if targets.is_floating_point():
            targets = targets.double()
        return link.log_likelihood(judged, targets)

    def _climb(self, iterations: int, *, moves_leniency: bool) -> None:
        """Move the links, and the leniencies if told so, towards the highest posterior."""
        learned: list[Tensor] = []
        for link in self.links.values():
            learned.extend(link.parameters())
        leniency = self.leniency.clone()
        if moves_leniency:
            learned.append(leniency.requires_grad_())
        optimizer = torch.optim.LBFGS(
            learned, max_iter=iterations, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            prior = 0.5 * ((leniency / _LARGEST_LENIENCY_SD) ** 2).sum()
            loss = prior - self.log_likelihood(self.discrimination, leniency)
            loss = loss / len(self.data.scores)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss

        optimizer.step(closure)  # type: ignore[no-untyped-call]
        for link in self.links.values():
            link.slope.data.clamp_(min=_SMALLEST_SLOPE)
        self.leniency = leniency.detach()

    def _learn_population(self, discrimination: Tensor) -> Tensor:
        """Learn the population of judges and each judge's posterior mean on a grid [J, D].

        Return the posterior [J, D, B].
        """
        self.grid = self._grid(discrimination)
        total = self.grid.log_likelihood.sum(0)
        self.population = _population(self.grid, total, self.population)
        posterior = _posterior(self.grid, total, self.population)
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
        evidence = self.data.evidence[kind]
        named = torch.nonzero(evidence.judge >= 0).squeeze(1)
        # judgements are dealt to the parts in turns
        part = torch.arange(len(evidence)) % _FOLDS
        cell = (part * self.data.judges + evidence.judge)[named]
        weight = evidence.weight.double()[named]
        of_one_text = self.links[kind].is_of_one_text
        result = []
        with torch.no_grad():
            for d in discrimination.T:
                for b in leniency.T if of_one_text else leniency.T[:1]:
                    rows = self._rows(kind, d, b)[named]
                    sums = torch.zeros(_FOLDS * self.data.judges, dtype=torch.float64)
                    sums.index_add_(0, cell, weight * rows)
                    result.append(sums)
        table = torch.stack(result, dim=1)
        table = table.reshape(_FOLDS, self.data.judges, discrimination.shape[1], -1)
        return table.expand(-1, -1, -1, leniency.shape[1])

    def _leniency_deviations(self) -> Tensor:
        """Return the standard deviations of the leniencies near the peak [J]."""
        slopes = []
        for step in (_STEP, -_STEP):
            leniency = (self.leniency + step).requires_grad_()
            value = self.log_likelihood(self.discrimination, leniency)
            slopes.append(torch.autograd.grad(value, leniency)[0])
        curvature = (slopes[1] - slopes[0]) / (2 * _STEP)
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
        posterior = _posterior(self.grid, total, self.population)
        kept = self._kept_information(self.grid)
        relative = self.grid.discrimination / self.population.centre
        reliability = relative[:, :, None] * kept
        ends = _quantiles(reliability, posterior, (0.5, 0.025, 0.975))
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
            targets = evidence.targets.double()
            for number in range(self.data.judges):
                answers = targets[evidence.judge == number]
                if not len(answers):
                    continue
                is_different = bool((answers != answers[0]).any())
                varies[number] |= is_different or not self.links[kind].is_of_one_text
        return varies

    def _kept_information(self, grid: Grid) -> Tensor:
        """Return the root of the share of information that leniency leaves [J, D, B]."""
        shape = (self.data.judges, grid.discrimination.shape[1], grid.leniency.shape[1])
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


def _expected_scores(
    evidence: Evidence, scores: Tensor, pair: Tensor, judges: int
) -> Tensor:
    """Return the scores of judged texts, corrected for which texts each judge was given.

    A score is the true one with an error, so on average the truth lies nearer to the mean, by the
    share of the scores' variance that is not error. For a judge who was given only easy texts,
    whose scores vary more, that share is larger. Without this correction such a judge would seem
    more reliable than the others (regression dilution; Fuller 1987, section 1.1). Results are in
    the unit of the scores, [m] or [m, K].
    """
    judged = scores[evidence.index]
    several = judged.ndim == 2
    mean, first = _centres(judged, evidence), None
    if several:
        first, second = (
            (part - _centres(part, evidence)) * evidence.is_text
            for part in pair[:, evidence.index]
        )
        distance = (judged - mean) * evidence.is_text
        number = (evidence.size - 1).clamp(min=1)
        squares, numbers = (distance**2).sum(1), number.double()
    else:
        mean = judged.mean()
        first, second = (part - part.mean() for part in pair[:, evidence.index])
        squares, numbers = (judged - mean) ** 2, torch.ones_like(judged)
    lengths = ((first**2).sum() * (second**2).sum()).sqrt().clamp(min=1e-12)
    agreement = float(((first * second).sum() / lengths).clamp(0.01, 1.0))
    # two fits of a third of the judgements each; the scores are of two thirds (Spearman-Brown)
    share = 2 * agreement / (1 + agreement)
    variance = float(squares.sum() / numbers.sum())
    error = (1 - share) * variance
    is_named = evidence.judge >= 0
    judge = evidence.judge[is_named]

    def by_judge(values: Tensor) -> Tensor:
        sums = torch.zeros(judges, dtype=torch.float64)
        return sums.index_add_(0, judge, values[is_named])

    count = by_judge(numbers)
    centre = torch.zeros(judges, dtype=torch.float64)
    if not several:
        centre = by_judge(judged - mean) / (count + _PRIOR_TEXTS)
    spread = by_judge(squares) / count.clamp(min=1) - centre**2
    # a judge's spread is itself uncertain: its excess counts by how much of it is not chance
    unlikeness = (0.5 * share) ** 2
    trust = unlikeness / (unlikeness + 2 / count.clamp(min=1))
    true_spread = share * variance + trust * (spread - variance)
    true_spread = true_spread.clamp(min=0.1 * share * variance)
    shares = true_spread / (true_spread + error)
    number = evidence.judge.clamp(min=0)
    of_judge = torch.where(is_named, shares[number], share)
    of_centre = torch.where(is_named, centre[number], 0.0)
    if several:
        return mean + (of_judge / share)[:, None] * (judged - mean)
    expected = of_centre + of_judge * (judged - mean - of_centre)
    return mean + expected / share


def _centres(values: Tensor, evidence: Evidence) -> Tensor:
    """Return the mean score of each judgement's texts [m, 1]; 0 for judgements about one text."""
    if values.ndim == 1:
        return values.new_zeros(())
    means = (values * evidence.is_text).sum(1) / evidence.is_text.sum(1)
    return means[:, None]


def _population(grid: Grid, total: Tensor, start: Population) -> Population:
    """Return the population that makes the judgements likeliest (EM), with a weak prior.

    total: the log-likelihood of all judgements [J, D, B].
    """
    population = start
    prior = torch.tensor(_SHARES, dtype=torch.float64)
    fixed = grid.discrimination.shape[1] == 1
    for _ in range(_EM_STEPS):
        posterior = _posterior(grid, total, population)
        of_leniency = posterior.sum(1)  # [J, B]
        squares = (of_leniency * grid.leniency**2).sum()
        squares = squares + _LENIENCY_JUDGES * _LENIENCY_SD**2
        leniency_sd = math.sqrt(float(squares) / (len(total) + _LENIENCY_JUDGES))
        if fixed:
            population = replace(population, leniency_sd=leniency_sd)
            continue
        of_discrimination = posterior.sum(2)  # [J, D]
        groups = population.log_groups(grid.discrimination).softmax(-1)  # [J, D, 3]
        members = of_discrimination[:, :, None] * groups
        shares = (members.sum((0, 1)) + prior) / (len(total) + prior.sum())
        follow, turned = members[..., 0], members[..., 2]
        d = grid.discrimination
        weight = float(follow.sum() + turned.sum())
        centre = float((follow * d).sum() - (turned * d).sum() + _CENTRE_JUDGES)
        centre = max(centre / (weight + _CENTRE_JUDGES), _SMALLEST_CENTRE)
        distances = follow * (d - centre) ** 2 + turned * (d + centre) ** 2
        spread = float(distances.sum()) + _SPREAD_JUDGES * _SPREAD**2
        spread = math.sqrt(spread / (weight + _SPREAD_JUDGES))
        spread = max(spread, _SMALLEST_SPREAD)
        population = Population(shares, centre, spread, leniency_sd)
    return population


def _posterior(grid: Grid, log_likelihood: Tensor, population: Population) -> Tensor:
    """Return each judge's posterior on the grid [J, D, B]; sums to 1."""
    if grid.discrimination.shape[1] == 1:
        prior = _log_normal(grid.leniency, 0.0, population.leniency_sd)[:, None, :]
    else:
        prior = population.log_density(grid.discrimination, grid.leniency)
    flat = (log_likelihood + prior).flatten(1)
    return flat.softmax(1).reshape(log_likelihood.shape)


def _quantiles(
    values: Tensor, weights: Tensor, levels: tuple[float, ...]
) -> list[Tensor]:
    """Return quantiles of values [J, D, B] under weights of the same shape: [J] for each level."""
    flat, order = values.flatten(1).sort(1)
    cumulated = weights.flatten(1).gather(1, order).cumsum(1)
    # the middle of a cell of the grid stands for the cell
    cumulated = cumulated - 0.5 * weights.flatten(1).gather(1, order)
    last = flat.shape[1] - 1
    ends = []
    for level in levels:
        place = (cumulated < level).sum(1).clamp(max=last)
        ends.append(flat.gather(1, place[:, None]).squeeze(1).float())
    return ends


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
    error = float(cells.std()) * math.sqrt(cells.numel()) if cells.numel() > 1 else 0.0
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
        posterior = _posterior(fit.grid, total - part, fit.population)
        joint = posterior.clamp(min=1e-300).log() + part
        cells.append(joint.flatten(1).logsumexp(1))
    return torch.stack(cells)


def _choose(gains: Mapping[JudgeModel, tuple[float, float, Tensor]]) -> JudgeModel:
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
