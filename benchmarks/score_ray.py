"""Scores of 200,000 rows by two workers of Ray, one of them killed, against `score --file` alone.

    python benchmarks/score_ray.py [--rows 200000] [--workers 2] [--backbone linear]

Writes short texts into a Parquet file and fits a small model on 2,000 others. The rows are scored
by `score --file`, by `--engine ray`, and by `--engine ray` again while one worker is killed with
SIGKILL. Needs the extra `ray`. The last line is one JSON object:

- rows, workers; seconds: of each of the three, with starting Python, Ray and the model.
- equal, equal_after_a_kill: whether the rows are those of `score --file`, in every column.
- killed: the worker that was killed, by its name, and after which seconds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from score_memory import texts

import tastemaker as tm

_WORKER, _AT_WORK = "ray::MapWorker", ".submit"


def write_rows(path: Path, count: int) -> None:
    """Write texts, each with its number."""
    rows = [{"id": n, "text": text} for n, (text, _) in enumerate(texts(count, seed=0))]
    pq.write_table(pa.Table.from_pylist(rows), path)


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the processes of Ray below a process that score a chunk now."""
    workers = []
    for child in process.children(recursive=True):
        title = title_of(child)
        if title.startswith(_WORKER) and _AT_WORK in title:
            workers.append(child)
    return workers


def title_of(process: psutil.Process) -> str:
    """Return the command line of a process; nothing where it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_a_worker(command: subprocess.Popen[bytes]) -> str:
    """Wait until a worker of a command scores, and kill it; return its name.

    Nothing is returned where the command ends before that.
    """
    while command.poll() is None:
        time.sleep(0.02)
        try:
            for worker in workers_of(psutil.Process(command.pid)):
                name = title_of(worker)
                worker.kill()
                return name
        except psutil.Error:  # it has ended meanwhile
            continue
    return ""


def scored(
    model: Path, rows: Path, out: Path, *more: str, kills: bool = False
) -> dict[str, Any]:
    """Score in a process of its own. kills: a worker is killed once one has worked."""
    command = [sys.executable, "-m", "tastemaker", "score", str(model), "--quiet"]
    command += ["--file", str(rows), "--out", str(out), *more]
    began = time.monotonic()
    done = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    result: dict[str, Any] = {}
    if kills:
        result["worker"] = kill_a_worker(done)
        result["after"] = round(time.monotonic() - began, 1)
    if done.wait() != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    if kills and not result["worker"]:
        raise SystemExit("no worker was killed: take more --rows")
    return {"seconds": round(time.monotonic() - began, 1), "killed": result}


def main() -> None:
    """Score three times and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--backbone", default="linear")
    arguments = parser.parse_args()
    os.environ.pop("RAY_ADDRESS", None)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        rows = place / "rows.parquet"
        write_rows(rows, arguments.rows)
        judgements = [tm.Label(t, positive=good) for t, good in texts(2000, seed=1)]
        tm.fit(judgements, backbone=arguments.backbone, out=place / "taste")
        by_ray = ("--engine", "ray", "--workers", str(arguments.workers))
        out = {name: place / f"{name}.parquet" for name in ("own", "ray", "killed")}
        runs = {
            "own": scored(place / "taste", rows, out["own"]),
            "ray": scored(place / "taste", rows, out["ray"], *by_ray),
            "killed": scored(place / "taste", rows, out["killed"], *by_ray, kills=True),
        }
        tables = {name: pq.read_table(path) for name, path in out.items()}
    result = {
        "benchmark": "score_ray",
        "backbone": arguments.backbone,
        "rows": tables["own"].num_rows,
        "workers": arguments.workers,
        "seconds": {name: run["seconds"] for name, run in runs.items()},
        "equal": tables["ray"].equals(tables["own"]),
        "equal_after_a_kill": tables["killed"].equals(tables["own"]),
        "killed": runs["killed"]["killed"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
