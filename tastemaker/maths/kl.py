"""KL divergence from samples: estimators of one sampled action each (Schulman 2020, "Approximating KL divergence").

Drift is KL(π ‖ ref) with actions drawn from π. With log r = log ref(a) − log π(a):

    k1 = −log r             unbiased, may be negative; its sum over a text is the text's own log-ratio
    k2 = (log r)² / 2       biased, never negative
    k3 = (r − 1) − log r    unbiased, never negative, less spread where the two are near
"""

import torch
from torch import Tensor


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
