"""Several passes over one rollout, in minibatches, until the policy has moved far; the clip that keeps it near."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from tastemaker.learning.algorithms.experience import Evaluation, Experience
from tastemaker.learning.algorithms.stepper import Costs, Stepper
from tastemaker.maths.kl import k3
from tastemaker.maths.objectives import clipped, is_clipped

E = TypeVar("E", bound=Experience)


class Sweeping(Protocol):
    """How an algorithm sweeps: its settings of these names."""

    @property
    def passes(self) -> int:
        """The most sweeps over one rollout."""
        ...

    @property
    def minibatches(self) -> int:
        """Steps a pass."""
        ...

    @property
    def most_kl(self) -> float:
        """How far the policy may be from the one that acted when a pass begins, nats an action."""
        ...


def sweep(how: Sweeping, stepper: Stepper, experience: E, costs: Callable[[E, Evaluation], Costs]) -> dict[str, float]:
    """Take a step for each minibatch of each pass; return the metrics' means over the last pass, and `passes` done.

    The costs hold "moved": how far each action's policy is from the one that acted. A pass over which its mean is more
    than `most_kl` is the last.
    """
    done, sums = 0, {"moved": 0.0}
    while done < how.passes and sums["moved"] <= how.most_kl:
        done, sums = done + 1, {}
        for part, share in stepper.minibatches(experience, how.minibatches):
            for name, value in stepper.step(part, costs, share=share).items():
                sums[name] = sums.get(name, 0.0) + share * value
    return sums | {"passes": float(done)}


def clipped_costs(experience: Experience, now: Evaluation, *, clip: float, entropy: float) -> Costs:
    """Return the clipped cost of each action, less a bonus for staying undecided, and how far the policy has moved."""
    before = experience.log_probs
    policy_cost = clipped(now.log_probs, before, experience.advantages, clip=clip)
    found = {"policy_loss": policy_cost, "entropy": now.entropy, "moved": k3(before, now.log_probs)}
    found |= {"clip_fraction": is_clipped(now.log_probs, before, clip)}
    return found | {"cost": policy_cost - entropy * now.entropy}
