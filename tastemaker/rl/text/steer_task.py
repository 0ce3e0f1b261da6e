"""The task of `steer`: gather, credit, update; at the end of each window judge the policy."""

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from tastemaker import costs, processes
from tastemaker.adapters import clear_adapters, learned_state
from tastemaker.errors import RewardError
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.writing import NoNumberError
from tastemaker.maths.rl import explained_variance
from tastemaker.readable import notebook_html
from tastemaker.rl.algorithms.base import Algorithm, Stepper, ValuedExperience
from tastemaker.rl.text.judged import Teacher
from tastemaker.rl.text.rewards import Reward, shared_scores
from tastemaker.rl.text.settings import (
    ADVICE,
    Steering,
    Watch,
    distinct,
    distinct_pairs,
)
from tastemaker.rl.text.shaping import Controller, without_outliers
from tastemaker.rl.text.world import (
    Batch,
    TextActor,
    TextWorld,
    dropping_out,
)
from tastemaker.train.checkpoint import best_in, with_best
from tastemaker.train.gradients import (
    Metrics,
    divide,
    end_division,
    recomputing,
    share_like,
    whole,
    whole_tensor,
)
from tastemaker.train.loop import StopTraining, Task
from tastemaker.train.run import Run, Say
from tastemaker.train.step import NotFinite, adamw, on_host

_SAMPLES = 3
_NOTEBOOK_SAMPLES = 3
"""Completions that are kept of every window."""
_FORMS = {
    "score": "score {:.2f}",
    "held_out": "held_out {:.2f}",
    "gold": "gold {:.2f}",
    "preference_loss": "loss {:.3f}",
    "held_out_preference_loss": "held-out loss {:.3f}",
    "held_out_preference_accuracy": "{:.0%} of held-out pairs right",
    "kl": "KL {:.1f} nats",
    "distinct": "{:.0%} distinct",
    "length": "{:.0f} tokens",
}


def figures_line(figures: Mapping[str, float], *names: str) -> str:
    """Return the figures of these names as one line; without names, all that have a form."""
    chosen = [name for name in names or _FORMS if name in figures]
    return ", ".join(_FORMS[name].format(figures[name]) for name in chosen)


_CHANGES = {
    "score": "score {:.2f} → {:.2f}",
    "held_out": "held-out score {:.2f} → {:.2f}",
    "gold": "gold {:.2f} → {:.2f}",
    "held_out_preference_loss": "held-out loss {:.3f} → {:.3f}",
    "held_out_preference_accuracy": "held-out pairs right {:.0%} → {:.0%}",
}


@dataclass(frozen=True)
class Steered:
    """A steered policy, and what happened.

    policy: the best of the run. figures: the JSON of the verb, and more. samples: completions of a
    few prompts before and after, with scores where a reward measured them.
    """

    policy: Policy
    figures: dict[str, Any]
    samples: list[dict[str, Any]]

    @property
    def kl(self) -> float:
        """The KL of the policy from where it started, nats a text."""
        return float(self.figures["kl"])

    @property
    def stopped_because(self) -> str:
        """Why the run ended, with advice where it stopped by itself."""
        return str(self.figures["stopped_because"])

    def __str__(self) -> str:
        figures = self.figures
        parts = []
        for name, form in _CHANGES.items():
            before = figures.get(f"{name}_before")
            after = figures.get(f"{name}_after")
            if before is not None:
                parts.append(form.format(before, after))
        parts.append(
            f"KL {figures['kl']:.1f} nats a text, {figures['distinct']:.0%} of the texts distinct"
        )
        parts.append(f"stopped because {self.stopped_because}")
        return "; ".join(parts)

    def _repr_html_(self) -> str:
        """Return what happened and samples before and after, for a notebook."""
        heading = ["prompt", "before", "after"]
        rows = [heading]
        for sample in self.samples[:_NOTEBOOK_SAMPLES]:
            row = []
            for name in heading:
                text = sample.get(name, "")
                row.append(str(text))
            rows.append(row)
        sentences = str(self).split("; ")
        return notebook_html(sentences, rows)


class SteerTask(Task):
    """An algorithm trains a policy in a world of text.

    The last weights are in the policy, those of the best window in `best`. teacher: what the
    policy learns from, the world itself or judged texts. watch: judges each window and may stop the
    run. watched: rewards that only measure, by name. run: gets the samples.
    """

    checkpoint_seconds: ClassVar[float] = 30.0
    saves_after_evaluation: ClassVar[bool] = False
    saves_at_end: ClassVar[bool] = True

    def __init__(
        self,
        world: TextWorld,
        teacher: Teacher[Any],
        algorithm: Algorithm[Any],
        steering: Steering,
        *,
        watch: Watch,
        watched: Mapping[str, Reward],
        run: Run,
        say: Say,
    ) -> None:
        super().__init__()
        self.world = world
        self.teacher = teacher
        self.algorithm = algorithm
        self.steering = steering
        self.watch = watch
        self.watched = watched
        self.run = run
        self.say = say
        self.policy: Policy = world.policy
        self.name = f"steering by {algorithm.name}"
        self.total = steering.steps
        processes.check_enough(teacher.units, "prompts or judgements")
        self.device = self.policy.module.device
        self.is_sharded = steering.shard
        if steering.shard:
            divide(self.policy)
            divide(world.reference)
        self.actor = TextActor(
            self.policy, temperature=world.sampling.temperature
        )
        self.optimizer = self._optimizer()
        self.controller = Controller(world.kl, world.kl.coef)
        # measured since the last line of the log
        self.line: dict[str, list[float]] = {}
        # the lines since the last window
        self.window: dict[str, list[float]] = {}
        self.metrics: Metrics = {}  # of the last step
        # halved each time the KL was beyond the limit
        self.rate_share = 1.0
        # the completions that the last step measured, if there were any
        self.written: Batch | None = None
        # the weights that wrote the last rollout of the best window, and of the newest one
        self.best = self.newest = self._weights_copy()

    def step(self) -> Metrics:
        """Take one step. Where the policy wrote, return the means since the last log line."""
        scale_before = self.world.scale.state()
        try:
            self.metrics = self._update()
        except (NotFinite, NoNumberError) as error:
            raise StopTraining(
                ADVICE["not finite"].format(reason=error)
            ) from error
        except RewardError:  # no step was taken along the scores that failed
            vars(self.world.scale).update(scale_before)
            raise
        if self.is_too_far(self.metrics):
            return self._go_back(self.metrics)
        _append(self.line, self.metrics)
        if self.written is None:
            return {}
        line = _means(self.line)
        self.line = {}
        _append(self.window, line)
        return line

    def _update(self) -> Metrics:
        """Gather completions or judgements and learn from them; return the metrics."""
        step = self.progress.step
        began = time.monotonic()
        ends_window = self._ends_window(step + 1)
        metrics: Metrics = {"kl_coef": self.controller.coef}
        with costs.stage("writing and scoring"):
            batch = self.teacher.gather(step, self.controller.coef)
            self.written = self.teacher.to_measure(batch, is_last=ends_window)
            if self.written is not None:
                metrics |= self.measure(self.written)
        if self.is_too_far(metrics):
            return metrics
        if ends_window:
            self.newest = self._weights_copy()
        gathered_at = time.monotonic()
        if self._has_lesson(batch, metrics):
            metrics |= self._learn(batch)
        metrics["gathering_seconds"] = gathered_at - began
        metrics["learning_seconds"] = time.monotonic() - gathered_at
        self.progress.step += 1
        if self.written is not None:
            self.controller.observe(metrics["kl"])
        metrics["seconds"] = time.monotonic() - began
        return metrics

    def _has_lesson(self, batch: Any, metrics: Mapping[str, float]) -> bool:
        """Return whether something is learned from a step.

        Equal scores teach nothing. Only two terms would be left: the entropy bonus, which moves the
        policy away from its reference for no reward, and the KL cost, which is of use where the KL
        is above its target.
        """
        if not isinstance(batch, Batch) or not batch.scores:
            return True
        target = self.world.kl.target
        is_above = target is not None and metrics["kl"] > target
        return is_above or len(set(batch.scores)) > 1

    def _learn(self, batch: Any) -> Metrics:
        """Take the algorithm's update; return its metrics."""
        step = self.progress.step
        steering = self.steering
        seed = self.world.seed * 1_000_003 + step
        share = self.rate_share
        if steering.decay:
            share *= 1 - step / steering.steps
        stepper = Stepper(
            self.actor,
            self.optimizer,
            rate=self.algorithm.lr * share,
            clip=steering.clip,
            generator=torch.Generator().manual_seed(seed),
            at_once=steering.at_once,
            penalty=self.world.kl.penalty(self.controller.coef),
            whole=partial(whole, self.policy) if self.is_sharded else None,
        )
        experience = self.teacher.credit(self.algorithm, self.actor, batch)
        with (
            dropping_out(self.policy, processes.own_seed(seed))
            if steering.dropout
            else nullcontext(),
            recomputing(
                self.policy.module, wanted=steering.gradient_checkpointing
            ),
        ):
            metrics: Metrics = self.algorithm.update(
                self.actor, experience, stepper
            )
        if (
            isinstance(experience, ValuedExperience)
            and self.algorithm.needs_critic
        ):
            explained = explained_variance(
                experience.values, experience.returns, experience.is_action
            )
            metrics["explained_variance"] = float(explained)
        return metrics

    def is_too_far(self, metrics: Mapping[str, float]) -> bool:
        """Return whether the KL is beyond the limit; where it was not measured it is not."""
        return not metrics.get("kl", 0.0) <= self.watch.limits.kl

    def _go_back(self, metrics: Metrics) -> Metrics:
        """Put the best weights back, for the KL is beyond the limit; return the metrics to log.

        Nothing is learned from this step. The rate is halved and the KL coefficient doubled.
        Raises StopTraining where that did not help before.
        """
        kl = metrics["kl"]
        reason = self.watch.breach(kl)
        if reason is not None:
            raise StopTraining(reason)
        self.put(self.best)
        self.newest = self.best
        # moments of gradients at other weights
        self.optimizer.state.clear()
        self.rate_share /= 2
        self.controller.coef *= 2
        self.line = {}
        self.window = {}
        self.written = None
        self.progress.step += 1
        cost = " and twice the KL coefficient" if self.controller.coef else ""
        self.say(
            f"step {self.progress.step:4}: KL {kl:.1f} nats, more than "
            f"{self.watch.limits.kl:g}: back to the policy of step {self.progress.best_step}, "
            f"on with half the learning rate{cost}"
        )
        return metrics

    def measure(self, batch: Batch) -> Metrics:
        """Return the metrics of some completions, and those of held-out judgements."""
        count = len(batch.texts)
        lengths = [len(each.ids) for each in batch.completions]
        costs.count(texts_written=count, tokens_written=sum(lengths))
        metrics = {
            "kl": float(batch.kl.mean()),
            "length": sum(lengths) / count,
            "ended": sum(c.ended != "length" for c in batch.completions)
            / count,
            "distinct": distinct(batch.texts),
            "pairs": distinct_pairs(batch.texts),
        }
        if batch.scores:
            metrics["score"] = math.fsum(batch.scores) / count
            moderate = without_outliers(batch.scores)
            metrics["winsorised_score"] = math.fsum(moderate) / count
            metrics["reward"] = float(batch.rollout.scores.mean())
        if batch.mismatch is not None:
            metrics |= batch.mismatch.metrics
        metrics |= self.teacher.held_out(self.algorithm)
        for name, reward in self.watched.items():
            scores = shared_scores(reward, batch.completions)
            metrics[name] = math.fsum(scores) / count
        # decisions follow from them
        return processes.from_first(metrics)

    def evaluate(self) -> Metrics | None:
        """At the end of a window, keep the policy if it is the best, and apply the limits."""
        if self.written is None or not self._ends_window(self.progress.step):
            return None
        step = self.progress.step
        window = _means(self.window)
        self.window = {}
        window["kl"] = max(window["kl"], self._kl_of_candidate(window))
        reason = self.watch.judge(window | {"step": float(step)})
        self.progress.stopped_because = reason
        if self.watch.is_best:
            self.best = self.newest
            self.progress.best_step = step
        self.say(f"step {step:4}: {figures_line(window)}")
        texts = [each.text for each in self.written.completions[:_SAMPLES]]
        self.say(f"      {' '.join(texts[0].split())[:150]}")
        self.run.keep_samples(step, texts)
        return {}

    def _kl_of_candidate(self, window: dict[str, float]) -> float:
        """Return the KL of the weights that the window would leave as the best, 0 if it is small.

        Where the last rollout comes near the limit, it is measured as it is when the run ends.
        """
        limit = self.watch.limits.kl
        is_near = limit / 2 < self.metrics["kl"] <= limit < math.inf
        if not (is_near and self.watch.is_better(window)):
            return 0.0
        present = self._weights_copy()
        self.put(self.newest)
        kl = self.world.measured_kl(self.steering.measured)
        self.put(present)
        return kl

    def _ends_window(self, step: int) -> bool:
        """Return whether a window is full after step `step`."""
        windows = self.steering.windows
        steps = self.steering.steps
        return step * windows // steps > (step - 1) * windows // steps

    def text(self, metrics: Mapping[str, float]) -> str:
        """Return the score or the loss of the last step, and the KL."""
        return figures_line(self.metrics, "score", "preference_loss", "kl")

    def _optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW without weight decay; the value head has a higher learning rate."""
        steering = self.steering
        groups: Sequence[dict[str, Any]] = [
            {"params": self.actor.policy_parameters()},
            {
                "params": self.actor.critic_parameters(),
                "factor": steering.critic_factor,
            },
        ]
        return adamw(
            groups,
            self.algorithm.lr,
            self.device,
            eps=steering.adam_epsilon,
            weight_decay=0.0,
        )

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that learn, the network's and the value head's, by name."""
        policy = learned_state(self.policy.module)
        weights = {f"policy.{name}": tensor for name, tensor in policy.items()}
        if self.policy.value_head is not None:
            for name, tensor in self.policy.value_head.state_dict().items():
                weights[f"value.{name}"] = tensor
        return weights

    def _weights_copy(self) -> dict[str, Tensor]:
        """Return copies of the present weights: on the CPU, or of this process's shares."""
        weights = self.weights()
        if not self.policy.sharded:
            return on_host(weights)
        return {name: tensor.clone() for name, tensor in weights.items()}

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights into the policy, as `best` holds them."""
        for name, tensor in self.weights().items():
            tensor.copy_(share_like(weights[name], tensor))

    @torch.no_grad()
    def put_reference(self) -> None:
        """Put the reference's weights into the policy, and make them the best."""
        if self.policy.adapted is not None:
            clear_adapters(self.policy.module)
            self.best = on_host(self.weights())
            self.progress.best_step = 0
            return
        with whole(self.world.reference):
            reference = self.world.reference.module.state_dict()
            for name, tensor in self.policy.module.state_dict().items():
                tensor.copy_(reference[name])
        self.best = on_host(self.weights())
        self.progress.best_step = 0

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the KL coefficient, windows and reward scale; the present and best weights."""
        values = {
            "controller": self.controller.state(),
            "rate_share": self.rate_share,
            "line": self.line,
            "window": self.window,
            "watch": self.watch.state(),
            "scale": self.world.scale.state(),
        }
        return values, with_best(self.weights(), self.best)

    def load(
        self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Take over what `state` returned."""
        for name, value in values["controller"].items():
            setattr(self.controller, name, value)
        self.rate_share = values["rate_share"]
        self.line = values["line"]
        self.window = values["window"]
        for name, value in values["watch"].items():
            setattr(self.watch, name, value)
        for name, value in values["scale"].items():
            setattr(self.world.scale, name, value)
        self.put(tensors)
        self.best = best_in(tensors, self.weights())

    def finish(self) -> None:
        """Make the weights whole in each process, where they are divided."""
        self.best = {
            name: whole_tensor(tensor) for name, tensor in self.best.items()
        }
        self.newest = self.best
        end_division(self.policy)


def _append(
    lists: dict[str, list[float]], metrics: Mapping[str, float]
) -> None:
    """Add each metric to the list of its name."""
    for name, value in metrics.items():
        lists.setdefault(name, []).append(value)


def _means(lists: Mapping[str, Sequence[float]]) -> Metrics:
    return {name: sum(values) / len(values) for name, values in lists.items()}
