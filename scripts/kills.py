"""Kill commands at many file-system moments, run them again, and compare with runs that were whole.

    python scripts/kills.py                            # 40 moments of every verb
    python scripts/kills.py --verbs score --moments 2
    python scripts/kills.py --verbs steer --share 1/4  # every fourth moment of the 40
    python scripts/kills.py --processes 2 --moments 10         # two train one model; one is killed
    python scripts/kills.py --processes 2 --moments 10 --shard # each has half of the weights

A moment is a file that is opened for writing, a rename, a removal or a new folder, below the
command's output. The process dies before it, or, where a file is opened, just after it, when the
file is empty. After each kill, what is under a final name must be complete. After the same command
has run again, every file that is not a clock must be that of a whole run, and nothing else may be
left. It prints one line a verb and exits with 1 where a run differs.

Of two processes the first one and the other are killed in turn. The other writes nothing: its
moments are what it exchanges with the first. The one that is not killed must end by itself.

A command runs in a fork of a process that has imported everything. The next run is a fork of
another one, whose sets have another order (PYTHONHASHSEED).
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

CLOCKS = ("seconds", "_per_second")
"""Figures with such an ending differ from run to run."""
GROWING = ("metrics.jsonl", "tensorboard")
"""Logs of a run: they grow, and the next run cuts off what it measures again."""
ALMOST_NOTHING = ("--epochs", "1", "--context", "32", "--vocabulary", "300")
SHORT = ("--steps", "3", "--batch", "8", "--measured", "8", "--windows", "3")
NETWORK = ("--backbone", "tiny", "--vocabulary", "320", "--max-length", "16")
STEPS = ("--batch-size", "64", "--epochs", "3", "--evaluations", "3")
TOGETHER = ("fit", "pretrain", "steer")
"""The verbs that train in many processes."""
PATIENCE = 300.0
"""Seconds until a process that waits for a killed one counts as hanging."""


# --- the process that runs commands


def die_at(root: str, at: int) -> list[int]:
    """Kill this process at a moment below a folder; 0: never. Return a list of their number."""
    count = [0]

    def hook(event: str, details: tuple[Any, ...]) -> None:
        flags = 0
        if event == "open":
            path, _, flags = details
            flags = flags or 0
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            path = details[0]
        else:
            return
        if isinstance(path, int):
            return
        path = os.fsdecode(path)
        # shutil.rmtree gives names in an open folder
        is_in_open_folder = event == "os.remove" and not path.startswith("/")
        if not path.startswith(root) and not is_in_open_folder:
            return
        count[0] += 1
        if count[0] == at:
            if flags and at % 2:
                os.open(path, flags, 0o666)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return count


def die_at_exchange(at: int) -> list[int]:
    """Kill this process at what it exchanges with others; 0: never. Return a list of the number."""
    from tastemaker import processes

    count = [0]
    exchange = processes.answering

    def counted() -> Any:
        count[0] += 1
        if count[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return exchange()

    processes.answering = counted
    return count


def serve() -> None:
    """Run the commands that come on standard input, each in forks; answer each with a line."""
    import tastemaker.loop.tasks  # noqa: F401  # imports everything

    for line in sys.stdin:
        job = json.loads(line)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = []
        for number in range(job["processes"]):
            child = os.fork()
            if child == 0:
                work(job, number, port)
            children.append(child)
        print(json.dumps(ends_of(children)), flush=True)


def work(job: dict[str, Any], number: int, port: int) -> None:
    """Be one of the processes of a command."""
    from tastemaker.cli import main

    # process 0 has none of these lines, so that they come through where others are silent
    file = Path(f"{job['log']}.{number}").open("w", encoding="utf-8")  # noqa: SIM115
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    at = job["at"] if job["killed"] == number else 0
    if job["processes"] > 1:
        os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
        os.environ |= {"WORLD_SIZE": str(job["processes"])}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    count = die_at_exchange(at) if number else die_at(job["root"], at)
    code = 1
    try:
        main(job["words"])
        code = 0
    except SystemExit as ending:
        code = int(ending.code or 0)
    finally:
        file.write(f"\nmoments {count[0]}\n")
        file.flush()
        os._exit(code)


def ends_of(children: Sequence[int]) -> list[int | None]:
    """Return the exit code of each child; None for one that hung after another had ended."""
    codes: dict[int, int | None] = {}
    hung_at = None
    while len(codes) < len(children):
        for child in children:
            if child in codes:
                continue
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                codes[child] = os.waitstatus_to_exitcode(status)
                hung_at = time.monotonic() + PATIENCE
            elif hung_at is not None and time.monotonic() > hung_at:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                codes[child] = None
        time.sleep(0.005)
    return [codes[child] for child in children]


class Runner:
    """A process that runs commands."""

    def __init__(self, hash_seed: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
        )

    def run(
        self,
        root: Path,
        words: list[str],
        *,
        at: int = 0,
        killed: int = 0,
        processes: int = 1,
    ) -> tuple[list[int | None], list[int]]:
        """Run a command in so many processes; return their exit codes and moments.

        at: the moment at which one of them is killed; 0: never. killed: which.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            job = {"root": str(root), "words": words, "log": str(log)}
            job |= {"at": at, "killed": killed, "processes": processes}
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            codes = json.loads(self.process.stdout.readline())
            moments = []
            for number, code in enumerate(codes):
                printed = Path(f"{log}.{number}").read_text(encoding="utf-8")
                moments.append(moments_in(printed))
                if not at and code != 0:
                    sys.stderr.write(printed)
        return codes, moments

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def moments_in(printed: str) -> int:
    """Return the number of moments that a process told of."""
    for line in reversed(printed.splitlines()):
        if line.startswith("moments "):
            return int(line.split()[1])
    return 0


@contextlib.contextmanager
def runners() -> Iterator[tuple[Runner, Runner]]:
    """Yield the process of runs that are killed, and that of runs after them."""
    both = Runner(1), Runner(2)
    try:
        yield both
    finally:
        for runner in both:
            runner.close()


# --- what is on the disk


def torn(root: Path, whole: dict[str, Any]) -> list[str]:
    """Return the files under a final name that are not complete.

    whole: the contents of a whole run. Where it has a file of the same name, the two are equal.
    """
    problems = []
    for path in visible(root):
        name = str(path.relative_to(root))
        if any(word in path.parts for word in GROWING):
            continue
        try:
            content = content_of(path)
            if name in whole and content != whole[name]:
                problems.append(f"{name}: not that of a whole run")
            elif not content:
                problems.append(f"{name}: empty")
        except Exception as error:
            problems.append(f"{name}: {error}")
    return problems


def visible(root: Path) -> list[Path]:
    """Return the files below a folder whose names, and folders, are not hidden."""
    paths = []
    for path in sorted(root.rglob("*")):
        names = path.relative_to(root).parts
        if path.is_file() and not any(name.startswith(".") for name in names):
            paths.append(path)
    return paths


def contents(root: Path) -> dict[str, Any]:
    """Return what is below a folder, without clocks; hidden files too."""
    by_name: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and "tensorboard" not in path.parts:
            by_name[str(path.relative_to(root))] = content_of(path)
    return by_name


def content_of(path: Path) -> Any:
    """Return what a file holds, without clocks. Raises an error where it cannot be read."""
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text(encoding="utf-8")))
    if path.suffix == ".jsonl":
        lines = path.read_text(encoding="utf-8").splitlines()
        return [_timeless(json.loads(line)) for line in lines]
    if path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as file:
            list(file.keys())
    return path.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if not k.endswith(CLOCKS)}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return value


# --- the commands


def commands(folder: Path) -> dict[str, tuple[list[list[str]], list[str]]]:
    """Return by verb what is to be done first, and the command without its --out."""
    rows = folder / "rows.jsonl"
    with rows.open("w", encoding="utf-8") as file:
        for number in range(300):
            is_good = number % 3 == 0
            text = f"Film {number} was {'brilliant' if is_good else 'awful'}."
            file.write(json.dumps({"text": text, "label": is_good}) + "\n")
    prompts = folder / "prompts.txt"
    prompts.write_text("The film\nThe acting\n" * 20, encoding="utf-8")
    taste, gpt = str(folder / "taste"), str(folder / "gpt")
    fit = ["fit", str(rows), "--quiet"]
    pretrain = ["pretrain", "playground:en:200", *ALMOST_NOTHING, "--quiet"]
    fitted = [*fit, "--out", taste]
    trained = [*pretrain, "--out", gpt]
    short = ["--max-tokens", "5"]
    steer = ["steer", gpt, "--reward", taste, "--prompts", str(prompts)]
    play = ["play", "CartPole-v1", "--steps", "512", "--episodes", "2"]
    return {
        "score": ([fitted], ["score", taste, "--file", str(rows)]),
        "fit": ([], [*fit, "--resume"]),
        "members": ([], [*fit, "--members", "2", "--resume"]),
        "pretrain": ([], [*pretrain, "--resume"]),
        "write": ([trained], ["write", gpt, "--file", str(prompts), *short]),
        "steer": (
            [fitted, trained],
            [*steer, *short, *SHORT, "--quiet", "--resume"],
        ),
        "play": ([], [*play, "--quiet", "--resume"]),
        "split": ([], ["split", str(rows), "--quiet"]),
    }


def for_many(verb: str, command: list[str], *, shard: bool) -> list[str]:
    """Return a verb's command for many processes."""
    command = list(command)
    if verb == "fit":
        command += [*NETWORK, *STEPS]  # a linear model works in one process
    if shard:
        command.append("--shard")
    if shard and verb == "pretrain":
        command += ["--grow-at", "0"]
    return command


VERBS = (
    "score",
    "fit",
    "members",
    "pretrain",
    "write",
    "steer",
    "play",
    "split",
)
NAMES = {"score": "scored.csv", "write": "written.jsonl"}


def differences(expected: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Yield how the files of a run differ from those of a whole one."""
    for path in sorted(expected.keys() | after.keys()):
        if path not in after or path not in expected:
            yield f"only one run has {path}"
        elif after[path] != expected[path]:
            yield f"{path} differs"


def kill_and_go_on(
    run_killed: Callable[[], list[int | None]],
    run_later: Callable[[], list[int | None]],
    killed: int,
    whole: Path,
    expected: dict[str, Any],
) -> Iterator[str]:
    """Kill a run and let it go on; yield what was wrong. killed: the number of the process."""
    codes = run_killed()
    if codes[killed] != -signal.SIGKILL:
        yield "was not killed"
    del codes[killed]
    for code in codes:
        # 0 where it had nothing left to wait for
        if code not in (0, 1):
            yield f"the other process ends with {code}"
    for problem in torn(whole, expected):
        yield f"torn: {problem}"
    codes = run_later()
    if any(codes):
        yield f"the next run ends with {codes}"
    yield from differences(expected, contents(whole))


def campaign(
    verb: str, moments: int, share: str, folder: Path, *, processes: int, shard: bool
) -> list[str]:
    """Kill one verb at so many moments; return what was wrong."""
    part, parts = (int(number) for number in share.split("/"))
    began = time.monotonic()
    problems = []
    with runners() as (killed, later):
        first, command = commands(folder)[verb]
        for words in first:
            if not Path(words[-1]).exists():
                codes, _ = killed.run(folder, words)
                assert codes == [0], words
        whole = folder / "work"
        if processes > 1:
            command = for_many(verb, command, shard=shard)
        words = [*command, "--out", str(whole / NAMES.get(verb, "out"))]
        codes, counts = killed.run(whole, words, processes=processes)
        assert not any(codes), command
        expected = contents(whole)
        shutil.rmtree(whole)
        chosen = []
        for number in range(moments):
            victim = number % processes
            at = 1 + number * counts[victim] // moments
            if (at, victim) not in chosen:
                chosen.append((at, victim))
        chosen = chosen[part - 1 :: parts]
        for at, victim in chosen:
            kill = {"at": at, "killed": victim, "processes": processes}
            for problem in kill_and_go_on(
                lambda kill=kill: killed.run(whole, words, **kill)[0],
                lambda: later.run(whole, words, processes=processes)[0],
                victim,
                whole,
                expected,
            ):
                who = f"process {victim}, " if processes > 1 else ""
                problems.append(
                    f"{verb}, {who}moment {at} of {counts[victim]}: {problem}"
                )
            shutil.rmtree(whole, ignore_errors=True)
    seconds = round(time.monotonic() - began)
    all_moments = " + ".join(map(str, counts))
    print(
        f"{verb}: {len(chosen)} of {all_moments} moments, {len(problems)} problems, {seconds} s",
        flush=True,
    )
    return problems


def main() -> None:
    """Kill each verb, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbs", nargs="+", choices=VERBS)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--shard", action="store_true")
    parser.add_argument("--moments", type=int, default=40)
    parser.add_argument("--share", default="1/1", metavar="PART/PARTS")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for verb in options.verbs or (VERBS if options.processes == 1 else TOGETHER):
            problems += campaign(
                verb,
                options.moments,
                options.share,
                Path(folder).resolve(),
                processes=options.processes,
                shard=options.shard,
            )
    for problem in problems:
        print(f"  {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
