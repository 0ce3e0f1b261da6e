"""Scores by Ray: the rows of `score --file`, also where a worker is killed; a head that goes away.

Ray is an extra that the lock does not hold: without it these tests skip.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import forked
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from scored import Lengths, write_jsonl

import tastemaker as tm
from tastemaker.bulk import score_file
from tastemaker.bulk_ray import Ray
from tastemaker.data import Example
from tastemaker.scores import Scores
from tests.shell import fails

psutil = pytest.importorskip("psutil")
pytestmark = [
    pytest.mark.slow,
    # Ray's own
    pytest.mark.filterwarnings("ignore"),
    # not imported yet: it reads its variables then
    pytest.mark.skipif(
        find_spec("ray") is None, reason="the extra `ray` is not installed"
    ),
]

PLAIN = ("warm and bright", "dull and grey", 'very "bad",\r\n\ttruly\r电影')
ROWS: list[dict[str, Any]] = [
    {"id": number, "text": f"{PLAIN[number % 3]} {number}", "wide": number / 3}
    for number in range(4500)
]
"""Three chunks of 2,048 rows."""


class Slow(Lengths):
    """Takes a fifth of a second for each chunk."""

    def score_all(
        self, examples: Sequence[Example], *, precision: str = "float32"
    ) -> Scores:
        time.sleep(0.2)
        return super().score_all(examples, precision=precision)


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fitted linear model."""
    folder = tmp_path_factory.mktemp("ray") / "taste"
    labels = [tm.Label(f"warm {n}", positive=True) for n in range(12)]
    labels += [tm.Label(f"dull {n}", positive=False) for n in range(12)]
    tm.fit(labels, out=folder)
    return folder


class Head:
    """The head of a cluster with two processors, on this machine."""

    def __init__(self) -> None:
        # sockets have short names
        self.folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
        port = forked.free_port()
        self.address = f"127.0.0.1:{port}"
        command = [str(Path(sys.executable).with_name("ray")), "start", "--head"]
        command += ["--block", f"--port={port}", "--num-cpus=2"]
        command += ["--include-dashboard=false", f"--temp-dir={self.folder}"]
        tests = Path(__file__).resolve().parent
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # where workers look for `Slow`
            env={**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"},
        )
        assert self.process.stdout is not None
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if b"runtime started" in line:
                return
        self.kill()
        raise AssertionError(b"".join(lines))

    def workers(self, title: str = "") -> list[Any]:
        """Return the processes that score. title: a word of what they do now."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in children if _is_worker(child, title)]

    def kill(self) -> None:
        """Kill the head with all that it started, as a machine that goes away."""
        if self.process.poll() is None:
            head = psutil.Process(self.process.pid)
            for process in (head, *head.children(recursive=True)):
                process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_worker(process: Any, title: str) -> bool:
    try:
        line = " ".join(process.cmdline())
        return line.startswith("ray::MapWorker") and title in line
    except psutil.Error:
        return False


@pytest.fixture(scope="module")
def variables() -> Iterator[pytest.MonkeyPatch]:
    """Variables of the environment, as they were again after this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        yield patch


@pytest.fixture(scope="module")
def cluster(variables: pytest.MonkeyPatch) -> Iterator[Head]:
    """A head that RAY_ADDRESS names."""
    head = Head()
    try:
        variables.setenv("RAY_ADDRESS", head.address)
        yield head
    finally:
        head.kill()


def write_table(path: Path) -> Path:
    """Write the rows in the format of a name; those of JSONL with chats as prompts."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=700)
    elif path.suffix == ".csv":
        pacsv.write_csv(pa.Table.from_pylist(ROWS), path)
    else:
        turns = [{"role": "user", "content": "And the film?"}]
        write_jsonl(path, [{**row, "prompt": turns} for row in ROWS])
    return path


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_the_file_is_that_of_score_without_ray(
    suffix: str, taste: Path, cluster: Head, run: Any, tmp_path: Path
) -> None:
    source = write_table(tmp_path / f"in.{suffix}")
    files = []
    for name, more in (("own", ()), ("ray", ("--engine", "ray"))):
        files.append(tmp_path / f"{name}.{suffix}")
        words = ("score", taste, "--file", source, "--out", files[-1], *more)
        code, out, err = run(*words, "--quiet", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["rows"] == len(ROWS)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_killed_worker_costs_no_row(cluster: Head, tmp_path: Path) -> None:
    source = write_table(tmp_path / "in.parquet")
    killed: list[int] = []

    def kill() -> None:
        while not killed and not done.wait(0.01):
            for worker in cluster.workers("submit")[:1]:
                time.sleep(0.5)
                worker.kill()
                killed.append(worker.pid)

    done = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        counts = score_file(
            Lengths(), source, tmp_path / "out.parquet", chunk=100, engine=Ray(Slow)
        )
    finally:
        done.set()
        killer.join()
    assert killed
    assert counts.rows == len(ROWS)
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["id"] for row in rows] == list(range(len(ROWS)))
    assert [row["score"] for row in rows] == [len(row["text"]) / 3 for row in ROWS]


def test_a_head_that_goes_away_is_one_line_and_the_next_call_writes_all(
    taste: Path, cluster: Head, run: Any, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS * 9)
    out = tmp_path / "out.jsonl"
    out.write_text("of an earlier run\n")
    words = ("score", taste, "--file", source, "--out", out, "--engine", "ray")
    command = [sys.executable, "-m", "tastemaker", *map(str, words), "--quiet"]
    gone = Head()
    try:
        scoring = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "RAY_ADDRESS": gone.address},
        )
        while not gone.workers() and scoring.poll() is None:
            time.sleep(0.02)
    finally:
        gone.kill()
    printed, errors = scoring.communicate(timeout=60)
    fails((scoring.returncode, printed, errors), "Ray head", "went away")
    assert out.read_text() == "of an earlier run\n"
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl"}
    assert run(*words, "--quiet")[0] == 0
    assert len(out.read_text().splitlines()) == len(ROWS * 9)


@pytest.mark.parametrize(
    ("address", "word"), [("127.0.0.1:9", "no Ray head answers"), ("head", "host:6379")]
)
def test_a_head_that_is_not_there_is_one_line(
    address: str,
    word: str,
    taste: Path,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    source = write_jsonl(tmp_path / "in.jsonl", ROWS[:3])
    words = ("score", taste, "--file", source, "--out", tmp_path / "out.jsonl")
    fails(run(*words, "--engine", "ray", "--quiet"), word, address)
    assert not (tmp_path / "out.jsonl").exists()


def test_more_workers_than_processors_are_refused(
    taste: Path, cluster: Head, run: Any, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", ROWS[:3])
    words = ("score", taste, "--file", source, "--out", tmp_path / "out.jsonl")
    fails(run(*words, "--engine", "ray", "--workers", 3, "--quiet"), "2 CPUs")
