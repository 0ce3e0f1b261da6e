"""The loop: gather, credit, update, watch, stop. A run that is killed goes on from its checkpoint, to the same bits."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tastemaker.errors import RewardError
from tastemaker.gpt.generate import NoNumberError
from tastemaker.gpt.policy import Policy
from tastemaker.maths.rl import explained_variance
from tastemaker.progress import progress
from tastemaker.rl.algorithms.base import Algorithm, ValuedExperience
from tastemaker.rl.algorithms.stepper import Stepper
from tastemaker.rl.text.actor import TextActor, dropping_out
from tastemaker.rl.text.rewards import Reward, checked
from tastemaker.rl.text.settings import Steering
from tastemaker.rl.text.stopping import ADVICE, DONE, Watch, distinct, distinct_pairs
from tastemaker.rl.text.world import Batch, Teacher, TextWorld
from tastemaker.train.optimizers import adamw, on_host, restore_state, state_tensors
from tastemaker.train.run import Checkpoint, Run
from tastemaker.train.step import NotFinite

_SHOWN = 3  # completions kept of every window
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


def said(figures: Mapping[str, float], *names: str) -> str:
    """Return figures in words, of these names; of all that a line has room for where there are none."""
    chosen = [name for name in names or _FORMS if name in figures]
    return ", ".join(_FORMS[name].format(figures[name]) for name in chosen)


@dataclass
class Standing:
    """Where a run stands: what a checkpoint keeps besides tensors.

    weight: of KL, which may adapt. line: what was measured since the last line of the log, by name. window: the
    lines since the last window. best_step: the step that the best policy so far wrote for. reason: why the run has
    ended, where it has.
    """

    weight: float
    step: int = 0
    best_step: int = 0
    reason: str | None = None
    line: dict[str, list[float]] = field(default_factory=dict)
    window: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a run ended: why, and how well the best window did."""

    steps: int
    best_step: int
    stopped_because: str
    kl_coef: float


class SteeringRun:
    """One run of an algorithm in a world of text. `run()` leaves the last weights in the policy, the best in `best`.

    teacher: what is learned from, the world itself or texts that people compared.
    """

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
        say: Callable[[str], None],
        checkpoint_seconds: float = 30.0,
    ) -> None:
        self.world, self.teacher, self.algorithm, self.steering, self.watch = (
            world,
            teacher,
            algorithm,
            steering,
            watch,
        )
        self.watched, self.run_folder, self.say, self.checkpoint_seconds = (
            watched,
            run,
            say,
            checkpoint_seconds,
        )
        self.policy: Policy = world.policy
        self.actor = TextActor(self.policy, temperature=world.sampling.temperature)
        self.optimizer = self._optimizer()
        self.standing = Standing(weight=world.kl.coef)
        self.best = self.wrote = on_host(
            self.weights()
        )  # what wrote the last window's last rollout

    def run(self) -> Ended:
        """Steer until the steps are done or a limit says stop."""
        self._resume()
        saved, standing = time.monotonic(), self.standing
        with progress(f"steering by {self.algorithm.name}", self.steering.steps) as advance:
            advance(standing.step, "")
            while standing.reason is None and standing.step < self.steering.steps:
                seen = self.world.scale.state()
                try:
                    shown, metrics = self._step()
                except (NotFinite, NoNumberError) as error:
                    standing.reason = ADVICE["not finite"].format(reason=error)
                    break
                except RewardError:  # nothing was learned from what it should have scored
                    vars(self.world.scale).update(seen)
                    self.run_folder.save(self._checkpoint())
                    raise
                advance(1, said(metrics, "score", "preference_loss", "kl"))
                standing.reason = self._note(shown, metrics)
                if time.monotonic() - saved > self.checkpoint_seconds:
                    self.run_folder.save(self._checkpoint())
                    saved = time.monotonic()
        self.run_folder.save(self._checkpoint())
        return Ended(standing.step, standing.best_step, standing.reason or DONE, standing.weight)

    def _step(self) -> tuple[Batch | None, dict[str, float]]:
        """Gather what there is to learn from and learn it; return what was written to be watched, and what measured."""
        standing, steering, began = self.standing, self.steering, time.monotonic()
        is_last = self._ends_window(standing.step + 1)
        gathered = self.teacher.gather(standing.step, standing.weight)
        shown = self.teacher.shown(gathered, is_last=is_last)
        found = {"kl_coef": standing.weight} | (self.measured(shown) if shown is not None else {})
        if is_last:
            self.wrote = on_host(self.weights())
        sampled = time.monotonic()
        seed = self.world.seed * 1_000_003 + standing.step
        share = 1 - standing.step / steering.steps if steering.decay else 1.0
        stepper = Stepper(
            self.actor,
            self.optimizer,
            rate=self.algorithm.lr * share,
            clip=steering.clip,
            generator=torch.Generator().manual_seed(seed),
            at_once=steering.at_once,
            penalty=self.world.kl.penalty(standing.weight),
        )
        experience = self.teacher.credit(self.algorithm, self.actor, gathered)
        with dropping_out(self.policy, seed) if steering.dropout else nullcontext():
            found |= self.algorithm.update(self.actor, experience, stepper)
        if isinstance(experience, ValuedExperience) and self.algorithm.needs_critic:
            explained = explained_variance(
                experience.values, experience.returns, experience.is_action
            )
            found["explained_variance"] = float(explained)
        learned = time.monotonic()
        standing.step += 1
        if shown is not None:
            standing.weight = self.world.kl.adapted(standing.weight, found["kl"], len(shown.texts))
        now = time.monotonic()
        found |= {"gathering_seconds": sampled - began, "learning_seconds": learned - sampled}
        return shown, found | {"seconds": now - began}

    def measured(self, gathered: Batch) -> dict[str, float]:
        """Return what is watched of some completions, and what is measured where nothing is learned."""
        count, lengths = len(gathered.texts), [len(c.ids) for c in gathered.completions]
        found = {
            "kl": float(gathered.kl.mean()),
            "length": sum(lengths) / count,
            "ended": sum(c.ended != "length" for c in gathered.completions) / count,
            "distinct": distinct(gathered.texts),
            "pairs": distinct_pairs(gathered.texts),
        }
        if gathered.scores:
            found["score"] = math.fsum(gathered.scores) / count
            found["reward"] = float(gathered.rollout.scores.mean())
        found |= self.teacher.held_out(self.algorithm)
        return found | {
            name: math.fsum(checked(reward, gathered.completions)) / count
            for name, reward in self.watched.items()
        }

    def _note(self, shown: Batch | None, metrics: Mapping[str, float]) -> str | None:
        """Log a line wherever text was written: means since the line before. Return why to stop, if so."""
        standing = self.standing
        _add(standing.line, metrics)
        if shown is None:
            return None
        line, standing.line = _means(standing.line), {}
        self.run_folder.log(standing.step, line)
        _add(standing.window, line)
        return self._look(shown) if self._ends_window(standing.step) else None

    def _look(self, shown: Batch) -> str | None:
        """At the end of a window, keep the policy if it is the best, say how it goes; return why to stop, if so."""
        standing = self.standing
        window, standing.window = _means(standing.window), {}
        reason = self.watch.look(window | {"step": float(standing.step)})
        if self.watch.is_best:
            self.best, standing.best_step = self.wrote, standing.step
        self.say(f"step {standing.step:4}: {said(window)}")
        texts = [c.text for c in shown.completions[:_SHOWN]]
        self.say(f"      {' '.join(texts[0].split())[:150]}")
        self.run_folder.keep_samples(standing.step, texts)
        return reason

    def _ends_window(self, step: int) -> bool:
        """Return whether a window is full once so many steps are done."""
        before, after = (s * self.steering.windows // self.steering.steps for s in (step - 1, step))
        return after > before

    def _optimizer(self) -> torch.optim.Optimizer:
        """AdamW without decay; the value head faster than the network, which it starts behind."""
        head = {"params": self.actor.critic_parameters(), "factor": self.steering.critic_factor}
        groups: Sequence[dict[str, Any]] = [{"params": self.actor.policy_parameters()}, head]
        settings = {"eps": self.steering.adam_epsilon, "weight_decay": 0.0}
        return adamw(groups, self.algorithm.lr, self.policy.module.device, **settings)

    def weights(self) -> dict[str, Tensor]:
        """Return the network's weights and the value head's, by name."""
        head = self.policy.value_head
        found = {f"policy.{name}": t for name, t in self.policy.module.state_dict().items()}
        return found | (
            {} if head is None else {f"value.{name}": t for name, t in head.state_dict().items()}
        )

    @torch.no_grad()
    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Put weights into the policy, as `best` holds them."""
        for name, tensor in self.weights().items():
            tensor.copy_(weights[name])

    def _checkpoint(self) -> Checkpoint:
        tensors = on_host(self.weights() | state_tensors(self.optimizer, self.policy.module.device))
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        state = {
            "standing": vars(self.standing),
            "watch": self.watch.state(),
            "scale": self.world.scale.state(),
        }
        return Checkpoint(self.standing.step, state, tensors)

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        checkpoint = self.run_folder.latest()
        if checkpoint is None:
            return
        self.standing = Standing(**checkpoint.state["standing"])
        for part, kept in ((self.watch, "watch"), (self.world.scale, "scale")):
            for name, value in checkpoint.state[kept].items():
                setattr(part, name, value)
        self.put(checkpoint.tensors)
        best = {
            n.removeprefix("best."): t
            for n, t in checkpoint.tensors.items()
            if n.startswith("best.")
        }
        self.best = best
        restore_state(self.optimizer, checkpoint.tensors, self.policy.module.device)


def _add(kept: dict[str, list[float]], measured: Mapping[str, float]) -> None:
    """Add what was measured to what is kept, by name."""
    for name, value in measured.items():
        kept.setdefault(name, []).append(value)


def _means(kept: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: sum(values) / len(values) for name, values in kept.items()}
