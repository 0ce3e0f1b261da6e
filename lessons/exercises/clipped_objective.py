"""PPO's objective: gain from a better policy, but none from one that has moved far.

Paper: Schulman et al. 2017, equation 7.

With the ratio ρ = π(a|s)/π_old(a|s): min(ρ A, clip(ρ, 1 − ε, 1 + ε) A). It is to be made large.

Worked, with ε = 0.2:

- A good action (A = 1) that is already twice as likely (ρ = 2) has min(2, 1.2) = 1.2. That is a
  constant, so it has no gradient.
- A bad action (A = −1) that has become twice as likely has min(−2, −1.2) = −2. It is still
  pushed back.
"""

from torch import Tensor


def clipped_objective(
    log_pi: Tensor, log_pi_old: Tensor, A: Tensor, clip: float
) -> Tensor:
    """Return the objective of each action [n]; log_pi, log_pi_old and A are [n], clip is ε."""
    raise NotImplementedError
