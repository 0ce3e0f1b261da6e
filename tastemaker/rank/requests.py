"""What all paths share: refusals, bodies, and calls that wait for the disk."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

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
