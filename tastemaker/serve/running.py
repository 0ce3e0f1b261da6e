"""Start a server, prove its scores, and run it until it is told to end.

The proof: the contract's number on every wire, or no service. The texts that a saved model was
checked with are scored alone, then in one batch, then through the application on every path, queue
and JSON included.
"""

import asyncio
import json
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tastemaker.data.judgements import Example
from tastemaker.errors import MissingExtra, ModelError, UsageError
from tastemaker.reward.roundtrip import SAMPLES
from tastemaker.serve.openapi import STATES, add_reply
from tastemaker.serve.served import Served
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires import PATHS, Wire
from tastemaker.serve.wires.openrlhf import GET_REWARD

# ---- examples and their proof --------------------------------------------------------------------


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


# ---- the server ----------------------------------------------------------------------------------


Say = Callable[[str], None]


def serve(
    folders: Sequence[Path | str],
    settings: Serving | None = None,
    *,
    say: Say = lambda line: None,
) -> None:
    """Serve the scores of model folders over HTTP until SIGTERM or Ctrl-C.

    say: gets a line for each check, and `serving on http://HOST:PORT` once the server is ready.
    After SIGTERM accepted requests are answered and new ones refused. Raises ModelError where a
    score differs between two ways to it, and UsageError for a port that is taken.
    """
    settings = settings or Serving()
    try:
        from tastemaker.serve.app import Service, make_app
    except ImportError as error:
        raise MissingExtra("`tastemaker serve`", "serve") from error
    from tastemaker.serve.served import Shelf

    shelf = Shelf.open(
        folders,
        settings.engine,
        settings.device,
        trust_remote_code=settings.trust_remote_code,
    )
    with listening(settings.host, settings.port) as listener:
        service = Service(shelf, settings)
        try:
            asyncio.run(_run(service, make_app(service), listener, say))
        finally:
            service.queue.close()


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound; it listens once the server runs."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle's delay (40 ms an answer) only where the protocol is named
    kind, protocol = socket.SOCK_STREAM, socket.IPPROTO_TCP
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}, port {port} ({error.strerror or error}). "
            "Choose another --port, or 0 for a free one."
        ) from error
    return listener


async def _run(
    service: Any, app: Any, listener: socket.socket, say: Say
) -> None:
    from tastemaker.serve.app import refuse_connection, with_cors

    for served in service.shelf.models.values():
        await prove(app, served, service.settings)
        way, difference = max(
            served.differences.items(), key=lambda item: item[1]
        )
        say(
            f"{served.name}: the same scores alone and in {len(served.differences)} other ways; "
            f"largest difference {difference:.1e} ({way}); engine {served.engine.name}"
        )

    await add_examples(app, service.shelf.first, service.settings)

    def announce(address: str) -> None:
        service.is_ready = True
        say(f"serving on {address}")

    settings = service.settings
    await run_app(
        with_cors(app, settings),
        listener,
        settings.connections,
        announce,
        settings.body_seconds,
        full=with_cors(refuse_connection, settings),
    )


async def run_app(
    app: Any,
    listener: socket.socket,
    connections: int,
    announce: Say,
    head_seconds: float = 10.0,
    *,
    full: Any = None,
) -> None:
    """Run a web application until SIGTERM or Ctrl-C.

    connections: at once; more get 503. announce: gets `http://HOST:PORT` once the server listens.
    head_seconds: a connection is closed where the head of a request takes longer. full: the
    application that answers connections too many; without it they get a line of text.
    """
    import uvicorn
    from uvicorn.protocols.http.flow_control import service_unavailable

    async def bounded(scope: Any, receive: Any, send: Any) -> None:
        is_full = len(server.server_state.connections) > connections
        chosen = (full or service_unavailable) if is_full else app
        await chosen(scope, receive, send)

    config = uvicorn.Config(
        bounded,
        http=_protocol(head_seconds),
        log_level="warning",
        access_log=False,  # a path may hold a token
        lifespan="off",
        server_header=False,
        timeout_keep_alive=30,
    )
    server = uvicorn.Server(config)

    async def wait() -> None:
        while not server.started:
            await asyncio.sleep(0.01)
        host, port = listener.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        announce(f"http://{name}:{port}")

    # uvicorn raises the signal again once it has ended: the end is what was asked for
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    announcing = asyncio.ensure_future(wait())
    try:
        await server.serve(sockets=[listener])
    finally:
        announcing.cancel()
        signal.signal(signal.SIGTERM, before)


def _protocol(head_seconds: float) -> Any:
    """Return uvicorn's HTTP protocol, whose connections do not wait for ever.

    uvicorn closes a connection that is idle after an answer, but not one that never sends a whole
    request: a thousand of them would take all places.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):
        """Closes the connection where the head of a request is not there in time."""

        waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self.stop_waiting()
            super().connection_lost(exc)

        @property
        def is_answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def watch(self) -> None:
            if self.is_answering:
                self.stop_waiting()
            elif self.waiting is None:
                self.waiting = self.loop.call_later(head_seconds, self.give_up)

        def stop_waiting(self) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

        def give_up(self) -> None:
            self.waiting = None
            if not self.is_answering:
                self.transport.close()

    return Impatient
