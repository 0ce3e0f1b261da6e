"""What shows that work goes on where there is no terminal."""

import io
import threading
import time
from contextlib import redirect_stderr
from typing import Any

import pytest
from nano import nano

from tastemaker import progress
from tastemaker.errors import RewardError
from tastemaker.gpt import Sampling
from tastemaker.rl import Steering, steer


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


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Where lines are written, with a beat of a twentieth of a second."""
    monkeypatch.setattr("tastemaker.progress._quiet", False)
    monkeypatch.setattr("tastemaker.progress.BEAT", 0.05)
    return io.StringIO()


def heartbeats() -> int:
    """Return how many threads write lines."""
    return sum(thread.name == "heartbeat" for thread in threading.enumerate())


def wait_for_lines(log: io.StringIO, title: str, count: int = 2) -> int:
    """Wait until so many lines begin with a title, at most 20 seconds; return how many do."""
    deadline = time.monotonic() + 20
    start = len(log.getvalue())
    while True:
        written = log.getvalue()[start:].splitlines()
        lines = sum(line.startswith(title) for line in written)
        if lines >= count or time.monotonic() > deadline:
            return lines
        time.sleep(0.01)


def test_lines_come_also_while_nothing_advances(log: io.StringIO) -> None:
    with (
        redirect_stderr(log),
        progress.progress("one slow call", 4, timed=True) as advance,
    ):
        advance(1, "score 2")
        assert wait_for_lines(log, "one slow call: 25%, 0 min so far; score 2") >= 2
    assert heartbeats() == 0
    with (
        pytest.raises(KeyboardInterrupt),
        progress.progress("stopped", None, timed=True),
    ):
        raise KeyboardInterrupt
    assert heartbeats() == 0


def test_quiet_has_no_timer(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastemaker.progress._quiet", True)
    with (
        redirect_stderr(log),
        progress.progress("one slow call", None, timed=True),
    ):
        assert heartbeats() == 0
        time.sleep(0.2)
    assert log.getvalue() == ""


def test_a_slow_reward_is_seen_to_work_before_in_and_after_the_steps(
    log: io.StringIO,
) -> None:
    """An LLM may take minutes for one call: measured before, a step, measured after."""
    titles = iter(["measuring:", "steering by reinforce:", "measuring:"])
    counts: list[int] = []

    def slow(prompts: list[str], texts: list[str]) -> list[float]:
        counts.append(wait_for_lines(log, next(titles)))
        return [float(len(text)) for text in texts]

    with redirect_stderr(log):
        steer(
            nano(),
            slow,
            ["A"],
            algorithm="reinforce",
            steering=Steering(steps=1, batch=4, measured=4, windows=1),
            sampling=Sampling(max_tokens=4),
        )
    assert len(counts) == 3
    assert min(counts) >= 2
    assert heartbeats() == 0


def test_no_timer_is_left_where_a_reward_fails(log: io.StringIO) -> None:
    def fails(prompts: list[str], texts: list[str]) -> list[float]:
        raise OSError("gone")

    with pytest.raises(RewardError, match="gone"):
        steer(nano(), fails, ["A"], steering=Steering(steps=1, batch=4, measured=4))
    assert heartbeats() == 0
