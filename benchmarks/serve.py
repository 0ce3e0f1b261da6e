"""A server under load on loopback, beside a plain FastAPI server with transformers' pipeline.

    python benchmarks/serve.py                      # fits a MiniLM model first, a minute
    python benchmarks/serve.py --model taste/ --only load latency
    python benchmarks/serve.py --only load --infinity ../infinity/bin/infinity_emb

load: 32 connections, each sends one IMDB review at a time; the plain servers (a `def` and an `async
def` path around the pipeline), Infinity where its command is named (infinity-emb needs an older
NumPy, so it lives in an environment of its own) and ours take turns. latency: one connection, short
texts, and the model alone. linear: batches of 100 short texts. overload: ten times as many requests
as the server can answer, 30 s. sigterm: the end under load. The client is a process of its own and
speaks HTTP/1.1 on plain sockets, so that it takes little of the machine. The last line is one JSON
object.
"""

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from http_load import Answers, client

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "aclImdb.tar.gz"
PARTS = ("load", "latency", "linear", "overload", "sigterm")
SHORT = "A warm and clever film, number {}, with a tired ending."
PLAIN = """
import sys
from typing import Any
import uvicorn
from fastapi import Body, FastAPI
from transformers import pipeline

folder, port, kind = sys.argv[1:]
classify = pipeline(
    "text-classification", model=folder, device="cpu", function_to_apply="none"
)
app = FastAPI()

def scored(text: str) -> Any:
    return classify(text, truncation=True)[0]

if kind == "def":
    @app.post("/score")
    def score(text: str = Body(embed=True)) -> Any:
        return scored(text)
else:
    @app.post("/score")
    async def score(text: str = Body(embed=True)) -> Any:
        return scored(text)

uvicorn.run(app, port=int(port), log_level="error", access_log=False)
"""


# --- the servers ---


@contextmanager
def running(command: Sequence[object]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server; yield its process and port once it answers."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    port = 0
    try:
        for line in process.stdout:
            if match := re.match(r"serving on http://.*:(\d+)$", line):
                port = int(match[1])
                break
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield process, port
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def answering(
    process: subprocess.Popen[bytes], port: int, path: str, body: bytes
) -> Iterator[None]:
    """Wait until a server answers a request, and kill it in the end."""
    name = f"the server on port {port} (path {path})"
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"{name} ended with {process.returncode}")
            if client("closed", port, path, [body], 1, 0.01).statuses[200]:
                break
            time.sleep(0.2)
        else:
            raise SystemExit(f"{name} has not answered in two minutes")
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def plain(folder: Path, kind: str, port: int) -> Iterator[int]:
    """Run a plain server; yield its port once it answers."""
    process = subprocess.Popen(
        [sys.executable, "-c", PLAIN, str(folder), str(port), kind],
        stderr=subprocess.DEVNULL,
    )
    body = json.dumps({"text": "Good."}).encode()
    with answering(process, port, "/score", body):
        yield port


def with_two_labels(folder: Path, out: Path) -> Path:
    """Write a classifier whose second logit is the score, and whose first is 0.

    Infinity takes a classifier with one label for a reranker. The work is the same.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    network = AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=False
    )
    one: torch.nn.Linear = network.classifier
    two = torch.nn.Linear(one.in_features, 2)
    with torch.no_grad():
        two.weight.copy_(torch.cat([torch.zeros_like(one.weight), one.weight]))
        two.bias.copy_(torch.cat([torch.zeros_like(one.bias), one.bias]))
    network.classifier = two
    network.config.id2label = {0: "other", 1: "score"}
    network.config.label2id = {"other": 0, "score": 1}
    network.save_pretrained(out)
    AutoTokenizer.from_pretrained(folder, trust_remote_code=False).save_pretrained(out)
    return out


@contextmanager
def infinity(command: Path, folder: Path, port: int) -> Iterator[int]:
    """Run Infinity; yield its port once it answers."""
    options = {
        "model-id": folder,
        "served-model-name": "model",
        "engine": "torch",
        "device": "cpu",
        "dtype": "float32",
        "port": port,
    }
    words = [
        word for name, value in options.items() for word in (f"--{name}", str(value))
    ]
    # BetterTransformer belongs to a package that Infinity no longer needs
    quiet = {
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "INFINITY_BETTERTRANSFORMER": "0",
    }
    process = subprocess.Popen(
        [str(command), "v2", *words],
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    body = infinity_body("Good.")
    with answering(process, port, "/classify", body):
        yield port


def infinity_body(text: str) -> bytes:
    """Return a text as Infinity reads it."""
    return json.dumps({"model": "model", "input": [text], "raw_scores": True}).encode()


def serve(folder: Path, *options: object) -> list[object]:
    """Return the command that serves a model."""
    return ["-m", "tastemaker", "serve", folder, "--port", 0, *options]


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile in milliseconds."""
    ordered = sorted(values)
    place = min(len(ordered) - 1, int(share * len(ordered)))
    return round(1000 * ordered[place], 2)


def figures(answers: Answers) -> dict[str, float]:
    """Return requests a second and latencies."""
    return {
        "requests_a_second": round(len(answers.seconds) / answers.wall, 2),
        "p50_ms": quantile(answers.seconds, 0.5),
        "p99_ms": quantile(answers.seconds, 0.99),
        "not_200": answers.broken
        + sum(n for s, n in answers.statuses.items() if s != 200),
    }


def memory(process: subprocess.Popen[str]) -> float:
    """Return the megabytes that a process holds."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+)", status)
    return int(match[1]) / 1024 if match else float("nan")


# --- the parts ---


@dataclass
class Bench:
    """What the parts share."""

    pool: ProcessPoolExecutor
    folder: Path
    minilm: Path
    linear: Path
    reviews: list[str]
    seconds: float
    rounds: int
    engine: str | None
    infinity: Path | None

    def ask(self, kind: str, *arguments: Any) -> Answers:
        """Run a client in its own process."""
        return self.pool.submit(client, kind, *arguments).result()

    def command(self, folder: Path, *options: object) -> list[object]:
        """Return the command of our server."""
        engine = ["--engine", self.engine] if self.engine else []
        return serve(folder, *engine, *options)

    @property
    def ours(self) -> list[bytes]:
        """The reviews as our wire reads them."""
        return [json.dumps({"inputs": [text]}).encode() for text in self.reviews]


def load(bench: Bench) -> dict[str, Any]:
    """32 connections: ours, the plain servers and Infinity in turn."""
    theirs = [json.dumps({"text": text}).encode() for text in bench.reviews]
    infinitys = [infinity_body(text) for text in bench.reviews]
    twin = bench.folder / "two-labels"
    if bench.infinity:
        with_two_labels(bench.minilm, twin)
    rows: dict[str, list[dict[str, float]]] = {}
    for _ in range(bench.rounds):
        with running(bench.command(bench.minilm)) as (_, port):
            answers = bench.ask("closed", port, "/score", bench.ours, 32, bench.seconds)
            rows.setdefault("ours", []).append(figures(answers))
        for place, kind in enumerate(("def", "async")):
            with plain(bench.minilm, kind, 18_431 + place) as port:
                answers = bench.ask("closed", port, "/score", theirs, 32, bench.seconds)
                rows.setdefault(kind, []).append(figures(answers))
        if bench.infinity:
            with infinity(bench.infinity, twin, 18_433) as port:
                answers = bench.ask(
                    "closed", port, "/classify", infinitys, 32, bench.seconds
                )
                rows.setdefault("infinity", []).append(figures(answers))
    speeds = {}
    for name, each in rows.items():
        speeds[name] = statistics.median(row["requests_a_second"] for row in each)
    best = max(speeds["def"], speeds["async"])
    result = {"rows": rows, "times_the_best_plain": round(speeds["ours"] / best, 2)}
    if bench.infinity:
        result["times_infinity"] = round(speeds["ours"] / speeds["infinity"], 2)
    return result


def latency(bench: Bench) -> dict[str, Any]:
    """One connection, against the model's own time."""
    import tastemaker as tm

    result: dict[str, Any] = {}
    texts = [SHORT.format(number) for number in range(200)]
    bodies = [json.dumps({"inputs": [text]}).encode() for text in texts]
    for name, folder in (("minilm", bench.minilm), ("linear", bench.linear)):
        model = tm.load(folder)
        ratios, alone_p50, served = [], [], []
        with running(bench.command(folder)) as (_, port):
            for _ in range(bench.rounds):
                alone = []
                for text in texts:
                    began = time.perf_counter()
                    model.score(text)
                    alone.append(time.perf_counter() - began)
                answers = bench.ask("closed", port, "/score", bodies, 1, 3)
                alone_p50.append(quantile(alone, 0.5))
                served.append(quantile(answers.seconds, 0.5))
                ratios.append(round(served[-1] / alone_p50[-1], 2))
        result[name] = {
            "own_p50_ms": alone_p50,
            "served_p50_ms": served,
            "times": ratios,
        }
    return result


def linear(bench: Bench) -> dict[str, Any]:
    """Batches of 100 short texts, two connections."""
    body = json.dumps({"inputs": [SHORT.format(n) for n in range(100)]}).encode()
    speeds = []
    with running(serve(bench.linear)) as (_, port):
        for _ in range(bench.rounds):
            answers = bench.ask("closed", port, "/score", [body], 2, 4)
            speeds.append(round(100 * len(answers.seconds) / answers.wall))
    return {"texts_a_second": speeds}


def overload(bench: Bench) -> dict[str, Any]:
    """Ten times the requests that can be answered, 30 s; then one request."""
    command = bench.command(bench.minilm, "--queue-seconds", 5)
    with running(command) as (process, port):
        before = bench.ask("closed", port, "/score", bench.ours, 32, 5)
        capacity = len(before.seconds) / before.wall
        held = [memory(process)]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.5):
                held.append(memory(process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        answers = bench.ask("open", port, "/score", bench.ours, 10 * capacity, 30)
        began = time.perf_counter()
        after = bench.ask("closed", port, "/score", bench.ours[:1], 1, 0.01)
        recovery = time.perf_counter() - began
        done.set()
        watcher.join()
    return {
        "offered_a_second": round(10 * capacity, 1),
        "statuses": dict(answers.statuses),
        "broken": answers.broken,
        "without_retry_after": answers.without_retry_after,
        "accepted_p50_ms": quantile(answers.seconds, 0.5),
        "accepted_p99_ms": quantile(answers.seconds, 0.99),
        "answered_a_second_before": round(capacity, 1),
        "answered_a_second": round(len(answers.seconds) / 30, 1),
        "memory_before_mb": round(held[0]),
        "memory_most_mb": round(max(held)),
        "after": dict(after.statuses),
        "seconds_to_next_answer": round(recovery, 2),
    }


def sigterm(bench: Bench) -> dict[str, Any]:
    """SIGTERM while 32 connections ask: all that were accepted are answered."""
    with running(bench.command(bench.minilm)) as (process, port):
        asking = bench.pool.submit(
            client, "closed", port, "/score", bench.ours, 32, 600.0
        )
        time.sleep(4)
        process.send_signal(signal.SIGTERM)
        began = time.perf_counter()
        code = process.wait(60)
        ended = time.perf_counter() - began
        answers = asking.result()
    return {
        "exit_code": code,
        "seconds_to_end": round(ended, 2),
        "answered": answers.statuses[200],
        "other_statuses": {s: n for s, n in answers.statuses.items() if s != 200},
        "refused_connections": answers.broken,
    }


def models(given: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Return a MiniLM and a linear model: those given, or small ones fitted now."""
    import tastemaker as tm
    from tastemaker.playground import gold_score, reviews

    texts = list(reviews(120))
    judgements = [tm.Label(text, gold_score(text) > 5) for text in texts]
    minilm, simple = given.model, given.linear
    if minilm is None:
        minilm = folder / "minilm"
        tm.fit(judgements[:40], backbone="minilm", epochs=1, out=minilm)
    if simple is None:
        simple = folder / "linear"
        tm.fit(judgements, backbone="linear", out=simple)
    return Path(minilm), Path(simple)


def processor() -> str:
    """Return the processor's name."""
    match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return match[1] if match else platform.processor()


def main() -> None:
    """Run the parts, and print the JSON line."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--model", type=Path, help="a network's folder; else fitted")
    options.add_argument("--linear", type=Path, help="a linear model; else fitted")
    options.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options.add_argument("--seconds", type=float, default=10.0, help="of each load")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--engine", help="of our server; else its default")
    options.add_argument("--infinity", type=Path, help="the command infinity_emb")
    given = options.parse_args()

    import tastemaker as tm

    examples = tm.read_examples(ARCHIVE, split="test", limit=200)
    results: dict[str, Any] = {"benchmark": "serve", "processor": processor()}
    with (
        tempfile.TemporaryDirectory() as folder,
        # not forked: the threads of torch do not survive it
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        minilm, simple = models(given, Path(folder))
        reviews = [example.text for example in examples]
        bench = Bench(
            pool,
            Path(folder),
            minilm,
            simple,
            reviews,
            given.seconds,
            given.rounds,
            given.engine,
            given.infinity,
        )
        results["load_average"] = [round(number, 1) for number in os.getloadavg()]
        for name in given.only:
            results[name] = globals()[name](bench)
            print(name, json.dumps(results[name]), file=sys.stderr)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
