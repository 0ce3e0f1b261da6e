"""`tastemaker play`: a policy learns to play a Gymnasium environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli import options as o
from tastemaker.rl.algorithms import ALGORITHMS

EXAMPLE = """Teach a policy to play a Gymnasium environment, by the algorithms that steer a GPT.

Examples:

  tastemaker play CartPole-v1

  tastemaker play LunarLander-v3 --out lander

  tastemaker play Acrobot-v1 --algorithm trpo --steps 200000 --set target_kl=0.02 --json

PPO has settings of its own for CartPole-v1, Acrobot-v1, LunarLander-v3, Pendulum-v1 and MountainCarContinuous-v0, the
other algorithms for CartPole-v1; all else begins with a default that was measured on none. An environment of your own
is written module:Name-v0. DIR gets the player (see `tastemaker watch`), a learning curve and a GIF of an episode.
"""


@dataclass(frozen=True)
class Course:
    """How long and how fast."""

    steps: Annotated[
        int | None,
        typer.Option(help="Environment steps in all; left out: as many as its settings say."),
    ] = None
    envs: Annotated[int | None, typer.Option(help="Environments that are played at once.")] = None
    lr: Annotated[float | None, typer.Option(help="Learning rate; left out: the algorithm's.")] = (
        None
    )
    set: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting of the algorithm or of playing: NAME=VALUE, such as gamma=0.99."
        ),
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the environment: NAME=VALUE, such as continuous=true."),
    ] = None


@o.gathers(course=Course)
def play(
    env: Annotated[
        str, typer.Argument(metavar="ENV", help="An environment's name, such as CartPole-v1.")
    ],
    course: Course,
    algorithm: Annotated[
        str, typer.Option(help=f"How it learns: {', '.join(ALGORITHMS)}.")
    ] = "ppo",
    episodes: Annotated[
        int, typer.Option(help="Episodes that are played at the end to measure.")
    ] = 100,
    out: Annotated[
        Path | None, typer.Option(help="The folder that the player is saved in.")
    ] = None,
    seed: o.Seed = 0,
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Teach a policy to play."""
    from tastemaker.rl.gym.play import known_algorithm
    from tastemaker.rl.gym.play import play as learn
    from tastemaker.rl.gym.settings import Playing

    given = o.settings("--set", course.set) | ({} if course.lr is None else {"lr": course.lr})
    of_playing = {
        name: value for name, value in given.items() if name in Playing.__dataclass_fields__
    }
    of_algorithm = {name: value for name, value in given.items() if name not in of_playing}
    played = learn(
        env,
        algorithm=known_algorithm(env, algorithm, of_algorithm),
        steps=course.steps,
        envs=course.envs,
        playing=of_playing,
        options=o.settings("--option", course.option),
        seed=seed,
        episodes=episodes,
        out=out,
        resume=resume,
        overwrite=overwrite,
        say=lambda line: o.note(line, quiet=quiet),
    )
    if json:
        o.say_json(played.as_dict())
        return
    o.say(str(played))
    if out is not None:
        o.say(f"Watch it:  tastemaker watch {out}")


play.__doc__ = EXAMPLE
