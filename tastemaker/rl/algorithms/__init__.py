"""The reinforcement learning algorithms: one file each, one contract (`base.py`), one registry."""

from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from tastemaker.errors import UsageError
from tastemaker.settings import nearest, settings_from

# the names alone must not load torch: the command line lists them
if TYPE_CHECKING:
    from tastemaker.rl.algorithms.base import Algorithm

ALGORITHMS: dict[str, str] = {
    "reinforce": "tastemaker.rl.algorithms.reinforce:Reinforce",
    "a2c": "tastemaker.rl.algorithms.a2c:A2C",
    "trpo": "tastemaker.rl.algorithms.trpo:TRPO",
    "ppo": "tastemaker.rl.algorithms.ppo:PPO",
    "rloo": "tastemaker.rl.algorithms.rloo:RLOO",
    "grpo": "tastemaker.rl.algorithms.grpo:GRPO",
    "dpo": "tastemaker.rl.algorithms.dpo:DPO",
    "winners": "tastemaker.rl.algorithms.winners:Winners",
}
"""The registry: where the class of each algorithm is, `module:Class`, by the algorithm's name."""


def algorithm_class(name: str) -> "type[Algorithm[Any]]":
    """Return the class of an algorithm.

    Raises UsageError for a name that is not in the registry.
    """
    if name not in ALGORITHMS:
        raise UsageError(
            f"there is no algorithm {name!r}: {nearest(name, ALGORITHMS)}."
        )
    module, _, class_name = ALGORITHMS[name].partition(":")
    algorithm: type[Algorithm[Any]] = getattr(
        import_module(module), class_name
    )
    return algorithm


def algorithm_named(name: str, **settings: Any) -> "Algorithm[Any]":
    """Return an algorithm with some settings. Raises UsageError for an unknown name or setting."""
    kind = algorithm_class(name)
    for setting in settings:
        owners = [
            other for other in ALGORITHMS if setting in setting_names(other)
        ]
        if owners and name not in owners:
            raise UsageError(
                f"{name} has no setting {setting!r}: it belongs to {', '.join(owners)}."
            )
    return settings_from(kind, settings, name)


def check_is_algorithm(algorithm: Any) -> None:
    """Raise UsageError for what is no algorithm, nor the name of one."""
    base = import_module("tastemaker.rl.algorithms.base")
    if not isinstance(algorithm, base.Algorithm):
        raise UsageError(
            f"algorithm {algorithm!r}: must be a name such as 'ppo', or an object such as PPO()."
        )


def setting_names(name: str) -> list[str]:
    """Return the names of an algorithm's settings."""
    kind: Any = algorithm_class(name)
    return [field.name for field in fields(kind)]
