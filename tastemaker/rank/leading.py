"""The lead's page and what it can do: invite, end an invitation, decide an item, export."""

import hmac
import tempfile
from pathlib import Path

from fastapi import FastAPI, Request, Response

from tastemaker.data.store import Store
from tastemaker.rank import pages
from tastemaker.rank.exporting import FORMATS, export
from tastemaker.rank.figures import LEAD, Figures
from tastemaker.rank.requests import (
    Refused,
    as_json,
    body_of,
    in_thread,
    whole,
)
from tastemaker.rank.scoring import Referee

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
