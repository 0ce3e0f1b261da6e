"""A client asks the wire that an address shows: OpenRLHF's, TEI's, vLLM's, ours."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.rl import HttpReward, reward_of
from tests.shell import fails

TOKEN = "0123456789abcdefSECRET"
CHAT = (tm.Message("user", "And the film?"),)
PAGES: dict[str, dict[str, Any]] = {
    "tei": {
        "/info": {
            "model_id": "a/b",
            "model_type": {"classifier": {"id2label": {"0": "LABEL_0"}}},
            "max_client_batch_size": 2,
        }
    },
    "vllm": {
        "/v1/models": {"object": "list", "data": [{"id": "a", "owned_by": "vllm"}]}
    },
    "openrlhf": {"/openapi.json": {"paths": {"/get_reward": {"post": {}}}}},
}
"""What each server answers to a GET; all else is not there."""


def score_of(text: str) -> float:
    return float(len(text))


def tei(body: dict[str, Any]) -> Any:
    assert body["raw_scores"] is True
    assert len(body["inputs"]) <= 2
    return [
        [{"score": score_of("|".join(row)), "label": "LABEL_0"}]
        for row in body["inputs"]
    ]


def vllm(body: dict[str, Any]) -> Any:
    assert body["use_activation"] is False
    texts = body.get("input")
    if texts is None:
        texts = ["|".join(turn["content"] for turn in body["messages"])]
    rows = []
    for index, text in enumerate(texts):
        rows.append({"index": index, "label": "a", "probs": [score_of(text)]})
    return {"object": "list", "data": rows}


def openrlhf(body: dict[str, Any]) -> Any:
    return {"rewards": [score_of(text) for text in body["query"]]}


ANSWERS: dict[str, tuple[str, Any]] = {
    "tei": ("/predict", tei),
    "vllm": ("/classify", vllm),
    "openrlhf": ("/get_reward", openrlhf),
}


class Peer:
    """A server of one of the peers. kind may be changed while it runs."""

    kind = "tei"
    asked: list[str]
    classes = 1

    def __init__(self) -> None:
        self.asked = []
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def refuses(self) -> bool:
                peer.asked.append(f"{self.command} {self.path}")
                if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                    return False
                self.answer(401, {"error": "no token"})
                return True

            def do_GET(self) -> None:
                page = PAGES[peer.kind].get(self.path)
                if not self.refuses():
                    self.answer(404 if page is None else 200, page or {})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path, reply = ANSWERS[peer.kind]
                if self.refuses():
                    return
                if self.path != path:
                    self.answer(404, {"error": "not here"})
                    return
                value = reply(body)
                if peer.classes > 1:
                    value = [row * peer.classes for row in value]
                self.answer(200, value)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    monkeypatch.setenv("TASTEMAKER_TOKEN", TOKEN)
    running = Peer()
    yield running
    running.server.shutdown()
    running.thread.join()
    running.server.server_close()


TEXTS = ["a", "bbb", "cc"]


@pytest.mark.parametrize("kind", PAGES)
def test_an_address_shows_its_wire(kind: str, peer: Peer) -> None:
    peer.kind = kind
    path = ANSWERS[kind][0]
    remote = tm.RemoteReward(peer.address, token=TOKEN)
    assert remote.score(TEXTS) == [1, 3, 2]
    posts = [line for line in peer.asked if line.startswith("POST")]
    assert posts == [f"POST {path}"] * (2 if kind == "tei" else 1)
    looks = len(peer.asked) - len(posts)
    assert remote.score(TEXTS) == [1, 3, 2]
    assert len(peer.asked) == looks + 2 * len(posts)
    # a path names the wire, and nothing is looked at
    peer.asked.clear()
    assert tm.RemoteReward(peer.address + path, token=TOKEN).score("bbb") == 3
    assert peer.asked == [f"POST {path}"]


@pytest.mark.parametrize(
    ("kind", "prompted", "chat"),
    [("tei", "Hm?|a", "user: And the film?|a"), ("vllm", "Hm?|a", "And the film?|a")],
)
def test_a_prompt_is_sent_as_the_wire_has_it(
    kind: str, prompted: str, chat: str, peer: Peer
) -> None:
    peer.kind = kind
    examples = [tm.Example("a", "Hm?"), tm.Example("a", CHAT), tm.Example("a")]
    scores = tm.RemoteReward(peer.address, token=TOKEN).score(examples)
    assert scores == [len(prompted), len(chat), 1]


def test_steering_asks_each_of_them(peer: Peer) -> None:
    written = tm.Completion("The", " end.", (1,), (0.0,), "end")
    for kind in PAGES:
        peer.kind = kind
        path = ANSWERS[kind][0]
        for address in (peer.address, peer.address + path):
            reward = reward_of(address)
            assert reward.score([written, written]) == [8, 8], address
            is_by_path = address.endswith("/get_reward")
            assert isinstance(reward, HttpReward) == is_by_path


def test_several_classes_and_no_token_are_one_line(
    peer: Peer, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.classes = 2
    fails(run("score", peer.address, "A text."), "1 finite numbers", "/predict")
    monkeypatch.delenv("TASTEMAKER_TOKEN")
    fails(run("score", peer.address + "/predict", "A text."), "401", "no token")
