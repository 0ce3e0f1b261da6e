"""What an update minimises, one number an action: never a mean, which is the caller's to weigh.

Letters: log π of the policy that learns and of the one that acted, A advantages, V values, R returns; all [B, T].
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from tastemaker.maths.masked import masked_mean


def policy_gradient(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return −log π(a)·A, whose gradient is minus the policy gradient's (Williams 1992)."""
    return -log_probs * advantages


def surrogate(log_probs: Tensor, before: Tensor, advantages: Tensor) -> Tensor:
    """Return −(π/π_before)·A: what TRPO minimises near the policy that acted (Schulman et al. 2015, equation 14)."""
    return -torch.exp(log_probs - before) * advantages


def clipped(log_probs: Tensor, before: Tensor, advantages: Tensor, *, clip: float) -> Tensor:
    """Return −min(ρA, clip(ρ, 1 − ε, 1 + ε)A) with ρ = π/π_before (Schulman et al. 2017, equation 7)."""
    ratio = torch.exp(log_probs - before)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def is_clipped(log_probs: Tensor, before: Tensor, clip: float) -> Tensor:
    """Return whether a ratio has left 1 ± clip, as 0 or 1."""
    return ((log_probs - before).exp() - 1).abs().gt(clip).to(log_probs.dtype)


def value_error(values: Tensor, returns: Tensor, before: Tensor, *, clip: float = math.inf) -> Tensor:
    """Return ½(V − R)²; with a clip the larger of that and the same with V kept within ±clip of what it was before."""
    plain = (values - returns) ** 2 / 2
    if clip == math.inf:
        return plain
    kept = before + (values - before).clamp(-clip, clip)
    return torch.maximum(plain, (kept - returns) ** 2 / 2)


def explained_variance(values: Tensor, returns: Tensor, is_counted: Tensor) -> Tensor:
    """Return 1 − Var(R − V)/Var(R): 1 foresees all, 0 no better than a constant; 0 where R is constant."""
    variance = _variance(returns, is_counted)
    share = 1 - _variance(returns - values, is_counted) / variance.clamp(min=1e-12)
    return torch.where(variance > 1e-12, share, torch.zeros_like(share))


def dpo(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, *, beta: float
) -> Tensor:
    """Return −log σ(β(log π/ref of the chosen − of the rejected)) of pairs [n] (Rafailov et al. 2023, equation 7).

    The arguments are log-probabilities of whole completions; at the reference itself the loss is ln 2.
    """
    return -functional.logsigmoid(beta * ((chosen - reference_chosen) - (rejected - reference_rejected)))


def _variance(values: Tensor, is_counted: Tensor) -> Tensor:
    return masked_mean((values - masked_mean(values, is_counted)) ** 2, is_counted)
