"""Rewards of every kind through one door, and each way in which one can fail."""

import asyncio
import http.server
import json
import math
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nano import nano

from tastemaker.data import Message
from tastemaker.errors import RewardError, UsageError
from tastemaker.gpt import Completion, Sampling
from tastemaker.rl import (
    FunctionReward,
    HttpReward,
    SumReward,
    TextReward,
    checked,
    reward_of,
    steer,
)
from tastemaker.scores import Scores

ASKED: list[dict[str, Any]] = []
BUSY: list[int] = []


def wrote(text: str, prompt: Any = "p ", ended: str = "end") -> Completion:
    ids = tuple(range(len(text)))
    log_probs = (0.0,) * len(text)
    return Completion(prompt, text, ids, log_probs, ended)  # type: ignore[arg-type]


TWO = [wrote("aa"), wrote("b")]


def lengths(prompts: list[Any], texts: list[str]) -> list[float]:
    return [len(p) + len(t) for p, t in zip(prompts, texts, strict=True)]


def slow(prompts: list[Any], texts: list[str]) -> list[float]:
    time.sleep(5)
    return [0.0] * len(texts)


def test_a_function_is_asked_with_prompts_and_texts() -> None:
    chat = (Message("user", "hi"),)
    asked: list[Any] = []

    def keep(prompts: list[Any], texts: list[str]) -> list[float]:
        asked.extend([prompts, texts])
        return [1, 2]

    assert checked(reward_of(keep), [wrote("aa"), wrote("b", chat)]) == [1.0, 2.0]
    assert asked == [["p ", [{"role": "user", "content": "hi"}]], ["aa", "b"]]
    assert reward_of(keep).name == "keep"


@pytest.mark.parametrize(
    "scores",
    [
        [1, 2.0],
        (1, 2),
        np.array([1.0, 2.0]),
        np.float32([1, 2]),
        torch.tensor([1.0, 2.0]),
        iter([1, 2]),
    ],
)
def test_any_numbers_will_do(scores: Any) -> None:
    rewards = checked(FunctionReward(lambda p, t: scores), TWO)
    assert rewards == [1.0, 2.0]
    assert {type(x) for x in rewards} == {float}


@pytest.mark.parametrize(
    "scores",
    [
        [True, None],
        np.array([True, False]),
        [np.bool_(True), 0],
        torch.tensor([True, False]),
        [torch.tensor(1.0, requires_grad=True), None],
    ],
)
def test_truth_is_1_and_no_word_is_0(scores: Any) -> None:
    rewards = checked(FunctionReward(lambda p, t: scores), TWO)
    assert rewards == [1.0, 0.0]
    assert {type(x) for x in rewards} == {float}


CHAT = (Message("user", "hi"),)
ROWS = [
    Completion("p ", "aa", (1, 2), (0.0, 0.0), "end", columns={"answer": "a"}),
    Completion(CHAT, "b", (3,), (0.0,), "end", columns={"answer": "b", "hard": 1}),
]


def trl_style(completions: Any, prompts: Any = None, **kwargs: Any) -> list[float]:
    return [len(str(text)) for text in completions]


def test_a_function_of_trl_is_called_as_trl_does() -> None:
    """By keyword, with the columns of the prompts' file; a chat's answer is a list of messages."""
    asked: dict[str, Any] = {}

    def everything(completions: Any, prompts: Any, **kwargs: Any) -> list[float]:
        asked.update(kwargs, completions=completions, prompts=prompts)
        return [1.0, 2.0]

    assert checked(reward_of(everything), ROWS) == [1.0, 2.0]
    assert asked == {
        "prompts": ["p ", [{"role": "user", "content": "hi"}]],
        "completions": ["aa", [{"role": "assistant", "content": "b"}]],
        "completion_ids": [[1, 2], [3]],
        "answer": ["a", "b"],
        "hard": [None, 1],
    }
    assert checked(reward_of(trl_style), TWO) == [2.0, 1.0]


def test_a_function_gets_what_it_names() -> None:
    def equal(completions: list[str], answer: list[str], *, hard: Any = None) -> Any:
        return [text == a for text, a in zip(completions, answer, strict=True)]

    assert checked(reward_of(equal), ROWS) == [0.0, 1.0]
    with pytest.raises(
        RewardError,
        match=r"^equal asks for 'answer', and the prompts have no such column; "
        r"given are prompts, completions, completion_ids\.$",
    ):
        reward_of(equal).score(TWO)


def test_an_async_function_is_awaited() -> None:
    async def later(prompts: Any, completions: Any) -> list[float]:
        await asyncio.sleep(0)
        return [float(len(text)) for text in completions]

    assert checked(reward_of(later), TWO) == [2.0, 1.0]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.0], r".*\b1 scores\b.*\b2 completions\b"),
        ([1.0, 2.0, 3.0], r".*\b3 scores\b.*\b2 completions\b"),
        ([1.0, math.nan], r".*\bnan\b.*'b'"),
        ([-math.inf, 1.0], r".* -inf\b.*'aa'"),
        ([1.0, "2"], r".*'2'.*\bnumber\b"),
        ("12", r".*'1'.*\bnumber\b"),
        ([[1.0], [2.0]], r".*\[1\.0\].*\bnumber\b"),
        (
            np.ones((2, 2)),
            r".*array\(\[1\., 1\.\]\).*\bnumber\b",
        ),
        (None, r".*returned None: expected a list of numbers.*\b2 completions"),
        (3.0, r".*returned 3\.0: expected a list of numbers.*\b2 completions"),
    ],
)
def test_what_is_no_score_is_named(scores: Any, words: str) -> None:
    with pytest.raises(RewardError, match=r"^mine " + words):
        checked(FunctionReward(lambda p, t: scores, "mine"), TWO)


def test_a_function_that_raises_or_hangs() -> None:
    def broken(prompts: list[Any], texts: list[str]) -> Sequence[float]:
        raise KeyError("no\n such key")

    with pytest.raises(
        RewardError, match=r"^broken .*KeyError: [^\n]*such key'$"
    ) as raised:
        reward_of(broken).score(TWO)
    assert isinstance(raised.value.__cause__, KeyError)
    began = time.monotonic()
    with pytest.raises(RewardError, match=r"^mine .*\b0\.05 seconds\b"):
        FunctionReward(slow, "mine", seconds=0.05).score(TWO)
    assert time.monotonic() - began < 4


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server on this machine that answers as the path says."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            ASKED.append(asked)
            answers = {
                "/rewards": json.dumps({"rewards": [len(q) for q in asked["query"]]}),
                "/scores": json.dumps({"scores": [1, 2]}),
                "/list": "[3, 4.5]",
                "/nan": '{"rewards": [1, NaN]}',
                "/few": '{"rewards": [1]}',
                "/text": '{"rewards": ["1", "2"]}',
                "/number": '{"rewards": 1}',
                "/other": '{"error": "no model"}',
                "/half": '{"rewards": [1, ',
                "/error": '{"rewards": [1, 2]}',
            }
            if self.path == "/slow":
                time.sleep(1)
            path, _, spaces = self.path.partition("?")
            if path in ("/drip", "/drip-head"):
                self._drip(path == "/drip-head", int(spaces or 600))
                return
            if self.path == "/garbage":
                self.wfile.write(b"what?\r\n\r\n")
                return
            status = 500 if self.path == "/error" else 200
            if self.path == "/busy":
                status = BUSY.pop() if BUSY else 200
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answers.get(self.path, "[1, 2]").encode())

        def _drip(self, head_too: bool, spaces: int) -> None:
            """Answer a byte every tenth of a second, until the client leaves. 600 take a minute."""
            head, body = b"HTTP/1.0 200 OK\r\n\r\n", b"[1, 2" + b" " * spaces + b"]"
            if not head_too:
                self.wfile.write(head)
            for byte in head + body if head_too else body:
                try:
                    self.wfile.write(bytes([byte]))
                except OSError:  # the client has left
                    return
                time.sleep(0.1)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_address_is_asked_on_openrlhfs_wire(address: str) -> None:
    chat = wrote("b", (Message("user", "hi"),))
    ASKED.clear()
    assert checked(reward_of(f"{address}/rewards"), [wrote("aa"), chat]) == [4, 1]
    assert ASKED == [
        {
            "query": ["p aa", "b"],
            "prompts": ["p ", [{"role": "user", "content": "hi"}]],
            "labels": ["", ""],
        }
    ]
    assert checked(reward_of(f"{address}/scores"), TWO) == [1, 2]
    ASKED.clear()
    labels = [math.nan, [1.5, math.inf]]
    rows = [replace(c, columns={"label": x}) for c, x in zip(TWO, labels, strict=True)]
    checked(reward_of(f"{address}/scores"), rows)
    assert ASKED[0]["labels"] == [None, [1.5, None]]
    assert checked(reward_of(f"{address}/list"), TWO) == [3, 4.5]
    assert checked(reward_of(f"{address}/list=-2"), TWO) == [-6, -9]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/error", "status 500"),
        ("/half", "JSON.*Expecting value"),
        ("/garbage", "what[?]"),
        ("/slow", "timed out"),
        ("/number", r'{"rewards": \[numbers\]}'),
        ("/other", "2 rewards"),
        ("/few", "2 rewards"),
        ("/nan", "2 rewards"),
        ("/text", "2 rewards"),
    ],
)
def test_an_address_that_fails(address: str, path: str, words: str) -> None:
    seconds = 0.3 if path == "/slow" else 10
    with pytest.raises(RewardError, match=rf"^{address}/… [^\n]*{words}[^\n]*$"):
        checked(HttpReward(address + path, seconds=seconds, retries=0), TWO)


@pytest.mark.parametrize("path", ["/drip", "/drip-head"])
def test_the_time_limit_is_of_the_whole_answer(address: str, path: str) -> None:
    """Each byte comes in time, the answer does not."""
    began = time.monotonic()
    with pytest.raises(RewardError, match=rf"^{address}/… .*timed out$"):
        HttpReward(address + path, seconds=0.5, retries=0).score(TWO)
    assert time.monotonic() - began < 30
    assert HttpReward(f"{address}{path}?9", seconds=60).score(TWO) == [1, 2]


def test_an_address_that_is_busy_is_asked_again(address: str) -> None:
    BUSY[:] = [503, 429]
    ASKED.clear()
    assert HttpReward(f"{address}/busy").score(TWO) == [1, 2]
    assert len(ASKED) == 3
    BUSY[:] = [429] * 5
    with pytest.raises(RewardError, match="429"):
        HttpReward(f"{address}/busy", retries=1).score(TWO)
    assert len(BUSY) == 3
    BUSY.clear()


def test_an_address_where_nobody_is() -> None:
    with pytest.raises(
        RewardError,
        match=r"^http://127\.0\.0\.1:9/… .*refused",
    ):
        HttpReward("http://127.0.0.1:9/x", seconds=5, retries=1).score(TWO)


def test_what_can_be_counted() -> None:
    """a b a and b a b, a b a again: one of three triples stood there before."""
    texts = [wrote("a b a b a"), wrote("a b", ended="length")]
    assert reward_of("repetition").score(texts) == [pytest.approx(1 / 3), 0]
    assert reward_of("length").score(texts) == [9, 3]
    assert reward_of("missing-end").score(texts) == [0, 1]
    assert len(reward_of("gold").score(texts)) == 2


def test_weights_and_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules.py").write_text(
        "def short(prompts, texts):\n    return [-len(t) for t in texts]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert reward_of("length=-0.5").score(TWO) == [-1, -0.5]
    assert reward_of("length=1") == reward_of("length"), "a weight of 1 is none"
    reward = reward_of(["length=3", "rules:short", lengths])
    assert reward.score(TWO) == [3 * 2 - 2 + 4, 3 * 1 - 1 + 3]
    assert reward.name == "3 × length + 1 × rules:short + 1 × lengths"
    assert reward_of(["length"]) == reward_of("length")
    seven = TextReward("own", lambda c: 7.0)
    assert reward_of(seven) is seven
    assert reward_of([seven]) is seven
    with pytest.raises(RewardError, match=r"^bad .*\bnan\b"):
        SumReward(((1.0, seven), (2.0, TextReward("bad", lambda c: math.nan)))).score(
            TWO
        )


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "nowhere/",
            r"^reward nowhere/: .*\bmodule:function\b",
        ),
        ("lengthy", r"^reward lengthy: .*\blength, repetition, missing-end, gold\b"),
        (
            "length=much",
            r"^reward length=much: 'much'.*\bnumber\b",
        ),
        ("length=nan", r"'nan'.*\bnumber\b"),
        ("length=inf", r"'inf'.*\bnumber\b"),
        (
            "no_such_module:f",
            "^reward no_such_module:f: .*'no_such_module'",
        ),
        (
            "math:no_such_name",
            "^reward math:no_such_name: .*'math'",
        ),
        ([], "^no reward"),
        (3, "^3 is no reward"),
        (None, "^None is no reward"),
    ],
)
def test_a_spec_that_stands_for_nothing(spec: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        reward_of(spec)


class Judged:
    """Two judges who score by length, the second one higher; keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def score_all(self, examples: Any) -> Scores:
        self.asked = list(examples)
        one = np.array([float(len(e.text)) for e in self.asked])
        members = np.stack([one, one + 2])
        return Scores(members.mean(0), np.zeros(len(one), dtype=bool), members)


def test_a_reward_model_scores_texts_with_a_word() -> None:
    """Members at L and L + 2 have the deviation √2; a text without a word scores −3 and is not
    read.
    """
    judged = Judged()
    three = [wrote("aaa", prompt=""), wrote("  "), wrote("a", prompt="")]
    assert reward_of(judged).score(three) == [4, -3, 2]
    assert len(judged.asked) == 2
    assert reward_of(judged, caution="minimum").score(three) == [3, -3, 1]
    assert reward_of(judged, caution=0.5).score(three)[0] == pytest.approx(
        4 - 0.5 * math.sqrt(2)
    )
    assert reward_of([judged, "length=2"], caution="minimum").score(three) == [9, 1, 3]
    # with members at L and L + 2, −β ln ½(1 + exp(−2/β)) is added to L
    pessimistic = reward_of(judged, caution="pessimistic=2").score(three)
    assert pessimistic[0] == pytest.approx(3 - 2 * math.log((1 + math.exp(-1)) / 2))
    assert reward_of(judged).score([wrote(" ")]) == [-3]


def test_an_address_keeps_its_query_and_a_weight_stands_behind_it() -> None:
    one = reward_of("http://host/TOKEN/get_reward?key=abc")
    assert one.address == "http://host/TOKEN/get_reward?key=abc"  # type: ignore[attr-defined]
    # a name stands in logs, and a token does not
    assert one.name == "http://host/…/get_reward"
    weighted = reward_of("http://host/get_reward?key=abc=0.5")
    assert weighted.name == "0.5 × http://host/get_reward"
    for address in ("http://me:secret@host/get_reward", "http://me:secret@host"):
        with pytest.raises(UsageError, match="TASTEMAKER_TOKEN") as caught:
            reward_of(address)
        assert "secret" not in str(caught.value)


def test_a_run_does_not_go_on_with_another_address(
    address: str, tmp_path: Path
) -> None:
    """The two addresses have one name, which shows no path that may hold a token."""
    settings: dict[str, Any] = {
        "prompts": ["A"],
        "algorithm": "rloo",
        "steering": {"steps": 1, "batch": 4, "measured": 4},
        "sampling": Sampling(max_tokens=4),
        "out": tmp_path / "run",
    }
    steer(nano(), f"{address}/rewards", **settings)
    again = steer(nano(), f"{address}/rewards", resume=True, **settings)
    assert again.figures["steps"] == 1
    with pytest.raises(UsageError, match="reward"):
        steer(nano(), f"{address}/others", resume=True, **settings)


def test_a_function_in_the_working_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_rules_here.py").write_text(
        "def short(prompts, completions):\n    return [-len(c) for c in completions]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert reward_of("own_rules_here:short").score(TWO) == [-2, -1]
