"""Kill commands at many file-system moments, run them again, and compare with runs that were whole.

    python scripts/kills.py                            # 40 moments of every verb
    python scripts/kills.py --verbs score --moments 2
    python scripts/kills.py --verbs steer --share 1/4  # every fourth moment of the 40

A moment is a file that is opened for writing, a rename, a removal or a new folder, below the
command's output, or a statement or commit of a store. The process dies before it, or, where a file
is opened, just after it, when the file is empty. After each kill, what is under a final name must
be complete. After the same command has run again, every file that is not a clock must be that of a
whole run, and nothing else may be left. It prints one line a verb and exits with 1 where a run
differs.

A command runs in a fork of a process that has imported everything. The next run is a fork of
another one, whose sets have another order (PYTHONHASHSEED).

A store must hold all judgements of an import or none. tests/rank/test_load.py kills a page while
judges answer. `serve` writes nothing.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from safetensors import safe_open

CLOCKS = ("seconds", "_per_second")
"""Figures with such an ending differ from run to run."""
COST = ("cost.json", ".digests.json")
"""Files of times. A run that was killed costs more than a whole one, and digests of inputs are kept
once the inputs are older than a few seconds."""
RECORD = "stage.json"
OTHER = ("cost", "files", "lines")
"""What else differs in the record of a stage of a loop: its cost; the sizes of its files, of
which some are logs; the lines that it printed, of which one that goes on prints only the rest."""
GROWING = ("metrics.jsonl", "tensorboard")
"""Logs of a run: they grow, and the next run cuts off what it measures again."""
FAILED = 70
"""The exit code of a command that ended with an error of Python."""
OUT = "OUT"
"""Stands for the output in a command that has no --out."""
STORED = {
    "items": "SELECT digest, ask, prompt, texts, wanted, judged FROM items ORDER BY digest",
    "judgements": "SELECT key, answer, is_skip FROM judgements ORDER BY key",
    # a store that is begun counts nothing
    "counts": "SELECT name, value FROM counts WHERE value != 0 ORDER BY name",
}
"""What must be equal in two stores, by table."""
LOOP = """
judgements: rows.jsonl
held_out: 0.2
fit: {backbone: linear, min_count: 1}
policy: gpt
steer: {algorithms: {rloo: }, steps: 2, batch: 8, measured: 8, max_tokens: 5}
"""
ALMOST_NOTHING = ("--epochs", "1", "--context", "32", "--vocabulary", "300")
SHORT = ("--steps", "3", "--batch", "8", "--measured", "8", "--windows", "3")


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
        pass_moment(path, flags)

    def pass_moment(path: str = "", flags: int = 0) -> None:
        count[0] += 1
        if count[0] == at:
            if flags and at % 2:
                os.open(path, flags, 0o666)
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    _listen_to_stores(pass_moment)
    return count


def _listen_to_stores(pass_moment: Callable[[], None]) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    for name in ("before_cursor_execute", "commit"):
        event.listen(Engine, name, lambda *_, **__: pass_moment())


def import_everything() -> None:
    """Import what a command may need, so that no fork of this process spends seconds on it."""
    import sentence_transformers  # noqa: F401  # a saved model is opened by it

    import tastemaker.loop.steering_work  # noqa: F401  # all of this package


def serve() -> None:
    """Run the commands that come on standard input, each in a fork; answer each with a line."""
    import_everything()
    for line in sys.stdin:
        root, at, words, log = json.loads(line)
        child = os.fork()
        if child == 0:
            with Path(log).open("w", encoding="utf-8") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
                end_with(words, die_at(root, at), file)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def end_with(words: list[str], count: Sequence[int], log: TextIO) -> None:
    """Run a command, write the number of moments into a log, and end the process."""
    from tastemaker.cli import main

    code = FAILED
    try:
        main(words)
        code = 0
    except SystemExit as ending:
        code = int(ending.code or 0)
    except BaseException:
        traceback.print_exc(file=log)
    finally:
        log.write(f"\nmoments {count[0]}\n")
        log.flush()
        os._exit(code)


def moments_in(printed: str) -> int:
    """Return the number of moments that a process wrote; 0 for one that was killed."""
    for line in reversed(printed.splitlines()):
        if line.startswith("moments "):
            return int(line.split()[1])
    return 0


class Runner:
    """A process of a script that runs jobs: `script --serve` answers each line with a line."""

    def __init__(self, script: str, hash_seed: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, script, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
        )

    def answer(self, job: Any) -> Any:
        """Return what the process answers to a job."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def run(runner: Runner, root: Path, at: int, words: list[str]) -> tuple[int, int]:
    """Run a command and kill it at a moment; 0: never. Return its exit code and moments."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as log:
        code: int = runner.answer([str(root), at, words, log.name])
        printed = log.read()
    if code not in (0, -signal.SIGKILL):
        sys.stderr.write(printed)
    return code, moments_in(printed)


@contextlib.contextmanager
def runners() -> Iterator[tuple[Runner, Runner]]:
    """Yield the process of runs that are killed, and that of runs after them."""
    both = Runner(__file__, 1), Runner(__file__, 2)
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
        if any(word in path.parts for word in GROWING) or is_log(path):
            continue
        try:
            content = content_of(path)
            if path.suffix == ".db" and not content:
                continue
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


def differences(expected: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between the contents of a whole run and of one that was killed."""
    for path in sorted(expected.keys() | after.keys()):
        if path not in after or path not in expected:
            yield f"only one run has {path}"
        elif after[path] != expected[path]:
            yield f"{path} differs"


def contents(root: Path) -> dict[str, Any]:
    """Return what is below a folder, without clocks; hidden files too."""
    by_name: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        is_clock = "tensorboard" in path.parts or is_log(path) or path.name in COST
        if path.is_file() and not is_clock:
            by_name[str(path.relative_to(root))] = content_of(path)
    return by_name


def is_log(path: Path) -> bool:
    """Return whether a file is SQLite's own beside a store."""
    return path.name.endswith((".db-wal", ".db-shm"))


def content_of(path: Path) -> Any:
    """Return what a file holds, without clocks. Raises an error where it cannot be read."""
    if path.suffix == ".json":
        content = _timeless(json.loads(path.read_text(encoding="utf-8")))
        if path.name == RECORD:
            content = {key: content[key] for key in content if key not in OTHER}
        return content
    if path.suffix == ".jsonl":
        lines = path.read_text(encoding="utf-8").splitlines()
        return [_timeless(json.loads(line)) for line in lines]
    if path.suffix == ".safetensors":
        with safe_open(path, framework="numpy") as file:
            list(file.keys())
    if path.suffix == ".db":
        return _stored(path)
    if path.suffix == ".html":
        return _without_costs(path.read_text(encoding="utf-8"))
    return path.read_bytes()


def _without_costs(page: str) -> str:
    """Return a report without the section about cost, which holds clocks, and its link."""
    section = r'<section id="part-\d+">\s*<h2[^>]*>What it cost.*?</section>\s*'
    link = r'<li><a href="#part-\d+">What it cost[^<]*</a></li>\s*'
    return re.sub(f"{section}|{link}", "", page, flags=re.DOTALL)


def _stored(path: Path) -> list[Any]:
    """Return the items, answers and counts of a store; none of one that was only begun.

    A copy is opened, so that the next run finds the log as the kill left it.
    """
    with tempfile.TemporaryDirectory() as folder:
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, folder)
        with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as store:
            (health,) = store.execute("PRAGMA integrity_check").fetchone()
            assert health == "ok", health
            tables = store.execute("SELECT name FROM sqlite_master").fetchall()
            rows: list[Any] = []
            for table, query in STORED.items():
                if (table,) in tables:
                    rows += store.execute(query).fetchall()
            return rows


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        steady = {}
        for key, each in value.items():
            if not key.endswith(CLOCKS):
                steady[key] = _timeless(each)
        return steady
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
    taste, gpt, store = (str(folder / name) for name in ("taste", "gpt", "all.db"))
    loop = folder / "loop.yaml"
    loop.write_text(LOOP, encoding="utf-8")
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
        "store": ([], ["rank", OUT, "--import", str(rows)]),
        "export": (
            [["rank", "--import", str(rows), store]],
            ["rank", store, "--export", OUT],
        ),
        "loop": ([trained], ["loop", str(loop), "--quiet"]),
    }


VERBS = (
    "score",
    "fit",
    "members",
    "pretrain",
    "write",
    "steer",
    "play",
    "split",
    "store",
    "export",
    "loop",
)
NAMES = {
    "score": "scored.csv",
    "write": "written.jsonl",
    "store": "judgements.db",
    "export": "judgements.jsonl",
}


def campaign(
    pair: tuple[Runner, Runner], verb: str, moments: int, share: str, folder: Path
) -> list[str]:
    """Kill one verb at so many moments; return what was wrong."""
    part, parts = (int(number) for number in share.split("/"))
    killed, later = pair
    began = time.monotonic()
    problems = []
    first, command = commands(folder)[verb]
    for words in first:
        if not Path(words[-1]).exists():
            code, _ = run(killed, folder, 0, words)
            assert code == 0, words
    name = NAMES.get(verb, "out")
    whole = folder / "work"
    out = str(whole / name)
    words = [out if word == OUT else word for word in command]
    if OUT not in command:
        words += ["--out", out]
    whole.mkdir()
    code, count = run(killed, whole, 0, words)
    assert code == 0, command
    expected = contents(whole)
    shutil.rmtree(whole)
    chosen = sorted({1 + number * count // moments for number in range(moments)})
    chosen = chosen[part - 1 :: parts]
    for at in chosen:
        whole.mkdir()
        place = f"{verb}, moment {at} of {count}"
        code, _ = run(killed, whole, at, words)
        if code != -signal.SIGKILL:
            problems.append(f"{place}: was not killed")
        problems += [f"{place}: torn: {each}" for each in torn(whole, expected)]
        code, _ = run(later, whole, 0, words)
        if code != 0:
            problems.append(f"{place}: the next run ends with {code}")
        for difference in differences(expected, contents(whole)):
            problems.append(f"{place}: {difference}")
        shutil.rmtree(whole, ignore_errors=True)
    for problem in problems:
        print(f"  {problem}", file=sys.stderr, flush=True)
    seconds = round(time.monotonic() - began)
    print(
        f"{verb}: {len(chosen)} of {count} moments, {len(problems)} problems, {seconds} s",
        flush=True,
    )
    return problems


def end(problems: Sequence[str]) -> None:
    """Print the problems, and end with 1 where there are any."""
    for problem in problems:
        print(f"  {problem}")
    sys.exit(bool(problems))


def main() -> None:
    """Kill each verb, and say what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbs", nargs="+", default=VERBS, choices=VERBS)
    parser.add_argument("--moments", type=int, default=40)
    parser.add_argument("--share", default="1/1", metavar="PART/PARTS")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    problems = []
    with tempfile.TemporaryDirectory() as name, runners() as pair:
        folder = Path(name).resolve()
        for verb in options.verbs:
            problems += campaign(pair, verb, options.moments, options.share, folder)
    end(problems)


if __name__ == "__main__":
    main()
