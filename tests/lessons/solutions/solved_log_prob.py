"""Solution of `log_prob`."""

from torch import Tensor


def log_prob(logits: Tensor, a: Tensor) -> Tensor:
    below = logits - logits.max(dim=-1, keepdim=True).values
    log_pi = below - below.exp().sum(dim=-1, keepdim=True).log()
    return log_pi.gather(-1, a.unsqueeze(-1)).squeeze(-1)
