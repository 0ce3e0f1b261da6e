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
    """Return the seed of one place in a run: always the same, and different from all others."""
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

    observations: normalised, [T + 1, N, d], the last one after all steps. actions: [T, N] or
    [T, N, a]. rewards, and whether a step terminated, truncated or only began an episode: [T, N].
    """

    observations: Array
    actions: Array
    rewards: Array
    is_terminated: Array
    is_truncated: Array
    is_idle: Array

    def rows(self) -> tuple[Steps, Tensor, Tensor, Tensor]:
        """Return stretches of episodes, `is_action` [B, T], rewards [B, T] and terminated [B].

        A step that only begins an episode separates two stretches and belongs to neither.
        """
        steps, envs = self.rewards.shape
        is_real = ~self.is_idle.T  # [N, T], as all below
        is_after_real = np.zeros_like(is_real)
        is_before_real = np.zeros_like(is_real)
        is_after_real[:, 1:] = is_real[:, :-1]
        is_before_real[:, :-1] = is_real[:, 1:]
        is_first = is_real & ~is_after_real
        first = np.flatnonzero(is_first)
        last_env, last_step = np.nonzero(is_real & ~is_before_real)
        real = np.flatnonzero(is_real)
        row = (np.cumsum(is_first.ravel()) - 1)[real]
        column = real - first[row]
        shape = (len(first), int(column.max()) + 1)

        def in_rows(values: Array) -> Tensor:
            """Return values [T, N, …] of the real steps, by stretch [B, T, …]."""
            rest = values.shape[2:]
            flat = np.moveaxis(values, 0, 1).reshape(envs * steps, *rest)[real]
            rows = np.zeros((*shape, *rest), flat.dtype)
            rows[row, column] = flat
            return torch.from_numpy(rows)

        after = torch.from_numpy(self.observations[last_step + 1, last_env])
        trajectories = Steps(
            in_rows(self.observations[:-1]), in_rows(self.actions), after
        )
        is_action = in_rows(~self.is_idle)
        rewards = in_rows(self.rewards.astype(np.float32))
        terminated = torch.from_numpy(self.is_terminated[last_step, last_env])
        return trajectories, is_action, rewards, terminated


class World:
    """Environments that a player plays, rollout by rollout.

    gamma: the discount of the returns whose standard deviation divides rewards. scaled: whether
    rewards are divided. All numbers of a rollout are drawn by the seed and the rollout's number; a
    rollout that begins all episodes again depends on nothing played before it.
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
        self.environments = environments
        self.player = player
        self.steps = rollout
        self.seed = seed
        self.gamma = gamma
        self.scaled = scaled
        self.returns = Moments(1)
        count = environments.count
        # of the running episodes
        self._observations: Array = np.zeros((count, environments.size))
        self._discounted = np.zeros(count)
        self._score = np.zeros(count)
        self._length = np.zeros(count, np.int64)

    def begin(self, number: int) -> None:
        """Begin all episodes again, before the rollout of that number."""
        self._observations = self.environments.reset(
            seed_of(self.seed, 0, number)
        )
        for running in (self._discounted, self._score, self._length):
            running[:] = 0

    def gather(self, number: int) -> Batch:
        """Play one rollout and update the running statistics of observations and returns."""
        table, observations = self._played(number)
        returns, lengths = self._ended(table)
        trajectories, is_action, rewards, terminated = table.rows()
        rewards = self._scaled(rewards, table)
        actor = self.player.actor
        log_probs = actor.log_probs(trajectories, is_action)
        values, after = actor.critic_values(trajectories, is_action)
        self.player.normaliser.include(observations[:-1][~table.is_idle])
        rollout = Rollout(
            trajectories,
            is_action=is_action,
            log_probs=log_probs,
            reference=log_probs,
            rewards=rewards,
            terminated=terminated,
            groups=torch.arange(len(terminated)),
            values=values,
            after=after,
        )
        return Batch(rollout, int(is_action.sum()), returns, lengths)

    def _played(self, number: int) -> tuple[Table, Array]:
        """Return a rollout, and its observations before they were normalised [T + 1, N, d]."""
        envs = self.environments
        steps = self.steps
        player = self.player
        key = np.array([self.seed, number], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        noise = envs.actions.noise(generator, steps, envs.count)
        observations = np.zeros((steps + 1, envs.count, envs.size), np.float32)
        normalised = observations.copy()
        rewards = np.zeros((steps, envs.count))
        is_terminated, is_truncated, is_idle = np.zeros(
            (3, steps, envs.count), np.bool_
        )
        actions = []
        observations[0] = self._observations
        for t in range(steps):
            normalised[t] = player.normaliser.normalised(observations[t])
            actions.append(player.drawn(normalised[t], noise[t]))
            step = envs.step(actions[t])
            observations[t + 1] = step.observations
            rewards[t] = step.rewards
            is_terminated[t] = step.is_terminated
            is_truncated[t] = step.is_truncated
            is_idle[t] = step.is_idle
        normalised[steps] = player.normaliser.normalised(observations[steps])
        self._observations = observations[steps]
        table = Table(
            normalised,
            np.stack(actions),
            rewards * ~is_idle,
            is_terminated,
            is_truncated,
            is_idle,
        )
        return table, observations

    def _ended(self, table: Table) -> tuple[list[float], list[int]]:
        """Return the returns and lengths of the episodes that ended; the others go on."""
        returns: list[float] = []
        lengths: list[int] = []
        is_over = table.is_terminated | table.is_truncated
        for t in range(len(is_over)):
            self._score += table.rewards[t]
            self._length += ~table.is_idle[t]
            if is_over[t].any():
                returns += self._score[is_over[t]].tolist()
                lengths += self._length[is_over[t]].tolist()
                self._score[is_over[t]] = 0
                self._length[is_over[t]] = 0
        return returns, lengths

    def _scaled(self, rewards: Tensor, table: Table) -> Tensor:
        """Return rewards over the running standard deviation of their discounted sums, if set."""
        if not self.scaled:
            return rewards
        is_over = table.is_terminated | table.is_truncated
        sums = np.zeros_like(table.rewards)
        for t in range(len(sums)):
            self._discounted = self.gamma * self._discounted + table.rewards[t]
            sums[t] = self._discounted
            self._discounted = self._discounted * ~is_over[t]
        self.returns.include(sums[~table.is_idle][:, None])
        return rewards / float(self.returns.deviation[0])


_AT_ONCE = 100
"""Episodes that are played side by side."""
_FRAMES = 400
"""The most pictures of a GIF; of a longer episode some are left out."""
_LONGEST_DRAWN = 1000
"""Steps of a GIF's episode where the environment has no limit of its own."""
_MOST_DRAWN = 2000
"""Steps of a GIF's episode, whatever the limit of the environment: a picture takes a megabyte."""
_WIDTH = 300
"""The most pixels in a row of a picture."""


class Episode(NamedTuple):
    """One episode: the sum of its rewards, and its number of steps.

    is_cut: whether it was cut, because it did not end.
    """

    score: float
    length: int
    is_cut: bool = False


def episodes(player: Player, count: int, *, seed: int) -> list[Episode]:
    """Play `count` episodes, each in an environment of its own: short ones are not overcounted.

    Raises UsageError for none.
    """
    if count < 1:
        raise UsageError(f"episodes {count}: play 1 or more.")
    played: list[Episode] = []
    while len(played) < count:
        remaining = count - len(played)
        played += _side_by_side(
            player, min(_AT_ONCE, remaining), seed + len(played)
        )
    return played


def _side_by_side(player: Player, count: int, seed: int) -> list[Episode]:
    environments = player.environments(count)
    scores = np.zeros(count)
    lengths = np.zeros(count, np.int64)
    is_over = np.zeros(count, np.bool_)
    try:
        observations = environments.reset(seed)
        while not is_over.all() and environments.steps < environments.limit:
            step = environments.step(player.likeliest(observations))
            observations = step.observations
            scores += step.rewards * ~is_over
            lengths += ~is_over
            is_over |= step.is_terminated | step.is_truncated
    finally:
        environments.close()
    totals = zip(
        scores.tolist(), lengths.tolist(), (~is_over).tolist(), strict=True
    )
    return [Episode(*total) for total in totals]


def gif(player: Player, path: Path, *, seed: int) -> Episode:
    """Play one episode into a GIF. Raises UsageError for an environment that cannot be drawn.

    A long episode is cut: all pictures are in memory at once.
    """
    env = pictured(player.environment, player.options)
    frames: list[Any] = []
    score = 0.0
    is_over = False
    limit = getattr(env.spec, "max_episode_steps", None) or _LONGEST_DRAWN
    most = min(limit, _MOST_DRAWN)
    observation, _ = env.reset(seed=seed)
    try:
        while not is_over and len(frames) < most:
            frames.append(env.render())
            action = player.act(observation)
            observation, reward, terminated, truncated, _ = env.step(action)
            score += float(reward)
            is_over = terminated or truncated
        length = len(frames)
        frames.append(env.render())
    finally:
        env.close()
    data = _animated(frames, float(env.metadata.get("render_fps", 30)))
    with writing_file(path) as temporary:
        temporary.write_bytes(data)
    return Episode(score, length, not is_over)


def _animated(frames: list[Any], per_second: float) -> bytes:
    """Return frames [h, w, 3] as a small GIF that repeats; of many frames some are left out."""
    from PIL import Image

    every = max(1, round(per_second / 25), -(-len(frames) // _FRAMES))
    images = [
        Image.fromarray(frame) for frame in [*frames[:-1:every], frames[-1]]
    ]
    width = min(_WIDTH, images[0].width)
    size = (width, round(images[0].height * width / images[0].width))
    small = [image.resize(size).quantize(64) for image in images]
    file = io.BytesIO()
    milliseconds = round(1000 * every / per_second)
    small[0].save(
        file,
        "GIF",
        save_all=True,
        append_images=small[1:],
        duration=milliseconds,
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

    picture: the file of a GIF of the first one. seed: the same seed gives the same episodes.
    Raises ModelError for a folder without a player, UsageError for an environment that cannot be
    drawn.
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
    played = [gif(loaded, Path(picture), seed=seed)]
    if count > 1:
        played += episodes(loaded, count - 1, seed=seed + 1)
    return played
