"""What a policy learns from, as the task of steering sees it."""

from typing import Any, ClassVar, Protocol, TypeVar

from tastemaker.rl.algorithms.base import Actor, Algorithm, Experience, Metrics
from tastemaker.rl.text.settings import Aim
from tastemaker.rl.text.world import Batch

G = TypeVar("G")
"""What a step is learned from: completions, or judged texts."""


class Teacher(Protocol[G]):
    """What a policy learns from: its own scored completions (`TextWorld`), or judged texts."""

    aim: ClassVar[Aim]

    @property
    def units(self) -> int:
        """How many prompts or judgements a step has, which processes can share."""
        ...

    def gather(self, step: int, weight: float) -> G:
        """Return what a step is learned from. weight: the coefficient of the KL cost."""
        ...

    def credit(
        self, algorithm: Algorithm[Any], actor: Actor, batch: G
    ) -> Experience:
        """Return the rows with their advantages."""
        ...

    def to_measure(self, batch: G, *, is_last: bool) -> Batch | None:
        """Return the completions to measure, or None. is_last: the step ends a window."""
        ...

    def held_out(self, algorithm: Algorithm[Any]) -> Metrics:
        """Return measurements on held-out judgements, if there are any."""
        ...
