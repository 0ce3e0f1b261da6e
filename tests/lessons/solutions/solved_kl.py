"""Solution of `kl`."""

from torch import Tensor


def k1(log_pi: Tensor, log_ref: Tensor) -> Tensor:
    return log_pi - log_ref


def k2(log_pi: Tensor, log_ref: Tensor) -> Tensor:
    return (log_ref - log_pi) ** 2 / 2


def k3(log_pi: Tensor, log_ref: Tensor) -> Tensor:
    log_r = log_ref - log_pi
    return log_r.exp() - 1 - log_r
