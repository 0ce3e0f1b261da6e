"""The algorithms of the road reinforcement learning took, one file each, one contract."""

from typing import Any

from tastemaker.errors import UsageError
from tastemaker.rl.algorithms.a2c import A2C
from tastemaker.rl.algorithms.base import Algorithm
from tastemaker.rl.algorithms.dpo import DPO
from tastemaker.rl.algorithms.grpo import GRPO
from tastemaker.rl.algorithms.ppo import PPO
from tastemaker.rl.algorithms.reinforce import Reinforce
from tastemaker.rl.algorithms.rloo import RLOO
from tastemaker.rl.algorithms.trpo import TRPO
from tastemaker.rl.algorithms.winners import Winners
from tastemaker.settings import check_settings

ALGORITHMS: dict[str, type[Any]] = {
    a.name: a for a in (Reinforce, A2C, TRPO, PPO, RLOO, GRPO, DPO, Winners)
}
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
