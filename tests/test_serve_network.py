"""A served network: its numbers, its batches, and each refusal in the shape of its wire."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import torch

import tastemaker as tm
from tests.serving import Server, start, stop, tiny_taste, wait_until
from tests.shell import fails

pytest.importorskip("uvicorn")

TOKEN = "0123456789abcdefSECRET"
CONNECTIONS = 8
BROKEN = "Ж"
"""A text with this letter has no finite score."""


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of which one token's embedding is damaged."""
    folder = tmp_path_factory.mktemp("models") / "taste"
    model = tiny_taste()
    backbone: Any = model.backbone
    token = backbone.tokenizer(BROKEN, add_special_tokens=False)["input_ids"][-2]
    with torch.no_grad():
        backbone.module.get_input_embeddings().weight[token] = torch.nan
    # the texts of the check have no such letter, so it is saved and served
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def model(taste: Path) -> tm.RewardModel:
    return tm.load(taste)


@pytest.fixture(scope="module")
def server(taste: Path) -> Iterator[Server]:
    """A server whose batches hold 64 of the longest texts, and whose queue 32."""
    limits = ("--max-batch-tokens", 4096, "--queue-tokens", 2048)
    pages = ("--cors", "https://example.org", "--cors", "http://localhost:3000")
    more = ("--connections", CONNECTIONS, *pages)
    running = start(taste, "--port", 0, *limits, *more)
    yield running
    assert stop(running) == ""


LONG = "It starts slowly. " * 40 + "Then it is wonderful."
TEXTS = ["A warm and clever film.", LONG, "剧情很精彩 🙂", "Dull."]


def test_a_network_over_http_has_the_librarys_scores(
    server: Server, model: tm.RewardModel
) -> None:
    pair = {"prompt": "How was it?", "completion": TEXTS[0]}
    long = {"prompt": LONG, "completion": "Dull."}
    reply = server.ask("/score", {"inputs": [*TEXTS, pair, long]})[1]
    examples = [tm.Example(text) for text in TEXTS]
    examples += [tm.Example(TEXTS[0], "How was it?"), tm.Example("Dull.", LONG)]
    assert reply["scores"] == pytest.approx(model.score(examples), abs=1e-5)
    assert reply["probabilities"] == pytest.approx(
        model.probability(examples), abs=1e-5
    )
    assert reply["truncated"] == [False, True, False, False, False, True]
    (info,) = server.ask("/info")[1]["models"]
    assert (info["engine"], info["max_length"], info["cut"]) == ("torch", 64, "left")


def test_tei_cuts_a_text_only_as_the_model_does(
    server: Server, model: tm.RewardModel
) -> None:
    """`auto_truncate` is true; the model keeps the end of a text."""
    assert server.ask("/info")[1]["auto_truncate"] is True
    expected = pytest.approx(model.score([LONG])[0], abs=1e-5)
    as_ranked = {"query": "a", "texts": ["b", LONG]}
    for allowed in ({}, {"truncate": True}, {"truncation_direction": "Left"}):
        body = {"inputs": LONG, "raw_scores": True, **allowed}
        assert server.ask("/predict", body)[1][0]["score"] == expected
        assert server.ask("/rerank", {**as_ranked, **allowed})[0] == 200
    refused = [({"truncate": False}, 413), ({"truncation_direction": "Right"}, 422)]
    for options, status in refused:
        for path, body in (("/predict", {"inputs": LONG}), ("/rerank", as_ranked)):
            got, reply, _ = server.ask(path, {**body, **options})
            assert (got, reply["error_type"]) == (status, "Validation")
            assert "64 tokens" in reply["error"]
            assert next(iter(options)) in reply["error"]
        # nothing is cut, so nothing is refused
        assert server.ask("/predict", {"inputs": "Dull.", **options})[0] == 200
    for options in ({"truncate": "yes"}, {"truncation_direction": "Up"}):
        assert server.ask("/predict", {"inputs": "Dull.", **options})[0] == 422


def post(server: Server, body: Any) -> socket.socket:
    """Send a request whose answer is not waited for."""
    data = json.dumps(body).encode()
    head = f"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    sent = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    sent.sendall(head.encode() + data)
    return sent


def test_requests_of_several_connections_are_one_batch(
    server: Server, model: tm.RewardModel
) -> None:
    """While four full batches are scored, six connections ask."""
    expected = model.score([f"Film {n}." for n in range(6)])
    for _ in range(5):  # on a busy machine some ask when the four are scored
        before = server.counted("batch_texts_count")
        texts = server.counted("batch_texts_sum")
        with closing(post(server, {"inputs": [LONG] * 256})) as busy:
            # the first of the four is scored
            wait_until(lambda: server.counted("batch_texts_count") > before)  # noqa: B023
            with ThreadPoolExecutor(6) as pool:
                asked = [{"inputs": [f"Film {n}."]} for n in range(6)]
                answers = list(pool.map(lambda body: server.ask("/score", body), asked))
            assert b" 200 " in busy.recv(64)
        scores = [reply["scores"][0] for _, reply, _ in answers]
        assert scores == pytest.approx(expected, abs=1e-5)
        assert server.counted("batch_texts_sum") - texts == 256 + 6
        batches = server.counted("batch_texts_count") - before
        if batches < 4 + 6:
            break
    assert batches < 4 + 6
    assert server.counted("queue_tokens") == 0


Body = Callable[[str], dict[str, Any]]
WIRES: dict[str, tuple[str, Body, str]] = {
    "own": ("/score", lambda text: {"inputs": [text]}, "own"),
    "OpenRLHF": ("/get_reward", lambda text: {"query": [text]}, "own"),
    "vLLM's classify": ("/classify", lambda text: {"input": [text]}, "vllm"),
    "vLLM's pooling": ("/pooling", lambda text: {"input": [text]}, "vllm"),
    "vLLM's score": (
        "/score",
        lambda text: {"queries": "a", "documents": [text]},
        "vllm",
    ),
    "vLLM's v1/score": (
        "/v1/score",
        lambda text: {"text_1": "a", "text_2": [text]},
        "vllm",
    ),
    "vLLM's rerank": (
        "/rerank",
        lambda text: {"query": "a", "documents": [text]},
        "vllm",
    ),
    "vLLM's v2/rerank": (
        "/v2/rerank",
        lambda text: {"query": "a", "documents": [text]},
        "vllm",
    ),
    "TEI's rerank": ("/rerank", lambda text: {"query": "a", "texts": [text]}, "tei"),
    "TEI's predict": ("/predict", lambda text: {"inputs": [[text]]}, "tei"),
}
"""Path, body of one text, and shape of the errors."""

TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    413: "BadRequestError",
    424: "InternalServerError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}
TEI_TYPES = {424: "Backend", 429: "Overloaded", 503: "Unhealthy"}


def is_refused(wire: str, status: int, answer: tuple[int, Any, Any]) -> None:
    """Check status and shape; before the body is read, `/rerank` is TEI's."""
    got, reply, headers = answer
    assert got == status, (wire, reply)
    assert headers["Content-Type"].startswith("application/json")
    path, _, shape = WIRES[wire]
    if path == "/rerank" and status in (401, 403, 405, 503):
        shape = "tei"
    if shape == "tei":
        assert set(reply) == {"error", "error_type"}
        assert reply["error_type"] == TEI_TYPES.get(status, "Validation"), status
        assert isinstance(reply["error"], str)
    else:
        assert set(reply) == {"error"}
        assert set(reply["error"]) == {"message", "type", "param", "code"}
        assert reply["error"]["code"] == status
        assert reply["error"]["type"] == TYPES[status]
    if status in (429, 503):
        assert int(headers["Retry-After"]) >= 1


@pytest.mark.parametrize("wire", WIRES)
def test_each_wire_refuses_in_its_own_shape(server: Server, wire: str) -> None:
    path, body, shape = WIRES[wire]
    assert server.ask(path, body("A good text."))[0] == 200
    unknown = f"{path}?model=none"
    is_refused(wire, 404, server.ask(unknown, body("A text.")))
    is_refused(wire, 405, server.ask(path))
    foreign = {"Host": "evil.example"}
    is_refused(wire, 403, server.ask(path, body("A text."), headers=foreign))
    is_refused(wire, 413, server.ask(path, body("a" * 300_000)))
    # a field that is wrong: 422 at TEI
    status, reply, _ = server.ask(path, body(" "))
    assert status == (422 if shape == "tei" else 400)
    assert ("error_type" in reply) == (shape == "tei")


@pytest.mark.parametrize("wire", WIRES)
def test_a_score_that_is_not_finite_never_leaves(server: Server, wire: str) -> None:
    path, body, _ = WIRES[wire]
    is_refused(wire, 424, server.ask(path, body(f"A film {BROKEN}.")))
    status, reply, _ = server.ask(path, body("A film."))
    assert status == 200
    assert "NaN" not in json.dumps(reply)


def test_the_page_shows_no_score_that_is_not_finite(server: Server) -> None:
    status, page, _ = server.ask("/", f"text={BROKEN}".encode())
    assert status == 424
    assert "not finite" in page
    assert "nan" not in page.lower().replace("finance", "")


def asked_while_full(server: Server, path: str, body: Any) -> tuple[int, Any, Any]:
    """Return the answer to a body while the queue is full; fill it again where it was empty."""
    for _ in range(20):
        with closing(post(server, {"inputs": [LONG] * 1000})):
            for _ in range(200):
                if server.counted("queue_tokens") > 2048:
                    break
            assert server.counted("queue_texts") < 4096
            answer = server.ask(path, body)
        if answer[0] == 429:
            break
    return answer


def test_a_queue_that_is_full_of_tokens_refuses_on_every_wire(server: Server) -> None:
    """While more than 2,048 tokens of fewer than 4,096 texts wait, one more is refused."""
    for wire, (path, body, _) in WIRES.items():
        is_refused(wire, 429, asked_while_full(server, path, body("A film.")))
    # the texts of the clients that went away are dropped
    wait_until(lambda: server.ask("/score", {"inputs": ["A film."]})[0] == 200)
    limits = server.ask("/info")[1]["limits"]
    assert (limits["queue"], limits["queue_tokens"]) == (4096, 2048)


def test_a_connection_too_many_is_refused_on_every_wire(server: Server) -> None:
    address = ("127.0.0.1", server.port)
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            held = socket.create_connection(address, timeout=20)
            stack.enter_context(held)
            held.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b" 200 " in held.recv(4096)
        for wire, (path, body, _) in WIRES.items():
            is_refused(wire, 503, server.ask(path, body("A film.")))
        assert server.ask("/ready")[0] == 503
    wait_until(lambda: server.ask("/ready")[0] == 200)


def test_a_body_that_is_too_large_or_no_json(server: Server) -> None:
    """No field is read: the path alone tells the wire."""
    long = json.dumps({"inputs": ["a" * 5_000_000]}).encode()
    for path, shape in (("/classify", "vllm"), ("/predict", "tei"), ("/rerank", "tei")):
        for body, status in ((b"{", 400), (b"\xff", 400), (long, 413)):
            try:
                got, reply, _ = server.ask(path, body)
            except (BrokenPipeError, ConnectionResetError):
                assert body is long  # refused by its declared length
                continue
            assert got == status
            assert ("error_type" in reply) == (shape == "tei")
    status, reply, _ = server.ask("/v1/embeddings", {})
    assert (status, reply["error"]["code"]) == (404, 404)


def preflight(server: Server, origin: str, method: str = "POST") -> tuple[int, Any]:
    """Ask as a browser does before a script of another origin may post JSON."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as asking:
        asking.sendall(
            f"OPTIONS /score HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n"
            f"Access-Control-Request-Method: {method}\r\n"
            "Access-Control-Request-Headers: authorization,content-type\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        answer = asking.makefile("rb").read().decode()
    status = int(answer.split()[1])
    allowed = re.search(r"(?i)^access-control-allow-origin: (.*?)\r$", answer, re.M)
    return status, allowed and allowed[1]


def test_only_named_origins_may_ask(server: Server) -> None:
    named = ["https://example.org", "http://localhost:3000"]
    assert server.ask("/info")[1]["cors"] == named
    for origin in named:
        assert preflight(server, origin) == (200, origin)
        for body, status in (({"inputs": ["A film."]}, 200), ({}, 400)):
            got, _, headers = server.ask("/score", body, headers={"Origin": origin})
            assert (got, headers["Access-Control-Allow-Origin"]) == (status, origin)
    for origin in ("https://evil.example", "https://example.org.evil", "null"):
        assert preflight(server, origin) == (400, None)
        headers = server.ask("/score", {}, headers={"Origin": origin})[2]
        assert "Access-Control-Allow-Origin" not in headers
    assert preflight(server, named[0], "DELETE")[0] == 400


def test_no_page_of_another_site_may_post(server: Server) -> None:
    body = {"inputs": ["A film."]}
    own = f"http://127.0.0.1:{server.port}"
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://example.org", "Sec-Fetch-Site": "cross-site"}, 200),
        ({}, 200),
    ):
        assert server.ask("/score", body, headers=headers)[0] == status, headers


def test_a_named_origin_may_read_that_connections_are_too_many(taste: Path) -> None:
    origin = "https://example.org"
    few = start(taste, "--port", 0, "--connections", 2, "--cors", origin)
    address = ("127.0.0.1", few.port)
    with socket.create_connection(address), socket.create_connection(address):
        answer = few.ask("/score", {"inputs": ["A film."]}, headers={"Origin": origin})
    assert answer[0] == 503
    assert answer[2]["Access-Control-Allow-Origin"] == origin
    assert stop(few) == ""


def test_no_origin_may_ask_unless_named(
    taste: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    guarded = start(taste, "--port", 0, token=TOKEN)
    assert guarded.ask("/info")[1]["cors"] == []
    assert preflight(guarded, "https://example.org") == (401, None)
    for wire, (path, body, _) in WIRES.items():
        for place in (path, f"/0123456789abcdefWRONGX{path}"):
            answer = guarded.ask(place, body("A film."), headers={})
            is_refused(wire, 401, answer)
            assert answer[2]["WWW-Authenticate"] == "Bearer"
    # with a token, the lines for a shell carry its variable and never itself
    page = guarded.ask("/docs")[1]
    assert "Authorization: Bearer $TASTEMAKER_TOKEN" in page
    assert TOKEN not in page
    assert guarded.ask("/docs", headers={})[0] == 401
    assert stop(guarded) == ""
    for origin in ("*", "example.org", "https://example.org/", "null"):
        fails(run("serve", taste, "--cors", origin), f"--cors {origin}", "origin")
