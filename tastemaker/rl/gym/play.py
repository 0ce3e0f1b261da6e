"""A policy learns to play an environment: the verb `play`."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.errors import MissingExtra, UsageError
from tastemaker.fast.processor import one_thread
from tastemaker.files import writing_file
from tastemaker.maths.statistics import bootstrap, mean_of, percentile_interval
from tastemaker.rl.algorithms import Algorithm, algorithm_named
from tastemaker.rl.gym.environment import Environments
from tastemaker.rl.gym.episodes import Episode, episodes, gif
from tastemaker.rl.gym.loop import PlayingRun
from tastemaker.rl.gym.player import PLAYER, Player, Shapes
from tastemaker.rl.gym.settings import Playing, known
from tastemaker.rl.gym.world import World, seed_of
from tastemaker.settings import settings_from
from tastemaker.train.run import RUN, Run, check_same, model_folder, versions

CURVE, EPISODE = "curve.png", "episode.gif"
_SHOWN = ("mean_return", "return_interval", "episodes", "steps", "seconds", "steps_per_second")


def _silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Played:
    """A policy that learned to play, and how well it does."""

    policy: Player
    figures: dict[str, Any]

    @property
    def mean_return(self) -> float:
        """The mean return of the evaluation's episodes."""
        return float(self.figures["mean_return"])

    def as_dict(self) -> dict[str, Any]:
        """Return what the JSON of the verb holds; each is defined in docs/metrics.md."""
        return {name: self.figures[name] for name in _SHOWN}

    def __str__(self) -> str:
        found = self.figures
        low, high = found["return_interval"]
        return (
            f"{self.policy.environment}: return {found['mean_return']:.1f} ({low:.1f} to {high:.1f}) over "
            f"{found['episodes']} episodes, after {found['steps']:,} steps in {found['seconds']:.1f} s "
            f"({found['steps_per_second']:,.0f} steps/s); stopped because {found['stopped_because']}"
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
    say: Callable[[str], None] = _silent,
) -> Played:
    """Teach a policy to play a Gymnasium environment.

    environment: its name, such as CartPole-v1, or module:Name-v0 for one of your own; options: its own, such as
    {"continuous": True}. algorithm: an object such as `PPO(clip=0.2)`, or a name, whose settings are then those of
    `known` for the environment, a default that was measured on none where it has none. playing: settings of `Playing`
    that replace those; steps, envs: two of them. episodes: played at the end, each action the likeliest one (amounts:
    the mean), to say how well the policy does. out: the folder for the player, its learning curve and a GIF of an
    episode.
    Raises UsageError for what cannot be played, MissingExtra for a library that is not there, TrainingError for an
    environment that fails, with all finished steps kept for `resume`, StorageError for a folder that cannot be written.
    """
    began = time.monotonic()
    plan = _planned(
        environment,
        algorithm=algorithm,
        playing=playing,
        asked={"steps": steps, "envs": envs},
        options=options or {},
        seed=seed,
        episodes=episodes,
    )
    asked = plan.asked()
    folder = Path(out) if out is not None else None
    with (
        model_folder(folder, whole=PLAYER, resume=resume, overwrite=overwrite) as is_finished,
        one_thread(),
    ):
        if folder is not None and is_finished:
            return _finished(folder, asked)
        run = Run(folder / RUN if folder is not None else None, asked, resume=resume)
        job = plan.job(run, say)
        played = _carried_out(job, plan)
        played.figures.update(
            seconds=round(time.monotonic() - began, 2), settings=asked, versions=versions()
        )
        if folder is not None:
            _save(played, folder, seed_of(seed, 2), say)
    run.finish()
    return played


@dataclass(frozen=True)
class Plan:
    """What a run was asked for, whole."""

    environment: str
    options: dict[str, Any]
    algorithm: Algorithm[Any]
    playing: Playing
    seed: int
    episodes: int

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UsageError(
                f"episodes {self.episodes}: play 1 or more to say how well the policy does."
            )
        if self.seed < 0:
            raise UsageError(f"seed {self.seed}: must be at least 0.")

    def asked(self) -> dict[str, Any]:
        """Return what was asked for, JSON-ready: a resumed run must ask for the same."""
        return asdict(self) | {"algorithm_name": self.algorithm.name}

    def job(self, run: Run, say: Callable[[str], None], **how: Any) -> PlayingRun:
        """Return the run that this plan is of."""
        playing = self.playing
        environments = Environments(self.environment, playing.envs, self.options)
        shapes = Shapes(
            environments.size, environments.actions, playing.hidden, playing.normalise_observations
        )
        player = Player.fresh(
            self.environment,
            self.options,
            shapes,
            log_sd=playing.log_sd,
            seed=seed_of(self.seed, 3),
        )
        gamma = float(getattr(self.algorithm, "gamma", 1.0))
        scaled = playing.normalise_returns
        world = World(
            environments,
            player,
            rollout=playing.rollout,
            seed=self.seed,
            gamma=gamma,
            scaled=scaled,
        )
        return PlayingRun(world, self.algorithm, playing, run=run, say=say, **how)


def _planned(
    environment: str,
    *,
    algorithm: Algorithm[Any] | str,
    playing: Playing | Mapping[str, Any] | None,
    asked: Mapping[str, int | None],
    options: Mapping[str, Any],
    seed: int,
    episodes: int,
) -> Plan:
    """Return the plan: what is known of the environment, replaced by what was asked for."""
    own, usual = known(environment, algorithm if isinstance(algorithm, str) else algorithm.name)
    chosen = playing if isinstance(playing, Playing) else with_settings(usual, playing or {})
    wanted: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    chosen = replace(chosen, **wanted)
    return Plan(
        environment,
        dict(options),
        own if isinstance(algorithm, str) else algorithm,
        chosen,
        seed,
        episodes,
    )


def with_settings(playing: Playing, given: Mapping[str, Any]) -> Playing:
    """Return the settings with some replaced. Raises UsageError for an unknown or mistyped one."""
    return settings_from(Playing, {**vars(playing), **given}, "playing")


def known_algorithm(environment: str, name: str, given: Mapping[str, Any]) -> Algorithm[Any]:
    """Return an algorithm with the settings of `known` for an environment, some replaced. Raises UsageError."""
    settings = asdict(known(environment, name)[0])  # type: ignore[call-overload]  # every algorithm is a dataclass
    return algorithm_named(name, **settings | dict(given))


def _carried_out(job: PlayingRun, plan: Plan) -> Played:
    """Play, then measure."""
    began, before = time.monotonic(), job.standing.steps
    try:
        reason = job.run()
    finally:
        job.world.environments.close()
    took = time.monotonic() - began
    found = episodes(job.player, plan.episodes, seed=seed_of(plan.seed, 1))
    figures = measured(found) | {
        "steps": job.standing.steps,
        "steps_per_second": round((job.standing.steps - before) / took, 1),
        "stopped_because": reason,
        "algorithm": plan.algorithm.name,
        "curve": job.standing.curve,
    }
    return Played(job.player, figures)


def measured(found: list[Episode]) -> dict[str, Any]:
    """Return the mean return of episodes with a 95 % bootstrap interval, and their mean length."""
    scores = np.array([episode.score for episode in found])
    samples = bootstrap({"return": mean_of(scores)}, np.arange(len(scores)))["return"]
    return {
        "mean_return": float(scores.mean()),
        "return_interval": list(percentile_interval(samples)),
        "episodes": len(found),
        "mean_length": float(np.mean([episode.length for episode in found])),
    }


def _save(played: Played, folder: Path, seed: int, say: Callable[[str], None]) -> None:
    """Save the curve, a GIF where the environment can be drawn, and the player last."""
    from tastemaker.plotting import learning_curve_png

    player, figures = played.policy, played.figures
    title = f"{player.environment}, {figures['algorithm']}"
    with writing_file(folder / CURVE) as temporary:
        temporary.write_bytes(
            learning_curve_png(
                figures["curve"], title, figures["mean_return"], figures["return_interval"]
            )
        )
    try:
        gif(player, folder / EPISODE, seed=seed)
    except (UsageError, MissingExtra) as error:
        say(f"no {EPISODE}: {error}")
    player.figures = figures
    player.save(folder)


def _finished(folder: Path, asked: Mapping[str, Any]) -> Played:
    """Return what a finished run left. Raises UsageError where something else is asked for now."""
    player = Player.load(folder)
    check_same(player.figures["settings"], asked)
    return Played(player, player.figures)
