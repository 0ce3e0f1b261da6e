"""Advantages without a critic: K answers to one prompt are each other's baseline.

RLOO (Kool et al. 2019): each return minus the mean of the *other* answers' returns.
GRPO (Shao et al. 2024): each return minus the group's mean, over the group's standard deviation.
Take the standard deviation of the group itself, the root of the mean squared distance. Where all
returns are equal, the advantages are 0.

Worked: R = 1, 2, 6. RLOO: 1 − (2 + 6)/2 = −3; 2 − (1 + 6)/2 = −1.5; 6 − (1 + 2)/2 = 4.5.
R = 1, 7, 1, 7 has the mean 4 and the deviation 3. GRPO: −1, 1, −1, 1.
"""

from torch import Tensor


def leave_one_out(R: Tensor) -> Tensor:
    """Return RLOO's advantages [prompts, K] of returns R [prompts, K]."""
    raise NotImplementedError


def group_standardised(R: Tensor) -> Tensor:
    """Return GRPO's advantages [prompts, K] of returns R [prompts, K]."""
    raise NotImplementedError
