"""Samples of `scripts/kills.py` and `scripts/kills_of_two.py`: kills at a few moments."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "kills.py"


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["score", "fit"])
def test_a_killed_command_ends_as_a_whole_one(verb: str) -> None:
    command = [sys.executable, str(SCRIPT), "--verbs", verb, "--moments", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_when_either_was_killed() -> None:
    script = SCRIPT.with_name("kills_of_two.py")
    command = [
        sys.executable,
        str(script),
        "--verbs",
        "fit",
        "--moments",
        "1",
        "--shard",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
