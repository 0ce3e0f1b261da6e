"""Kill one of two processes that train one model, let them go on, and compare with a whole run.

    python scripts/kills_of_two.py                         # ten moments of fit, pretrain and steer
    python scripts/kills_of_two.py --shard                 # each process has half of the weights
    python scripts/kills_of_two.py --verbs fit --moments 2

The first process and the other one are killed in turn. The moments of the first are those of
`scripts/kills.py`: what it does in the file system. The other writes nothing: its moments are what
it exchanges with the first. The process that is not killed must end by itself. What is under a
final name must be complete. After the same command has run again with --resume, every file that is
not a clock, the log of losses among them, must be that of a whole run, and nothing else may be
left. It prints one line a verb and exits with 1 where a run differs.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kills import (
    Runner,
    commands,
    contents,
    die_at,
    differences,
    end,
    end_with,
    import_everything,
    moments_in,
    torn,
)

VERBS = ("fit", "pretrain", "steer")
# a linear model works in one process
NETWORK = ("--backbone", "tiny", "--vocabulary", "320", "--max-length", "16")
STEPS = ("--batch-size", "64", "--epochs", "2", "--evaluations", "2")
PATIENCE = 300.0
"""Seconds until a process that waits for a killed one counts as hanging."""
Codes = list[int | None]
"""The exit code of each process; None for one that hung."""


# --- the process that runs commands


def die_at_exchange(at: int) -> list[int]:
    """Kill this process at what it exchanges with others; 0: never. Return a list of the number."""
    from tastemaker import processes

    count = [0]

    def counted(exchange: Callable[[], Any]) -> Callable[[], Any]:
        def enter() -> Any:
            count[0] += 1
            if count[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return exchange()

        return enter

    for name in ("answering", "answering_while_computing"):
        setattr(processes, name, counted(getattr(processes, name)))
    return count


def serve() -> None:
    """Run the commands that come on standard input, each in forks; answer each with a line."""
    import_everything()
    for line in sys.stdin:
        job = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            job["port"] = free.getsockname()[1]
        children = []
        for number in range(job["processes"]):
            child = os.fork()
            if child == 0:
                work(job, number)
            children.append(child)
        print(json.dumps(ends_of(children)), flush=True)


def work(job: dict[str, Any], number: int) -> None:
    """Be one of the processes of a command, and end with it."""
    with Path(f"{job['log']}.{number}").open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        if job["processes"] > 1:
            os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
            os.environ |= {"WORLD_SIZE": str(job["processes"])}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(job["port"])}
        at = job["at"] if job["killed"] == number else 0
        count = die_at_exchange(at) if number else die_at(job["root"], at)
        # into the file: the second process has closed its standard error
        end_with(job["words"], count, file)


def ends_of(children: Sequence[int]) -> Codes:
    """Wait for children; return the exit code of each."""
    codes: dict[int, int | None] = {}
    hangs_at = None
    while len(codes) < len(children):
        for child in children:
            if child in codes:
                continue
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                codes[child] = os.waitstatus_to_exitcode(status)
                hangs_at = time.monotonic() + PATIENCE
            elif hangs_at is not None and time.monotonic() > hangs_at:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                codes[child] = None
        time.sleep(0.005)
    return [codes[child] for child in children]


def run(
    runner: Runner,
    root: Path,
    words: list[str],
    *,
    processes: int = 2,
    at: int = 0,
    killed: int = 0,
) -> tuple[Codes, list[int]]:
    """Run a command; return the exit codes and the moments of its processes.

    A process that torch's own thread aborts because the other one is gone counts as ended with 1.

    at: the moment at which one of them is killed; 0: never. killed: which.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        job = {"root": str(root), "words": words, "log": str(log)}
        job |= {"processes": processes, "at": at, "killed": killed}
        codes: Codes = runner.answer(job)
        moments = []
        for number, code in enumerate(codes):
            printed = Path(f"{log}.{number}").read_text(encoding="utf-8")
            moments.append(moments_in(printed))
            if at and code == -signal.SIGABRT and "c10d" in printed:
                codes[number] = 1
            # a process that loses another ends with 1
            expected = (0, 1, -signal.SIGKILL) if at else (0,)
            if codes[number] not in expected:
                sys.stderr.write(printed)
    return codes, moments


# --- the campaign


def command_of(verb: str, folder: Path, *, shard: bool) -> list[str]:
    """Return a verb's command for two processes, without its --out."""
    command = list(commands(folder)[verb][1])
    if verb == "fit":
        command += [*NETWORK, *STEPS]
    if shard:
        command.append("--shard")
    if shard and verb == "pretrain":
        command += ["--grow-at", "0"]
    return command


def problems_after(
    runner: Runner,
    root: Path,
    words: list[str],
    kill: dict[str, int],
    expected: dict[str, Any],
) -> Iterator[str]:
    """Kill a process of a run, let the run go on, and yield what was wrong."""
    codes, _ = run(runner, root, words, **kill)
    if codes.pop(kill["killed"]) != -signal.SIGKILL:
        yield "was not killed"
    if codes[0] not in (0, 1):  # 0: it had nothing left to wait for
        yield f"the other process ends with {codes[0]}"
    for problem in torn(root, expected):
        yield f"torn: {problem}"
    codes, _ = run(runner, root, words)
    if any(codes):
        yield f"the next run ends with {codes}"
    yield from differences(expected, contents(root))


def campaign(
    runner: Runner, verb: str, moments: int, folder: Path, *, shard: bool
) -> list[str]:
    """Kill the processes of one verb at so many moments; return what was wrong."""
    began = time.monotonic()
    for words in commands(folder)[verb][0]:
        if not Path(words[-1]).exists():
            codes, _ = run(runner, folder, words, processes=1)
            assert codes == [0], words
    root = folder / "work"
    words = [*command_of(verb, folder, shard=shard), "--out", str(root / "out")]
    codes, counts = run(runner, root, words)
    assert not any(codes), words
    expected = contents(root)
    shutil.rmtree(root)
    problems = []
    for number in range(moments):
        killed = number % 2
        at = 1 + (2 * number + 1) * counts[killed] // (2 * moments)
        kill = {"at": at, "killed": killed}
        for problem in problems_after(runner, root, words, kill, expected):
            place = f"{verb}, process {killed}, moment {at} of {counts[killed]}"
            problems.append(f"{place}: {problem}")
        shutil.rmtree(root, ignore_errors=True)
    seconds = round(time.monotonic() - began)
    print(
        f"{verb}: {moments} of {counts[0]} + {counts[1]} moments, {len(problems)} problems, "
        f"{seconds} s",
        flush=True,
    )
    return problems


def main() -> None:
    """Kill the processes of each verb, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbs", nargs="+", default=VERBS, choices=VERBS)
    parser.add_argument("--moments", type=int, default=10)
    parser.add_argument("--shard", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    problems = []
    runner = Runner(__file__, 1)
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            for verb in options.verbs:
                problems += campaign(
                    runner, verb, options.moments, folder, shard=options.shard
                )
    finally:
        runner.close()
    end(problems)


if __name__ == "__main__":
    main()
