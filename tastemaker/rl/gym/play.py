"""The verb `play`: a policy learns to play a Gymnasium environment.

No environment is ever saved. Every few rollouts all episodes begin again, in every run alike, and
only there a checkpoint is taken; the episodes that this cuts are truncated, so the critic's value
stands for the rest of them.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tastemaker import processes
from tastemaker.costs import versions
from tastemaker.errors import MissingExtra, UsageError
from tastemaker.fast.processor import one_thread
from tastemaker.files import writing_file
from tastemaker.maths.resampling import bootstrap, percentile_interval
from tastemaker.maths.rl import explained_variance
from tastemaker.maths.statistics import mean_of
from tastemaker.readable import notebook_html
from tastemaker.rl.algorithms.base import Algorithm, Stepper, ValuedExperience
from tastemaker.rl.gym.environment import (
    LARGEST_LIMIT,
    Environments,
    Playing,
    play_defaults,
)
from tastemaker.rl.gym.player import PLAYER, Player, Shapes
from tastemaker.rl.gym.world import (
    Batch,
    Episode,
    World,
    episodes,
    gif,
    seed_of,
)
from tastemaker.settings import settings_from
from tastemaker.train.gradients import Metrics
from tastemaker.train.loop import DONE, StopTraining, Task, train
from tastemaker.train.run import (
    Run,
    Say,
    check_same,
    open_run,
    silent,
)
from tastemaker.train.step import NotFinite, adamw

CURVE = "curve.png"
EPISODE = "episode.gif"
_EPISODES_BETWEEN_RESETS = 8
"""How many of the longest episodes fit between two points where all episodes begin again."""
_LINES = 10
"""The number of progress lines of a run."""
_SHOWN = (
    "mean_return",
    "return_interval",
    "episodes",
    "steps",
    "seconds",
    "steps_per_second",
)


@dataclass(frozen=True)
class Played:
    """A policy that learned to play, and its figures."""

    policy: Player
    figures: dict[str, Any]

    @property
    def mean_return(self) -> float:
        """The mean return of the evaluation's episodes."""
        return float(self.figures["mean_return"])

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON of the verb; docs/metrics.md defines each figure."""
        shown = {name: self.figures[name] for name in _SHOWN}
        if self.figures.get("episodes_cut"):
            shown["episodes_cut"] = self.figures["episodes_cut"]
        return shown

    def _repr_html_(self) -> str:
        """Return what was learned, for a notebook."""
        return notebook_html(str(self).split("; "))

    def __str__(self) -> str:
        figures = self.figures
        low, high = figures["return_interval"]
        cut = figures.get("episodes_cut", 0)
        cut_words = f" ({cut} did not end and were cut)" if cut else ""
        return (
            f"{self.policy.environment}: return {figures['mean_return']:.1f} "
            f"({low:.1f} to {high:.1f}) over {figures['episodes']} episodes{cut_words}, "
            f"after {figures['steps']:,} steps in {figures['seconds']:.1f} s "
            f"({figures['steps_per_second']:,.0f} steps/s); "
            f"stopped because {figures['stopped_because']}"
        )


def play(
    environment: str,
    *,
    algorithm: Algorithm[Any] | str = "ppo",
    steps: int | None = None,
    envs: int | None = None,
    playing: Playing | Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    episodes: int = 100,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Say = silent,
) -> Played:
    """Teach a policy to play a Gymnasium environment.

    environment: a name such as CartPole-v1, or module:Name-v0 for one of your own. options: the
    environment's own, such as {"continuous": True}. algorithm: an object such as `PPO(clip=0.2)`,
    or a name, which takes the settings of `play_defaults` for the environment; an environment
    without settings of its own gets defaults that were measured on none. playing: settings that
    replace those of `play_defaults`. steps, envs: two of them. episodes: how many episodes measure
    the policy at the end, with the likeliest action (continuous actions: the mean). out: the
    folder for the player, its learning curve and a GIF of an episode. Raises UsageError for
    invalid settings, MissingExtra for a missing library, TrainingError for an environment
    that fails, with all finished steps kept for `resume`, StorageError for a folder that cannot be
    written.
    """
    began = time.monotonic()
    processes.refuse("play", "Start it without torchrun.")
    plan = _plan(
        environment,
        algorithm=algorithm,
        playing=playing,
        replaced={"steps": steps, "envs": envs},
        options=options or {},
        seed=seed,
        episodes=episodes,
    )
    settings = plan.settings()
    with (
        open_run(
            out, settings, whole=PLAYER, resume=resume, overwrite=overwrite
        ) as run,
        one_thread(),
    ):
        if out is not None and run.is_finished:
            player = Player.load(out)
            check_same(player.figures["settings"], settings)
            return Played(player, player.figures)
        played = _train_and_measure(plan.task(say), plan, run)
        played.figures["seconds"] = round(time.monotonic() - began, 2)
        played.figures["settings"] = settings
        played.figures["versions"] = versions()
        if out is not None:
            _save(played, Path(out), seed_of(seed, 2), say)
    return played


@dataclass(frozen=True)
class PlayPlan:
    """All settings of a run."""

    environment: str
    options: dict[str, Any]
    algorithm: Algorithm[Any]
    playing: Playing
    seed: int
    episodes: int

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UsageError(f"episodes {self.episodes}: must be at least 1.")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed}: must be at least 0.")

    def settings(self) -> dict[str, Any]:
        """Return the settings, JSON-ready; a resumed run must have the same."""
        settings = asdict(self)
        settings["algorithm_name"] = self.algorithm.name
        return settings

    def task(self, say: Say = silent) -> "PlayTask":
        """Return the task with a fresh player."""
        playing = self.playing
        environments = Environments(
            self.environment, playing.envs, self.options
        )
        if not environments.has_limit:
            say(
                f"{self.environment} sets no limit of steps, or one above "
                f"{LARGEST_LIMIT:,} (max_episode_steps): an episode that measures is cut "
                f"at {environments.limit:,}"
            )
        shapes = Shapes(
            environments.size,
            environments.actions,
            playing.hidden,
            playing.normalise_observations,
        )
        player = Player.fresh(
            self.environment,
            self.options,
            shapes,
            log_sd=playing.log_sd,
            seed=seed_of(self.seed, 3),
        )
        world = World(
            environments,
            player,
            rollout=playing.rollout,
            seed=self.seed,
            gamma=float(getattr(self.algorithm, "gamma", 1.0)),
            scaled=playing.normalise_returns,
        )
        return PlayTask(world, self.algorithm, playing, say=say)


class PlayTask(Task):
    """A player learns in its environments: gather a rollout, compute advantages, update.

    `progress.step` counts environment steps. The trained weights are in `world.player`.
    """

    checkpoint_seconds: ClassVar[float] = 2.0
    saves_at_end: ClassVar[bool] = True
    device = torch.device("cpu")

    def __init__(
        self,
        world: World,
        algorithm: Algorithm[Any],
        playing: Playing,
        *,
        say: Say,
    ) -> None:
        super().__init__()
        self.world = world
        self.algorithm = algorithm
        self.playing = playing
        self.say = say
        self.player: Player = world.player
        self.name = f"playing {self.player.environment} by {algorithm.name}"
        self.total = playing.steps
        self.rollout = 0
        # measured since the last line of the log
        self.window: dict[str, list[float]] = {}
        self.curve: list[
            Sequence[float]
        ] = []  # environment steps, mean return
        self._has_begun = False
        longest = _EPISODES_BETWEEN_RESETS * world.environments.longest
        self.anew = playing.anew or max(1, -(-longest // playing.rollout))
        actor = self.player.actor
        groups: list[dict[str, Any]] = [
            {"params": actor.policy_parameters()},
            {
                "params": actor.critic_parameters(),
                "factor": playing.critic_factor,
            },
        ]
        self.optimizer = adamw(
            groups,
            algorithm.lr,
            self.device,
            eps=playing.adam_epsilon,
            weight_decay=0.0,
        )

    def step(self) -> Metrics:
        """Gather one rollout and learn from it. At the end of a window return its means."""
        began = time.monotonic()
        if not self._has_begun or self.rollout % self.anew == 0:
            self.world.begin(self.rollout)
            self._has_begun = True
        batch = self.world.gather(self.rollout)
        gathered_at = time.monotonic()
        try:
            metrics = self._update(batch)
        except NotFinite as error:
            raise StopTraining(
                f"a number was not finite ({error}): lower --lr"
            ) from error
        metrics["gathering_seconds"] = gathered_at - began
        metrics["learning_seconds"] = time.monotonic() - gathered_at
        self.rollout += 1
        self.progress.step += batch.steps
        self._add_to_window(batch, metrics)
        if not self._passed_mark(self.playing.windows, batch.steps):
            return {}
        return self._end_window(batch)

    def _update(self, batch: Batch) -> Metrics:
        """Update the policy and the critic by one rollout."""
        actor = self.player.actor
        algorithm = self.algorithm
        playing = self.playing
        rate = algorithm.lr
        if playing.decay:
            rate *= 1 - self.progress.step / playing.steps
        seed = self.world.seed * 1_000_003 + self.rollout
        stepper = Stepper(
            actor,
            self.optimizer,
            rate=rate,
            clip=playing.gradient_clip,
            generator=torch.Generator().manual_seed(seed),
            at_once=1 << 20,
        )
        experience = algorithm.credit(actor, batch.rollout)
        metrics = algorithm.update(actor, experience, stepper)
        if isinstance(experience, ValuedExperience) and algorithm.needs_critic:
            explained = explained_variance(
                experience.values, experience.returns, experience.is_action
            )
            metrics["explained_variance"] = float(explained)
        metrics["learning_rate"] = rate
        return metrics

    def _add_to_window(self, batch: Batch, metrics: Metrics) -> None:
        for name, value in metrics.items():
            self.window.setdefault(name, []).append(value)
        self.window.setdefault("return", []).extend(batch.returns)
        self.window.setdefault("length", []).extend(map(float, batch.lengths))

    def _end_window(self, batch: Batch) -> Metrics:
        """Return the window's means for the log; at some windows say a progress line."""
        window = self.window
        self.window = {}
        line = {
            name: fmean(values) for name, values in window.items() if values
        }
        count = len(window["return"])
        line["episodes_ended"] = count
        if count:
            step = self.progress.step
            mean_return = line["return"]
            self.curve.append((step, mean_return))
            if self._passed_mark(_LINES, batch.steps):
                self.say(
                    f"{step:>9,} steps: return {mean_return:.1f} over {count} episodes"
                )
        return line

    def _passed_mark(self, marks: int, steps: int) -> bool:
        """Return whether the last steps passed one of the marks that divide the run evenly."""
        step = self.progress.step
        total = self.playing.steps
        return step * marks // total > (step - steps) * marks // total

    def text(self, metrics: Mapping[str, float]) -> str:
        """Return the newest mean return."""
        return f"return {self.curve[-1][1]:.1f}" if self.curve else ""

    def can_resume_here(self) -> bool:
        """Return whether all episodes begin again now."""
        return self.rollout % self.anew == 0

    def state(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the numbers of the log and the curve; the player and the scale of returns."""
        values = {
            "rollout": self.rollout,
            "window": self.window,
            "curve": self.curve,
        }
        return values, self.player.tensors() | self.world.returns.tensors(
            "returns"
        )

    def load(
        self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> None:
        """Take over what `state` returned."""
        self.rollout = values["rollout"]
        self.window = values["window"]
        self.curve = values["curve"]
        self.player.restore(tensors)
        self.world.returns.restore("returns", tensors)


def _plan(
    environment: str,
    *,
    algorithm: Algorithm[Any] | str,
    playing: Playing | Mapping[str, Any] | None,
    replaced: Mapping[str, int | None],
    options: Mapping[str, Any],
    seed: int,
    episodes: int,
) -> PlayPlan:
    """Return the plan: the settings of `play_defaults`, replaced by those that were given."""
    chosen, defaults = play_defaults(environment, algorithm)
    if not isinstance(playing, Playing):
        playing = settings_from(Playing, playing, "playing", defaults)
    given: dict[str, Any] = {
        name: value for name, value in replaced.items() if value is not None
    }
    return PlayPlan(
        environment,
        dict(options),
        algorithm=chosen,
        playing=replace(playing, **given),
        seed=seed,
        episodes=episodes,
    )


def _train_and_measure(task: PlayTask, plan: PlayPlan, run: Run) -> Played:
    """Train, then play the evaluation's episodes."""
    began = time.monotonic()
    try:
        progress = train(task, run, seed=plan.seed)
    finally:
        task.world.environments.close()
    seconds = time.monotonic() - began
    figures = measured(
        episodes(task.player, plan.episodes, seed=seed_of(plan.seed, 1))
    )
    figures["steps"] = progress.step
    figures["steps_per_second"] = round(progress.step / seconds, 1)
    figures["stopped_because"] = progress.stopped_because or DONE
    figures["algorithm"] = plan.algorithm.name
    figures["curve"] = task.curve
    return Played(task.player, figures)


def measured(played: list[Episode]) -> dict[str, Any]:
    """Return the mean return of episodes with a 95 % bootstrap interval, and their mean length."""
    scores = np.array([episode.score for episode in played])
    samples = bootstrap({"return": mean_of(scores)}, np.arange(len(scores)))[
        "return"
    ]
    return {
        "mean_return": float(scores.mean()),
        "return_interval": list(percentile_interval(samples)),
        "episodes": len(played),
        "episodes_cut": sum(episode.is_cut for episode in played),
        "mean_length": float(np.mean([episode.length for episode in played])),
    }


def _save(played: Played, folder: Path, seed: int, say: Say) -> None:
    """Save the curve, a GIF where the environment can be drawn, and the player last."""
    from tastemaker.plotting import learning_curve_png

    player = played.policy
    figures = played.figures
    title = f"{player.environment}, {figures['algorithm']}"
    with writing_file(folder / CURVE) as temporary:
        curve = learning_curve_png(
            figures["curve"],
            title,
            figures["mean_return"],
            figures["return_interval"],
        )
        temporary.write_bytes(curve)
    try:
        gif(player, folder / EPISODE, seed=seed)
    except (UsageError, MissingExtra) as error:
        say(f"no {EPISODE}: {error}")
    player.figures = figures
    player.save(folder)
