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

    shelf = Shelf.open(folders, settings.engine, settings.device)
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
    from tastemaker.serve.proof import prove

    for served in service.shelf.models.values():
        await prove(app, served, service.settings)
        way, difference = max(
            served.differences.items(), key=lambda item: item[1]
        )
        say(
            f"{served.name}: the same scores alone and in {len(served.differences)} other ways; "
            f"largest difference {difference:.1e} ({way}); engine {served.engine.name}"
        )

    def announce(address: str) -> None:
        service.is_ready = True
        say(f"serving on {address}")

    await run_app(app, listener, service.settings.connections, announce)


async def run_app(
    app: Any, listener: socket.socket, connections: int, announce: Say
) -> None:
    """Run a web application until SIGTERM or Ctrl-C.

    connections: at once; more get 503. announce: gets `http://HOST:PORT` once the server listens.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # a path may hold a token
        lifespan="off",
        server_header=False,
        limit_concurrency=connections,
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
