"""Solution of `gae`."""

import torch
from torch import Tensor


def gae(
    r: Tensor, V: Tensor, terminated: Tensor, ended: Tensor, *, gamma: float, lam: float
) -> Tensor:
    delta = r + gamma * V[:, 1:] * ~terminated - V[:, :-1]
    A, A_next = torch.zeros_like(r), torch.zeros(len(r))
    for t in reversed(range(r.shape[1])):
        A[:, t] = A_next = delta[:, t] + gamma * lam * A_next * ~ended[:, t]
    return A
