"""Samples of `scripts/kills.py` and `scripts/kills_of_two.py`: kills at a few moments."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "kills.py --verbs score fit --moments 2",
        # each of the two processes is killed once
        "kills_of_two.py --verbs fit --moments 2 --shard",
    ],
    ids=["one process", "two processes"],
)
def test_a_killed_command_ends_as_a_whole_one(command: str) -> None:
    script, *options = command.split()
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
