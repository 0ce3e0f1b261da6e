"""Who may ask: the token of a request, and the name by which this machine was called."""

import hmac
import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tastemaker.serve.refusals import Refusal
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires import error_at

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
