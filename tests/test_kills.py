"""A sample of `scripts/kills.py`: commands are killed at a few file-system moments."""

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
