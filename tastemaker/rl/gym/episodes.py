"""Episodes with the likeliest actions: to measure a player, and the verb `watch`."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tastemaker.errors import UsageError
from tastemaker.files import writing_file
from tastemaker.rl.gym.environment import pictured
from tastemaker.rl.gym.player import Player

_AT_ONCE = 100
_FRAMES = 400  # more are thinned out
_WIDTH = 300  # pixels of a picture


class Episode(NamedTuple):
    """One episode: the sum of its rewards, and how many steps it was long."""

    score: float
    length: int


def episodes(player: Player, count: int, *, seed: int) -> list[Episode]:
    """Play `count` episodes, each in an environment of its own: short ones are not overcounted.

    Raises UsageError for none.
    """
    if count < 1:
        raise UsageError(f"episodes {count}: play 1 or more.")
    found: list[Episode] = []
    while len(found) < count:
        found += _side_by_side(
            player, min(_AT_ONCE, count - len(found)), seed + len(found)
        )
    return found


def _side_by_side(player: Player, count: int, seed: int) -> list[Episode]:
    environments = player.environments(count)
    try:
        seen = environments.reset(seed)
        scores, lengths, is_over = (
            np.zeros(count),
            np.zeros(count, np.int64),
            np.zeros(count, np.bool_),
        )
        while not is_over.all():
            step = environments.step(player.likeliest(seen))
            seen = step.seen
            scores += step.rewards * ~is_over
            lengths += ~is_over
            is_over |= step.is_terminated | step.is_truncated
    finally:
        environments.close()
    return [
        Episode(float(score), int(length))
        for score, length in zip(scores, lengths, strict=True)
    ]


def gif(player: Player, path: Path, *, seed: int) -> Episode:
    """Play one episode into a GIF. Raises UsageError for an environment that cannot be drawn."""
    env = pictured(player.environment, player.options)
    frames, score, is_over = [], 0.0, False
    seen, _ = env.reset(seed=seed)
    try:
        while not is_over:
            frames.append(env.render())
            seen, reward, terminated, truncated, _ = env.step(player.act(seen))
            score += float(reward)
            is_over = terminated or truncated
        length = len(frames)
        frames.append(env.render())
    finally:
        env.close()
    data = _animated(frames, float(env.metadata.get("render_fps", 30)))
    with writing_file(path) as temporary:
        temporary.write_bytes(data)
    return Episode(score, length)


def _animated(frames: list[Any], per_second: float) -> bytes:
    """Return frames [h, w, 3] as a small GIF that repeats, with some frames left out."""
    from PIL import Image

    every = max(1, round(per_second / 25), -(-len(frames) // _FRAMES))
    images = [Image.fromarray(frame) for frame in [*frames[:-1:every], frames[-1]]]
    width = min(_WIDTH, images[0].width)
    size = (width, round(images[0].height * width / images[0].width))
    small = [image.resize(size).quantize(64) for image in images]
    file = io.BytesIO()
    each = round(1000 * every / per_second)
    small[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=small[1:],
        duration=each,
        loop=0,
        optimize=True,
    )
    return file.getvalue()


def watch(
    player: Player | str | Path,
    *,
    count: int = 1,
    picture: str | Path | None = None,
    seed: int = 0,
) -> list[Episode]:
    """Return `count` episodes of a player or of its folder, always with the likeliest action.

    picture: a GIF of the first of them; the others are played as well as it. seed: the same, the
    same episodes. Raises ModelError for a folder without a player, UsageError for an environment
    that cannot be drawn.
    """
    if count < 1:
        raise UsageError(f"episodes {count}: play 1 or more.")
    loaded = player if isinstance(player, Player) else Player.load(player)
    if picture is None:
        return episodes(loaded, count, seed=seed)
    if Path(picture).suffix.lower() != ".gif":
        raise UsageError(
            f"{picture}: a picture of an episode is a GIF; name it with .gif at its end."
        )
    first = gif(loaded, Path(picture), seed=seed)
    return [first, *(episodes(loaded, count - 1, seed=seed + 1) if count > 1 else [])]
