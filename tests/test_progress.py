"""What shows that work goes on where there is no terminal."""

from typing import Any

import pytest

from tastemaker import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands until its hand is moved."""
    hand = [0.0]
    monkeypatch.setattr("tastemaker.progress.time.monotonic", lambda: hand[0])
    # as another test's command line may have left it
    monkeypatch.setattr("tastemaker.progress._quiet", False)
    return hand


def test_a_line_a_minute_without_a_terminal(clock: list[float], capsys: Any) -> None:
    with progress.progress("steering", 10) as advance:
        advance(2, "")
        for step in range(1, 5):
            clock[0] = 40.0 * step
            advance(1, f"score {step}")
    assert capsys.readouterr().err.splitlines() == [
        "steering: 40%, 1 min so far and about 4 min left; score 2",
        "steering: 60%, 3 min so far and about 3 min left; score 4",
    ]


def test_quiet_is_quiet_and_so_is_short_work(clock: list[float], capsys: Any) -> None:
    with progress.progress("reading", None) as advance:
        clock[0] = 59.0
        advance(1, "")
    progress.set_quiet(True)
    try:
        with progress.progress("reading", None) as advance:
            clock[0] = 600.0
            advance(1, "")
    finally:
        progress.set_quiet(False)
    assert capsys.readouterr().err == ""
