"""A real server in a process of its own, for the tests that ask it."""

import ctypes
import http.client
import json
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import forked

import tastemaker as tm
from tastemaker.playground import gold_score, reviews


@dataclass
class Server:
    """A running server."""

    process: forked.Forked
    port: int
    lines: list[str]
    token: str | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Return status, JSON (or text) and headers; a body is posted, bytes as they are."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        sent = dict(headers or {})
        if self.token and headers is None:
            sent["Authorization"] = f"Bearer {self.token}"
        try:
            if body is None:
                connection.request("GET", path, headers=sent)
            else:
                is_raw = isinstance(body, bytes)
                data = body if is_raw else json.dumps(body).encode()
                connection.request("POST", path, data, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        kind = answer.headers.get("Content-Type", "")
        value = json.loads(text) if kind.startswith("application/json") else text
        return answer.status, value, answer.headers

    def counted(self, name: str) -> float:
        """Return a number of /metrics. name: without the prefix of all."""
        text = self.ask("/metrics")[1]
        match = re.search(rf"^tastemaker_{name} (\S+)$", text, re.MULTILINE)
        assert match is not None, name
        return float(match[1])


def wait_until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    """Wait until something is so; fail where it takes longer."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.001)


def start(
    *arguments: object, token: str | None = None, in_one_arena: bool = False
) -> Server:
    """Start a server and wait for its line.

    in_one_arena: all threads share one arena of memory, so that what it holds can be measured.
    """
    words = ("serve", *map(str, arguments))
    call = _command_in_one_arena if in_one_arena else forked.command
    process = forked.start_call(call, *words, environment={"TASTEMAKER_TOKEN": token})
    lines: list[str] = []
    for line in process.lines():
        lines.append(line.strip())
        match = re.fullmatch(r"serving on http://127\.0\.0\.1:(\d+)", lines[-1])
        if match:
            return Server(process, int(match[1]), lines, token)
    raise AssertionError(lines)


def _command_in_one_arena(*words: str) -> None:
    arena_max = -8  # of glibc's malloc.h; other C libraries have no such limit
    if hasattr(ctypes.CDLL(None), "mallopt"):
        ctypes.CDLL(None).mallopt(arena_max, 1)
    forked.command(*words)


def stop(server: Server) -> str:
    """End a server; return what else it wrote."""
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(90) == 0
    return server.process.output()


def tiny_taste() -> tm.RewardModel:
    """Return a tiny network that was fitted for a moment."""
    judgements = [tm.Label(text, gold_score(text) > 5) for text in reviews(24)]
    tiny = tm.Tiny(vocabulary=320, max_length=64)
    model = tm.fit(judgements, backbone=tiny, training=tm.Training(epochs=4, lr=3e-3))
    # so few texts give scores of nearly one value, which the anchor spreads with their rounding
    model.backbone.rescale(0.0, 20.0)
    return model
