"""Start a server, prove its scores, and run it until it is told to end."""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tastemaker.errors import MissingExtra, UsageError
from tastemaker.serve.settings import Serving

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
    from tastemaker.serve.app import with_cors
    from tastemaker.serve.guard import refuse_connection
    from tastemaker.serve.proof import add_examples, prove

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
