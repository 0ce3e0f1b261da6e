"""The page over HTTP: hostile texts, other sites, bad posts, the lead's page, exports."""

import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from rank_pages import answered, at_size, element_of, press, texts_shown

import tastemaker as tm
from tastemaker.data.store import Store

SCRIPT = '<script>document.title="owned"</script>'
HOSTILE = [
    f"{SCRIPT} <img src=x onerror=\"document.title='owned'\">",
    "javascript:alert(1) \u202etxet desrever\u202c \u200b {{ 7 * 7 }} ' \" </li></ol>",
]


@pytest.fixture(scope="module")
def page(started: Callable[..., Any]) -> Any:
    """A page with hostile texts and two judges."""
    rows: list[dict[str, Any]] = [{"prompt": SCRIPT, "answers": HOSTILE}]
    rows += [{"prompt": f"prompt {n}", "answers": ["one", "two"]} for n in range(4)]
    judges = ("--judge", "ann", "--judge", SCRIPT, "--judges-per-item", 2)
    return started(rows, *judges, "--repeats", 0)


def ask(
    page: Any, link: str, body: Any = None, **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Return status, text and headers of a request; a body is posted."""
    parts = urlsplit(link)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    path = f"{parts.path}?{parts.query}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is None:
        connection.request("GET", path, headers=named)
    else:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Content-Type": "application/json", **named}
        connection.request("POST", path, data, named)
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text, dict(reply.headers)


def test_hostile_texts_are_shown_as_text(chromium: Any, page: Any) -> None:
    chromium.get_log("browser")
    at_size(chromium, 1000, 800)
    chromium.get(page.links["ann"])
    orders = []
    while not chromium.find_elements("css selector", "[data-testid=done]"):
        orders.append(texts_shown(chromium))
        assert chromium.title == "Judge · Tastemaker"
        answered(chromium, lambda: press(chromium, "2"))
    (hostile,) = [order for order in orders if SCRIPT in " ".join(order)]
    plain = [
        text.replace("\u202e", "RLO").replace("\u200b", "ZWSP") for text in HOSTILE
    ]
    assert sorted(hostile) == sorted(plain)
    assert chromium.get_log("browser") == []
    judged = [j for j in tm.read(page.store) if j.judge == "ann"]
    assert len(judged) == 5
    assert {text for j in judged for text in j.texts} == {*HOSTILE, "one", "two"}
    assert all(isinstance(j, tm.Comparison) and not j.chosen_first for j in judged)


def test_undo_and_skip_by_keyboard(chromium: Any, page: Any) -> None:
    chromium.get(page.links["ann"])
    answered(chromium, lambda: press(chromium, "u"))
    count = len(tm.read(page.store))
    press(chromium, "s")
    assert element_of(chromium, "reasons").is_displayed()
    answered(chromium, lambda: press(chromium, "3"))
    assert len(tm.read(page.store)) == count
    assert element_of(chromium, "done").is_displayed()


def test_requests_that_are_refused(page: Any) -> None:
    link = page.links["ann"]
    answer = link + "answer"
    assert ask(page, link)[0] == 200
    assert ask(page, link, Host="evil.example")[0] == 403
    good = {"view": 10**6, "key": "0123456789", "answer": {"tiers": [[0], [1]]}}
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert ask(page, answer, good, **headers)[0] == 403
    assert ask(page, answer, good, Content_Type="text/plain")[0] == 415
    assert ask(page, answer, b"{")[0] == 400
    assert ask(page, answer, b"[" * 60_000)[0] == 400
    assert ask(page, answer, b'"' + b"a" * 100_000 + b'"')[0] == 413
    for body in (
        {},
        {**good, "view": "1"},
        {**good, "key": ""},
        {**good, "view": 10**30},
    ):
        assert ask(page, answer, body)[0] == 422, body
    status, text, _ = ask(page, answer, good)
    assert (status, "error" in json.loads(text)) == (422, True)
    parts = urlsplit(link)
    wrong = f"http://{parts.netloc}/j/{'a' * 24}/"
    assert ask(page, wrong)[0] == ask(page, wrong + "answer", good)[0] == 404
    assert ask(page, f"http://{parts.netloc}/lead/{'a' * 24}/")[0] == 404
    # the invitation of a judge is not the lead's
    assert ask(page, link.replace("/j/", "/lead/"))[0] == 404


def test_headers_and_weight(page: Any) -> None:
    _, text, headers = ask(page, page.links["ann"])
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=", text.replace(SCRIPT, ""))
    weight = len(text.encode())
    for name in ("page.js", "machine.js", "page.css"):
        parts = urlsplit(page.links["ann"])
        weight += len(ask(page, f"http://{parts.netloc}/files/{name}")[1].encode())
    assert weight < 60_000


def test_the_leads_page(chromium: Any, page: Any) -> None:
    at_size(chromium, 1200, 900)
    chromium.get(page.links["lead"])
    assert element_of(chromium, "progress").text == "0 / 5"
    agreement = element_of(chromium, "agreement-comparison").text
    assert "undefined: no two judges" in agreement
    element_of(chromium, "invite-name").send_keys("cy")
    answered(chromium, lambda: element_of(chromium, "invite").click())
    cy = Store(page.store).judge("cy")
    assert (
        ask(page, page.links["ann"].rpartition("/j/")[0] + f"/j/{cy.token}/")[0] == 200
    )
    answered(chromium, lambda: element_of(chromium, "revoke-cy").click())
    assert (
        ask(page, page.links["ann"].rpartition("/j/")[0] + f"/j/{cy.token}/")[0] == 404
    )
    assert chromium.title == "Lead · Tastemaker"
    # the second judge says the opposite of the first
    chromium.get(page.links[SCRIPT])
    for _ in range(3):
        answered(chromium, lambda: press(chromium, "1"))
    chromium.get(page.links["lead"])
    assert "Krippendorff" in element_of(chromium, "agreement-comparison").text
    status, text, _ = ask(page, page.links["lead"] + "export/trl")
    assert status == 200
    rows = [json.loads(line) for line in text.splitlines()]
    assert {frozenset(row) for row in rows} == {
        frozenset({"prompt", "chosen", "rejected"})
    }
    assert len(rows) == len(tm.read(page.store))


@pytest.mark.parametrize(
    "format", ["jsonl", "csv", "trl", "kto", "nemo", "rewardbench", "full"]
)
def test_exports_are_read_again(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]], format: str
) -> None:
    from tastemaker.data.store import Item

    path = tmp_path / "judgements.db"
    store = Store(path)
    store.add([Item(("a", "b", "c"), f"prompt {n}") for n in range(3)])
    ann = store.judge("ann")
    for number in range(3):
        view = store.next_view(ann)
        assert view is not None
        answer = {"tiers": [[0], [2, 1]], "comment": "close", "flags": ["odd"]}
        store.answer(ann, view.id, f"the key {number}", answer)
    target = tmp_path / f"out.{'csv' if format == 'csv' else 'jsonl'}"
    code, out, _ = run("rank", path, "--export", target, "--format", format)
    assert code == 0
    assert f"{target}: " in out
    if format == "full":
        row = json.loads(target.read_text().splitlines()[0])
        assert row["answer"]["comment"] == "close"
        assert sorted(row["shown"]) == ["a", "b", "c"]
        return
    first = tm.read(path)[0]
    best = first.best[0]
    judgements = tm.read(target)
    if format == "jsonl":
        assert judgements == tm.read(path)
    of_first = [j for j in judgements if j.prompt == first.prompt or format == "nemo"]
    assert of_first
    if format == "kto":
        assert {j.texts[0] for j in of_first if j.value} == {best}
    else:
        assert of_first[0].best == (best,)
