"""The world of Gymnasium: a player plays environments and returns rollouts.

A row of a rollout is a stretch of one episode. To measure a player, and for the verb `watch`,
whole episodes are played with the likeliest actions.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tastemaker.errors import UsageError
from tastemaker.files import writing_file
from tastemaker.rl.algorithms.base import Rollout
from tastemaker.rl.gym.actor import Array, Steps
from tastemaker.rl.gym.environment import Environments, pictured
from tastemaker.rl.gym.player import Moments, Player


def seed_of(seed: int, *names: int) -> int:
    """Return the seed of a place in a run: always the same, and different from all others."""
    return int(np.random.SeedSequence([seed, *names]).generate_state(1)[0])


@dataclass(frozen=True)
class Batch:
    """A rollout, its number of steps, and the returns and lengths of the episodes that ended."""

    rollout: Rollout
    steps: int
    returns: list[float]
    lengths: list[int]


@dataclass(frozen=True)
class Table:
    """A rollout as arrays over steps and environments.

    seen: [T + 1, N, d], the last what is seen after all steps. actions: [T, N] or [T, N, a].
    rewards, and whether a step terminated, truncated or only began an episode: [T, N].
    """

    seen: Array
    actions: Array
    rewards: Array
    is_terminated: Array
    is_truncated: Array
    is_idle: Array

    def rows(self) -> tuple[Steps, Tensor, Tensor, Tensor]:
        """Return the stretches, `is_action` [B, T], rewards [B, T] and terminated [B].

        A step that only begins an episode parts two stretches and belongs to none.
        """
        steps, envs = self.rewards.shape
        is_real = ~self.is_idle.T  # [N, T], as all below
        before, behind = np.zeros_like(is_real), np.zeros_like(is_real)
        before[:, 1:], behind[:, :-1] = is_real[:, :-1], is_real[:, 1:]
        first = np.flatnonzero(is_real & ~before)
        last_env, last_step = np.nonzero(is_real & ~behind)
        row = np.cumsum((is_real & ~before).ravel()) - 1
        real = np.flatnonzero(is_real)
        row = row[real]
        place = real - first[row]
        shape = (len(first), int(place.max()) + 1)

        def stretched(values: Array) -> Tensor:
            rest = values.shape[2:]
            flat = np.moveaxis(values, 0, 1).reshape(envs * steps, *rest)[real]
            rows = np.zeros((*shape, *rest), flat.dtype)
            rows[row, place] = flat
            return torch.from_numpy(rows)

        after = torch.from_numpy(self.seen[last_step + 1, last_env])
        trajectories = Steps(stretched(self.seen[:-1]), stretched(self.actions), after)
        ended = torch.from_numpy(self.is_terminated[last_step, last_env])
        return (
            trajectories,
            stretched(~self.is_idle),
            stretched(self.rewards.astype(np.float32)),
            ended,
        )


class World:
    """Environments that a player plays, rollout by rollout.

    gamma: discounts what returns are normalised by. All numbers of a rollout are drawn by (seed,
    its number); one that begins all episodes anew depends on nothing played before it.
    """

    def __init__(
        self,
        environments: Environments,
        player: Player,
        *,
        rollout: int,
        seed: int,
        gamma: float,
        scaled: bool,
    ) -> None:
        self.environments, self.player, self.steps, self.seed = (
            environments,
            player,
            rollout,
            seed,
        )
        self.gamma, self.scaled, self.returns = gamma, scaled, Moments(1)
        count = environments.count
        self._seen: Array = np.zeros((count, environments.size))
        self._discounted, self._score = np.zeros(count), np.zeros(count)
        self._length = np.zeros(count, np.int64)

    def begin(self, number: int) -> None:
        """Begin all episodes anew, before the rollout of that number."""
        self._seen = self.environments.reset(seed_of(self.seed, 0, number))
        for running in (self._discounted, self._score, self._length):
            running[:] = 0

    def gather(self, number: int) -> Batch:
        """Play one rollout and update the running statistics of observations and returns."""
        table, raw = self._played(number)
        returns, lengths = self._ended(table)
        trajectories, is_action, rewards, terminated = table.rows()
        rewards = self._scaled(rewards, table)
        log_probs = self.player.actor.log_probs(trajectories, is_action)
        values, after = self.player.actor.expected(trajectories, is_action)
        self.player.shown.see(raw[:-1][~table.is_idle])
        groups = torch.arange(len(terminated))
        rollout = Rollout(
            trajectories,
            is_action,
            log_probs,
            log_probs,
            rewards,
            terminated,
            groups,
            values,
            after,
        )
        return Batch(rollout, int(is_action.sum()), returns, lengths)

    def _played(self, number: int) -> tuple[Table, Array]:
        """Return what was played, and what was seen before it was normalised [T + 1, N, d]."""
        envs, steps = self.environments, self.steps
        generator = np.random.Generator(
            np.random.Philox(key=np.array([self.seed, number], np.uint64))
        )
        noise = envs.actions.noise(generator, steps, envs.count)
        raw = np.zeros((steps + 1, envs.count, envs.size), np.float32)
        seen, rewards = raw.copy(), np.zeros((steps, envs.count))
        over = np.zeros((3, steps, envs.count), np.bool_)
        actions = []
        raw[0] = self._seen
        for t in range(steps):
            seen[t] = self.player.shown.normalised(raw[t])
            actions.append(self.player.drawn(seen[t], noise[t]))
            raw[t + 1], rewards[t], over[0, t], over[1, t], over[2, t] = envs.step(
                actions[t]
            )
        seen[steps] = self.player.shown.normalised(raw[steps])
        self._seen = raw[steps]
        return Table(seen, np.stack(actions), rewards * ~over[2], *over), raw

    def _ended(self, table: Table) -> tuple[list[float], list[int]]:
        """Return the returns and lengths of the episodes that ended; the others go on."""
        returns: list[float] = []
        lengths: list[int] = []
        over = table.is_terminated | table.is_truncated
        for t in range(len(over)):
            self._score += table.rewards[t]
            self._length += ~table.is_idle[t]
            if over[t].any():
                returns += self._score[over[t]].tolist()
                lengths += self._length[over[t]].tolist()
                self._score[over[t]] = 0
                self._length[over[t]] = 0
        return returns, lengths

    def _scaled(self, rewards: Tensor, table: Table) -> Tensor:
        """Return rewards over the running standard deviation of their discounted sums, if set."""
        if not self.scaled:
            return rewards
        sums = np.zeros_like(table.rewards)
        for t in range(len(sums)):
            self._discounted = self.gamma * self._discounted + table.rewards[t]
            sums[t] = self._discounted
            self._discounted = self._discounted * ~(
                table.is_terminated[t] | table.is_truncated[t]
            )
        self.returns.see(sums[~table.is_idle][:, None])
        return rewards / float(self.returns.deviation[0])


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
    played: list[Episode] = []
    while len(played) < count:
        left = count - len(played)
        played += _side_by_side(player, min(_AT_ONCE, left), seed + len(played))
    return played


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
