"""Generalised advantages: how much better a step went than the critic expected.

Paper: Schulman et al. 2016, equation 16.

δ_t = r_t + γ V_{t+1} − V_t, and A_t = δ_t + γλ A_{t+1}. Two things may happen at a step:

- it *terminated*: the pole fell. Nothing follows, so V_{t+1} counts as 0 in δ_t.
- it *ended*: it terminated or was cut. The next step is another episode's, so A_{t+1} counts as
  0 in A_t.

A step that was cut has ended and not terminated: what would have followed is still worth V_{t+1}.

Worked: r = 1, 2, 3; V = 4, 2, 6 and 8 after the last step; γ = λ = 1/2; no end.
δ₀ = 1 + 2/2 − 4 = −2, δ₁ = 2 + 6/2 − 2 = 3, δ₂ = 3 + 8/2 − 6 = 1.
A₂ = 1, A₁ = 3 + 1/4 = 3.25, A₀ = −2 + 3.25/4 = −1.1875.
"""

from torch import Tensor


def gae(
    r: Tensor, V: Tensor, terminated: Tensor, ended: Tensor, *, gamma: float, lam: float
) -> Tensor:
    """Return A [B, T] of rewards r [B, T] and values V [B, T + 1]; the flags are [B, T] too."""
    raise NotImplementedError
