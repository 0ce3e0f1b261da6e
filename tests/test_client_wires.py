"""A client asks the wire that an address shows: OpenRLHF's, TEI's, vLLM's, ours."""

import http.server
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import pytest

import tastemaker as tm
from tastemaker.rl import HttpReward, reward_of
from tests.nano import nano
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
    """A server of one of the peers. kind may be changed while it runs.

    failing: statuses of the next answers; 0 is an answer of a byte now and then. pause: the
    Retry-After of these.
    """

    kind = "tei"
    classes = 1
    pause = 0

    def __init__(self, port: int = 0) -> None:
        self.asked: list[str] = []
        self.bodies: list[Any] = []
        self.failing: list[int] = []
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if peer.pause:
                    self.send_header("Retry-After", str(peer.pause))
                self.end_headers()
                self.wfile.write(body)

            def drip(self) -> None:
                """Send a head whose end is a minute away; each byte comes soon."""
                self.close_connection = True
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1200:
                    try:
                        self.wfile.write(bytes([byte]))
                    except OSError:  # the client has left
                        return
                    time.sleep(0.05)

            def refuses(self) -> bool:
                peer.asked.append(f"{self.command} {self.path}")
                if peer.failing:
                    status = peer.failing.pop(0)
                    if status:
                        self.answer(status, {"error": "not now"})
                    else:
                        self.drip()
                    return True
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
                peer.bodies.append(body)
                if self.path != path:
                    self.answer(404, {"error": "not here"})
                    return
                value = reply(body)
                if peer.classes > 1:
                    value = [row * peer.classes for row in value]
                self.answer(200, value)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def running(port: int = 0) -> Iterator[Peer]:
    peer = Peer(port)
    try:
        yield peer
    finally:
        peer.server.shutdown()
        peer.thread.join()
        peer.server.server_close()


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    monkeypatch.setenv("TASTEMAKER_TOKEN", TOKEN)
    with running() as started:
        yield started


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


def test_a_query_stays_behind_the_path(peer: Peer) -> None:
    with pytest.raises(tm.RewardError, match="not here"):
        tm.RemoteReward(f"{peer.address}/?key=1", token=TOKEN).score("bbb")
    assert peer.asked[0] == "GET /info?key=1"
    assert peer.asked[-1] == "POST /score?key=1"


@pytest.mark.parametrize("address", ["http://[::1", "foo", "localhost:8000", "http://"])
def test_an_address_that_is_none_is_shown_as_it_was_typed(address: str) -> None:
    with pytest.raises(tm.UsageError, match=f"^{re.escape(repr(address))}: no address"):
        tm.RemoteReward(address)


@pytest.mark.parametrize("rewards", [[None, 1.0, 3.0, 2.0], [10**400, 1, 2], "1"])
def test_an_answer_with_what_is_no_number_is_refused(
    rewards: Any, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.kind = "openrlhf"
    reply = ("/get_reward", lambda body: {"rewards": rewards})
    monkeypatch.setitem(ANSWERS, "openrlhf", reply)
    with pytest.raises(tm.RewardError, match="3 finite numbers"):
        tm.RemoteReward(peer.address, token=TOKEN).score(TEXTS)


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
            assert isinstance(reward, HttpReward) == (kind == "openrlhf")


def test_several_classes_and_no_token_are_one_line(
    peer: Peer, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.classes = 2
    fails(run("score", peer.address, "A text."), "1 finite numbers", "/predict")
    monkeypatch.delenv("TASTEMAKER_TOKEN")
    fails(run("score", peer.address + "/predict", "A text."), "401", "no token")


@pytest.mark.parametrize("status", [429, 500, 503, 0])
def test_a_look_that_fails_decides_nothing(status: int, peer: Peer) -> None:
    """A server that is still starting is no server of ours."""
    peer.kind, peer.failing = "openrlhf", [status]
    remote = tm.RemoteReward(
        peer.address, token=TOKEN, retries=0, seconds=1 if status == 0 else 60
    )
    began = time.monotonic()
    words = f"status {status}" if status else "timed out"
    with pytest.raises(tm.RewardError, match=f"{words}.*wire is not known.*/get_re"):
        remote.score(TEXTS)
    assert time.monotonic() - began < 30  # of a whole page, and not of each byte
    assert peer.asked == ["GET /info"]
    remote = tm.RemoteReward(peer.address, token=TOKEN, retries=0)
    assert remote.score(TEXTS) == [1, 3, 2]
    assert peer.asked[-1] == "POST /get_reward"


def test_a_look_is_repeated(peer: Peer) -> None:
    peer.failing = [503, 429]
    assert tm.RemoteReward(peer.address, token=TOKEN).score("bbb") == 3
    assert peer.asked == ["GET /info"] * 3 + ["POST /predict"]
    peer.failing, peer.kind = [503], "openrlhf"
    assert isinstance(reward_of(peer.address), HttpReward)


def test_a_server_that_comes_later_is_asked_on_its_wire() -> None:
    port = forked.free_port()
    remote = tm.RemoteReward(f"http://127.0.0.1:{port}", token=TOKEN, retries=0)
    with pytest.raises(tm.RewardError, match=r"did not answer: .*refused"):
        remote.score("a")
    with running(port) as peer:
        assert remote.score("bbb") == 3
        assert peer.asked[-1] == "POST /predict"


def test_the_pause_that_a_busy_server_asks_for_is_kept(peer: Peer) -> None:
    remote = tm.RemoteReward(peer.address + "/predict", token=TOKEN)
    peer.failing, peer.pause = [429, 503], 1
    began = time.monotonic()
    assert remote.score("bbb") == 3
    assert 2 <= time.monotonic() - began < 20
    assert peer.asked == ["POST /predict"] * 3
    # what asking again cannot change is told at once
    peer.failing = [413]
    with pytest.raises(tm.RewardError, match=r"413.*not now"):
        remote.score("bbb")
    assert len(peer.asked) == 4


def test_waits_double(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append)
    monkeypatch.setattr("tastemaker.serve.asking.time", clock)
    peer.failing = [503] * 6
    with pytest.raises(tm.RewardError, match="is busy"):
        tm.RemoteReward(peer.address + "/predict", token=TOKEN).score("bbb")
    longest = [0.4, 0.8, 1.6, 3.2, 6.4]
    assert len(waits) == len(longest)
    for wait, most in zip(waits, longest, strict=True):
        assert most / 2 <= wait <= most


@pytest.mark.parametrize("column", ["label", "ground_truth"])
@pytest.mark.parametrize("path", ["", "/get_reward"])
def test_steering_sends_the_labels_of_the_prompts(
    column: str, path: str, peer: Peer, run: Any, tmp_path: Path
) -> None:
    """OpenRLHF's wire takes them; the other wires do not."""
    peer.kind = "openrlhf"
    nano().save(tmp_path / "gpt")
    rows = [{"prompt": "One", column: "1"}, {"prompt": "Two", column: "2"}]
    prompts = tmp_path / "asked.jsonl"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    few = ("--steps", 1, "--batch", 8, "--max-tokens", 4, "--measured", 8)
    reward = ("--reward", peer.address + path, "--prompts", prompts)
    out = ("--algorithm", "rloo", "--out", tmp_path / "run", "--quiet")
    code, _, err = run("steer", tmp_path / "gpt", *reward, *few, *out)
    assert code == 0, err
    assert len(peer.bodies) >= 2
    for body in peer.bodies:
        expected = ["1" if prompt == "One" else "2" for prompt in body["prompts"]]
        assert body["labels"] == expected
        assert all(re.match("One|Two", text) for text in body["query"])
