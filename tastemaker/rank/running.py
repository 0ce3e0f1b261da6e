"""Start the page, print the links of its judges, and run it until it is told to end."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tastemaker.data.store import Item, Judge, Store
from tastemaker.errors import MissingExtra
from tastemaker.rank.settings import Form, Judging

if TYPE_CHECKING:
    from tastemaker.rank.scoring import Scorer

Say = Callable[[str], None]


def rank(
    store: str | Path,
    items: Sequence[Item] = (),
    judging: Judging | None = None,
    *,
    judges: Sequence[str] = (),
    form: Form | None = None,
    model: "Scorer | None" = None,
    say: Say = lambda line: None,
) -> None:
    """Let people judge items on a web page until SIGTERM or Ctrl-C.

    store: a SQLite file, or the address of a PostgreSQL database; it is made where there is none.
    items: added to those of the store. judges: names to invite beside those of the store; one
    called "judge" where there would be none. form: what is asked beside, and how; that of the store
    by default. model: a reward model whose scores the lead sees beside what has been judged. say:
    gets the link of each judge, once the page is ready. Every acknowledged judgement is in the
    store, however the process ends.
    """
    judging = judging or Judging()
    try:
        import uvicorn  # noqa: F401

        from tastemaker.rank.app import make_app
        from tastemaker.serve.running import listening, run_app
    except ImportError as error:
        raise MissingExtra("`tastemaker rank`", "serve") from error
    with listening(judging.host, judging.port) as listener:
        opened = Store(store)
        try:
            _fill(opened, items, judging, judges, say)
            if form is not None:
                opened.set("form", form.as_dict())
                opened.set("scale", form.scale)
            app = make_app(opened, store, judging, model)

            def announce(address: str) -> None:
                for line in links(opened, address):
                    say(line)

            asyncio.run(run_app(app, listener, 1000, announce))
        finally:
            opened.close()


def _fill(
    store: Store,
    items: Sequence[Item],
    judging: Judging,
    judges: Sequence[str],
    say: Say,
) -> None:
    if store.copy is not None:
        say(
            f"{store.name}: brought up to date; the store as it was: {store.copy}"
        )
    count = store.add(items, judging.judges_per_item)
    if items:
        here = len(items) - count
        say(f"{store.name}: {count:,} new items, {here:,} were here already")
    if judging.token is not None:
        store.set("lead", judging.token)
    plan = {
        "repeats": judging.repeats,
        "calibration": judging.calibration_share,
        "ask": judging.ask,
    }
    store.set("plan", plan)
    has_judges = any(judge.is_invited for judge in store.judges())
    for name in judges or ([] if has_judges else ["judge"]):
        store.judge(name)


def links(store: Store, address: str) -> list[str]:
    """Return a line for each judge who may judge and for the lead, with the link."""
    lines = []
    for judge in store.judges():
        if not judge.is_revoked:
            lines.append(f"{judge.name}: {link(judge, address)}")
    lines.append(f"lead: {address}/lead/{store.setting('lead')}/")
    return lines


def link(judge: Judge, address: str) -> str:
    """Return the invitation of a judge."""
    return f"{address}/j/{judge.token}/"
