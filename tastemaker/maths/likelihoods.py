"""The log-likelihoods of judgements, given latent scores, and the population of judges.

Also the search for the likeliest values of a few parameters.

Pure functions of tensors: no model, device, configuration or randomness. Natural logarithms.

Judgements about one text come as n a call. Judgements about several texts come as m of up to K
texts. `tier` [m, K] numbers the tiers from 0, the best; −1 marks an empty place in a shorter
ranking. `stages` [m] is how many tiers were chosen one after the other; a text of tier `stages` is
only known to be worse than all of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import logsigmoid, pad


def label_log_likelihood(
    logit: Float[Tensor, " n"], positive: Bool[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return ln P(label) where P(positive) = σ(logit): logistic regression."""
    return logsigmoid(torch.where(positive, logit, -logit))


def grade_log_likelihood(
    logit: Float[Tensor, " n"],
    step: Int[Tensor, " n"],
    thresholds: Float[Tensor, " k"],
) -> Float[Tensor, " n"]:
    """Return ln P(step), P(step > j) = σ(logit − thresholds[j]): cumulative logit (McCullagh 1980).

    step: 0 … k for k ascending thresholds. P(step = j) = σ(logit − θ_{j−1}) − σ(logit − θ_j),
    computed without cancellation: ln[σ(a) − σ(b)] = ln σ(a) + ln σ(−b) + ln(1 − e^{b − a}) for a >
    b.
    """
    infinity = thresholds.new_full((1,), math.inf)
    bounds = torch.cat([-infinity, thresholds, infinity])
    above, below = logit - bounds[step], logit - bounds[step + 1]
    gap = (bounds[step + 1] - bounds[step]).clamp(min=1e-12)
    return (
        logsigmoid(above) + logsigmoid(-below) + torch.log(-torch.expm1(-gap))
    )


def grade_probabilities(
    logit: Float[Tensor, " n"], thresholds: Float[Tensor, " k"]
) -> Float[Tensor, "n k_plus_1"]:
    """Return P(step = 0 … k) of the cumulative-logit model; rows sum to 1."""
    beyond = torch.sigmoid(logit[:, None] - thresholds[None, :])
    one, zero = torch.ones_like(beyond[:, :1]), torch.zeros_like(beyond[:, :1])
    return torch.cat([one, beyond], dim=1) - torch.cat([beyond, zero], dim=1)


def grade_information(
    logit: Float[Tensor, " n"], thresholds: Float[Tensor, " k"]
) -> Float[Tensor, " n"]:
    """Return the Fisher information of a grade about its logit."""
    shares = grade_probabilities(logit, thresholds)
    beyond = torch.sigmoid(logit[:, None] - thresholds)
    slopes = beyond * (1 - beyond)  # of P(step > j)
    zero = torch.zeros_like(slopes[:, :1])
    changes = torch.cat([zero, slopes], dim=1) - torch.cat(
        [slopes, zero], dim=1
    )
    return (changes**2 / shares.clamp(min=1e-12)).sum(1)


def rating_log_likelihood(
    mean: Float[Tensor, " n"],
    rating: Float[Tensor, " n"],
    log_sd: Float[Tensor, ""],
) -> Float[Tensor, " n"]:
    """Return ln N(rating; mean, sd²): squared error whose weight is learned."""
    return (
        -0.5 * ((rating - mean) / log_sd.exp()) ** 2
        - log_sd
        - 0.5 * math.log(2 * math.pi)
    )


HUBER = 1.345
"""Where Huber's density turns from square to straight, in standard deviations.

This value is 95 % as efficient as the mean for Normal data.
"""

_HUBER_MIDDLE = math.sqrt(2 * math.pi) * math.erf(HUBER / math.sqrt(2))
_HUBER_TAILS = 2 / HUBER * math.exp(-0.5 * HUBER**2)
_HUBER_MASS = _HUBER_MIDDLE + _HUBER_TAILS


def huber_log_likelihood(
    mean: Float[Tensor, " n"],
    rating: Float[Tensor, " n"],
    log_sd: Float[Tensor, ""],
) -> Float[Tensor, " n"]:
    """Return ln of Huber's density (Huber 1964): Normal near the mean, exponential tails."""
    distance = ((rating - mean) / log_sd.exp()).abs()
    cost = torch.where(
        distance < HUBER, 0.5 * distance**2, HUBER * (distance - 0.5 * HUBER)
    )
    return -cost - log_sd - math.log(_HUBER_MASS)


# A text that is further below the best one counts as this far below: e^s must not vanish.
_FURTHEST, _FURTHEST_FLOAT64 = 80.0, 600.0


def comparison_log_likelihood(
    difference: Float[Tensor, " m"],
    is_tie: Bool[Tensor, " m"],
    log_ties: Float[Tensor, ""] | Float[Tensor, " m"] | None = None,
) -> Float[Tensor, " m"]:
    """Return ln P(first better), or ln P(tie) where `is_tie` (Bradley–Terry, Davidson 1970).

    difference: s_first − s_second, less a margin if any. With ν = exp(log_ties) and π = e^s,
    P(first) = π₁/(π₁ + π₂ + ν√(π₁π₂)) and P(tie) = ν√(π₁π₂)/(the same). None: ν = 0, and P(first) =
    σ(difference).
    """
    if log_ties is None:
        return logsigmoid(difference)
    half = 0.5 * difference
    all_three = torch.stack([half, -half, log_ties.expand_as(half)])
    return torch.where(is_tie, log_ties, half) - all_three.logsumexp(0)


def plackett_luce_log_likelihood(
    scores: Float[Tensor, "m K"],
    tier: Int[Tensor, "m K"],
    stages: Int[Tensor, " m"],
    log_ties: Float[Tensor, " D"] | Float[Tensor, "m D"],
) -> Float[Tensor, " m"]:
    """Return ln P(ranking) of Plackett–Luce with ties (Turner et al. 2020, eq. 2).

    For K = 2 the ties are Davidson's.

    A ranking is a row of choices, the best tier first. Of the texts that remain, the set C is
    chosen with a probability proportional to δ_|C| (∏_C π)^(1/|C|), π = e^s, where log_ties[d − 1]
    = ln δ_d and δ_1 = 1. The sum over all sets of up to D texts is Σ_d δ_d e_d(π^(1/d)), e_d an
    elementary symmetric polynomial, built up from cumulative sums over the texts from the worst:
    D steps, never 2^K. D must be at least the largest chosen tier. `log_ties` is one row for all
    rankings, or one for each; −inf stands for a size that is never chosen.
    """
    order = tier.masked_fill(tier < 0, -1).argsort(
        dim=1, descending=True, stable=True
    )
    tier, s = tier.gather(1, order), scores.gather(1, order)
    is_text = tier >= 0
    log_ties = log_ties.expand(len(s), -1)  # [m, D]
    sizes = torch.arange(1, log_ties.shape[1] + 1, device=s.device)
    # only differences count; relative to the best text, no power can overflow
    best = s.masked_fill(~is_text, -math.inf).amax(1, keepdim=True).detach()
    reach = _FURTHEST_FLOAT64 if s.dtype == torch.float64 else _FURTHEST
    s = (s - best).masked_fill(~is_text, 0.0).clamp(min=-reach)
    # π^(1/d) [m, K, D]
    powers = torch.exp(s[:, :, None] / sizes) * is_text[:, :, None]
    e = _symmetric_polynomials(powers)  # [m, K, D]
    log_ways = torch.log((log_ties.exp()[:, None] * e).sum(2))  # [m, K]
    is_same = tier[:, :, None] == tier[:, None, :]
    size = is_same.sum(2)
    mean = (is_same.to(s.dtype) @ s[:, :, None])[:, :, 0] / size
    # where nothing is chosen, a tier may be larger than any in `log_ties`
    column = (size - 1).clamp(max=len(sizes) - 1)
    log_chosen = mean + log_ties.gather(1, column)
    is_last = torch.ones_like(is_text)  # of its tier
    is_last[:, :-1] = tier[:, :-1] != tier[:, 1:]
    is_choice = is_last & is_text & (tier < stages[:, None])
    return torch.where(is_choice, log_chosen - log_ways, 0.0).sum(1)


def _symmetric_polynomials(
    powers: Float[Tensor, "m K D"],
) -> Float[Tensor, "m K D"]:
    """Return e_d of the d-th powers of the first k texts, for each k and d.

    e_j of the first k texts is Σ_{i ≤ k} x_i e_{j−1} of the first i − 1 texts, so each j is a
    cumulative sum, for all d ≥ j at once. All terms are positive, so nothing cancels.
    """
    before = torch.ones_like(powers)  # e_{j−1} of the texts before the k-th
    result = []
    for j in range(powers.shape[2]):
        sums = (powers[:, :, j:] * before).cumsum(1)  # [m, K, D − j]
        result.append(sums[:, :, 0])
        before = pad(sums[:, :-1, 1:], (0, 0, 1, 0))
    return torch.stack(result, dim=2)


def pairs_log_likelihood(
    scores: Float[Tensor, "m K"],
    tier: Int[Tensor, "m K"],
    stages: Int[Tensor, " m"],
    log_ties: Float[Tensor, ""] | Float[Tensor, "m 1"] | None = None,
) -> Float[Tensor, " m"]:
    """Return the mean log-likelihood of a ranking's pairs (as InstructGPT).

    A ranking then counts as much as one comparison. log_ties: for all rankings, or for each.

    Pairs of one tier are ties and count only with `log_ties`; two texts of the rest are no pair.
    """
    first, second = torch.triu_indices(
        scores.shape[1], scores.shape[1], offset=1, device=scores.device
    )
    a, b = tier[:, first], tier[:, second]
    is_tie = a == b
    is_left_out = is_tie & ((a == stages[:, None]) | (log_ties is None))
    is_pair = (a >= 0) & (b >= 0) & ~is_left_out
    # the better text first
    sign = torch.where(a < b, 1.0, -1.0).to(scores.dtype)
    difference = (scores[:, first] - scores[:, second]) * sign
    if log_ties is not None:
        log_ties = log_ties.expand_as(difference).flatten()
    terms = comparison_log_likelihood(
        difference.flatten(), is_tie.flatten(), log_ties
    ).view_as(difference)
    total = torch.where(is_pair, terms, 0.0).sum(1)
    return total / is_pair.sum(1).clamp(min=1)


# --- the population of judges ---

_CARELESS_SD = 0.15  # of the discriminations of careless judges
# the prior of the shares, in judges: two in three are attentive until the data say otherwise
_SHARES = (2.0, 0.6, 0.4)
# the prior of the attentive judges' spread, worth four judges
_SPREAD, _SPREAD_JUDGES = 0.25, 4.0
_LENIENCY_SD, _LENIENCY_JUDGES = 0.5, 1.0
_SMALLEST_SPREAD = 0.1  # a grid would miss what is narrower
_SMALLEST_CENTRE, _CENTRE_JUDGES = 0.2, 0.5
_EM_STEPS = 50


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


def learned_population(
    grid: Grid, total: Tensor, start: Population
) -> Population:
    """Return the population that makes the judgements likeliest (EM), with a weak prior.

    total: the log-likelihood of all judgements [J, D, B].
    """
    population = start
    prior = torch.tensor(_SHARES, dtype=torch.float64)
    fixed = grid.discrimination.shape[1] == 1
    for _ in range(_EM_STEPS):
        posterior = posterior_on(grid, total, population)
        of_leniency = posterior.sum(1)  # [J, B]
        squares = (of_leniency * grid.leniency**2).sum()
        squares = squares + _LENIENCY_JUDGES * _LENIENCY_SD**2
        leniency_sd = math.sqrt(
            float(squares) / (len(total) + _LENIENCY_JUDGES)
        )
        if fixed:
            population = replace(population, leniency_sd=leniency_sd)
            continue
        of_discrimination = posterior.sum(2)  # [J, D]
        # [J, D, 3]
        groups = population.log_groups(grid.discrimination).softmax(-1)
        members = of_discrimination[:, :, None] * groups
        shares = (members.sum((0, 1)) + prior) / (len(total) + prior.sum())
        follow, turned = members[..., 0], members[..., 2]
        d = grid.discrimination
        weight = float(follow.sum() + turned.sum())
        centre = float(
            (follow * d).sum() - (turned * d).sum() + _CENTRE_JUDGES
        )
        centre = max(centre / (weight + _CENTRE_JUDGES), _SMALLEST_CENTRE)
        distances = follow * (d - centre) ** 2 + turned * (d + centre) ** 2
        spread = float(distances.sum()) + _SPREAD_JUDGES * _SPREAD**2
        spread = math.sqrt(spread / (weight + _SPREAD_JUDGES))
        spread = max(spread, _SMALLEST_SPREAD)
        population = Population(shares, centre, spread, leniency_sd)
    return population


def posterior_on(
    grid: Grid, log_likelihood: Tensor, population: Population
) -> Tensor:
    """Return each judge's posterior on the grid [J, D, B]; sums to 1."""
    if grid.discrimination.shape[1] == 1:
        prior = _log_normal(grid.leniency, 0.0, population.leniency_sd)[
            :, None, :
        ]
    else:
        prior = population.log_density(grid.discrimination, grid.leniency)
    flat = (log_likelihood + prior).flatten(1)
    return flat.softmax(1).reshape(log_likelihood.shape)


def weighted_quantiles(
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


def _log_normal(values: Tensor, mean: float, sd: float) -> Tensor:
    return -0.5 * ((values - mean) / sd) ** 2 - math.log(sd)


# --- the search for the likeliest parameters ---
#
# SciPy's L-BFGS, not PyTorch's: constructing a PyTorch optimiser imports its compiler, which takes
# longer than a whole linear fit.

_TOLERANCE = 1e-12  # of the value, relative
SMALLEST_GRADIENT = 1e-7  # the search ends where no derivative is larger


def minimise(
    loss: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    *,
    iterations: int,
    steepest: float = SMALLEST_GRADIENT,
) -> None:
    """Move float64 parameters to where a loss is lowest, in at most `iterations` steps of L-BFGS.

    loss: returns a scalar of the parameters as they are. steepest: the search ends where no
    derivative is larger. A search that leaves the finite numbers leaves the parameters at the best
    finite point.
    """
    moved = [parameter for parameter in parameters if parameter.numel()]
    if not moved:
        return
    start = np.concatenate([p.detach().numpy().ravel() for p in moved])

    def put(point: NDArray[np.float64]) -> None:
        at = 0
        for parameter in moved:
            part = torch.from_numpy(point[at : at + parameter.numel()])
            parameter.data.copy_(part.reshape(parameter.shape))
            at += parameter.numel()

    def value_and_gradient(
        point: NDArray[np.float64],
    ) -> tuple[float, NDArray[np.float64]]:
        put(point)
        with torch.enable_grad():  # a caller may have turned gradients off
            value = loss()
            gradients = torch.autograd.grad(value, moved, allow_unused=True)
        parts = [
            np.zeros(p.numel()) if g is None else g.numpy().ravel()
            for p, g in zip(moved, gradients, strict=True)
        ]
        return float(value.detach()), np.concatenate(parts)

    result = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "ftol": _TOLERANCE, "gtol": steepest},
    )
    put(result.x if np.isfinite(result.x).all() else start)


def curvatures(
    loss: Callable[[], Tensor], values: Tensor, step: float
) -> Tensor:
    """Return the second derivative of a loss by each value, all others given.

    The values must not meet in the loss (each judge's touch that judge's judgements alone), so one
    difference of gradients gives all of them. The values are as before afterwards.
    """
    before = values.detach().clone()
    gradients = []
    for sign in (1, -1):
        values.data.copy_(before + sign * step)
        values.requires_grad_(True)
        with torch.enable_grad():
            gradients.append(torch.autograd.grad(loss(), values)[0])
        values.requires_grad_(False)
    values.data.copy_(before)
    return (gradients[0] - gradients[1]) / (2 * step)
