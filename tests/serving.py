"""A real server in a process of its own, for the tests that ask it."""

import http.client
import json
import re
import signal
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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
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


def start(*arguments: object, token: str | None = None) -> Server:
    """Start a server and wait for its line."""
    process = forked.start("serve", *arguments, environment={"TASTEMAKER_TOKEN": token})
    lines: list[str] = []
    for line in process.lines():
        lines.append(line.strip())
        match = re.fullmatch(r"serving on http://127\.0\.0\.1:(\d+)", lines[-1])
        if match:
            return Server(process, int(match[1]), lines, token)
    raise AssertionError(lines)


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
