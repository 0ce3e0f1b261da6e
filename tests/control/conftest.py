"""Environments small enough to know everything about, registered for the tests that play them."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete

HEIGHT = 1000.0


class Counting(gymnasium.Env[Any, Any]):
    """Shows (its number of the episode, the step in it); ends after `ends` steps, cut after `cut`;
    pays 10·step.
    """

    def __init__(self, ends: int = 3, cut: int = 1000) -> None:
        self.observation_space = Box(-HEIGHT, HEIGHT, (2,), np.float32)
        self.action_space = Discrete(2)
        self.ends, self.cut, self.episode, self.count = ends, cut, -1, 0

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode, self.count = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        return (
            self._observation(),
            10.0 * self.count,
            self.count >= self.ends,
            self.count >= self.cut,
            {},
        )

    def _observation(self) -> Any:
        return np.array([self.episode, self.count], np.float32)


class Mirror(gymnasium.Env[Any, Any]):
    """Shows which of four actions to take, pays 1 for it, and ends after one step."""

    def __init__(self) -> None:
        self.observation_space = Box(0, 1, (4,), np.float32)
        self.action_space: Any = Discrete(4, start=1)

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.wanted = int(self.np_random.integers(4))
        return np.eye(4, dtype=np.float32)[self.wanted], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return (
            np.zeros(4, np.float32),
            float(action - 1 == self.wanted),
            True,
            False,
            {},
        )


class Aim(gymnasium.Env[Any, Any]):
    """Shows a number, pays −(action − number)², and ends after one step; actions from −3 to 1."""

    def __init__(self) -> None:
        self.observation_space = Box(-1, 1, (1,), np.float32)
        self.action_space = Box(np.float32(-3), np.float32(1), (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.wanted = float(self.np_random.uniform(-1, 1))
        return np.array([self.wanted], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return (
            np.zeros(1, np.float32),
            -((float(action[0]) - self.wanted) ** 2),
            True,
            False,
            {},
        )


class Doors(gymnasium.Env[Any, Any]):
    """Shows two bits, pays 1 for each action that repeats its bit, and ends after one step.

    kind: the space of the actions; whole numbers of a Box are −1 for 0 and 1 for 1.
    """

    def __init__(self, kind: str = "discrete") -> None:
        spaces = {
            "discrete": MultiDiscrete([2, 3], start=[1, 1]),
            "binary": MultiBinary(2),
            "whole": Box(-1, 1, (2,), np.int8),
        }
        self.observation_space = Box(0, 1, (2,), np.float32)
        self.action_space = spaces[kind]
        self.wanted = {"discrete": (1, 2), "binary": (0, 1), "whole": (-1, 1)}[kind]

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.bits = self.np_random.integers(2, size=2)
        return self.bits.astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        pairs = zip(action, self.bits, strict=True)
        pay = sum(int(one == self.wanted[bit]) for one, bit in pairs)
        return np.zeros(2, np.float32), float(pay), True, False, {}


class Endless(Counting):
    """Never ends."""

    def __init__(self) -> None:
        super().__init__(ends=10**9, cut=10**9)


class Failing(Counting):
    """Goes wrong at some step of its life: raises, or shows or pays what is no number."""

    def __init__(self, failure: str = "raises", at: int = 40) -> None:
        super().__init__()
        self.failure, self.at, self.life = failure, at, 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.life += 1
        observation, reward, ended, cut, info = super().step(action)
        if self.life == self.at and self.failure == "raises":
            raise ZeroDivisionError("no more apples")
        if self.life == self.at and self.failure == "shows":
            observation = np.array([1.0, np.nan], np.float32)
        if self.life == self.at and self.failure == "pays":
            reward = float("inf")
        return observation, reward, ended, cut, info


class Nested(Counting):
    """Shows a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = Dict({"a": Discrete(2)})  # type: ignore[assignment]


ENVIRONMENTS = {
    "Counting": Counting,
    "Mirror": Mirror,
    "Aim": Aim,
    "Doors": Doors,
    "Endless": Endless,
    "Failing": Failing,
    "Nested": Nested,
}


@pytest.fixture(autouse=True, scope="session")
def registered() -> Iterator[None]:
    """Register them as test/Counting-v0 …; forget them afterwards."""
    for name, made in ENVIRONMENTS.items():
        gymnasium.register(f"test/{name}-v0", made)
    yield
    for name in ENVIRONMENTS:
        del gymnasium.registry[f"test/{name}-v0"]
