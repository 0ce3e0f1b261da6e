"""Tastemaker: learn a taste from people's judgements, and score any text with it.

    import tastemaker as tm

    train, held_out = tm.split(tm.read("aclImdb.tar.gz"), held_out=0.1, seed=0)
    taste = tm.fit(train, backbone="distilbert-base-uncased", epochs=3)
    print(tm.evaluate(taste, held_out))
    taste.score("I was moved to tears, twice, and left the cinema grinning.")

The names below are the public ones; each is imported on first use, so that `import tastemaker`
costs next to nothing.
"""

import os
from typing import Any

import lazy_loader

__version__ = "0.1.0"

# Libraries read these when they are loaded, so what was imported before `tastemaker` does not see
# them.
# torch takes memory for large arrays in pages of 2 MiB instead of 4 KiB: a training step is a tenth
# faster (Linux).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Threads that wait for each other spin for some tenths of a millisecond and then sleep. On an idle
# machine the wait is mostly shorter, and waking up a sleeping thread would cost a tenth of a step.
# On a busy machine a thread that spins for long takes away the core that it waits for. 18,000 is
# between what suits an idle machine (20,000) and what a busy one allows (EXPERIMENTS.md).
# torch's wheels bring libgomp on Linux, libomp elsewhere.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "18000")  # libgomp
# libomp and MKL's libiomp5; milliseconds
os.environ.setdefault("KMP_BLOCKTIME", "1")

_attribute, _names, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in __all__:
        raise AttributeError(
            f"module 'tastemaker' has no attribute {name!r}; public names: {', '.join(__all__)}"
        )
    return _attribute(name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
