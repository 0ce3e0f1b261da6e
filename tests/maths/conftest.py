"""Shapes and types of all arguments and results of maths are checked (jaxtyping, beartype)."""

import sys
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec
from types import ModuleType

import pytest
from jaxtyping import install_import_hook


@pytest.fixture(scope="session")
def checked() -> Callable[[str], ModuleType]:
    """Load a second copy of a module, with its shapes checked: another test may have imported the
    first already.
    """

    def load(name: str) -> ModuleType:
        with install_import_hook(name, "beartype.beartype"):
            loaded = sys.modules.pop(
                name, None
            )  # or find_spec would answer with the unchecked copy's
            spec = find_spec(name)
            if loaded is not None:
                sys.modules[name] = loaded
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
        return module

    return load
