"""The web application: a judge's page, the answers it posts, the lead's page, and their files."""

from functools import partial
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from tastemaker.data.store import Judge, Store
from tastemaker.errors import DataError, StorageError, UsageError
from tastemaker.rank import pages
from tastemaker.rank.asking import Asker
from tastemaker.rank.forms import Form
from tastemaker.rank.guard import Guard
from tastemaker.rank.leading import add_lead
from tastemaker.rank.own import own_figures
from tastemaker.rank.requests import (
    Rate,
    Refused,
    as_json,
    body_of,
    in_thread,
    whole,
)
from tastemaker.rank.scoring import Referee, Scorer
from tastemaker.rank.settings import Judging

_LONGEST_KEY = 64


def make_app(
    store: Store,
    address: str | Path,
    judging: Judging,
    model: Scorer | None = None,
) -> FastAPI:
    """Return the application of a store. model: its scores are shown to the lead."""
    app = FastAPI(
        title="Tastemaker", docs_url=None, redoc_url=None, openapi_url=None
    )
    _add_judge(app, store, Asker(store, judging.ask, judging.refit_after))
    referee = None if model is None else Referee(model)
    add_lead(app, store, address, referee)
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
        if isinstance(error, UsageError | DataError):
            status, message = 422, str(error)
        if isinstance(error, StorageError):
            status, message = 503, str(error)
        if request.method == "GET" and status in pages.NOTICES:
            more = message if status == 422 else ""
            return pages.notice(request, pages.NOTICES[status], status, more)
        return as_json(
            {"error": pages.reason(request, message, status)}, status
        )

    kinds = (
        HTTPException,
        Refused,
        UsageError,
        DataError,
        StorageError,
        Exception,
    )
    for kind_of_error in kinds:
        app.add_exception_handler(kind_of_error, refuse)
    app.add_middleware(Guard, judging=judging)
    return app


def _add_judge(app: FastAPI, store: Store, asker: Asker) -> None:
    rate = Rate()
    empty = Form().as_dict()

    @app.get("/j/{token}/")
    async def page(token: str, request: Request) -> Response:
        """Show the next item."""
        judge = await invited(store, token)
        view = await in_thread(store.next_view, judge)
        left = await in_thread(store.left)
        form = empty | await in_thread(store.setting, "form", {})
        own = await in_thread(own_figures, store, judge)
        return pages.judge_page(request, judge, view, left, form, own=own)

    @app.post("/j/{token}/answer")
    async def answer(token: str, request: Request) -> Response:
        """Save an answer; the reply comes when it is on the disk."""
        judge = await invited(store, token)
        rate.check(token)
        body = await body_of(request)
        view, key = whole(body.get("view"), "view"), body.get("key")
        if not isinstance(key, str) or not 8 <= len(key) <= _LONGEST_KEY:
            raise Refused(422, f"the key has 8 to {_LONGEST_KEY} characters.")
        save = partial(store.answer, judge, view, key)
        outcome = await in_thread(
            save, body.get("answer"), body.get("seconds")
        )
        if outcome.is_new:
            asker.answered()
        return as_json(outcome._asdict())

    @app.post("/j/{token}/undo")
    async def undo(token: str) -> Response:
        """Withdraw the last answer and show its item again."""
        judge = await invited(store, token)
        rate.check(token)
        return as_json({"undone": await in_thread(store.undo, judge)})


def _add_file(app: FastAPI, name: str, kind: str) -> None:
    content = pages.file(name)

    @app.get(f"/files/{name}", name=name)
    async def read() -> Response:
        headers = {"Cache-Control": "no-cache"}
        return Response(content, 200, headers, kind)


async def invited(store: Store, token: str) -> Judge:
    """Return the judge of an invitation. Raises Refused for an unknown or a revoked one."""
    judge = await in_thread(store.judge_of, token)
    if judge is None:
        raise Refused(404, "no such invitation: ask for a new link.")
    return judge
