"""What a hostile or broken client may send to `tastemaker serve`: no 500, no hang, no growth."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tastemaker as tm
from tastemaker.playground import gold_score, reviews
from tests.serving import Server, start, stop

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
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("models") / "taste"
    judgements = [tm.Label(text, gold_score(text) > 5) for text in reviews(40)]
    tm.fit(judgements, backbone="linear", out=folder)
    running = start(folder, "--port", 0, "--body-seconds", 2)
    yield running
    # what is no HTTP is noted, without a byte of it
    assert set(stop(running).splitlines()) <= {
        "WARNING:  Invalid HTTP request received."
    }


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=12)
    | st.sampled_from(["A film.", "\ud800", "\x00", "🙂" * 50, " "])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=6).map(
    lambda body: json.dumps(body).encode()
) | st.binary(max_size=60)


def memory(server: Server) -> int:
    """Return the kilobytes that the server holds."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = [row for row in status.splitlines() if row.startswith("VmRSS")]
    return int(line.split()[1])


@pytest.mark.slow
def test_two_thousand_hostile_bodies(server: Server) -> None:
    held: list[int] = []

    @settings(
        max_examples=2000,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(PATHS), BODIES)
    def ask(path: str, body: bytes) -> None:
        status, reply, _ = server.ask(path, body)
        assert status < 500, (path, body, status)
        if status == 200 and path != "/":
            assert "NaN" not in json.dumps(reply)
        held.append(memory(server))

    ask()
    assert max(held) - held[len(held) // 4] < 50_000


def opened(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def test_a_slow_body_is_refused_in_time(server: Server) -> None:
    with opened(server) as slow:
        slow.sendall(
            b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"
        )
        began = time.monotonic()
        answer = slow.recv(4096)
        assert b" 408 " in answer
        assert 1 < time.monotonic() - began < 15
    assert server.ask("/ready")[0] == 200


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


def counted(server: Server, name: str) -> float:
    text: Any = server.ask("/metrics")[1]
    (line,) = [row for row in text.splitlines() if row.startswith(name + " ")]
    return float(line.split()[1])


def test_clients_that_leave_are_dropped_from_the_queue(server: Server) -> None:
    texts = [f"{n} some words of a film " * 400 for n in range(400)]
    body = json.dumps({"inputs": texts}).encode()
    head = f"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    gone = counted(server, "tastemaker_gone_total")
    scored = counted(server, "tastemaker_texts_total")
    leavers = [opened(server) for _ in range(4)]
    for leaver in leavers:
        leaver.sendall(head.encode() + body)
    time.sleep(0.3)
    for leaver in leavers:
        leaver.close()
    for _ in range(100):
        if counted(server, "tastemaker_gone_total") >= gone + 1:
            break
        time.sleep(0.1)
    assert counted(server, "tastemaker_gone_total") >= gone + 1
    assert server.ask("/score", {"inputs": ["A film."]})[0] == 200
    assert counted(server, "tastemaker_queue_texts") == 0
    assert counted(server, "tastemaker_texts_total") - scored < 4 * len(texts)
