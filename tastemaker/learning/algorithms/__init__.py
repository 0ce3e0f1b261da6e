"""The algorithms of the road reinforcement learning took, one file each, one contract."""

from typing import Any

from tastemaker.checks import check_settings
from tastemaker.errors import UsageError
from tastemaker.learning.algorithms.a2c import A2C
from tastemaker.learning.algorithms.contract import Algorithm
from tastemaker.learning.algorithms.dpo import DPO
from tastemaker.learning.algorithms.grpo import GRPO
from tastemaker.learning.algorithms.ppo import PPO
from tastemaker.learning.algorithms.reinforce import Reinforce
from tastemaker.learning.algorithms.rloo import RLOO
from tastemaker.learning.algorithms.trpo import TRPO
from tastemaker.learning.algorithms.winners import Winners

ALGORITHMS: dict[str, type[Any]] = {a.name: a for a in (Reinforce, A2C, TRPO, PPO, RLOO, GRPO, DPO, Winners)}
"""The algorithms by name."""


def algorithm_named(name: str, **settings: Any) -> Algorithm[Any]:
    """Return an algorithm with settings of its own. Raises UsageError for a name or setting that does not exist."""
    if name not in ALGORITHMS:
        raise UsageError(f"there is no algorithm {name!r}: choose among {', '.join(ALGORITHMS)}.")
    check_settings(name, ALGORITHMS[name], settings)
    found: Algorithm[Any] = ALGORITHMS[name](**settings)
    return found


__all__ = [
    "A2C",
    "ALGORITHMS",
    "DPO",
    "GRPO",
    "PPO",
    "RLOO",
    "TRPO",
    "Algorithm",
    "Reinforce",
    "Winners",
    "algorithm_named",
]
