"""16 judges at once while the server is killed: every acknowledged judgement is there, once."""

import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from rank.conftest import start

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(
    address: str, monkeypatch: pytest.MonkeyPatch, judgements: int, kills: int
) -> None:
    """Let 16 judges judge while the server is killed, and check what is in the store."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    script: Any = import_module("rank_load")

    class Forked(script.Server):  # type: ignore[misc]
        """A server that starts at once."""

        def start(self) -> None:
            end = time.monotonic() + 120
            while True:
                try:
                    page = start(self.store, *self.options)
                    break
                except AssertionError:  # the port of the killed server is not free yet
                    assert time.monotonic() < end
            self.process, self.links = page.process, page.links

    monkeypatch.setattr(script, "Server", Forked)
    monkeypatch.setattr(script, "LONGEST", 300.0)
    figures = script.load(address, judges=16, judgements=judgements, kills=kills)
    assert figures["lost"] == figures["twice"] == figures["left"] == 0
    assert figures["in_the_store"] == figures["answered_views"] == judgements
    assert figures["acknowledged"] == judgements


def test_a_killed_server_loses_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(address, monkeypatch, judgements=160, kills=2)


@pytest.mark.slow
def test_a_server_that_is_killed_three_times(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 2,000 take minutes where cores are shared: benchmarks/rank_load.py
    judgements = 300 if "://" in address else 600
    load(address, monkeypatch, judgements, kills=3)
