"""What an algorithm is. It knows nothing of tokenizers, environments, devices, files or logs.

    credit(actor, rollout) -> experience             who deserves the return?
    update(actor, experience, stepper) -> metrics    make what deserved it likelier

Mathematics is shared, loops are composed, and no algorithm inherits another. To add one: copy the file of the nearest,
satisfy these members, and add it to the list in `tastemaker.learning.algorithms`.
"""

from typing import ClassVar, Protocol, TypeVar, runtime_checkable

from torch import Tensor

from tastemaker.learning.algorithms.experience import Actor, Compared, Experience, Rollout
from tastemaker.learning.algorithms.stepper import Stepper

Metrics = dict[str, float]
"""What happened in an update, by name; each is defined in docs/metrics.md."""

E = TypeVar("E", bound=Experience)


class Algorithm(Protocol[E]):
    """A frozen dataclass with its settings and two methods. `name` is what the shell calls it.

    needs_critic: whether the policy must have a value head. samples: how many completions of one prompt it compares; 1
    where it compares none.
    """

    name: ClassVar[str]

    @property
    def lr(self) -> float:
        """The learning rate."""
        ...

    @property
    def needs_critic(self) -> bool:
        """Whether it asks for values."""
        ...

    @property
    def samples(self) -> int:
        """How many completions of one prompt it compares."""
        ...

    def credit(self, actor: Actor, rollout: Rollout) -> E:
        """Return who deserves what."""
        ...

    def update(self, actor: Actor, experience: E, stepper: Stepper) -> Metrics:
        """Change the policy so that what deserved it becomes likelier; return what happened."""
        ...


@runtime_checkable
class LearnsFromJudgements(Protocol):
    """An algorithm that can also learn from texts that it did not write: people's order of them is all the credit.

    An algorithm is one by having this method, and its `update` takes `Compared`.
    """

    def agreement(self, compared: Compared, log_probs: Tensor) -> Metrics:
        """Return how far a policy with these log-probabilities [B, T] agrees with the order; nothing is learned."""
        ...
