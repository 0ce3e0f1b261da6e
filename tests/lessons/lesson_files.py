"""The lessons for tests: files in order, their text without the header, loaded by path."""

import importlib.util
from pathlib import Path
from types import ModuleType

LESSONS = Path(__file__).resolve().parents[2] / "lessons"
LADDER = (
    "lesson1_reinforce",
    "lesson2_reward_to_go",
    "lesson3_baseline",
    "lesson4_actor_critic",
    "lesson5_trpo",
    "lesson6_ppo",
)


def text_of(name: str) -> str:
    """Return the text of a lesson."""
    return (LESSONS / f"{name}.py").read_text(encoding="utf-8")


def code_of(name: str) -> list[str]:
    """Return the lines of a file of lessons/ behind its header."""
    return text_of(name).split('"""', 2)[2].splitlines()


def load(path: Path) -> ModuleType:
    """Return the module in a file, whatever other modules are called."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lesson(name: str) -> ModuleType:
    """Return a lesson as a module."""
    return load(LESSONS / f"{name}.py")
