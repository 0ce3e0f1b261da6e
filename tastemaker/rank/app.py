"""The web application: a judge's page, the answers it posts, and its files."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from tastemaker.data.store import Judge, Store
from tastemaker.errors import StorageError, UsageError
from tastemaker.rank import pages
from tastemaker.rank.guard import Guard
from tastemaker.rank.settings import Judging

MOST_BODY = 65_536
"""Bytes of a post: an answer has numbers and a comment."""
_BODY_SECONDS = 20
_LONGEST_KEY = 64
T = TypeVar("T")


class Refused(Exception):
    """A request that is refused: its status, and why in words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def make_app(store: Store, judging: Judging) -> FastAPI:
    """Return the application of a store."""
    app = FastAPI(
        title="Tastemaker", docs_url=None, redoc_url=None, openapi_url=None
    )
    _add_judge(app, store)
    for name, kind in pages.FILES.items():
        _add_file(app, name, kind)

    @app.get("/health")
    async def health() -> Response:
        """Answer 200 while the process lives."""
        return Response(status_code=200)

    @app.get("/favicon.ico")
    async def icon() -> Response:
        """Answer browsers, which all ask for it."""
        return Response(status_code=204)

    @app.get("/")
    async def front(request: Request) -> Response:
        """Ask for the link."""
        return pages.notice(request, "no_link", 200)

    async def refuse(request: Request, error: Exception) -> Response:
        status = getattr(error, "status", getattr(error, "status_code", 500))
        message = str(error) if isinstance(error, Refused) else ""
        if isinstance(error, UsageError):
            status, message = 422, str(error)
        if isinstance(error, StorageError):
            status, message = 503, str(error)
        if request.method == "GET" and status in (404, 500, 503):
            name = "no_link" if status == 404 else "no_store"
            return pages.notice(request, name, status)
        return as_json({"error": message or f"refused ({status})."}, status)

    for kind_of_error in (
        HTTPException,
        Refused,
        UsageError,
        StorageError,
        Exception,
    ):
        app.add_exception_handler(kind_of_error, refuse)
    app.add_middleware(Guard, judging=judging)
    return app


def _add_judge(app: FastAPI, store: Store) -> None:
    @app.get("/j/{token}/")
    async def page(token: str, request: Request) -> Response:
        """Show the next item."""
        judge = await invited(store, token)
        view = await in_thread(store.next_view, judge)
        left = await in_thread(store.left)
        return pages.judge_page(request, judge, view, left)

    @app.post("/j/{token}/answer")
    async def answer(token: str, request: Request) -> Response:
        """Save an answer; the reply comes when it is on the disk."""
        judge = await invited(store, token)
        body = await body_of(request)
        view, key = body.get("view"), body.get("key")
        if not isinstance(view, int) or isinstance(view, bool):
            raise Refused(422, "the view is no number.")
        if not isinstance(key, str) or not 8 <= len(key) <= _LONGEST_KEY:
            raise Refused(422, f"the key has 8 to {_LONGEST_KEY} characters.")
        save = partial(store.answer, judge, view, key)
        outcome = await in_thread(
            save, body.get("answer"), body.get("seconds")
        )
        return as_json(outcome._asdict())

    @app.post("/j/{token}/undo")
    async def undo(token: str) -> Response:
        """Withdraw the last answer and show its item again."""
        judge = await invited(store, token)
        return as_json({"undone": await in_thread(store.undo, judge)})


def _add_file(app: FastAPI, name: str, kind: str) -> None:
    content = pages.file(name)

    @app.get(f"/files/{name}", name=name)
    async def read() -> Response:
        headers = {"Cache-Control": "no-cache"}
        return Response(content, 200, headers, kind)


async def in_thread(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function that waits for the disk, without holding up other requests."""
    return await run_in_threadpool(function, *arguments)


async def invited(store: Store, token: str) -> Judge:
    """Return the judge of an invitation. Raises Refused for an unknown or a revoked one."""
    judge = await in_thread(store.judge_of, token)
    if judge is None:
        raise Refused(404, "no such invitation: ask for a new link.")
    return judge


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


def as_json(value: Any, status: int = 200) -> Response:
    """Return a JSON response."""
    text = json.dumps(value, ensure_ascii=False)
    headers = {"Cache-Control": "no-store"}
    return Response(text, status, headers, "application/json; charset=utf-8")
