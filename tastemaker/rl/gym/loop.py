"""The loop: gather, credit, update, log. A run that is killed goes on from its checkpoint, to the same bits.

No environment is ever saved. Every few rollouts all episodes begin anew, in every run alike, and only there a
checkpoint is taken; rows that this cuts are truncated, so their value stands for the rest.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch

from tastemaker.errors import TrainingError
from tastemaker.maths.rl import explained_variance
from tastemaker.progress import progress
from tastemaker.rl.algorithms.base import Algorithm, ValuedExperience
from tastemaker.rl.algorithms.stepper import NotFinite, Stepper
from tastemaker.rl.gym.player import Player
from tastemaker.rl.gym.settings import Playing
from tastemaker.rl.gym.world import Batch, World
from tastemaker.train.optimizers import adamw, on_host, restore_state, state_tensors
from tastemaker.train.run import Checkpoint, Run

DONE = "all steps are done"
_LONGEST = 8  # episodes that fit between two beginnings of all
_SAID = 10  # lines that a run says of itself


@dataclass
class Standing:
    """Where a run stands: what a checkpoint keeps besides tensors.

    rollout: how many were gathered. steps: of all environments. window: what was measured since the last line of the
    log. curve: steps and mean return of each such line in which an episode ended.
    """

    rollout: int = 0
    steps: int = 0
    window: dict[str, list[float]] = field(default_factory=dict)
    curve: list[Sequence[float]] = field(default_factory=list)


class PlayingRun:
    """One run of an algorithm in a world of environments. `run()` leaves what was learned in the world's player."""

    def __init__(
        self,
        world: World,
        algorithm: Algorithm[Any],
        playing: Playing,
        *,
        run: Run,
        say: Callable[[str], None],
        checkpoint_seconds: float = 2.0,
    ) -> None:
        self.world, self.algorithm, self.playing = world, algorithm, playing
        self.run_folder, self.say, self.checkpoint_seconds = run, say, checkpoint_seconds
        self.player: Player = world.player
        self.standing = Standing()
        longest = world.environments.longest
        self.anew = playing.anew or max(1, -(-_LONGEST * longest // playing.rollout))
        actor = self.player.actor
        critic = {"params": actor.critic_parameters(), "factor": playing.critic_factor}
        groups: Sequence[dict[str, Any]] = [{"params": actor.policy_parameters()}, critic]
        settings = {"eps": playing.adam_epsilon, "weight_decay": 0.0}
        self.optimizer = adamw(groups, algorithm.lr, torch.device("cpu"), **settings)

    def run(self) -> str:
        """Play until the steps are done; return why it ended.

        Raises TrainingError where the environment fails, with all that was learned kept.
        """
        self._resume()
        standing, saved, is_begun, reason = self.standing, time.monotonic(), False, DONE
        with progress(
            f"playing {self.player.environment} by {self.algorithm.name}", self.playing.steps
        ) as advance:
            advance(standing.steps, "")
            while standing.steps < self.playing.steps:
                try:
                    if standing.rollout % self.anew == 0 or not is_begun:
                        if is_begun and time.monotonic() - saved >= self.checkpoint_seconds:
                            self.run_folder.save(self._checkpoint())
                            saved = time.monotonic()
                        self.world.begin(standing.rollout)
                        is_begun = True
                    gathered, metrics = self._step()
                except NotFinite as error:
                    reason = f"a number was not finite ({error}): lower --lr"
                    break
                except TrainingError:
                    self.run_folder.save(self._checkpoint())
                    raise
                self._note(gathered, metrics)
                advance(
                    gathered.steps, f"return {standing.curve[-1][1]:.1f}" if standing.curve else ""
                )
        self.run_folder.save(self._checkpoint())
        return reason

    def _step(self) -> tuple[Batch, dict[str, float]]:
        """Gather a rollout and learn from it; return what was measured."""
        standing, playing, began = self.standing, self.playing, time.monotonic()
        gathered = self.world.gather(standing.rollout)
        sampled = time.monotonic()
        rate = self.algorithm.lr * (1 - standing.steps / playing.steps if playing.decay else 1.0)
        stepper = Stepper(
            self.player.actor,
            self.optimizer,
            rate=rate,
            clip=playing.gradient_clip,
            generator=torch.Generator().manual_seed(self.world.seed * 1_000_003 + standing.rollout),
            at_once=1 << 20,
        )
        experience = self.algorithm.credit(self.player.actor, gathered.rollout)
        metrics = self.algorithm.update(self.player.actor, experience, stepper)
        if isinstance(experience, ValuedExperience) and self.algorithm.needs_critic:
            explained = explained_variance(
                experience.values, experience.returns, experience.is_action
            )
            metrics["explained_variance"] = float(explained)
        standing.rollout += 1
        standing.steps += gathered.steps
        took = {
            "gathering_seconds": sampled - began,
            "learning_seconds": time.monotonic() - sampled,
        }
        return gathered, metrics | {"learning_rate": rate} | took

    def _note(self, gathered: Batch, metrics: dict[str, float]) -> None:
        """Add to the window; at its end log it, and now and then say how it goes."""
        standing, playing = self.standing, self.playing
        found = {name: [value] for name, value in metrics.items()}
        found |= {
            "return": gathered.returns,
            "length": [float(length) for length in gathered.lengths],
        }
        for name, values in found.items():
            standing.window.setdefault(name, []).extend(values)
        before = standing.steps - gathered.steps
        if (
            standing.steps * playing.windows // playing.steps
            == before * playing.windows // playing.steps
        ):
            return
        window, standing.window = standing.window, {}
        logged = {name: fmean(values) for name, values in window.items() if values}
        count = len(window["return"])
        if count:
            standing.curve.append((standing.steps, logged["return"]))
        self.run_folder.log(standing.steps, logged | {"episodes_ended": count})
        if count and standing.steps * _SAID // playing.steps > before * _SAID // playing.steps:
            self.say(
                f"{standing.steps:>9,} steps: return {logged['return']:.1f} over {count} episodes"
            )

    def _checkpoint(self) -> Checkpoint:
        kept = self.player.tensors() | self.world.returns.tensors("returns")
        tensors = on_host(kept | state_tensors(self.optimizer, torch.device("cpu")))
        return Checkpoint(self.standing.steps, {"standing": vars(self.standing)}, tensors)

    def _resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        checkpoint = self.run_folder.latest()
        if checkpoint is None:
            return
        self.standing = Standing(**checkpoint.state["standing"])
        self.player.restore(checkpoint.tensors)
        self.world.returns.restore("returns", checkpoint.tensors)
        restore_state(self.optimizer, checkpoint.tensors, torch.device("cpu"))
