"""The algorithms of the road reinforcement learning took, one file each, one contract."""

from dataclasses import fields
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
from tastemaker.settings import nearest, settings_from

ALGORITHMS: dict[str, type[Any]] = {
    a.name: a for a in (Reinforce, A2C, TRPO, PPO, RLOO, GRPO, DPO, Winners)
}
"""The algorithms by name."""


def algorithm_named(name: str, **settings: Any) -> Algorithm[Any]:
    """Return an algorithm with some settings. Raises UsageError for an unknown name or setting."""
    if name not in ALGORITHMS:
        raise UsageError(f"there is no algorithm {name!r}: {nearest(name, ALGORITHMS)}.")
    kind = ALGORITHMS[name]
    for setting in settings:
        owners = [other for other in ALGORITHMS if setting in _settings_of(other)]
        if owners and name not in owners:
            raise UsageError(
                f"{name} has no setting {setting!r}: it belongs to {', '.join(owners)}."
            )
    algorithm: Algorithm[Any] = settings_from(kind, settings, name)
    return algorithm


def _settings_of(name: str) -> list[str]:
    return [field.name for field in fields(ALGORITHMS[name])]


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
