"""Solution of `clipped_objective`."""

import torch
from torch import Tensor


def clipped_objective(
    log_pi: Tensor, log_pi_old: Tensor, A: Tensor, clip: float
) -> Tensor:
    ratio = (log_pi - log_pi_old).exp()
    return torch.minimum(ratio * A, ratio.clamp(1 - clip, 1 + clip) * A)
