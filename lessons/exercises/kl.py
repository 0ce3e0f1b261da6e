"""KL divergence from samples: how far a policy π is from its reference.

Paper: Schulman 2020, "Approximating KL".

The actions were drawn from π. With log r = log ref(a) − log π(a), three estimates from one action:

    k1 = −log r               right on average, sometimes negative
    k2 = (log r)² / 2         never negative, a little wrong on average
    k3 = (r − 1) − log r      right on average and never negative

Worked: π(a) = 1/2 and ref(a) = 1/4, so r = 1/2 and log r = −0.6931.
k1 = 0.6931, k2 = 0.2402, k3 = 1/2 − 1 + 0.6931 = 0.1931.
"""

from torch import Tensor


def k1(log_pi: Tensor, log_ref: Tensor) -> Tensor:
    """Return k1 of each action [n]."""
    raise NotImplementedError


def k2(log_pi: Tensor, log_ref: Tensor) -> Tensor:
    """Return k2 of each action [n]."""
    raise NotImplementedError


def k3(log_pi: Tensor, log_ref: Tensor) -> Tensor:
    """Return k3 of each action [n]."""
    raise NotImplementedError
