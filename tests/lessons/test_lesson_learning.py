"""Each lesson learns CartPole, over seeds, in time."""

import json
import os
import re
import resource
import subprocess
import sys

import pytest
from lesson_files import LADDER, LESSONS

SECONDS = 60  # of the processor; the lessons take 3 to 20 on a slow core


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", LADDER)
def test_a_lesson_learns(name: str, seed: int) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(LESSONS / f"{name}.py"), "--seed", str(seed)]
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    *progress, last = ran.stdout.strip().splitlines()
    result = json.loads(last)
    assert set(result) == {"mean_return", "seconds", "steps"}
    assert result["mean_return"] >= 450
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
    pattern = r" *[\d,]+ steps   mean return +\d+\.\d   +\d+\.\d seconds"
    assert progress
    assert [line for line in progress if not re.fullmatch(pattern, line)] == []
