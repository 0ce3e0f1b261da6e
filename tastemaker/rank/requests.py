"""What all paths share: the guard of every request, refusals, bodies, waiting for the disk."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from tastemaker.rank.settings import Judging

# ---- the guard -----------------------------------------------------------------------------------


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
    """Refuses requests from other sites; adds the headers that keep texts from being run as code.

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


# ---- bodies and replies --------------------------------------------------------------------------


MOST_BODY = 65_536
"""Bytes of a post: an answer has numbers and a comment."""
_BODY_SECONDS = 20
_RATE, _BURST = 30.0, 100.0
_MOST_CALLERS = 10_000
T = TypeVar("T")


class Refused(Exception):
    """A request that is refused: its status, and why in words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Rate:
    """At most 30 posts a second of one invitation, and 100 at once."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def check(self, token: str) -> None:
        """Count a post. Raises Refused for one too many."""
        now = time.monotonic()
        left, before = self._left.get(token, (_BURST, now))
        left = min(_BURST, left + (now - before) * _RATE) - 1
        if len(self._left) > _MOST_CALLERS:
            self._left.clear()
        self._left[token] = (max(0.0, left), now)
        if left < 0:
            raise Refused(429, "too many posts: wait a moment.")


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function that waits for the disk, without holding up other requests."""
    return await run_in_threadpool(function, *arguments)


async def body_of(request: Request) -> dict[str, Any]:
    """Return the JSON object of a post. Raises Refused for anything else, or too much of it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/json":
        raise Refused(415, "a post is JSON.")
    too_much = Refused(413, f"the body has more than {MOST_BODY:,} bytes.")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BODY:
                    raise too_much
    except TimeoutError as error:
        raise Refused(408, "the body did not arrive in time.") from error
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body is no JSON.") from error
    if not isinstance(value, dict):
        raise Refused(400, "the body is no JSON object.")
    return value


def whole(value: Any, name: str) -> int:
    """Return a number of a row. Raises Refused for anything else."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 0 <= value < 2**63:
        raise Refused(422, f"the {name} is no number of a {name}.")
    return int(value)


def as_json(value: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    text = json.dumps(value, ensure_ascii=False)
    headers = {"Cache-Control": "no-store"}
    return Response(text, status, headers, "application/json; charset=utf-8")
