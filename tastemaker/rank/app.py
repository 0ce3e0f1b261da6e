"""The web application: a judge's page, the answers it posts, the lead's page, and their files.

The lead invites judges, ends invitations, decides items and exports judgements. All paths share
the guard of every request, refusals, bodies, and waiting for the disk.
"""

import asyncio
import hmac
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from tastemaker.data.store import Judge, Store
from tastemaker.errors import DataError, StorageError, UsageError
from tastemaker.rank import pages
from tastemaker.rank.asking import Asker
from tastemaker.rank.exporting import FORMATS, export
from tastemaker.rank.figures import LEAD, Figures
from tastemaker.rank.pages import judge_feedback
from tastemaker.rank.scoring import Referee, Scorer
from tastemaker.rank.settings import Form, Judging

# ---- the lead ------------------------------------------------------------------------------------


MOST_DECIDED = 100


def add_lead(
    app: FastAPI,
    store: Store,
    address: str | Path,
    referee: Referee | None = None,
) -> None:
    """Add the lead's page. address: of the store, to export. referee: scores what was judged."""
    figures = Figures(store)

    def check(token: str) -> None:
        """Raise Refused for a token that is not the lead's."""
        expected = str(store.setting("lead"))
        if not hmac.compare_digest(token.encode(), expected.encode()):
            raise Refused(404, "no such page: ask for the lead's link.")

    @app.get("/lead/{token}/")
    async def page(token: str, request: Request) -> Response:
        """Show progress, agreement and judges."""
        await in_thread(check, token)
        overview = await in_thread(figures.overview)
        model = None
        if referee is not None:
            model = await in_thread(referee.compare, store)
        return pages.page(
            request,
            "lead.html",
            overview=overview,
            reasons=pages.reasons_in(request, overview.skip_reasons),
            formats=list(FORMATS),
            model=model,
        )

    @app.post("/lead/{token}/invite")
    async def invite(token: str, request: Request) -> Response:
        """Invite a judge by name."""
        await in_thread(check, token)
        name = (await body_of(request)).get("name")
        if not isinstance(name, str):
            raise Refused(422, "the name is no text.")
        judge = await in_thread(store.judge, name)
        return as_json({"name": judge.name})

    @app.post("/lead/{token}/revoke")
    async def revoke(token: str, request: Request) -> Response:
        """End an invitation, or renew it."""
        await in_thread(check, token)
        body = await body_of(request)
        name, is_revoked = body.get("name"), body.get("is_revoked")
        if not isinstance(name, str) or not isinstance(is_revoked, bool):
            raise Refused(422, "a name, and whether its invitation ends.")
        await in_thread(_revoke, store, name, is_revoked)
        return as_json({"name": name})

    @app.post("/lead/{token}/decide")
    async def decide(token: str, request: Request) -> Response:
        """Show items to the lead, one after another; the answers count as one judge's more."""
        await in_thread(check, token)
        items = (await body_of(request)).get("items")
        if not isinstance(items, list) or not 1 <= len(items) <= MOST_DECIDED:
            raise Refused(422, f"1 to {MOST_DECIDED} items to decide.")
        numbers = [whole(item, "item") for item in items]
        judge = await in_thread(store.judge, LEAD)
        for number in numbers:
            await in_thread(store.show_item, judge, number)
        return as_json({"link": f"/j/{judge.token}/"})

    @app.get("/lead/{token}/export/{format}")
    async def exported(token: str, format: str) -> Response:
        """Return the judgements as a file."""
        await in_thread(check, token)
        content, name = await in_thread(_exported, address, format)
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        }
        return Response(content, 200, headers, "application/octet-stream")


def _revoke(store: Store, name: str, is_revoked: bool) -> None:
    uninvited = {each.name for each in store.judges() if not each.is_invited}
    if not is_revoked and name in uninvited:
        store.judge(name)
    else:
        store.revoke(name, is_revoked=is_revoked)


def _exported(address: str | Path, format: str) -> tuple[bytes, str]:
    if format not in FORMATS:
        raise Refused(404, "no such format.")
    name = (
        "judgements.csv" if format == "csv" else f"judgements-{format}.jsonl"
    )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / name
        export(address, target, format, lambda line: None)
        return target.read_bytes(), name


# ---- the application -----------------------------------------------------------------------------


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
            more = pages.reason(request, message, 422) if status == 422 else ""
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
        figures = await in_thread(judge_feedback, store, judge)
        return pages.judge_page(
            request, judge, view, left, form, figures=figures
        )

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
