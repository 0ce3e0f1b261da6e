"""The bonus for staying undecided, and where it ends."""

from typing import Protocol

from tastemaker.learning.algorithms.experience import Experience
from tastemaker.maths.masked import masked_mean


class Undecided(Protocol):
    """How an algorithm pays for entropy: its settings of these names."""

    @property
    def entropy(self) -> float:
        """What a nat of an action's entropy is worth."""
        ...

    @property
    def enough_entropy(self) -> float:
        """Where the bonus has faded to nothing, nats an action; infinite where it never fades."""
        ...


def bonus_weight(how: Undecided, experience: Experience) -> float:
    """Return what a nat of entropy is worth in this update: the less, the more of it the policy that acted had.

    w · max(0, 1 − H / enough), with H the mean of −log π over the actions taken, whose expectation is the entropy. So a
    policy may become sure quickly and is held where it is sure enough, as a target entropy holds it (Haarnoja et al.
    2018, section 5), but with no state that a run would have to keep.
    """
    acted = -float(masked_mean(experience.log_probs, experience.is_action))
    return how.entropy * max(0.0, 1 - acted / how.enough_entropy)
