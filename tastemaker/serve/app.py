"""The web application: who may ask; paths, wires and the page over one queue of texts.

Bodies are read here and not by FastAPI's models, because two peers share some paths, and because
each peer's clients expect errors in its own shape.
"""

import asyncio
import hmac
import json
import time
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tastemaker.costs import versions
from tastemaker.data.judgements import Example
from tastemaker.scores import Scores
from tastemaker.serve import page
from tastemaker.serve.batching import Metrics, ScoringQueue
from tastemaker.serve.openapi import (
    add_security,
    state_responses,
    wire_operation,
    wire_responses,
)
from tastemaker.serve.requests import Refusal, checked_numbers, parsed
from tastemaker.serve.served import Served, Shelf
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires import (
    PATHS,
    Answer,
    Work,
    error_at,
    wire_of,
)
from tastemaker.serve.wires.tei import LABEL

# ---- who may ask ------------------------------------------------------------


OPEN_PATHS = frozenset({"/health", "/ready"})
"""What probes ask without a token; nothing about the models is in the answers."""
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (
        b"referrer-policy",
        b"same-origin",
    ),  # no-referrer would make a form's origin "null"
    (b"cache-control", b"no-store"),
]


class Guard:
    """Lets requests with the token through; all where there is none.

    The token may be in `Authorization: Bearer`, in `X-API-Key`, or the first part of the path,
    which is cut off: some clients cannot set headers. Without a token, a request that calls this
    machine by another name than its own is refused, so that no web page reaches the server by a
    name that it controls; and so is a post of a web page whose origin is not among `cors`.
    """

    def __init__(self, app: ASGIApp, settings: Serving) -> None:
        self.app, self.settings = app, settings
        self.token = settings.token.encode() if settings.token else None

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def safe_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *_SECURITY]
                message = {**message, "headers": headers}
            await send(message)

        headers = dict(scope["headers"])
        refusal = None
        if self.token is None:
            if not self._is_own_name(headers.get(b"host", b"")):
                refusal = Refusal(403, "this server answers to localhost.")
            elif self._is_of_another_site(scope["method"], headers):
                refusal = Refusal(
                    403, "a post of another site: name its origin by --cors."
                )
        else:
            scope, is_allowed = self._checked(scope, headers)
            if not is_allowed and scope["path"] not in OPEN_PATHS:
                refusal = Refusal(401, "a token is needed.")
        if refusal is None:
            await self.app(scope, receive, safe_send)
        else:
            await _send_refusal(refusal, scope["path"], safe_send)

    def _is_of_another_site(
        self, method: str, headers: dict[bytes, bytes]
    ) -> bool:
        """Return whether a browser posts for a page that is neither ours nor named by `cors`."""
        if method in ("GET", "HEAD", "OPTIONS"):
            return False
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin in [each.lower() for each in self.settings.cors]:
            return False
        host = headers.get(b"host", b"").decode("latin-1").lower()
        is_ours = origin.partition("://")[2] in (host, "") and origin != "null"
        site = headers.get(b"sec-fetch-site", b"same-origin")
        return not is_ours or site not in (b"same-origin", b"none")

    def _is_own_name(self, host: bytes) -> bool:
        name = host.decode("latin-1").lower()
        # a port follows, and an IPv6 address has colons of its own
        if not name.endswith("]"):
            name = name.rpartition(":")[0] or name
        of_this_machine = {
            *_LOCAL_NAMES,
            self.settings.host,
            f"[{self.settings.host}]",
        }
        return name in of_this_machine

    def _checked(
        self, scope: Scope, headers: dict[bytes, bytes]
    ) -> tuple[Scope, bool]:
        """Return the request without the path's token, and whether it may pass."""
        kind, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"bearer" and self._is_token(bearer.strip()):
            return scope, True
        if self._is_token(headers.get(b"x-api-key", b"")):
            return scope, True
        first, _, rest = scope["path"].removeprefix("/").partition("/")
        if not self._is_token(first.encode("utf-8", "replace")):
            return scope, False
        path = f"/{rest}"
        return {**scope, "path": path, "raw_path": path.encode()}, True

    def _is_token(self, value: bytes) -> bool:
        return self.token is not None and hmac.compare_digest(
            value, self.token
        )


async def refuse_connection(
    scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request of a connection that is one too many."""
    del receive
    refusal = Refusal(
        503, "too many connections: try again later.", retry_after=1
    )
    await _send_refusal(refusal, scope["path"], send)


async def _send_refusal(refusal: Refusal, path: str, send: Send) -> None:
    """Send a refusal in the shape of the wire that the path names."""
    body = json.dumps(error_at(path)(refusal)).encode()
    headers = [(b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    for name, value in refusal.headers.items():
        headers.append((name.lower().encode(), value.encode()))
    start = {"type": "http.response.start", "status": refusal.status}
    await send({**start, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# ---- the application --------------------------------------------------------


_GONE = 499
"""The status in the metrics of a client that went away; it never sees it."""


class Service:
    """The state that all paths share: the models, the queue and the metrics."""

    def __init__(self, shelf: Shelf, settings: Serving) -> None:
        self.shelf, self.settings = shelf, settings
        self.metrics = Metrics()
        self.queue = ScoringQueue(settings, self.metrics)
        self.is_ready = False

    async def answer(self, request: Request, path: str) -> Response:
        """Answer one request of a wire."""
        started = time.monotonic()
        wire = PATHS[path][0]
        try:
            body = parsed(await self.body(request))
            wire = wire_of(path, body)
            work = wire.read(body, self.settings)
            served = self.shelf.named(request.query_params.get("model"))
            if work.model is not None:
                served = self.shelf.named(work.model)
            examples = work.examples_for(served)
            scores = await self.scores(request, served, examples)
            response = self._response(served, work, examples, scores)
        except Refusal as refusal:
            response = json_response(
                wire.error(refusal), refusal.status, refusal.headers
            )
        except ClientDisconnect:
            self.metrics.client_gone()
            response = Response(status_code=_GONE)
        seconds = time.monotonic() - started
        self.metrics.request(path, response.status_code, seconds)
        return response

    @staticmethod
    def _response(
        served: Served, work: Work, examples: list[Example], scores: Scores
    ) -> Response:
        tokens = sum(served.estimated_tokens(e) for e in examples)
        values = checked_numbers(scores.as_list())
        return json_response(
            work.reply(Answer(served, scores, values, tokens))
        )

    async def body(self, request: Request) -> bytes:
        """Return the body of a request. Raises Refusal for a large or a slow one."""
        most = self.settings.max_body
        refusal = Refusal(413, f"the body has more than {most:,} bytes.")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > most:
            raise refusal
        body = bytearray()
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > most:
                        raise refusal
        except TimeoutError as error:
            raise Refusal(408, "the body did not arrive in time.") from error
        return bytes(body)

    async def scores(
        self, request: Request, served: Served, examples: list[Example]
    ) -> Scores:
        """Return the scores of a request. Raises ClientDisconnect if the client leaves first."""
        future = asyncio.wrap_future(self.queue.submit(served, examples))
        # after the body, the only message of a client is that it disconnected
        gone = asyncio.ensure_future(_gone(request))
        try:
            waiting: set[asyncio.Future[Any]] = {future, gone}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise ClientDisconnect
            return future.result()
        finally:
            future.cancel()
            gone.cancel()

    def about(self) -> dict[str, Any]:
        """Return `/info`: TEI's fields of the first model, and ours of all."""
        first = self.shelf.first
        labels = {"id2label": {"0": LABEL}, "label2id": {LABEL: 0}}
        return {
            "model_id": first.name,
            "model_sha": None,
            "model_dtype": "float32",
            "model_type": {"classifier": labels},
            "max_concurrent_requests": self.settings.connections,
            "max_input_length": first.model.contract.max_length,
            "max_batch_tokens": self.settings.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": self.settings.max_inputs,
            "auto_truncate": True,
            "version": versions()["tastemaker"],
            "models": [one.about() for one in self.shelf.models.values()],
            "limits": self.settings.limits(),
            "cors": list(self.settings.cors),
        }


async def _gone(request: Request) -> None:
    message = await request.receive()
    while message["type"] != "http.disconnect":
        message = await request.receive()


def json_response(
    value: Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a JSON response. Raises ValueError for NaN."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Response(text, status, headers, "application/json; charset=utf-8")


def make_app(service: Service) -> FastAPI:
    """Return the application of a service."""
    # FastAPI's own pages load scripts from another server
    app = FastAPI(
        title="Tastemaker",
        version=versions()["tastemaker"],
        docs_url=None,
        redoc_url=None,
    )
    for path in PATHS:
        _add_wire(app, service, path)
    _add_states(app, service)
    page.add_to(app, service)

    async def refuse(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = {404: "no such path.", 405: "no such method here."}
        message = words.get(status, "the server failed.")
        refusal = Refusal(status, message)
        # a 405 names the methods that there are
        headers = getattr(error, "headers", None)
        write = error_at(request.scope["path"])
        return json_response(write(refusal), status, headers)

    app.add_exception_handler(HTTPException, refuse)
    app.add_exception_handler(Exception, refuse)
    app.add_middleware(Guard, settings=service.settings)
    # FastAPI builds the document once
    add_security(app.openapi(), service.settings)
    return app


def with_cors(app: ASGIApp, settings: Serving) -> ASGIApp:
    """Return an application whose answers, refusals too, pages of the named origins may read.

    It is the outermost: a browser's question whether it may ask has no token.
    """
    if not settings.cors:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        expose_headers=["Retry-After"],
    )


def _add_wire(app: FastAPI, service: Service, path: str) -> None:
    async def answer(request: Request) -> Response:
        return await service.answer(request, path)

    wires = PATHS[path]
    app.add_api_route(
        path,
        answer,
        methods=["POST"],
        summary=", ".join(wire.name for wire in wires),
        name=path.strip("/").replace("/", "_"),
        responses=wire_responses(wires),
        openapi_extra=wire_operation(wires, list(service.shelf.models)),
    )


_AS_JSON: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}


def _add_states(app: FastAPI, service: Service) -> None:
    empty: dict[str, Any] = {"response_class": Response}

    @app.get("/health", responses=state_responses({}), **empty)
    async def health() -> Response:
        """Answer 200 while the process lives."""
        return Response(status_code=200)

    waiting = "The models are being checked, or too many connections."

    @app.get("/ready", responses=state_responses({}, s503=waiting), **empty)
    async def ready() -> Response:
        """Answer 200 once the models are checked."""
        return Response(status_code=200 if service.is_ready else 503)

    @app.get("/info", responses=state_responses(_AS_JSON))
    async def info() -> Response:
        """Tell the models, the limits and what the check at the start measured."""
        return json_response(service.about())

    @app.get("/v1/models", responses=state_responses(_AS_JSON))
    async def models() -> Response:
        """List the models as OpenAI's clients read them."""
        rows = []
        for name in service.shelf.models:
            rows.append({"id": name, "object": "model"})
        return json_response({"object": "list", "data": rows})

    kind = "text/plain; version=0.0.4"
    text = {kind: {"schema": {"type": "string"}}}

    @app.get("/metrics", responses=state_responses(text), **empty)
    async def metrics() -> Response:
        """Return the counts for Prometheus."""
        return Response(str(service.metrics), media_type=kind)
