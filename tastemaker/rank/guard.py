"""What every request passes: the name it calls us by, its origin, its size; headers of safety."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tastemaker.rank.settings import Judging

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # the address holds the token
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """Refuses requests from other sites; adds the headers that keep texts from being run.

    Where only this machine can connect, a request must call it by its own name, so that no web page
    reaches it by a name that it controls. A post must come from our own page: browsers say so in
    `Sec-Fetch-Site` and `Origin`.
    """

    def __init__(self, app: _App, judging: Judging) -> None:
        self.app, self.judging = app, judging
        self.is_local = judging.host in ("localhost", "127.0.0.1", "::1")

    async def __call__(
        self, scope: _Message, receive: _Receive, send: _Send
    ) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def safe_send(message: _Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *_HEADERS]
                message = {**message, "headers": headers}
            await send(message)

        headers = dict(scope["headers"])
        problem = self._problem(scope["method"], headers)
        if problem is None:
            await self.app(scope, receive, safe_send)
        else:
            await _refuse(problem, safe_send)

    def _problem(self, method: str, headers: dict[bytes, bytes]) -> str | None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self.is_local and _name(host) not in _LOCAL:
            return "this page answers to localhost."
        if method in ("GET", "HEAD"):
            return None
        site = headers.get(b"sec-fetch-site", b"same-origin")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        is_ours = origin.partition("://")[2] in (host, "")
        if (
            site not in (b"same-origin", b"none")
            or not is_ours
            or origin == "null"
        ):
            return "a post from another site."
        return None


def _name(host: str) -> str:
    """Return a host without its port; an IPv6 address has colons of its own."""
    return host if host.endswith("]") else host.rpartition(":")[0] or host


async def _refuse(problem: str, send: _Send) -> None:
    body = json.dumps({"error": problem}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send(
        {"type": "http.response.start", "status": 403, "headers": headers}
    )
    await send({"type": "http.response.body", "body": body})
