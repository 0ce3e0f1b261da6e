"""The records that algorithms pass on, and the contract of an algorithm.

    Rollout  → credit →  Experience            rows with advantages
                         ValuedExperience      the same with a critic's values
                         Compared              rows with an order

B rows, T steps each. A row is one completion, or a stretch of an episode. Its actions stand at its
beginning, so `is_action` [B, T] is True up to the row's length. Index t is action t everywhere:
`log_probs[:, t]` is of action t, `values[:, t]` is the critic's value before it was chosen.

An algorithm knows nothing of tokenizers, environments, devices, files or logs.

    credit(actor, rollout) → experience             the advantage of each action
    update(actor, experience, stepper) → metrics    make actions with a high advantage likelier

To add an algorithm, copy the file of the nearest one and add a line to `ALGORITHMS` in
`tastemaker.rl.algorithms`; docs/examples/own_algorithm.py is a whole example. The `Stepper` takes
optimiser steps over rows of experience, computed in parts, by `tastemaker.train.TrainStep`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import (
    Any,
    ClassVar,
    Generic,
    NamedTuple,
    Protocol,
    Self,
    TypeVar,
    runtime_checkable,
)

import torch
from torch import Tensor, nn

from tastemaker import processes
from tastemaker.fast.processor import like_parts
from tastemaker.settings import check
from tastemaker.train.gradients import (
    GradientStrategy,
    Part,
    ShardedBackward,
    gradient_strategy,
    idle,
)
from tastemaker.train.gradients import Metrics as Metrics  # noqa: PLC0414
from tastemaker.train.step import TrainStep


class Trajectories(Protocol):
    """The observations and actions of rows, in the policy's own form."""

    def select(self, rows: Tensor) -> Self:
        """Return some rows, int64 [b]."""
        ...

    def sizes(self) -> Tensor:
        """Return the cost of each row in tokens or steps, int64 [B]."""
        ...

    def single_actions(self, is_action: Tensor) -> "Trajectories | None":
        """Return each action as a row of its own [n].

        None if an action depends on those before it.
        """
        ...


@dataclass(frozen=True)
class Rows:
    """Rows that are selected together: the first dimension of every field."""

    def select(self, rows: Tensor) -> Self:
        """Return some rows, int64 [b]."""
        selected = {}
        for field in fields(self):
            value = getattr(self, field.name)
            is_tensor = isinstance(value, Tensor)
            selected[field.name] = (
                value[rows] if is_tensor else value.select(rows)
            )
        return replace(self, **selected)


@dataclass(frozen=True)
class Rollout(Rows):
    """Completions or episodes that were gathered with one policy.

    is_action: bool [B, T]. log_probs: of the actions when they were chosen, float [B, T].
    reference: the same under the reference policy; equal to log_probs where there is none. rewards:
    float [B, T]. terminated: bool [B]; True where nothing follows the row's last action, False
    where the row was cut and the critic's value stands for the rest. groups: int64 [B], rows that
    answer one prompt. values: the critic's, before each action, float [B, T]. after: the critic's
    value after each row's last action, float [B]. Both are 0 where there is no critic.
    """

    trajectories: Trajectories
    is_action: Tensor
    log_probs: Tensor
    reference: Tensor
    rewards: Tensor
    terminated: Tensor
    groups: Tensor
    values: Tensor
    after: Tensor

    @property
    def scores(self) -> Tensor:
        """The sum of each row's rewards [B]."""
        return self.rewards.where(
            self.is_action, torch.zeros_like(self.rewards)
        ).sum(1)


@dataclass(frozen=True)
class Experience(Rows):
    """A rollout with advantages.

    advantages: float [B, T]. weights: of each action in the objective, float [B, T], 0 where there
    is none.
    """

    trajectories: Trajectories
    is_action: Tensor
    log_probs: Tensor
    reference: Tensor
    advantages: Tensor
    weights: Tensor

    @classmethod
    def of(
        cls,
        rollout: Rollout,
        advantages: Tensor,
        weights: Tensor,
        **more: Tensor,
    ) -> Self:
        """Return a rollout with advantages and weights. more: the other fields of a subclass."""
        return cls(
            trajectories=rollout.trajectories,
            is_action=rollout.is_action,
            log_probs=rollout.log_probs,
            reference=rollout.reference,
            advantages=advantages,
            weights=weights,
            **more,
        )


@dataclass(frozen=True)
class ValuedExperience(Experience):
    """Experience with the critic's values and the returns, float [B, T]."""

    values: Tensor
    returns: Tensor


@dataclass(frozen=True)
class Compared(Experience):
    """Rows with an order within groups: by a score, or by people's judgements.

    groups: int64 [B], rows that are compared with each other. tiers: int64 [B], the smaller the
    better; rows of one tier are not compared. weights: the same for all actions of a group.
    advantages: 0 here, because they depend on the policy's log-probabilities during the update.
    log_probs: the reference's for texts that the policy did not write, since it starts there.
    """

    groups: Tensor
    tiers: Tensor


class ActionEvaluation(NamedTuple):
    """A policy's current output for the actions of some rows, with gradients; float [b, T].

    log_probs: of the actions. entropy: of the distributions they were drawn from. values: the
    critic's expectation, 0 where there is no critic.
    """

    log_probs: Tensor
    entropy: Tensor
    values: Tensor


class Actor(Protocol):
    """A policy of text or of environments, as algorithms use it."""

    @property
    def has_critic(self) -> bool:
        """Whether `values` are a critic's."""
        ...

    @property
    def threads(self) -> int:
        """The number of passes that can be computed in parallel, one thread each."""
        ...

    def evaluate(
        self, trajectories: Any, is_action: Tensor
    ) -> ActionEvaluation:
        """Return the evaluation of actions, with gradients; 0 where `is_action` is False."""
        ...

    def policy_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the policy."""
        ...

    def critic_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that only the critic uses."""
        ...


E = TypeVar("E", bound=Experience)


def single_actions(experience: E) -> E:
    """Return each action as a row of its own if the policy needs only the current observation."""
    is_action = experience.is_action
    trajectories = experience.trajectories.single_actions(is_action)
    if trajectories is None:
        return experience
    columns = {}
    for field in fields(experience):
        if field.name != "trajectories":
            columns[field.name] = getattr(experience, field.name)[is_action][
                :, None
            ]
    return replace(experience, trajectories=trajectories, **columns)


def per_action(is_action: Tensor) -> Tensor:
    """Return weights for a mean over all actions, float [B, T]."""
    return is_action.float() / is_action.sum()


def per_row(is_action: Tensor) -> Tensor:
    """Return weights for a mean over rows of the sum over their actions, float [B, T]."""
    return is_action.float() / len(is_action)


def per_row_mean(is_action: Tensor) -> Tensor:
    """Return weights for a mean over rows of the mean over their actions, float [B, T]."""
    return (
        is_action.float()
        / is_action.sum(1, keepdim=True).clamp(min=1)
        / len(is_action)
    )


PlaySettings = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
"""By environment: settings of the algorithm, and settings of `Playing`."""

ANY = "any environment"
"""The key of `PlaySettings` for an environment that has no entry."""


class Algorithm(Generic[E]):
    """The contract of an algorithm: a subclass is a frozen dataclass whose fields are its settings.

    A subclass gives `name`, `credit` and `update`; the other members have defaults. The settings
    are checked when an object is made.
    """

    name: ClassVar[str]
    """The name in the registry, on the command line and in messages."""

    takes_kl_in_loss: ClassVar[bool] = True
    """Whether `update` minimises the stepper's penalty, so that KL can be paid in the loss."""

    takes_shares: ClassVar[bool] = False
    """Whether `update` works where the policy's weights are divided over processes: it computes the
    policy by `stepper.step` alone, or within `stepper.whole()`.
    """

    play_settings: ClassVar[PlaySettings] = {}
    """The settings that `play` uses where the user names the algorithm only."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def lr(self) -> float:
        """The learning rate."""
        return 1e-3

    @property
    def needs_critic(self) -> bool:
        """Whether the policy must have a value head."""
        return False

    @property
    def samples(self) -> int:
        """The number of completions of one prompt that are compared; 1: none are compared."""
        return 1

    @property
    def divides_by_group(self) -> bool:
        """Whether rewards are divided by the deviation of their prompt's group."""
        return False

    def credit(self, actor: Actor, rollout: Rollout) -> E:
        """Return the advantage of each action."""
        raise NotImplementedError

    def update(
        self, actor: Actor, experience: E, stepper: "Stepper"
    ) -> Metrics:
        """Change the policy so that actions with a high advantage become likelier."""
        raise NotImplementedError


@runtime_checkable
class LearnsFromJudgements(Protocol):
    """An algorithm that can also learn from judged texts that the policy did not write.

    An algorithm is one if it has this method; its `update` then takes `Compared`.
    """

    def agreement(self, compared: Compared, log_probs: Tensor) -> Metrics:
        """Return how well log-probabilities [B, T] agree with the order. Nothing is learned."""
        ...


Costs = dict[str, Tensor]
"""Numbers of each action [b, T], by name: "cost" is minimised, the others are only measured."""


def no_penalty(experience: Experience, now: ActionEvaluation) -> Tensor:
    """Return 0 for each action."""
    return torch.zeros_like(now.log_probs)


class Stepper:
    """Takes optimiser steps for an algorithm.

    rate: learning rate; a group's `factor` multiplies it. clip: largest gradient norm. at_once:
    tokens or environment steps that are computed at once. penalty: a cost of each action [b, T]
    beside the algorithm's own, such as a KL penalty. generator: draws the order of minibatches.
    whole: the context in which the policy can be read without gradients, where its weights are
    divided over processes; None: they are not.
    """

    def __init__(
        self,
        actor: Actor,
        optimizer: torch.optim.Optimizer,
        *,
        rate: float,
        clip: float,
        generator: torch.Generator,
        at_once: int = 8192,
        penalty: Callable[[Experience, ActionEvaluation], Tensor] = no_penalty,
        whole: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> None:
        self.is_sharded = whole is not None
        self.whole = whole or nullcontext
        self.actor = actor
        self.optimizer = optimizer
        self.rate = rate
        self.clip = clip
        self.generator = generator
        self.at_once = at_once
        self.penalty = penalty

    def _train_step(self) -> TrainStep:
        """Return what takes the step; made each time, because dropout allows one thread only."""
        parameters = [
            *self.actor.policy_parameters(),
            *self.actor.critic_parameters(),
        ]
        strategy: GradientStrategy = ShardedBackward()
        if not self.is_sharded:
            strategy = gradient_strategy(self.actor.threads)
        return TrainStep(
            self.optimizer, parameters, clip=self.clip, strategy=strategy
        )

    def step(
        self,
        experience: E,
        objective: Callable[[E, ActionEvaluation], Costs],
        *,
        share: float = 1.0,
        train: Sequence[nn.Parameter] | None = None,
    ) -> Metrics:
        """Step along the gradient of an objective's weighted cost; return its measurements.

        share: these rows' share of all rows, so that minibatches step as far as the whole. train:
        the parameters that change; None: all. Raises NotFinite, with nothing changed, where the
        cost or its gradient is not finite.
        """
        parts = self._computations(experience, objective, share)
        sums = self._train_step().take(parts, rate=self.rate, parameters=train)
        norm = sums.pop("gradient_norm")
        metrics = _means(sums, experience, share)
        metrics["gradient_norm"] = norm
        return metrics

    def gradients(
        self,
        experience: E,
        objective: Callable[[E, ActionEvaluation], Costs],
        *,
        share: float = 1.0,
    ) -> Metrics:
        """Add the gradient of an objective to `.grad`; return its cost and measurements."""
        parts = self._computations(experience, objective, share)
        return _means(
            self._train_step().add_gradients(parts), experience, share
        )

    def _computations(
        self,
        experience: E,
        objective: Callable[[E, ActionEvaluation], Costs],
        share: float,
    ) -> list[Part]:
        """Return what computes each part of the rows."""
        parts: list[Part] = [
            partial(self._compute, objective, share, part)
            for part in self.parts(experience)
        ]
        if self.is_sharded and not parts:
            first = experience.select(torch.tensor([0]))
            parts.append(idle(partial(self._compute, objective, share, first)))
        return parts

    def _compute(
        self,
        objective: Callable[[E, ActionEvaluation], Costs],
        share: float,
        part: E,
    ) -> tuple[Tensor, Metrics]:
        """Return the weighted cost of some rows, and the weighted sums of its measurements."""
        now = self.actor.evaluate(part.trajectories, part.is_action)
        costs = objective(part, now)
        costs["cost"] = costs["cost"] + self.penalty(part, now)
        weighted = {
            name: (part.weights * values).sum() / share
            for name, values in costs.items()
        }
        cost = weighted.pop("cost")
        numbers = {
            name: float(value.detach()) for name, value in weighted.items()
        }
        numbers["loss"] = float(cost.detach())
        return cost, numbers

    def parts(self, experience: E) -> Iterator[E]:
        """Yield this process's rows in parts of similar sizes that are computed at once."""
        rows = self.row_parts(experience)
        if len(rows) == 1 and len(rows[0]) == len(experience.is_action):
            yield experience
            return
        for part in rows:
            yield experience.select(part)

    def row_parts(self, experience: Experience) -> list[Tensor]:
        """Return the row numbers of each part, int64 [b]; rows of similar sizes are together.

        Of several processes each computes rows of its own.
        """
        sizes = experience.trajectories.sizes()
        if processes.count() == 1:
            return like_parts(sizes, self.at_once, self.actor.threads)
        rows = torch.tensor(processes.share(sizes.tolist()), dtype=torch.int64)
        if not len(rows):
            return []
        parts = like_parts(sizes[rows], self.at_once, self.actor.threads)
        return [rows[part] for part in parts]

    def computes_at_once(self, experience: Experience) -> bool:
        """Return whether one pass computes all rows, so that it can compare them."""
        return processes.count() == 1 and len(self.row_parts(experience)) == 1

    def minibatches(
        self, experience: E, parts: int
    ) -> Iterator[tuple[E, float]]:
        """Yield the rows in random minibatches, each with its share of all rows."""
        count = len(experience.is_action)
        if parts == 1:
            yield experience, 1.0
            return
        order = torch.randperm(count, generator=self.generator)
        for rows in order.tensor_split(min(parts, count)):
            yield experience.select(rows), len(rows) / count


def _means(
    sums: Mapping[str, float], experience: Experience, share: float
) -> Metrics:
    """Return the cost as it is, and of every measurement the mean over the rows' weights."""
    total = float(experience.weights.sum()) / share
    metrics = {
        name: value / total for name, value in sums.items() if name != "loss"
    }
    metrics["cost"] = sums["loss"]
    return metrics
