"""The maths of the tests is checked as it runs: every argument's and result's shape and type (jaxtyping, beartype)."""

from importlib.util import find_spec, module_from_spec
from types import ModuleType

import pytest
from jaxtyping import install_import_hook


@pytest.fixture(scope="session")
def checked() -> "type[Checked]":
    """Give `checked.load(name)`: a module of the package with its shapes and types checked at every call."""
    return Checked


class Checked:
    """Loads second copies of modules, because another test may have imported the unchecked ones already."""

    @staticmethod
    def load(name: str) -> ModuleType:
        """Return a fresh copy of the module, checked; the copy in `sys.modules` stays what it is."""
        with install_import_hook(name, "beartype.beartype"):
            spec = find_spec(name)
            assert spec is not None
            assert spec.loader is not None
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
        return module
