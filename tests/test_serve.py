"""`tastemaker serve`: a real server on loopback, every wire, hostile bodies, the end."""

import http.client
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.playground import gold_score, reviews
from tastemaker.rl import reward_of
from tests.serving import Server, start, stop, wait_until
from tests.shell import fails

pytest.importorskip("uvicorn")

TOKEN = "0123456789abcdefSECRET"
TEXTS = [
    "A warm and clever film.",
    "The acting is dull, and the ending is worse.",
    "剧情很精彩 🙂 ñ",
]
QUERY = "How was it?"


@pytest.fixture(scope="module")
def taste(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear model of labels and ratings."""
    folder = tmp_path_factory.mktemp("models") / "taste"
    texts = list(reviews(200))
    judgements: list[tm.Judgement] = []
    for text in texts:
        judgements.append(tm.Label(text, gold_score(text) > 5))
        judgements.append(tm.Rating(text, gold_score(text)))
    tm.fit(judgements, backbone="linear", out=folder)
    return folder


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of two linear models."""
    folder = tmp_path_factory.mktemp("models") / "five"
    judgements = [tm.Label(text, gold_score(text) > 5) for text in reviews(100)]
    tm.fit(judgements, backbone="linear", members=2, out=folder)
    return folder


@pytest.fixture(scope="module")
def server(taste: Path, five: Path) -> Iterator[Server]:
    """A server of two models without a token."""
    running = start(taste, five, "--port", 0, "--strip", "</s>")
    yield running
    assert stop(running) == ""


@pytest.fixture(scope="module")
def model(taste: Path) -> tm.RewardModel:
    return tm.load(taste)


def test_the_start_proves_the_scores(server: Server) -> None:
    assert len(server.lines) == 3
    for name, line in zip(("taste", "five"), server.lines, strict=False):
        assert line.startswith(f"{name}: the same scores alone and in 12 other ways")
    status, info, _ = server.ask("/info")
    assert status == 200
    for served in info["models"]:
        assert len(served["differences"]) == 12
        assert max(served["differences"].values()) <= 1e-4
    assert info["limits"]["max_inputs"] == info["max_client_batch_size"] == 1024
    assert server.ask("/ready")[0] == server.ask("/health")[0] == 200


def test_the_own_wire(server: Server, model: tm.RewardModel) -> None:
    chat = [
        {"role": "user", "content": QUERY},
        {"role": "assistant", "content": TEXTS[0]},
    ]
    pair = {"prompt": QUERY, "completion": TEXTS[0]}
    inputs = [*TEXTS, pair, {"messages": chat}]
    status, reply, _ = server.ask("/score", {"inputs": inputs})
    assert status == 200
    examples = [tm.Example(text) for text in TEXTS]
    examples += [
        tm.Example(TEXTS[0], QUERY),
        tm.Example(TEXTS[0], (tm.Message("user", QUERY),)),
    ]
    assert reply["scores"] == pytest.approx(model.score(examples))
    assert reply["probabilities"] == pytest.approx(model.probability(examples))
    assert reply["ratings"] == pytest.approx(model.rating(examples))
    assert reply["truncated"] == [False] * 5
    assert "uncertainty" not in reply


def test_an_answer_does_not_wait_for_nagles_delay(server: Server) -> None:
    """On one connection that stays open, the end of an answer must not wait for 40 ms."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    body = json.dumps({"inputs": [TEXTS[0]]})
    headers = {"Content-Type": "application/json"}

    def answered_in() -> float:
        began = time.perf_counter()
        connection.request("POST", "/score", body, headers)
        assert connection.getresponse().read()
        return time.perf_counter() - began

    for _ in range(10):  # the first ones are fast anyway
        answered_in()
    for _ in range(10):  # on a busy machine few are
        seconds = sorted(answered_in() for _ in range(15))
        if seconds[3] < 0.03:
            break
    connection.close()
    assert seconds[3] < 0.03


def test_another_model_by_name(server: Server, five: Path) -> None:
    reply = server.ask("/score", {"model": "five", "inputs": TEXTS})[1]
    ensemble = tm.load(five)
    assert reply["model"] == "five"
    assert reply["scores"] == pytest.approx(ensemble.score(TEXTS))
    assert reply["uncertainty"] == pytest.approx(ensemble.uncertainty(TEXTS))
    by_address = server.ask("/get_reward?model=five", {"query": TEXTS})[1]
    assert by_address["rewards"] == reply["scores"]
    # the body's name goes first, and an unknown one is refused at either place
    body = {"model": "five", "inputs": TEXTS}
    assert server.ask("/score?model=taste", body)[1]["model"] == "five"
    assert server.ask("/score?model=none", body)[0] == 404


def test_the_wires_of_vllm(server: Server, model: tm.RewardModel) -> None:
    scores = model.score(TEXTS)
    reply = server.ask("/classify", {"input": TEXTS, "use_activation": True})[1]
    assert [row["probs"] for row in reply["data"]] == [[s] for s in scores]
    assert reply["object"] == "list"
    assert {"id", "created", "usage"} <= set(reply)
    chat = {"messages": [{"role": "user", "content": TEXTS[0]}]}
    (row,) = server.ask("/classify", chat)[1]["data"]
    assert row == {
        "index": 0,
        "label": "LABEL_0",
        "probs": [scores[0]],
        "num_classes": 1,
    }
    reply = server.ask("/pooling", {"input": TEXTS[0]})[1]
    assert reply["data"][0]["data"] == [scores[0]]
    answers = model.score([tm.Example(text, QUERY) for text in TEXTS])
    for names in (("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2")):
        body = dict(zip(names, (QUERY, TEXTS), strict=True))
        for path in ("/score", "/v1/score"):
            data = server.ask(path, body)[1]["data"]
            assert [row["score"] for row in data] == answers
    body = {"query": QUERY, "documents": TEXTS, "top_n": 2.0}  # JSON: a whole number
    results = server.ask("/rerank", body)[1]["results"]
    assert [row["relevance_score"] for row in results] == sorted(answers)[:0:-1]
    assert results[0]["document"]["text"] == TEXTS[results[0]["index"]]


def test_the_wires_of_tei(server: Server, model: tm.RewardModel) -> None:
    score = model.score(TEXTS[0])
    pair = model.score(tm.Example(TEXTS[1], TEXTS[0]))
    raw = {"raw_scores": True}
    alone = [{"score": score, "label": "LABEL_0"}]
    paired = [{"score": pair, "label": "LABEL_0"}]
    assert server.ask("/predict", {"inputs": TEXTS[0], **raw})[1] == alone
    # a list of texts alone is one pair
    mixed = server.ask("/predict", {"inputs": [TEXTS[0], TEXTS[:2]], **raw})[1]
    assert mixed == [alone, paired]
    assert server.ask("/predict", {"inputs": TEXTS[:2], **raw})[1] == paired
    body = {"inputs": [TEXTS[:1], TEXTS[:2]], **raw}
    assert server.ask("/predict", body)[1] == [alone, paired]
    (row,) = server.ask("/predict", {"inputs": TEXTS[0]})[1]
    assert 0 < row["score"] < 1
    body = {"query": TEXTS[0], "texts": TEXTS[1:], "return_text": True, **raw}
    rows = server.ask("/rerank", body)[1]
    assert [row["score"] for row in rows] == sorted(
        (row["score"] for row in rows), reverse=True
    )
    assert {row["text"]: row["score"] for row in rows}[TEXTS[1]] == pair


def test_hugging_faces_own_client(
    server: Server, model: tm.RewardModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads what TEI's `/predict` answers."""
    from huggingface_hub import InferenceClient, constants

    # this server is not the hub
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    client = InferenceClient(f"{server.address}/predict")
    # it takes the first of a list, here of one label
    answer: Any = client.text_classification(TEXTS[0])
    expected = 1 / (1 + math.exp(-model.score(TEXTS[0])))
    assert (answer.label, answer.score) == ("LABEL_0", pytest.approx(expected))


def test_token_ids_are_refused_where_a_model_reads_none(server: Server) -> None:
    for body in ({"input": [1, 2]}, {"input": "a", "truncate_prompt_tokens": 4}):
        status, reply, _ = server.ask("/classify", body)
        assert status == 400
        assert "reads no tokens" in reply["error"]["message"]
    whole = {"input": TEXTS[0], "truncate_prompt_tokens": -1}
    assert server.ask("/classify", whole)[0] == 200


def test_openrlhfs_wire(server: Server, model: tm.RewardModel) -> None:
    query = [text + "</s>" for text in TEXTS]
    body = {"query": query, "prompts": [""] * 3, "labels": [""] * 3}
    reply = server.ask("/get_reward", body)[1]
    assert reply["rewards"] == reply["scores"] == model.score(TEXTS)
    assert reply["extra_logs"] == {}


DEEP = b"[" * 100_000
LONG = json.dumps({"inputs": ["a" * 10_000_000]}).encode()
BODIES: list[Any] = [
    b"",
    b"{",
    b"null",
    b'"a"',
    b"\xff\xfe",
    b'{"inputs": ["\xff"]}',
    DEEP,
    LONG,
    b'{"inputs": [NaN], "input": NaN, "query": Infinity}',
    b'{"inputs": 1' + b"0" * 5000 + b"}",
    {},
    [],
    {"inputs": None, "input": None, "query": None},
    {"inputs": [], "input": [], "query": [], "texts": [], "documents": []},
    {"inputs": [""], "input": [""], "query": [""]},
    {"inputs": [1], "input": [1], "query": [1]},
    {"inputs": [None], "input": [None], "query": [None]},
    {"inputs": {"a": 1}, "input": {"a": 1}, "query": {"a": 1}},
    {"inputs": ["a"] * 10_000, "input": ["a"] * 10_000, "query": ["a"] * 10_000},
    {"inputs": ["\ud800"], "input": ["\ud800"], "query": ["\ud800"]},
    {"inputs": ["a", 1], "input": ["a", 1], "query": ["a", 1]},
    {"inputs": [{"messages": []}], "messages": [], "query": {}, "texts": [{}]},
    {"inputs": [{"prompt": 1, "completion": "a"}], "query": {}, "documents": 5},
    {"model": 7, "inputs": [{}], "input": "a", "query": 3},
]
PATHS = (
    "/score",
    "/v1/score",
    "/classify",
    "/pooling",
    "/rerank",
    "/v2/rerank",
    "/predict",
    "/get_reward",
)


@pytest.mark.parametrize("path", PATHS)
def test_hostile_bodies_are_refused_promptly(server: Server, path: str) -> None:
    for body in BODIES:
        began = time.monotonic()
        try:
            status, reply, _ = server.ask(path, body)
        except (BrokenPipeError, ConnectionResetError):
            # refused by its declared length, before all of it was sent
            assert body is LONG
            continue
        assert 400 <= status < 500, (path, str(body)[:80], status)
        assert time.monotonic() - began < 5
        if path == "/predict":
            assert set(reply) == {"error", "error_type"}
        elif path != "/rerank":
            assert set(reply["error"]) == {"message", "type", "param", "code"}
            assert reply["error"]["code"] == status
    # a model that is not there
    body = {"model": "none", "inputs": ["a"], "input": "a", "query": "a"}
    body |= {"documents": ["b"], "text_1": "a", "text_2": "b"}
    assert server.ask(f"{path}?model=none", body)[0] == 404


def test_errors_have_the_shape_of_the_wire(server: Server) -> None:
    tei = server.ask("/rerank", {"query": "a", "texts": []})
    assert tei[:2] == (
        400,
        {"error": "`texts` cannot be empty.", "error_type": "Empty"},
    )
    status, reply, _ = server.ask("/rerank", {"query": "a", "documents": []})
    assert status == 400
    assert reply["error"]["param"] == "documents"
    assert server.ask("/nowhere")[0] == 404
    status, _, headers = server.ask("/score")
    assert (status, headers["Allow"]) == (405, "POST")


def test_the_document_of_the_paths(server: Server) -> None:
    """What schemathesis asks of it: every field and status, and the models by name."""
    paths = server.ask("/openapi.json")[1]["paths"]
    assert {*PATHS, "/info", "/metrics", "/ready", "/health"} <= set(paths)
    for path in PATHS:
        operation = paths[path]["post"]
        assert {"200", "400", "413", "422", "424", "429"} <= set(operation["responses"])
        assert operation["parameters"][0]["schema"]["enum"] == ["taste", "five"]
    ours, *vllm = paths["/score"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]["anyOf"]
    assert ours["required"] == ["inputs"]
    assert len(vllm) == 1


def test_another_name_of_this_machine_is_refused(server: Server) -> None:
    assert server.ask("/info", headers={"Host": "evil.example"})[0] == 403
    for host in ("localhost:8000", "127.0.0.1", "[::1]:80"):
        assert server.ask("/info", headers={"Host": host})[0] == 200


def test_metrics(server: Server) -> None:
    server.ask("/score", {"inputs": TEXTS})
    status, text, _ = server.ask("/metrics")
    assert status == 200
    assert re.search(r'requests_total{path="/score",status="200"} \d+\n', text)
    assert re.search(r'batch_texts_bucket{le="\+Inf"} [1-9]', text)
    assert "tastemaker_queue_texts 0\n" in text
    for line in text.splitlines():
        assert line.startswith("# TYPE ") or re.fullmatch(r"\S+ [\d.]+", line), line


def test_a_remote_reward(
    server: Server,
    model: tm.RewardModel,
    tmp_path: Path,
    run: Callable[..., tuple[int, str, str]],
) -> None:
    remote = tm.RemoteReward(server.address, batch=2)
    assert remote.score(TEXTS) == pytest.approx(model.score(TEXTS))
    chat = tm.Example(TEXTS[0], (tm.Message("user", QUERY),))
    assert remote.score(chat) == pytest.approx(model.score(chat))
    as_openrlhf = tm.RemoteReward(f"{server.address}/get_reward", model="five")
    assert as_openrlhf.score(TEXTS) == pytest.approx(
        tm.RemoteReward(server.address, model="five").score(TEXTS)
    )
    written = tm.Completion(TEXTS[0], " Good.", (1,), (0.0,), "end")
    expected = model.score(TEXTS[0] + " Good.")
    assert reward_of(server.address).score([written]) == [pytest.approx(expected)]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    out = tmp_path / "out.jsonl"
    code, _, err = run("score", server.address, "--file", rows, "--out", out)
    assert code == 0, err
    scores = [
        json.loads(line)["tastemaker_score"] for line in out.read_text().splitlines()
    ]
    assert scores == pytest.approx(model.score(TEXTS))
    with pytest.raises(tm.RewardError, match="no such model"):
        tm.RemoteReward(server.address, model="none").score("a")


def test_an_address_where_nobody_is_is_tried_again() -> None:
    remote = tm.RemoteReward("http://127.0.0.1:9", retries=1, seconds=5)
    with pytest.raises(tm.RewardError, match=r"^http://127\.0\.0\.1:9 did not answer"):
        remote.score("a")


def heavy(texts: int) -> dict[str, Any]:
    """A request that takes the model some time."""
    return {"inputs": [f"{n} a film of some words " * 400 for n in range(texts)]}


@pytest.fixture(scope="module")
def guarded(taste: Path) -> Iterator[Server]:
    """A server with a token and a short queue. A test may stop it."""
    running = start(taste, "--port", 0, "--queue", 16, "--quiet", token=TOKEN)
    yield running
    assert stop(running) == ""


def test_a_token_is_needed(guarded: Server) -> None:
    assert len(guarded.lines) == 1
    for headers in ({}, {"Authorization": "Bearer no"}, {"X-API-Key": TOKEN[:-1]}):
        status, reply, answered = guarded.ask("/info", headers=headers)
        assert status == 401
        assert reply["error"]["type"] == "AuthenticationError"
        assert answered["WWW-Authenticate"] == "Bearer"
    assert guarded.ask("/ready", headers={})[0] == 200
    assert guarded.ask("/info")[0] == 200
    assert guarded.ask("/info", headers={"X-API-Key": TOKEN})[0] == 200
    body = {"query": TEXTS}
    assert guarded.ask(f"/{TOKEN}/get_reward", body, headers={})[0] == 200
    assert guarded.ask(f"/{TOKEN}/", headers={})[0] == 200
    with pytest.raises(tm.RewardError, match="401"):
        tm.RemoteReward(guarded.address).score("a")
    assert TOKEN not in repr(tm.RemoteReward(guarded.address, token=TOKEN))


def test_overload_is_refused_and_nothing_accepted_is_lost(
    guarded: Server, model: tm.RewardModel
) -> None:
    body = heavy(12)
    expected = model.score(body["inputs"])
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: guarded.ask("/score", body), range(48)))
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 429}
    for status, reply, headers in answers:
        if status == 200:
            assert reply["scores"] == pytest.approx(expected)
        else:
            assert int(headers["Retry-After"]) >= 1
            assert reply["error"]["code"] == 429
    assert guarded.ask("/score", {"inputs": TEXTS})[0] == 200
    # a client that waits and asks again gets its scores
    remote = tm.RemoteReward(guarded.address, token=TOKEN)
    with ThreadPoolExecutor(4) as pool:
        for scores in pool.map(lambda _: remote.score(body["inputs"]), range(4)):
            assert scores == pytest.approx(expected)


def test_sigterm_lets_accepted_requests_finish(guarded: Server) -> None:
    answers: list[int] = []
    body = heavy(400)
    worker = threading.Thread(
        target=lambda: answers.append(guarded.ask("/score", body)[0])
    )
    worker.start()
    wait_until(lambda: guarded.counted("queue_texts") > 0)
    written = stop(guarded)
    worker.join()
    assert answers == [200]
    assert written == ""  # no text, no path and no token
    with pytest.raises(ConnectionRefusedError):
        guarded.ask("/ready")


def test_what_cannot_be_served(
    taste: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    fails(run("serve", taste, "--host", "0.0.0.0"), "--token")
    fails(run("serve", taste, "--token", "short"), "at least 16")
    fails(run("serve", taste, taste), "second model")
    fails(run("serve", taste / "none"), "no such model folder")


def test_nothing_is_served_where_a_wire_gives_another_score(
    taste: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    """OpenRLHF's wire removes a word that ordinary texts have: another text, another score."""
    words = ("OpenRLHF /get_reward", "over 0.0001", "--strip removes")
    fails(run("serve", taste, "--port", 0, "--strip", "film"), *words)
    fails(
        run("serve", taste, "--port", 0, "--strip", "Wonderful."), "/get_reward", "400"
    )
