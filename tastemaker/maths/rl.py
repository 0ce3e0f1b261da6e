"""The maths of reinforcement learning: masked sums, KL estimators, advantages, costs.

B rows, T steps. A mask is named by what True means; what stands where it is False may be any finite
number and changes nothing. A row's actions stand at its beginning, so `is_action` [B, T] is True up
to the row's length. r rewards, R returns (discounted sums of later rewards), V values, A
advantages, γ gamma, λ lam.

KL is KL(π ‖ ref), estimated from actions drawn from π (Schulman 2020, "Approximating KL
divergence"). With log r = log ref(a) − log π(a):

    k1 = −log r             unbiased, may be negative; summed over a text it is the log-ratio
    k2 = (log r)² / 2       biased, never negative
    k3 = (r − 1) − log r    unbiased, never negative, less spread where the two are near

Costs are of one action each and are minimised.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

_NOISE = 1e-6
"""A standard deviation below this is rounding error: such values become 0, not ±1."""


def masked_sum(
    values: Tensor, is_counted: Tensor, dim: int | None = None
) -> Tensor:
    """Return the sum of the values that count: a scalar, or one for each slice along `dim`."""
    counted = values.where(is_counted, torch.zeros_like(values))
    return counted.sum() if dim is None else counted.sum(dim)


def masked_mean(
    values: Tensor, is_counted: Tensor, dim: int | None = None
) -> Tensor:
    """Return the mean of the values that count; 0 where none does."""
    count = is_counted.sum() if dim is None else is_counted.sum(dim)
    return masked_sum(values, is_counted, dim) / count.clamp(min=1)


def masked_deviation(values: Tensor, is_counted: Tensor) -> Tensor:
    """Return the population standard deviation of the values where the mask is True."""
    return masked_mean(
        (values - masked_mean(values, is_counted)) ** 2, is_counted
    ).sqrt()


def standardise(values: Tensor, is_counted: Tensor) -> Tensor:
    """Return the values with mean 0 and standard deviation 1 where the mask is True, else 0.

    All are 0 where the values do not vary.
    """
    centred = values - masked_mean(values, is_counted)
    deviation = masked_deviation(values, is_counted)
    varies = is_counted & (deviation > _NOISE)
    scaled = centred / deviation.clamp(min=_NOISE)
    return scaled.where(varies, torch.zeros_like(values))


def rescale_keeping_mean(values: Tensor, is_counted: Tensor) -> Tensor:
    """Return the values with the same mean and standard deviation 1 where the mask is True, else 0.

    So lm-human-preferences whitens rewards: what they sum to keeps its sign (Ziegler et al. 2019).
    """
    mean = masked_mean(values, is_counted)
    return (standardise(values, is_counted) + mean).where(
        is_counted, torch.zeros_like(values)
    )


def k1(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Return log π − log ref of each action, in nats, in the shape of the arguments."""
    return log_probs - reference


def k2(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Return half the squared log-ratio of each action, in nats."""
    return (log_probs - reference) ** 2 / 2


def k3(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Return (r − 1) − log r of each action, in nats."""
    log_ratio = reference - log_probs
    return torch.expm1(log_ratio) - log_ratio


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}
"""The estimators by name."""


def returns_to_go(
    rewards: Tensor,
    is_action: Tensor,
    gamma: float,
    after: Tensor | None = None,
) -> Tensor:
    """Return R_t = r_t + γ R_{t+1} [B, T], 0 after a row's end.

    after: the return that follows a row's last step [B]; None: 0.

    The reward of a step counts for the steps up to it only (Sutton & Barto 2018, chapter 13).
    """
    values = torch.zeros_like(rewards)
    bootstrap = torch.zeros_like(rewards[:, 0]) if after is None else after
    return gae(rewards, values, bootstrap, is_action, gamma=gamma, lam=1.0)


def gae(
    rewards: Tensor,
    values: Tensor,
    after: Tensor,
    is_action: Tensor,
    *,
    gamma: float,
    lam: float,
) -> Tensor:
    """Return generalised advantages [B, T], 0 after a row's end (Schulman et al. 2016, eq. 16).

    δ_t = r_t + γ V_{t+1} − V_t and A_t = δ_t + γλ A_{t+1}. values: V of each step [B, T]; after: V
    of what follows a row's last step [B], 0 where nothing does. λ = 1 gives returns minus values, λ
    = 0 the one-step error.
    """
    advantages = torch.zeros_like(rewards)
    advantage, following = torch.zeros_like(after), after
    for t in range(rewards.shape[1] - 1, -1, -1):
        here = is_action[:, t]
        error = rewards[:, t] + gamma * following - values[:, t]
        advantage = torch.where(
            here, error + gamma * lam * advantage, advantage
        )
        following = torch.where(here, values[:, t], following)
        advantages[:, t] = advantage.where(here, torch.zeros_like(advantage))
    return advantages


def leave_one_out(scores: Tensor, groups: Tensor) -> Tensor:
    """Return each score minus the mean of the others in its group [B] (Kool et al. 2019).

    This equals k/(k − 1) · (R − mean).

    groups: [B], which rows belong together; each has two or more.
    """
    mean, count = _group_means(scores, groups)
    return (scores - mean) * count / (count - 1)


def group_standardised(scores: Tensor, groups: Tensor) -> Tensor:
    """Return the scores standardised within their group [B] (Shao et al. 2024, section 4.1.2).

    The deviation is that of the group as a population: divided by n, not by n − 1. All are 0 in a
    group of equal scores.
    """
    centred = group_centred(scores, groups)
    deviation = _group_means(centred**2, groups)[0].sqrt()
    varies = deviation > 1e-6 * (1 + scores.abs())
    scaled = centred / deviation.clamp(min=1e-12)
    return torch.where(varies, scaled, torch.zeros_like(centred))


def group_varies(scores: Tensor, groups: Tensor) -> Tensor:
    """Return whether the scores of each row's group differ by more than rounding, bool [B]."""
    squares = group_centred(scores, groups) ** 2
    deviation = _group_means(squares, groups)[0].sqrt()
    return deviation > _NOISE * (1 + scores.abs())


def group_centred(scores: Tensor, groups: Tensor) -> Tensor:
    """Return scores minus their group's mean [B], not divided (Liu et al. 2025, Dr. GRPO)."""
    return scores - _group_means(scores, groups)[0]


def _group_means(scores: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each row its group's mean and size [B]."""
    _, places = torch.unique(groups, return_inverse=True)
    size = int(places.max()) + 1
    counts = torch.zeros(
        size, dtype=scores.dtype, device=scores.device
    ).index_add_(0, places, torch.ones_like(scores))
    sums = torch.zeros_like(counts).index_add_(0, places, scores)
    return (sums / counts)[places], counts[places]


def policy_gradient(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return −log π(a)·A, whose gradient is minus the policy gradient's (Williams 1992)."""
    return -log_probs * advantages


def surrogate(log_probs: Tensor, before: Tensor, advantages: Tensor) -> Tensor:
    """Return −(π/π_before)·A, TRPO's surrogate cost (Schulman et al. 2015, equation 14)."""
    return -torch.exp(log_probs - before) * advantages


def clipped(
    log_probs: Tensor, before: Tensor, advantages: Tensor, *, clip: float
) -> Tensor:
    """Return −min(ρA, clip(ρ, 1 − ε, 1 + ε)A), ρ = π/π_before (Schulman et al. 2017, eq. 7)."""
    ratio = torch.exp(log_probs - before)
    near = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, near * advantages)


def is_clipped(log_probs: Tensor, before: Tensor, clip: float) -> Tensor:
    """Return whether a ratio has left 1 ± clip, as 0 or 1."""
    return ((log_probs - before).exp() - 1).abs().gt(clip).to(log_probs.dtype)


def value_error(
    values: Tensor, returns: Tensor, before: Tensor, *, clip: float = math.inf
) -> Tensor:
    """Return ½(V − R)²; with a clip, the larger of that and the same with V clipped.

    V is kept within ±clip of its value before the update.
    """
    plain = (values - returns) ** 2 / 2
    if clip == math.inf:
        return plain
    near = before + (values - before).clamp(-clip, clip)
    return torch.maximum(plain, (near - returns) ** 2 / 2)


def explained_variance(
    values: Tensor, returns: Tensor, is_counted: Tensor
) -> Tensor:
    """Return 1 − Var(R − V)/Var(R); 0 where R is constant.

    1: the critic predicts every return. 0: it is no better than a constant.
    """
    variance = _variance(returns, is_counted)
    share = 1 - _variance(returns - values, is_counted) / variance.clamp(
        min=1e-12
    )
    return torch.where(variance > 1e-12, share, torch.zeros_like(share))


def dpo(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float,
) -> Tensor:
    """Return DPO's loss −log σ(β·margin) of pairs [n] (Rafailov et al. 2023, equation 7).

    The margin is log π/ref of the chosen minus that of the rejected.

    The arguments are log-probabilities of whole completions; at the reference itself the loss is ln
    2.
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -functional.logsigmoid(beta * margin)


def _variance(values: Tensor, is_counted: Tensor) -> Tensor:
    return masked_mean(
        (values - masked_mean(values, is_counted)) ** 2, is_counted
    )
