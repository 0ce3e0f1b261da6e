"""16 judges at once while the server is killed: every acknowledged judgement is there, once."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from rank.conftest import start

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_a_killed_server_loses_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    script: Any = import_module("rank_load")

    class Forked(script.Server):  # type: ignore[misc]
        """A server that starts at once."""

        def start(self) -> None:
            page = start(self.store, *self.options, links=self.judges + 1)
            self.process, self.links = page.process, page.links

    monkeypatch.setattr(script, "Server", Forked)
    figures = script.load(address, judges=16, judgements=160, kills=2)
    assert figures["lost"] == figures["twice"] == figures["left"] == 0
    assert figures["in_the_store"] == figures["answered_views"] == 160
    assert figures["acknowledged"] == 160
