"""Rewards to go: what each step of an episode still has before it.

R_t = r_t + γ r_{t+1} + γ² r_{t+2} + …, so R_t = r_t + γ R_{t+1}, and after the last step
nothing comes.

Worked: r = 1, 2, 4 and γ = 1/2. R₂ = 4; R₁ = 2 + 4/2 = 4; R₀ = 1 + 4/2 = 3.
"""

from torch import Tensor


def returns(r: Tensor, gamma: float) -> Tensor:
    """Return R [B, T] of rewards r [B, T]: one episode a row."""
    raise NotImplementedError
