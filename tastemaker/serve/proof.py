"""The check at the start: the contract's number on every wire, or no service.

The texts that a saved model was checked with are scored alone, then in one batch, then through the
application on every path, queue and JSON included.
"""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import numpy as np

from tastemaker.data.judgements import Example
from tastemaker.errors import ModelError
from tastemaker.reward.roundtrip import SAMPLES
from tastemaker.serve.openapi import STATES, add_reply
from tastemaker.serve.served import Served
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires import PATHS, Wire
from tastemaker.serve.wires.openrlhf import GET_REWARD

TOLERANCE = 1e-4
"""The largest difference between two ways to the same score, in units of the score."""
_STRIPPED = f"{GET_REWARD.name} /get_reward"


async def prove(app: Any, served: Served, settings: Serving) -> None:
    """Measure the differences of one model. Raises ModelError for one over the tolerance."""
    differences: dict[str, float] = {}
    for query in (None, *_queries()):
        examples = [Example(text, query) for text in SAMPLES]
        alone = [float(served.score([e]).values[0]) for e in examples]
        if query is None:
            batch = served.score(examples).as_list()
            differences["in a batch"] = _largest(alone, batch)
        for path, wires in PATHS.items():
            for wire in wires:
                if wire.query == query:
                    numbers = await _through(app, path, wire, served, settings)
                    name = f"{wire.name} {path}"
                    differences[name] = _largest(alone, numbers)
    engine = served.engine
    if engine.name != "torch":
        differences[f"engine {engine.name}"] = engine.difference
    served.differences = differences
    if not engine.is_exact:
        return
    for way, difference in differences.items():
        if not difference <= TOLERANCE:
            advice = "please report the architecture and versions"
            if settings.strip and way == _STRIPPED:
                advice = "--strip removes a part of ordinary texts"
            raise ModelError(
                f"{served.name}: a text scores differently alone and through {way}: by "
                f"{difference:.2g}, over {TOLERANCE:g}. Nothing is served; {advice}."
            )


def _queries() -> set[str]:
    queries = set()
    for wires in PATHS.values():
        queries |= {wire.query for wire in wires if wire.query is not None}
    return queries


def _largest(first: list[float], second: list[float]) -> float:
    return float(np.abs(np.subtract(first, second)).max())


async def _through(
    app: Any, path: str, wire: Wire, served: Served, settings: Serving
) -> list[float]:
    """Return the scores of the samples as one wire answers them."""
    body = json.dumps(wire.probe(list(SAMPLES))).encode()
    reply = await _asked(app, path, served.name, settings, body)
    return wire.numbers(json.loads(reply))


async def add_examples(app: Any, served: Served, settings: Serving) -> None:
    """Write what each path answers into the document of the paths."""
    for path, operations in app.openapi()["paths"].items():
        for wire in PATHS.get(path, ()):
            body = json.dumps(wire.example).encode()
            reply = await _asked(app, path, served.name, settings, body)
            add_reply(operations["post"], wire.name, json.loads(reply))
        if path in STATES:
            reply = await _asked(app, path, served.name, settings)
            add_reply(operations["get"], "reply", reply.decode())


async def _asked(
    app: Any,
    path: str,
    model: str,
    settings: Serving,
    body: bytes | None = None,
) -> bytes:
    """Call the application as a server does, without a connection. body: to be posted."""
    headers = [(b"host", b"localhost")]
    if settings.token:
        headers.append((b"authorization", f"Bearer {settings.token}".encode()))
    query = quote(model, safe="")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET" if body is None else "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": f"model={query}".encode(),
        "headers": headers,
        "client": ("127.0.0.1", 0),
        "server": ("127.0.0.1", 0),
    }
    parts: list[bytes] = []
    status = 0
    is_sent = False

    async def receive() -> dict[str, Any]:
        nonlocal is_sent
        if is_sent:
            await asyncio.Event().wait()  # the client stays
        is_sent = True
        message = {"type": "http.request", "body": body or b""}
        return {**message, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    if status != 200:
        text = b"".join(parts).decode()
        raise ModelError(f"{model}: {path} answers {status} ({text}).")
    return b"".join(parts)
