"""The log-likelihoods of judgements, given latent scores.

Pure functions of tensors: no model, device, configuration or randomness. Natural logarithms.

Judgements about one text come as n a call. Judgements about several texts come as m of up to K
texts. `tier` [m, K] numbers the tiers from 0, the best; −1 marks an empty place in a shorter
ranking. `stages` [m] is how many tiers were chosen one after the other; a text of tier `stages` is
only known to be worse than all of them.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid


def label_log_likelihood(
    logit: Float[Tensor, " n"], positive: Bool[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Return ln P(label) where P(positive) = σ(logit): logistic regression."""
    return logsigmoid(torch.where(positive, logit, -logit))


def grade_log_likelihood(
    logit: Float[Tensor, " n"], step: Int[Tensor, " n"], thresholds: Float[Tensor, " k"]
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
    return logsigmoid(above) + logsigmoid(-below) + torch.log(-torch.expm1(-gap))


def grade_probabilities(
    logit: Float[Tensor, " n"], thresholds: Float[Tensor, " k"]
) -> Float[Tensor, "n k_plus_1"]:
    """Return P(step = 0 … k) of the cumulative-logit model; rows sum to 1."""
    beyond = torch.sigmoid(logit[:, None] - thresholds[None, :])
    one, zero = torch.ones_like(beyond[:, :1]), torch.zeros_like(beyond[:, :1])
    return torch.cat([one, beyond], dim=1) - torch.cat([beyond, zero], dim=1)


def rating_log_likelihood(
    mean: Float[Tensor, " n"], rating: Float[Tensor, " n"], log_sd: Float[Tensor, ""]
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
    mean: Float[Tensor, " n"], rating: Float[Tensor, " n"], log_sd: Float[Tensor, ""]
) -> Float[Tensor, " n"]:
    """Return ln of Huber's density (Huber 1964): Normal near the mean, exponential tails."""
    distance = ((rating - mean) / log_sd.exp()).abs()
    cost = torch.where(
        distance < HUBER, 0.5 * distance**2, HUBER * (distance - 0.5 * HUBER)
    )
    return -cost - log_sd - math.log(_HUBER_MASS)


_NEVER = -1e30
"""ln 0, but finite: its gradient is 0 and not NaN."""


def comparison_log_likelihood(
    difference: Float[Tensor, " m"],
    is_tie: Bool[Tensor, " m"],
    log_ties: Float[Tensor, ""] | None = None,
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
    elementary symmetric polynomial, built up one text at a time from the worst: K steps, never 2^K.
    D must be at least the largest chosen tier. `log_ties` is one row for all rankings, or one for
    each; −inf stands for a size that is never chosen.
    """
    order = tier.masked_fill(tier < 0, -1).argsort(dim=1, descending=True, stable=True)
    tier = tier.gather(1, order)
    s = scores.gather(1, order).masked_fill(tier < 0, _NEVER)
    sizes = torch.arange(1, log_ties.shape[-1] + 1, device=s.device)
    log_ties = log_ties.expand(len(s), -1)
    total = s.new_zeros(len(s))
    table = s.new_full((len(s), len(sizes), len(sizes) + 1), _NEVER)
    table[:, :, 0] = 0.0
    for k in range(s.shape[1]):
        with_k = table[:, :, :-1] + (s[:, k, None] / sizes)[:, :, None]
        table = torch.cat(
            [table[:, :, :1], torch.logaddexp(table[:, :, 1:], with_k)], dim=2
        )
        if k + 1 < s.shape[1]:
            is_last = tier[:, k] != tier[:, k + 1]
        else:
            is_last = torch.ones_like(tier[:, k], dtype=torch.bool)
        is_choice = is_last & (tier[:, k] >= 0) & (tier[:, k] < stages)
        ways = (log_ties + table.diagonal(offset=1, dim1=1, dim2=2)).logsumexp(1)
        is_chosen = tier == tier[:, k, None]
        size = is_chosen.sum(1)
        mean = s.masked_fill(~is_chosen, 0.0).sum(1) / size
        # where nothing is chosen, a tier may be larger than any in `log_ties`
        column = (size - 1).clamp(max=len(sizes) - 1)[:, None]
        chosen = mean + log_ties.gather(1, column)[:, 0]
        total = total + torch.where(is_choice, chosen - ways, 0.0)
    return total


def pairs_log_likelihood(
    scores: Float[Tensor, "m K"],
    tier: Int[Tensor, "m K"],
    stages: Int[Tensor, " m"],
    log_ties: Float[Tensor, ""] | None = None,
) -> Float[Tensor, " m"]:
    """Return the mean log-likelihood of a ranking's pairs (as InstructGPT).

    A ranking then counts as much as one comparison.

    Pairs of one tier are ties and count only with `log_ties`; two texts of the rest are no pair.
    """
    first, second = torch.triu_indices(
        scores.shape[1], scores.shape[1], offset=1, device=scores.device
    )
    a, b = tier[:, first], tier[:, second]
    is_tie = a == b
    is_left_out = is_tie & ((a == stages[:, None]) | (log_ties is None))
    is_pair = (a >= 0) & (b >= 0) & ~is_left_out
    sign = torch.where(a < b, 1.0, -1.0).to(scores.dtype)  # the better text first
    difference = (scores[:, first] - scores[:, second]) * sign
    terms = comparison_log_likelihood(
        difference.flatten(), is_tie.flatten(), log_ties
    ).view_as(difference)
    total = torch.where(is_pair, terms, 0.0).sum(1)
    return total / is_pair.sum(1).clamp(min=1)
