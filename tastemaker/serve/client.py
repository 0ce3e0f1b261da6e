"""A reward model that another process serves: `RemoteReward("http://127.0.0.1:8000")`.

Asks the own wire of `tastemaker serve`, or an address that ends in `/get_reward` as OpenRLHF does.
"""

import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload
from urllib.parse import urlsplit

import numpy as np

from tastemaker.data.judgements import Example, Prompt
from tastemaker.errors import DataError, RewardError, UsageError
from tastemaker.scores import Scores

_MOST_BYTES = 2**26
_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
_BUSY = frozenset({429, 503})
_SHORTEST_WAIT, _LONGEST_WAIT = 0.2, 30.0
_OPENRLHF = "/get_reward"
_OWN = "/score"


TOKEN = "TASTEMAKER_TOKEN"
"""The variable that holds the token of a server, for the command line."""


def is_address(name: object) -> bool:
    """Return whether a name is an HTTP address and not a folder."""
    return isinstance(name, str) and name.startswith(("http://", "https://"))


@dataclass(frozen=True)
class _Reply:
    """One answer. status: 0 where there was none. pause: the seconds of its Retry-After."""

    status: int
    value: Any = None
    problem: str = ""
    pause: float = 0.0


@dataclass(frozen=True)
class RemoteReward:
    """A server's scores, used like a reward model.

    token: of the server. seconds: the time limit of a whole answer. retries: how often a request is
    repeated that was refused for overload or not answered; waits double, with jitter. batch: texts
    of one request. model: which of several.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    seconds: float = 60.0
    retries: int = 5
    batch: int = 256
    model: str | None = None

    def __post_init__(self) -> None:
        if not is_address(self.address) or not urlsplit(self.address).hostname:
            raise UsageError(
                f"{self.name!r}: no address. Write it as http://127.0.0.1:8000."
            )
        if self.batch < 1 or self.retries < 0 or not self.seconds > 0:
            raise UsageError(
                "a remote reward needs a batch of at least 1, retries of at least 0 and a "
                "positive number of seconds."
            )

    @property
    def name(self) -> str:
        """The address without the path and the query, which may hold a token."""
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}"

    @overload
    def score(  # type: ignore[overload-overlap]  # a text is a sequence of texts
        self, text: str | Example
    ) -> float: ...
    @overload
    def score(self, text: Sequence[str | Example]) -> list[float]: ...
    def score(
        self, text: str | Example | Sequence[str | Example]
    ) -> float | list[float]:
        """Return the score of a text, or the scores of several, in order."""
        is_one = isinstance(text, str | Example)
        texts: Any = [text] if is_one else text
        examples = [
            one if isinstance(one, Example) else Example(one) for one in texts
        ]
        values = self.score_all(examples).as_list()
        return values[0] if is_one else values

    def score_all(
        self, examples: Sequence[Example], *, precision: str = "float32"
    ) -> Scores:
        """Return scores and truncation of examples, in order.

        precision: the server's own; any other than "float32" is refused. Raises RewardError where
        the server does not answer, or without one finite number for each text.
        """
        if precision != "float32":
            raise UsageError(
                f"precision {precision}: a server chooses its own; leave it out."
            )
        values: list[float] = []
        truncated: list[bool] = []
        for part in self._batches(examples):
            reply = self._ask(self._body(part))
            values += self._numbers(reply, len(part))
            cut = reply.get("truncated") if isinstance(reply, dict) else None
            is_list = isinstance(cut, list) and len(cut) == len(part)
            truncated += (
                [bool(c) for c in cut or ()]
                if is_list
                else [False] * len(part)
            )
        return Scores(np.array(values, dtype=float), np.array(truncated, bool))

    def meanings(self, scores: Scores) -> dict[str, list[float]]:
        """Return nothing: the links that give scores a meaning are on the server."""
        del scores
        return {}

    @property
    def _is_openrlhf(self) -> bool:
        return urlsplit(self.address).path.rstrip("/").endswith(_OPENRLHF)

    @property
    def _url(self) -> str:
        address = self.address.rstrip("/")
        if self._is_openrlhf or urlsplit(address).path.endswith(_OWN):
            return address
        return address + _OWN

    def _batches(
        self, examples: Sequence[Example]
    ) -> Iterator[Sequence[Example]]:
        for number, example in enumerate(examples, 1):
            if not example.text.strip() and example.prompt is None:
                raise DataError(
                    f"text {number} of {len(examples)} is empty: there is nothing to score."
                )
        for start in range(0, len(examples), self.batch):
            yield examples[start : start + self.batch]

    def _body(self, examples: Sequence[Example]) -> bytes:
        body: dict[str, Any] = {}
        if self._is_openrlhf:
            body["query"] = [_prompt_and_text(example) for example in examples]
            body["prompts"] = [_as_json(e.prompt or "") for e in examples]
            body["labels"] = [""] * len(examples)
        else:
            body["inputs"] = [_input(example) for example in examples]
        if self.model is not None:
            body["model"] = self.model
        return json.dumps(body).encode()

    def _numbers(self, reply: Any, count: int) -> list[float]:
        """Return the rewards of a reply. A list may wrap them, or the reply, once more."""
        if isinstance(reply, list) and len(reply) == 1:
            inner = reply[0]
            reply = inner if isinstance(inner, (dict, list)) else reply
        if isinstance(reply, dict):
            reply = reply.get("rewards", reply.get("scores"))
        values = reply if isinstance(reply, list) else []
        if count != 1 and len(values) == 1 and isinstance(values[0], list):
            values = values[0]
        numbers = [n for n in map(_number, values) if n is not None]
        if len(numbers) != count or not np.isfinite(numbers).all():
            raise RewardError(
                f"{self.name} did not answer with {count} finite numbers."
            )
        return numbers

    def _ask(self, body: bytes) -> Any:
        """Return the JSON of an answer; ask again where the server is busy or away."""
        reply = _Reply(0)
        for attempt in range(self.retries + 1):
            if attempt:
                longest = min(_LONGEST_WAIT, _SHORTEST_WAIT * 2**attempt)
                # jitter keeps clients that were refused together apart
                wait = longest * random.uniform(0.5, 1)
                time.sleep(max(wait, min(reply.pause, _LONGEST_WAIT)))
            reply = _within(self.seconds, lambda: self._post(body))
            if reply.status == 200:
                return reply.value
            if reply.status and reply.status not in _WORTH_RETRYING:
                break
        state = "is busy" if reply.status in _BUSY else "did not answer"
        if reply.status:
            state += f" (status {reply.status})"
        problem = f": {reply.problem}" if reply.problem else ""
        raise RewardError(f"{self.name} {state}{problem}")

    def _post(self, body: bytes) -> _Reply:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self._url, body, headers)
        try:
            with urllib.request.urlopen(
                request, timeout=self.seconds
            ) as answer:
                return _Reply(200, json.loads(answer.read(_MOST_BYTES)))
        except urllib.error.HTTPError as error:
            with error:
                return _refused(error)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            return _Reply(0, problem=" ".join(str(reason).split()))


def remote_reward(address: str) -> RemoteReward:
    """Return the reward of an address; its token is in the variable TASTEMAKER_TOKEN."""
    return RemoteReward(address, token=os.environ.get(TOKEN) or None)


def _number(value: Any) -> float | None:
    """Return a number; a list may wrap it."""
    if isinstance(value, list) and len(value) == 1:
        return _number(value[0])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def _refused(error: urllib.error.HTTPError) -> _Reply:
    pause = error.headers.get("Retry-After", "")
    try:
        body = json.loads(error.read(65536))
        problem = body["error"]
        problem = problem["message"] if isinstance(problem, dict) else problem
    except (OSError, ValueError, KeyError, TypeError):
        problem = error.reason
    seconds = float(pause) if pause.isdecimal() else 0.0
    return _Reply(error.code, None, " ".join(str(problem).split()), seconds)


def _within(seconds: float, call: Callable[[], _Reply]) -> _Reply:
    """Return the reply of a call, or that it took longer: a server may send a byte a second."""
    replies: list[_Reply] = []
    worker = threading.Thread(
        target=lambda: replies.append(call()), daemon=True
    )
    worker.start()
    worker.join(seconds)
    return replies[0] if replies else _Reply(0, problem="timed out")


def _as_json(prompt: Prompt) -> Any:
    """Return a prompt as JSON: a text, or a list of messages."""
    if isinstance(prompt, str):
        return prompt
    return [{"role": turn.role, "content": turn.content} for turn in prompt]


def _input(example: Example) -> Any:
    """Return an example as the own wire reads it."""
    if example.prompt is None:
        return example.text
    return {"prompt": _as_json(example.prompt), "completion": example.text}


def _prompt_and_text(example: Example) -> str:
    """Return what OpenRLHF calls a query: the prompt and the text that continues it."""
    is_text = isinstance(example.prompt, str)
    return f"{example.prompt}{example.text}" if is_text else example.text
