"""What a hostile or broken client may send to `tastemaker serve`: no 500, no hang, no growth."""

import http.client
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.playground import gold_score, reviews
from tests.serving import Server, start, stop, wait_until

pytest.importorskip("uvicorn")

PATHS = (
    "/score",
    "/v1/score",
    "/classify",
    "/pooling",
    "/rerank",
    "/v2/rerank",
    "/predict",
    "/get_reward",
    "/",
)
FIELDS = [
    "inputs",
    "input",
    "query",
    "queries",
    "documents",
    "texts",
    "text_1",
    "text_2",
    "prompts",
    "labels",
    "model",
    "messages",
    "prompt",
    "completion",
    "role",
    "content",
    "top_n",
    "raw_scores",
    "truncate",
    "return_text",
    "use_activation",
]


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "taste"
    judgements = [tm.Label(text, gold_score(text) > 5) for text in reviews(40)]
    tm.fit(judgements, backbone="linear", out=folder)
    return folder


def ends_well(server: Server) -> None:
    """End a server, which notes what is no HTTP, without a byte of it, and nothing else."""
    notes = set(stop(server).splitlines())
    assert notes <= {"WARNING:  Invalid HTTP request received."}


@pytest.fixture(scope="module")
def server(taste: Path) -> Iterator[Server]:
    running = start(taste, "--port", 0, "--body-seconds", 2, in_one_arena=True)
    yield running
    ends_well(running)


@pytest.fixture
def patient_server(taste: Path) -> Iterator[Server]:
    """A server that lets a body take its time."""
    running = start(taste, "--port", 0)
    yield running
    ends_well(running)


SCALARS: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    0.5,
    float("nan"),
    float("-inf"),
    "",
    " ",
    "A film.",
    "\ud800",
    "\x00",
    "🙂" * 50,
    "ñ\u202e\ufeff",
]


def hostile(drawn: random.Random, depth: int = 3) -> Any:
    """Draw a JSON value of the fields that the wires read."""
    kind = drawn.random()
    if depth == 0 or kind < 0.4:
        return drawn.choice(SCALARS)
    size = drawn.randrange(4)
    if kind < 0.7:
        return [hostile(drawn, depth - 1) for _ in range(size)]
    names = drawn.sample(FIELDS, size)
    return {name: hostile(drawn, depth - 1) for name in names}


def examples(server: Server) -> dict[str, list[Any]]:
    """Return the good bodies that the server's own document shows, by path."""
    bodies: dict[str, list[Any]] = {"/": [{}]}
    for path, methods in server.ask("/openapi.json")[1]["paths"].items():
        if "post" in methods:
            content = methods["post"]["requestBody"]["content"]["application/json"]
            bodies[path] = [one["value"] for one in content["examples"].values()]
    return bodies


def memory(server: Server) -> int:
    """Return the kilobytes that the server holds."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [row for row in status.splitlines() if row.startswith("VmRSS")]
    return int(line.split()[1])


def test_two_thousand_hostile_bodies(server: Server) -> None:
    drawn = random.Random(0)
    bodies = examples(server)
    assert set(bodies) >= set(PATHS)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    held: list[int] = []
    statuses: Counter[int] = Counter()
    for number in range(2000):
        path = drawn.choice(PATHS)
        # a good body with some fields of chance, chance alone, or bytes
        value = dict(drawn.choice(bodies[path])) if number % 2 else {}
        for name in drawn.sample(FIELDS, drawn.randint(1, 6)):
            value[name] = hostile(drawn)
        body = json.dumps(value).encode()
        if number % 5 == 0:
            body = drawn.randbytes(drawn.randrange(60))
        connection.request("POST", path, body)
        answer = connection.getresponse()
        reply = answer.read()
        assert answer.status < 500, (path, body, answer.status)
        assert answer.status != 200 or path == "/" or b"NaN" not in reply
        statuses[answer.status] += 1
        if number % 500 == 499:
            held.append(memory(server))
    connection.close()
    assert statuses[200] > 100  # some bodies stay good ones
    assert held[-1] - held[0] < 20_000


@pytest.mark.slow
def test_schemathesis_on_the_whole_openapi(patient_server: Server) -> None:
    """Bodies that fit the document are scored, others refused as it says; no 500."""
    beside = Path(sys.executable).with_name("schemathesis")
    program = shutil.which(beside) or shutil.which("schemathesis")
    if program is None:
        pytest.skip("schemathesis is not installed: it is in requirements-dev.lock")
    configuration = Path(__file__).with_name("schemathesis.toml")
    asked = f"{patient_server.address}/openapi.json"
    command = [program, "--config-file", configuration, "run", asked]
    bounds = ("--phases", "examples,coverage,fuzzing", "--max-examples", "20")
    ended = subprocess.run(
        [*command, *bounds, "--seed", "1", "--no-color"],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )
    assert ended.returncode == 0, ended.stdout
    counts = re.search(r"(\d+) generated, (\d+) passed", ended.stdout)
    assert counts is not None, ended.stdout
    assert int(counts[1]) == int(counts[2]) > 500


def opened(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=120)


def test_a_slow_body_is_refused_in_time(server: Server) -> None:
    with opened(server) as slow:
        slow.sendall(
            b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
        )
        began = time.monotonic()
        answer = slow.recv(4096)
        assert b" 408 " in answer
        assert 1 < time.monotonic() - began < 75
    assert server.ask("/ready")[0] == 200


@pytest.mark.parametrize("sent", [b"", b"POST /score HTTP/1.1\r\nHost: local"])
def test_a_connection_that_never_asks_is_closed_in_time(
    server: Server, sent: bytes
) -> None:
    with opened(server) as idle:
        began = time.monotonic()
        for place in range(0, len(sent), 12):  # a byte now and then does not help
            idle.sendall(sent[place : place + 12])
            time.sleep(0.3)
        assert idle.recv(4096) == b""
        assert 1 < time.monotonic() - began < 50


def test_a_connection_asks_again_after_a_while(server: Server) -> None:
    ask = b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with opened(server) as connection:
        for _ in range(2):
            connection.sendall(ask)
            assert b" 200 " in connection.recv(4096)
            time.sleep(2.5)  # longer than the head of a request may take


def test_a_half_closed_connection(server: Server) -> None:
    """The client sends all, says that no more comes, and reads: it is answered or closed."""
    body = json.dumps({"inputs": ["A film."]}).encode()
    head = f"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with opened(server) as half:
        half.sendall(head.encode() + body)
        half.shutdown(socket.SHUT_WR)
        answer = half.recv(4096)
        assert answer == b"" or b" 200 " in answer
    with opened(server) as torn:
        torn.sendall(head.encode() + body[:5])
        torn.shutdown(socket.SHUT_WR)
        assert b" 200 " not in torn.recv(4096)
    assert server.ask("/ready")[0] == 200


def test_nonsense_instead_of_http(server: Server) -> None:
    for sent in (b"\x16\x03\x01\x00\xff" * 20, b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50):
        with opened(server) as odd:
            odd.sendall(sent)
            odd.settimeout(0.5)
            try:
                answer = odd.recv(4096)
            except TimeoutError:
                answer = b""
            assert b" 200 " not in answer
            assert b" 500 " not in answer
    assert server.ask("/ready")[0] == 200


def test_clients_that_leave_are_dropped_from_the_queue(patient_server: Server) -> None:
    texts = [f"{n} some words of a film " * 400 for n in range(400)]
    body = json.dumps({"inputs": texts}).encode()
    head = f"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    gone = patient_server.counted("gone_total")
    scored = patient_server.counted("texts_total")
    leavers = [opened(patient_server) for _ in range(4)]
    for leaver in leavers:
        leaver.sendall(head.encode() + body)
    wait_until(lambda: patient_server.counted("queue_texts") > 0)
    for leaver in leavers:
        leaver.close()
    wait_until(lambda: patient_server.counted("gone_total") > gone)
    # on a busy machine what is being scored still fills the queue
    wait_until(lambda: patient_server.ask("/score", {"inputs": ["A film."]})[0] == 200)
    wait_until(lambda: patient_server.counted("queue_texts") == 0)
    assert patient_server.counted("texts_total") - scored < 4 * len(texts)
