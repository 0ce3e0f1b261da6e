"""`tastemaker watch`: a saved player plays again."""

from pathlib import Path
from typing import Annotated

import typer

from tastemaker.cli import options as o

EXAMPLE = """Watch a saved player play.

Examples:

  tastemaker watch lander

  tastemaker watch lander --episodes 20 --seed 7 --json

  tastemaker watch lander --gif landing.gif
"""


def watch(
    player: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder saved by `tastemaker play`.")
    ],
    episodes: Annotated[int, typer.Option(help="How many episodes are played.")] = 1,
    gif: Annotated[Path | None, typer.Option(help="Draw the first episode into this file.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same episodes.")] = 0,
    config: o.Config = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Watch a saved player play."""
    from tastemaker.rl.gym.episodes import watch as played_again

    found = played_again(player, count=episodes, picture=gif, seed=seed)
    if json:
        o.say_json({"returns": [e.score for e in found], "lengths": [e.length for e in found]})
        return
    for number, episode in enumerate(found):
        o.say(f"episode {number + 1}: return {episode.score:.1f} in {episode.length:,} steps")
    if gif is not None:
        o.note(f"the first episode is drawn in {gif}", quiet=quiet)


watch.__doc__ = EXAMPLE
