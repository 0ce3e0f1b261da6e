"""A saved player plays again: the verb `watch`."""

from pathlib import Path

from tastemaker.errors import UsageError
from tastemaker.learning.control.episodes import Episode, episodes, gif
from tastemaker.learning.control.player import Player


def watch(
    player: Player | str | Path, *, count: int = 1, picture: str | Path | None = None, seed: int = 0
) -> list[Episode]:
    """Return so many episodes that a player, or the folder it was saved in, plays; each action the likeliest one.

    picture: a GIF of the first of them; the others are played as well as it. seed: the same, the same episodes.
    Raises ModelError for a folder without a player, UsageError for an environment that cannot be drawn.
    """
    if count < 1:
        raise UsageError(f"episodes {count}: play 1 or more.")
    loaded = player if isinstance(player, Player) else Player.load(player)
    if picture is None:
        return episodes(loaded, count, seed=seed)
    if Path(picture).suffix.lower() != ".gif":
        raise UsageError(f"{picture}: a picture of an episode is a GIF; name it with .gif at its end.")
    first = gif(loaded, Path(picture), seed=seed)
    return [first, *(episodes(loaded, count - 1, seed=seed + 1) if count > 1 else [])]
