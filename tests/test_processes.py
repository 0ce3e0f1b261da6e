"""Many processes train one model: the curve of one, one that writes, and what ends a run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import forked
import processes_work
import pytest
from shell import fails

import tastemaker as tm
from tastemaker.data import Example

TESTS = Path(__file__).parent
CLOCK = ("seconds", "per_second")


def variables(size: int = 2) -> Iterator[dict[str, str]]:
    """Yield torchrun's variables for each process, with a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for number in range(size):
        yield {
            "RANK": str(number),
            "LOCAL_RANK": str(number),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }


def started(
    *commands: Callable[[Mapping[str, str]], forked.Forked],
) -> list[forked.Forked]:
    """Start one process for each command."""
    pairs = zip(commands, variables(len(commands)), strict=True)
    return [command(environment) for command, environment in pairs]


def command(*words: object) -> Callable[[Mapping[str, str]], forked.Forked]:
    """Return what starts `tastemaker` with some words."""
    return lambda environment: forked.start(*words, environment=dict(environment))


def outcomes(processes: list[forked.Forked]) -> list[tuple[int, str]]:
    """Return the exit code and the output of each process."""
    return [(process.wait(120), process.output()) for process in processes]


def curve(folder: Path) -> list[dict[str, float]]:
    """Return the logged metrics, without those of the clock."""
    lines = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    rows = []
    for line in lines:
        row = json.loads(line)
        rows.append({k: v for k, v in row.items() if not k.endswith(CLOCK)})
    return rows


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process made, and what two did: each verb has a folder."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    alone = forked.start_call(processes_work.main_in, str(one))
    together = [
        forked.start_call(processes_work.main_in, str(two), environment=environment)
        for environment in variables()
    ]
    for code, output in outcomes([alone, *together]):
        assert code == 0, output
    return one, two


def results(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(path.read_text()) for path in sorted(folder.glob("process-*.json"))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["fit", "pretrain", "ppo", "trpo", "dpo"])
def test_two_processes_learn_as_one(folders: tuple[Path, Path], verb: str) -> None:
    one, two = folders
    alone, together = curve(one / verb), curve(two / verb)
    assert len(alone) == len(together) >= 4
    for before, after in zip(alone[:20], together[:20], strict=True):
        assert before.keys() == after.keys()
        for name in before.keys() & {"loss", "cost", "score", "preference_loss", "kl"}:
            assert after[name] == pytest.approx(before[name], abs=1e-6), (
                verb,
                name,
                before,
            )
    first, second = (result[verb] for result in results(two))
    assert first["weights"] == second["weights"]
    if verb in ("ppo", "trpo", "dpo"):
        assert first["texts"] == second["texts"] == results(one)[0][verb]["texts"]


@pytest.mark.slow
def test_a_saved_model_scores_as_that_of_one_process(
    folders: tuple[Path, Path],
) -> None:
    one, two = folders
    texts = ["A warm film.", "A dull film, and long.", "Bright!"]
    expected = tm.load(one / "fit").score(texts)
    assert tm.load(two / "fit").score(texts) == pytest.approx(expected, abs=1e-4)
    alone, (first, second) = results(one)[0]["fit"]["scores"], results(two)
    assert first["fit"]["scores"] == pytest.approx(alone, abs=1e-4)
    # the other process returns the same model
    assert second["fit"]["scores"] == pytest.approx(alone, abs=1e-4)


@pytest.mark.slow
def test_the_first_process_alone_asks_a_function(folders: tuple[Path, Path]) -> None:
    one, two = folders
    first, second = results(two)
    assert second["calls"] == []
    assert first["calls"] == results(one)[0]["calls"]
    assert not list(two.glob("**/.*"))  # no lock, nothing temporary
