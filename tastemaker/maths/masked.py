"""Sums, means and spreads of padded tensors: every reduction says which places count.

Letters: B rows, T steps. A mask is named by what True means and is never inverted; what stands where it is False may be
any finite number and changes nothing.
"""

import torch
from torch import Tensor

_NOISE = 1e-6
"""A standard deviation that is rounding and no spread: values this alike are not blown up to 1, they become 0."""


def masked_sum(values: Tensor, is_counted: Tensor, dim: int | None = None) -> Tensor:
    """Return the sum of the values that count: a scalar, or one for each slice along `dim`."""
    kept = values.where(is_counted, torch.zeros_like(values))
    return kept.sum() if dim is None else kept.sum(dim)


def masked_mean(values: Tensor, is_counted: Tensor, dim: int | None = None) -> Tensor:
    """Return the mean of the values that count; 0 where none does."""
    count = is_counted.sum() if dim is None else is_counted.sum(dim)
    return masked_sum(values, is_counted, dim) / count.clamp(min=1)


def masked_deviation(values: Tensor, is_counted: Tensor) -> Tensor:
    """Return the standard deviation of the values that count, their number as divisor (population)."""
    return masked_mean((values - masked_mean(values, is_counted)) ** 2, is_counted).sqrt()


def standardise(values: Tensor, is_counted: Tensor) -> Tensor:
    """Return the values with mean 0 and standard deviation 1 among those that count; 0 elsewhere, and for no spread."""
    centred, deviation = values - masked_mean(values, is_counted), masked_deviation(values, is_counted)
    is_told = is_counted & (deviation > _NOISE)
    return (centred / deviation.clamp(min=_NOISE)).where(is_told, torch.zeros_like(values))


def rescale_keeping_mean(values: Tensor, is_counted: Tensor) -> Tensor:
    """Return the values around the same mean with standard deviation 1 among those that count; 0 elsewhere.

    So lm-human-preferences whitens rewards: what they sum to keeps its sign (Ziegler et al. 2019).
    """
    mean = masked_mean(values, is_counted)
    return (standardise(values, is_counted) + mean).where(is_counted, torch.zeros_like(values))
