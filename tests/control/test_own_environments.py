"""A user's own environments: found in the current folder, cut where they never end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import SyncVectorEnv
from shell import fails

from tastemaker.errors import UsageError
from tastemaker.rl import Environments, play, watch

Shell = Callable[..., tuple[int, str, str]]

# --- found in the current folder

CLASS = """
from gymnasium.envs.classic_control import CartPoleEnv
class Mine(CartPoleEnv):
    def __init__(self, gravity=9.8, render_mode=None):
        super().__init__(render_mode=render_mode)
        self.gravity = gravity
"""
REGISTERED = "import gymnasium\ngymnasium.register({name!r}, {entry})\n"


def registering(name: str, entry: str = "Mine") -> str:
    return CLASS + REGISTERED.format(name=name, entry=entry)


OWN: dict[str, tuple[dict[str, str], str]] = {
    "module": ({"own_a.py": registering("OwnA-v0")}, "own_a:OwnA-v0"),
    "package": ({"own_b/__init__.py": registering("OwnB-v0")}, "own_b:OwnB-v0"),
    "module in a package": (
        {"own_c/__init__.py": "", "own_c/worlds.py": registering("OwnC-v0")},
        "own_c.worlds:OwnC-v0",
    ),
    "module in a plain folder": (
        {"own_d/worlds.py": registering("OwnD-v0")},
        "own_d.worlds:OwnD-v0",
    ),
    "name with a space of names": (
        {"own_e.py": registering("own/OwnE-v0")},
        "own_e:own/OwnE-v0",
    ),
    "class in another module": (
        {
            "own_f_class.py": CLASS,
            "own_f.py": "from own_f_class import Mine\n"
            + REGISTERED.format(name="OwnF-v0", entry="Mine"),
        },
        "own_f:OwnF-v0",
    ),
    "class by its address": (
        {"own_g.py": registering("OwnG-v0", "'own_g:Mine'")},
        "own_g:OwnG-v0",
    ),
    "relative import": (
        {
            "own_h/__init__.py": "from . import worlds\n",
            "own_h/worlds.py": registering("OwnH-v0"),
        },
        "own_h:OwnH-v0",
    ),
    "many at once": (
        {
            "own_i.py": CLASS
            + "import gymnasium\nfrom gymnasium.vector import AutoresetMode, SyncVectorEnv\n"
            + "def several(num_envs, **options):\n"
            + "    mode = AutoresetMode.NEXT_STEP\n"
            + "    return SyncVectorEnv([Mine] * num_envs, autoreset_mode=mode)\n"
            + "gymnasium.register('OwnI-v0', Mine, vector_entry_point=several)\n"
        },
        "own_i:OwnI-v0",
    ),
    "no version": ({"own_j.py": registering("OwnJ")}, "own_j:OwnJ"),
}


def written(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_modules: None
) -> Iterator[Path]:
    """The current folder, for one test; what it registers and imports is forgotten."""
    monkeypatch.chdir(tmp_path)
    before = dict(gymnasium.registry)
    yield tmp_path
    gymnasium.registry.clear()
    gymnasium.registry.update(before)


@pytest.mark.parametrize("case", OWN)
def test_an_own_environment_is_found(case: str, here: Path) -> None:
    files, name = OWN[case]
    written(here, files)
    environments = Environments(name, 2)
    assert environments.reset(0).shape == (2, 4)
    environments.step(np.zeros(2, np.int64))
    environments.close()


def test_options_reach_an_own_environment(here: Path) -> None:
    written(here, OWN["module"][0])
    environments = Environments("own_a:OwnA-v0", 1, {"gravity": 2.0})
    assert environments._vector.envs[0].unwrapped.gravity == 2.0
    with pytest.raises(UsageError, match=r"own_a:OwnA-v0: cannot be made .*'wind'"):
        Environments("own_a:OwnA-v0", 1, {"wind": 1})


BROKEN: dict[str, tuple[str, str]] = {
    "not Python": ("def f(:\n", "cannot be imported (SyntaxError"),
    "raises": ("1 / 0\n", "cannot be imported (ZeroDivisionError"),
    "ends the process": ("raise SystemExit(3)\n", "cannot be imported (SystemExit"),
    "needs another": ("import no_such_library\n", "No module named 'no_such_library'"),
    "registers nothing": ("x = 1\n", "there is no environment"),
    "registers another": (registering("OwnZ-v0"), "Perhaps: OwnZ-v0"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_own_module_that_is_broken_is_one_line(
    case: str, here: Path, run: Shell
) -> None:
    code, words = BROKEN[case]
    written(here, {"own_z.py": code})
    fails(run("play", "own_z:OwnY-v0"), words)
    if case in ("not Python", "raises", "ends the process", "needs another"):
        written(here, {"own_reward.py": code})
        from tastemaker.rl import reward_of

        with pytest.raises(UsageError, match="own_reward:f: "):
            reward_of("own_reward:f")


# --- never at an end


class Endless(gymnasium.Env[Any, Any]):
    """Shows how often it was stepped, and never ends unless `ends` says so."""

    def __init__(self, action: Any = None, ends: Callable[[Any], bool] | None = None):
        self.observation_space = Box(-1, 1, (2,), np.float32)
        self.action_space = action or Discrete(2)
        self.ends = ends or (lambda action: False)

    def reset(
        self, *, seed: int | None = None, options: Any = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2, np.float32), 1.0, self.ends(action), False, {}


def many_at_once(num_envs: int, **options: Any) -> Any:
    mode = gymnasium.vector.AutoresetMode.NEXT_STEP
    return SyncVectorEnv([Endless] * num_envs, autoreset_mode=mode)


def registered(name: str, action: Any = None, **more: Any) -> None:
    gymnasium.register(name, lambda: Endless(action), **more)


ENDLESS: dict[str, Callable[[str], None]] = {
    "discrete": registered,
    "whole numbers": lambda name: registered(name, Box(-1, 1, (2,), np.int8)),
    "amounts": lambda name: registered(name, Box(-1, 1, (2,), np.float32)),
    "several": lambda name: registered(name, MultiDiscrete([2, 3])),
    "bits": lambda name: registered(name, MultiBinary(3)),
    "from 1": lambda name: registered(name, Discrete(2, start=1)),
    "a limit of a billion": lambda name: registered(name, max_episode_steps=10**9),
    "many at once": lambda name: gymnasium.register(
        name, Endless, vector_entry_point=many_at_once
    ),
    "no check of order": lambda name: registered(name, order_enforce=False),
    "ends by a rare action": lambda name: gymnasium.register(
        name, lambda: Endless(Discrete(50), lambda action: bool(action == 49))
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_an_environment_that_never_ends_is_measured(
    case: str, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setattr("tastemaker.rl.gym.environment.LONGEST_MEASURED", 30)
    ENDLESS[case]("own/Endless-v0")
    lines: list[str] = []
    settings = {"steps": 64, "envs": 2, "rollout": 16, "hidden": [4]}
    played = play(
        "own/Endless-v0", playing=settings, episodes=2, say=lines.append, out="out"
    )
    assert played.figures["episodes_cut"] == 2
    assert played.mean_return == 30
    assert any("is cut at 30" in line for line in lines)
    assert [game.length for game in watch("out", count=2)] == [30, 30]
