"""The log-likelihood of judgements about one text, given its latent score. Those about several: `comparisons.py`.

Pure functions of tensors: no model, device, configuration or randomness. Natural logarithms; n judgements a call.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid


def label_log_likelihood(logit: Float[Tensor, " n"], positive: Bool[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return ln P(label) where P(positive) = σ(logit): logistic regression."""
    return logsigmoid(torch.where(positive, logit, -logit))


def grade_log_likelihood(
    logit: Float[Tensor, " n"], step: Int[Tensor, " n"], thresholds: Float[Tensor, " k"]
) -> Float[Tensor, " n"]:
    """Return ln P(step) where P(step > j) = σ(logit − thresholds[j]): the cumulative-logit model (McCullagh 1980).

    step: 0 … k for k ascending thresholds. P(step = j) = σ(logit − θ_{j−1}) − σ(logit − θ_j), computed without
    cancellation: ln[σ(a) − σ(b)] = ln σ(a) + ln σ(−b) + ln(1 − e^{b − a}) for a > b.
    """
    infinity = thresholds.new_full((1,), math.inf)
    bounds = torch.cat([-infinity, thresholds, infinity])
    above, below = logit - bounds[step], logit - bounds[step + 1]
    gap = (bounds[step + 1] - bounds[step]).clamp(min=1e-12)
    return logsigmoid(above) + logsigmoid(-below) + torch.log(-torch.expm1(-gap))


def grade_probabilities(logit: Float[Tensor, " n"], thresholds: Float[Tensor, " k"]) -> Float[Tensor, "n k_plus_1"]:
    """Return P(step = 0 … k) of the cumulative-logit model; rows sum to 1."""
    beyond = torch.sigmoid(logit[:, None] - thresholds[None, :])
    one, zero = torch.ones_like(beyond[:, :1]), torch.zeros_like(beyond[:, :1])
    return torch.cat([one, beyond], dim=1) - torch.cat([beyond, zero], dim=1)


def rating_log_likelihood(
    mean: Float[Tensor, " n"], rating: Float[Tensor, " n"], log_sd: Float[Tensor, ""]
) -> Float[Tensor, " n"]:
    """Return ln N(rating; mean, sd²): squared error whose weight is learned."""
    return -0.5 * ((rating - mean) / log_sd.exp()) ** 2 - log_sd - 0.5 * math.log(2 * math.pi)


HUBER = 1.345
"""Where Huber's density turns from square to straight, in standard deviations: 95 % as efficient for Normal data."""

_HUBER_MASS = math.sqrt(2 * math.pi) * math.erf(HUBER / math.sqrt(2)) + 2 / HUBER * math.exp(-0.5 * HUBER**2)


def huber_log_likelihood(
    mean: Float[Tensor, " n"], rating: Float[Tensor, " n"], log_sd: Float[Tensor, ""]
) -> Float[Tensor, " n"]:
    """Return ln of Huber's density (Huber 1964): Normal near the mean, exponential tails: outliers pull less."""
    distance = ((rating - mean) / log_sd.exp()).abs()
    cost = torch.where(distance < HUBER, 0.5 * distance**2, HUBER * (distance - 0.5 * HUBER))
    return -cost - log_sd - math.log(_HUBER_MASS)
