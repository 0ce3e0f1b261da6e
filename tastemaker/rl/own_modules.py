"""A user's own modules: rewards and environments in the folder where a command is called."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType


def own_module(name: str) -> ModuleType:
    """Import a module; those of the current folder are found, as by `python -m`.

    Raises ImportError where there is none, and what the module raises.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return import_module(name)
