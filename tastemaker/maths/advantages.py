"""Who deserves the return? From rewards to advantages.

Letters: B rows, T steps; r rewards, R returns (the rewards to come, discounted), V values, A advantages, γ gamma,
λ lambda. A row's actions stand at its beginning, so `is_action` [B, T] is True up to the row's length and False behind.
"""

import torch
from torch import Tensor


def returns_to_go(rewards: Tensor, is_action: Tensor, gamma: float, after: Tensor | None = None) -> Tensor:
    """Return R_t = r_t + γ R_{t+1} [B, T], 0 behind a row's end. after: what follows its last step [B]; None: nothing.

    The reward of a step counts for the steps up to it only (Sutton & Barto 2018, chapter 13).
    """
    values = torch.zeros_like(rewards)
    bootstrap = torch.zeros_like(rewards[:, 0]) if after is None else after
    return gae(rewards, values, bootstrap, is_action, gamma=gamma, lam=1.0)


def gae(rewards: Tensor, values: Tensor, after: Tensor, is_action: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Return generalised advantages [B, T], 0 behind a row's end (Schulman et al. 2016, equation 16).

    δ_t = r_t + γ V_{t+1} − V_t and A_t = δ_t + γλ A_{t+1}. values: V of each step [B, T]; after: V of what follows a
    row's last step [B], 0 where nothing does. λ = 1 gives returns minus values, λ = 0 the one-step error.
    """
    advantages = torch.zeros_like(rewards)
    advantage, following = torch.zeros_like(after), after
    for t in range(rewards.shape[1] - 1, -1, -1):
        here = is_action[:, t]
        error = rewards[:, t] + gamma * following - values[:, t]
        advantage = torch.where(here, error + gamma * lam * advantage, advantage)
        following = torch.where(here, values[:, t], following)
        advantages[:, t] = advantage.where(here, torch.zeros_like(advantage))
    return advantages


def leave_one_out(scores: Tensor, groups: Tensor) -> Tensor:
    """Return each score minus the mean of the others in its group [B]: k/(k − 1) · (R − mean) (Kool et al. 2019).

    groups: [B], which rows belong together; each has two or more.
    """
    mean, count = _group_means(scores, groups)
    return (scores - mean) * count / (count - 1)


def group_standardised(scores: Tensor, groups: Tensor) -> Tensor:
    """Return scores minus their group's mean over its standard deviation [B] (Shao et al. 2024, section 4.1.2).

    A group of equal scores has nothing to tell: 0.
    """
    centred = group_centred(scores, groups)
    deviation = _group_means(centred**2, groups)[0].sqrt()
    is_told = deviation > 1e-6 * (1 + scores.abs())
    return torch.where(is_told, centred / deviation.clamp(min=1e-12), torch.zeros_like(centred))


def group_centred(scores: Tensor, groups: Tensor) -> Tensor:
    """Return scores minus their group's mean [B] (Liu et al. 2025, "Dr. GRPO", divide by nothing)."""
    return scores - _group_means(scores, groups)[0]


def _group_means(scores: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each row its group's mean and size [B]."""
    _, places = torch.unique(groups, return_inverse=True)
    size = int(places.max()) + 1
    counts = torch.zeros(size, dtype=scores.dtype, device=scores.device).index_add_(0, places, torch.ones_like(scores))
    sums = torch.zeros_like(counts).index_add_(0, places, scores)
    return (sums / counts)[places], counts[places]
