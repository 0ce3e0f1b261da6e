"""`import tastemaker` and `--help` are fast: heavy libraries are imported on first use."""

import os
import resource
import subprocess
import sys

import pytest

from tastemaker.cli import app

HEAVY = {
    "torch",
    "transformers",
    "sklearn",
    "scipy",
    "matplotlib",
    "pyarrow",
    "sentence_transformers",
    "datasets",
}
LIMIT = 0.5

IMPORT = "import tastemaker"
HELP = """
from tastemaker.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert not end.code, end.code
"""
LOADED = (
    "\nimport sys; sys.stderr.write(' '.join(m for m in sys.modules if '.' not in m))"
)


def run(code: str) -> tuple[float, str]:
    """Run code in a fresh interpreter; return the seconds of processor it took, and its stderr.

    On an idle machine these are the seconds that a person waits.
    """
    # what measures this run's coverage or shapes would be measured too
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COV_", "COVERAGE"))
    }
    start = _processor_seconds()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    seconds = _processor_seconds() - start
    assert done.returncode == 0, done.stderr
    return seconds, done.stderr


def _processor_seconds() -> float:
    """Return the seconds of processor that finished child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


COMMANDS = {"import": IMPORT, "help": HELP}
for verb in app.commands:
    COMMANDS[verb] = HELP.replace('["--help"]', f'["{verb}", "--help"]')


def limit() -> float:
    """Return the seconds of processor that are allowed now.

    Programs that share a core and its caches take more of it for the same work, so a busy machine
    gets twice as many.
    """
    is_busy = os.getloadavg()[0] > len(os.sched_getaffinity(0))
    return 2 * LIMIT if is_busy else LIMIT


@pytest.mark.parametrize("code", COMMANDS.values(), ids=COMMANDS)
def test_it_takes_under_half_a_second(code: str) -> None:
    seconds = []
    for _ in range(8):
        seconds.append(run(code)[0])
        if seconds[-1] < LIMIT:
            return
    assert min(seconds) < limit(), f"{min(seconds):.2f} s"


@pytest.mark.parametrize("code", COMMANDS.values(), ids=COMMANDS)
def test_nothing_heavy_is_imported(code: str) -> None:
    loaded = set(run(code + LOADED)[1].split())
    assert "tastemaker" in loaded
    assert not loaded & HEAVY


LINEAR_FIT = """
import tastemaker as tm
texts = ["good film", "bad film", "a good one", "a bad one"] * 10
labels = [tm.Label(f"{text} {i}", "good" in text) for i, text in enumerate(texts)]
tm.fit(labels).score("good")
"""
PLAY = """
import tastemaker as tm
tm.play("CartPole-v1", steps=256, episodes=1)
"""


@pytest.mark.parametrize("code", [LINEAR_FIT, PLAY], ids=["linear fit", "play"])
def test_transformers_is_imported_only_where_a_network_reads_text(code: str) -> None:
    loaded = set(run(code + LOADED)[1].split())
    assert "torch" in loaded
    assert not loaded & {"transformers", "accelerate", "sentence_transformers"}


def test_waiting_threads_soon_sleep_unless_the_user_chose_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = IMPORT + "\nimport os, sys; sys.stderr.write(os.environ['GOMP_SPINCOUNT'])"
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    assert run(code)[1] == "18000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert run(code)[1] == "7"
