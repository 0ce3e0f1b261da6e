"""Environments in, a rollout out; a row is a stretch of one episode."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tastemaker.rl.algorithms.base import Rollout
from tastemaker.rl.gym.actor import Array, Steps
from tastemaker.rl.gym.environment import Environments
from tastemaker.rl.gym.moments import Moments
from tastemaker.rl.gym.player import Player


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
        kept = np.flatnonzero(is_real)
        row, place = row[kept], kept - first[row[kept]]
        shape = (len(first), int(place.max()) + 1)

        def stretched(values: Array) -> Tensor:
            flat = np.moveaxis(values, 0, 1).reshape(envs * steps, *values.shape[2:])[
                kept
            ]
            found = np.zeros((*shape, *values.shape[2:]), flat.dtype)
            found[row, place] = flat
            return torch.from_numpy(found)

        after = torch.from_numpy(self.seen[last_step + 1, last_env])
        did = Steps(stretched(self.seen[:-1]), stretched(self.actions), after)
        ended = torch.from_numpy(self.is_terminated[last_step, last_env])
        return (
            did,
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
        did, is_action, rewards, terminated = table.rows()
        rewards = self._scaled(rewards, table)
        log_probs = self.player.actor.log_probs(did, is_action)
        values, after = self.player.actor.expected(did, is_action)
        self.player.shown.see(raw[:-1][~table.is_idle])
        groups = torch.arange(len(terminated))
        rollout = Rollout(
            did,
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
