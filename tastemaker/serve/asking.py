"""A client's request over HTTP, of limited time, and repeated where that may help."""

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MOST_BYTES = 2**26
_WORTH_RETRYING = frozenset({0, 408, 425, 429, 500, 502, 503, 504})
_BUSY = frozenset({429, 503})
_FAILURES = (OSError, ValueError, http.client.HTTPException)
"""Errors of a broken connection and of an answer that is no HTTP."""
_SHORTEST_WAIT, _LONGEST_WAIT = 0.2, 30.0


@dataclass(frozen=True)
class Reply:
    """One answer. status: 0 where there was none. pause: the seconds of its Retry-After.

    problem: why there is no value.
    """

    status: int
    value: Any = None
    problem: str = ""
    pause: float = 0.0

    @property
    def is_worth_retrying(self) -> bool:
        """True where the same request may be answered later."""
        return self.status in _WORTH_RETRYING

    def __str__(self) -> str:
        state = "did not answer"
        if self.status in _BUSY:
            state = "is busy"
        elif self.status and not self.is_worth_retrying:
            state = "refused"
        if self.status == 200:
            state = "answered without JSON"
        elif self.status:
            state += f" (status {self.status})"
        return f"{state}: {self.problem}" if self.problem else state


def request_of(
    url: str, headers: Mapping[str, str], body: bytes | None = None
) -> urllib.request.Request:
    """Return a request with JSON; a redirect to another place does not get the headers."""
    request = urllib.request.Request(url, body)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    for name, value in headers.items():
        request.add_unredirected_header(name, value)
    return request


def asked(
    request: urllib.request.Request, seconds: float, retries: int
) -> Reply:
    """Return the answer to a request; the last one where it was repeated.

    seconds: of one whole answer. The waits between repetitions double, with jitter, and are at
    least what `Retry-After` says, up to 30 seconds.
    """
    reply = _within(seconds, request)
    for attempt in range(1, retries + 1):
        if not reply.is_worth_retrying:
            break
        longest = min(_LONGEST_WAIT, _SHORTEST_WAIT * 2**attempt)
        # jitter keeps clients that were refused together apart
        wait = longest * random.uniform(0.5, 1)
        time.sleep(max(wait, min(reply.pause, _LONGEST_WAIT)))
        reply = _within(seconds, request)
    return reply


def _within(seconds: float, request: urllib.request.Request) -> Reply:
    """Return an answer, or that it took longer: a server may send a byte a second."""
    replies: list[Reply] = []
    worker = threading.Thread(
        target=lambda: replies.append(_once(request, seconds)), daemon=True
    )
    worker.start()
    worker.join(seconds)
    return replies[0] if replies else Reply(0, problem="timed out")


def _once(request: urllib.request.Request, seconds: float) -> Reply:
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            text = answer.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return _refused(error)
    except _FAILURES as error:
        reason = getattr(error, "reason", error)
        return Reply(0, problem=" ".join(str(reason).split()))
    try:
        return Reply(200, json.loads(text))
    except (ValueError, RecursionError) as error:
        return Reply(200, problem=" ".join(str(error).split()))


def _refused(error: urllib.error.HTTPError) -> Reply:
    pause = error.headers.get("Retry-After", "")
    try:
        body = json.loads(error.read(65536))
        problem = body["error"]
        problem = problem["message"] if isinstance(problem, dict) else problem
    except (*_FAILURES, KeyError, TypeError, RecursionError):
        problem = error.reason
    seconds = float(pause) if pause.isdecimal() else 0.0
    return Reply(error.code, None, " ".join(str(problem).split()), seconds)
