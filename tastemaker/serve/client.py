"""A reward model that another process serves: `RemoteReward("http://127.0.0.1:8000")`.

The client asks the wire that the address shows: that of `tastemaker serve`, OpenRLHF, Text
Embeddings Inference (TEI) or vLLM.

| wire | path | which address |
|---|---|---|
| own | `/score` | `/info` names our models |
| openrlhf | `/get_reward` | the OpenAPI page has that path |
| tei | `/predict` | `/info` names a `model_id` and a `model_type` |
| vllm | `/classify` | `/v1/models` is owned by vLLM |

A path at the end of an address names its wire without a question.
"""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias, overload
from urllib.parse import urlsplit, urlunsplit

import numpy as np

from tastemaker.data.judgements import Example, Prompt, plain
from tastemaker.errors import DataError, RewardError, UsageError
from tastemaker.readable import notebook_html
from tastemaker.scores import Scores
from tastemaker.serve.asking import Reply, asked, request_of

# ---- the wires --------------------------------------------------------------


_MOST_OF_TEI = 32
"""Texts of a request that TEI takes unless it says otherwise."""


@dataclass(frozen=True)
class ClientWire:
    """How texts are posted and numbers are read.

    path: below the address. body: of texts, JSON-ready. numbers: of an answer, in order; one entry
    that is no number makes the answer wrong. most: texts of a request. most_prompted: the same
    where one of them has a prompt.
    """

    name: str
    path: str
    body: Callable[[Sequence[Example]], dict[str, Any]]
    numbers: Callable[[Any], Any]
    most: int = 2**31
    most_prompted: int = 2**31

    def url(self, address: str) -> str:
        """Return the address of the questions; one that ends in the path is as it is."""
        path = urlsplit(address).path.rstrip("/")
        return with_path(address, path.removesuffix(self.path) + self.path)

    def scores(self, reply: Any, count: int) -> list[float] | None:
        """Return the scores of a reply; None unless they are `count` finite numbers."""
        values = self.numbers(reply)
        values = values if isinstance(values, list) else []
        if count != 1 and len(values) == 1 and isinstance(values[0], list):
            values = values[0]
        numbers = []
        for value in values:
            number = _number(value)
            if number is None or not math.isfinite(number):
                return None
            numbers.append(number)
        return numbers if len(numbers) == count else None

    def at_once(self, examples: Sequence[Example], batch: int) -> int:
        """Return how many of the texts one request has."""
        has_prompts = any(example.prompt is not None for example in examples)
        return min(batch, self.most_prompted if has_prompts else self.most)


def _number(value: Any) -> float | None:
    """Return a number; a list may wrap it."""
    if isinstance(value, list) and len(value) == 1:
        return _number(value[0])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _own_body(examples: Sequence[Example]) -> dict[str, Any]:
    inputs: list[Any] = []
    for example in examples:
        if example.prompt is None:
            inputs.append(example.text)
        else:
            prompt = as_json(example.prompt)
            inputs.append({"prompt": prompt, "completion": example.text})
    return {"inputs": inputs}


def _openrlhf_body(examples: Sequence[Example]) -> dict[str, Any]:
    """Return what OpenRLHF calls a query: the prompt and the text that continues it."""
    query, prompts = [], []
    for example in examples:
        is_text = isinstance(example.prompt, str)
        start = example.prompt if is_text else ""
        query.append(f"{start}{example.text}")
        prompts.append(as_json(example.prompt or ""))
    return {
        "query": query,
        "prompts": prompts,
        "labels": [""] * len(query),
    }


def _tei_body(examples: Sequence[Example]) -> dict[str, Any]:
    """Return each text as a list, for a list of two texts alone would be a pair."""
    inputs = []
    for example in examples:
        before = [] if example.prompt is None else [plain(example.prompt)]
        inputs.append([*before, example.text])
    return {"inputs": inputs, "raw_scores": True, "truncate": True}


def _vllm_body(examples: Sequence[Example]) -> dict[str, Any]:
    """Return texts, or the one chat that a request holds. The score is the logit."""
    options = {"use_activation": False}
    prompt = examples[0].prompt
    if prompt is None:
        return {"input": [example.text for example in examples], **options}
    [example] = examples
    turns = as_json(prompt)
    if isinstance(turns, str):
        turns = [{"role": "user", "content": turns}]
    answer = {"role": "assistant", "content": example.text}
    return {"messages": [*turns, answer], **options}


def _rewards(reply: Any) -> Any:
    """Return the rewards of a reply. A list may wrap them, or the reply, once more."""
    if isinstance(reply, list) and len(reply) == 1:
        inner = reply[0]
        reply = inner if isinstance(inner, (dict, list)) else reply
    if isinstance(reply, dict):
        reply = reply.get("rewards", reply.get("scores"))
    return reply


def _of_tei(reply: Any) -> Any:
    """Return the score of each text that has one; several are of several classes."""
    if not isinstance(reply, list):
        return None
    return [_only(row, "score") for row in reply]


def _of_vllm(reply: Any) -> Any:
    rows = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(rows, list):
        return None
    values = []
    for row in rows:
        probabilities = row.get("probs") if isinstance(row, dict) else None
        value = None
        if isinstance(probabilities, list) and len(probabilities) == 1:
            value = probabilities[0]
        values.append(value)
    return values


def _only(rows: Any, name: str) -> Any:
    """Return an entry of the only row; None where there are several."""
    if isinstance(rows, list) and len(rows) == 1 and isinstance(rows[0], dict):
        return rows[0].get(name)
    return None


OWN = ClientWire("own", "/score", _own_body, _rewards)
OPENRLHF = ClientWire("openrlhf", "/get_reward", _openrlhf_body, _rewards)
TEI = ClientWire(
    "tei", "/predict", _tei_body, _of_tei, _MOST_OF_TEI, _MOST_OF_TEI
)
VLLM = ClientWire("vllm", "/classify", _vllm_body, _of_vllm, most_prompted=1)


def wire_by_path(address: str) -> ClientWire | None:
    """Return the wire that the path of an address names."""
    path = urlsplit(address).path.rstrip("/")
    for wire in (OWN, OPENRLHF, TEI, VLLM):
        if path.endswith(wire.path):
            return wire
    return None


def base_of(address: str) -> str:
    """Return an address without the path of a wire; its query stays."""
    path = urlsplit(address).path.rstrip("/")
    wire = wire_by_path(address)
    if wire is not None:
        path = path.removesuffix(wire.path)
    return with_path(address, path)


def with_path(address: str, path: str) -> str:
    """Return an address with another path, before its query."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


Look: TypeAlias = Callable[[str], Reply]
"""Asks for a page, again where that may help; the answer may still be that nobody answers."""


def wire_at(address: str, name: str, look: Look) -> ClientWire | None:
    """Return the wire that an address shows by what it answers; None where it shows none.

    name: of the address in messages. Raises RewardError where a page is not answered, or the server
    is busy or broken: what it would show is not known.
    """

    def page(path: str) -> dict[str, Any]:
        reply = look(
            with_path(address, urlsplit(address).path.rstrip("/") + path)
        )
        if reply.is_worth_retrying:
            raise RewardError(
                f"{name} {reply}. So its wire is not known; start the server, or write the wire's "
                f"path: {name}{OWN.path}, {OPENRLHF.path}, {TEI.path} or {VLLM.path}."
            )
        return reply.value if isinstance(reply.value, dict) else {}

    about = page("/info")
    # ours has TEI's fields too
    if "models" in about:
        return OWN
    if {"model_id", "model_type"} <= about.keys():
        most = about.get("max_client_batch_size")
        size = most if isinstance(most, int) and most > 0 else _MOST_OF_TEI
        return replace(TEI, most=size, most_prompted=size)
    rows = page("/v1/models").get("data")
    if isinstance(rows, list):
        owners = [row.get("owned_by") for row in rows if isinstance(row, dict)]
        if "vllm" in owners:
            return VLLM
    paths = page("/openapi.json").get("paths")
    if isinstance(paths, dict):
        for wire in (OWN, OPENRLHF, TEI, VLLM):
            if wire.path in paths:
                return wire
    return None


def as_json(prompt: Prompt) -> Any:
    """Return a prompt as JSON: a text, or a list of messages."""
    if isinstance(prompt, str):
        return prompt
    return [{"role": turn.role, "content": turn.content} for turn in prompt]


# ---- the reward model -------------------------------------------------------


_LOOK = 10.0
"""The seconds that a look at what an address is takes at most."""
TOKEN = "TASTEMAKER_TOKEN"
"""The variable that holds the token of a server, for the command line."""


def is_address(name: object) -> bool:
    """Return whether a name is an HTTP address and not a folder."""
    return isinstance(name, str) and name.startswith(("http://", "https://"))


@dataclass(frozen=True)
class RemoteReward:
    """A server's scores, used like a reward model.

    token: of the server. seconds: the time limit of a whole answer. retries: how often a request is
    repeated that was refused for overload or not answered; waits double, with jitter. batch: most
    texts of one request. model: which of several. The first question looks which wire the address
    has, unless its path names one.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    seconds: float = 60.0
    retries: int = 5
    batch: int = 256
    model: str | None = None

    def __post_init__(self) -> None:
        check_address(self.address)
        if self.batch < 1 or self.retries < 0 or not self.seconds > 0:
            raise UsageError(
                "a remote reward needs a batch of at least 1, retries of at least 0 and a "
                "positive number of seconds."
            )

    @property
    def name(self) -> str:
        """The address without what may hold a token: a query, and a path that is no wire's."""
        return shown_address(self.address)

    def _repr_html_(self) -> str:
        """Return whose scores these are, for a notebook; nothing is asked of the server."""
        which = f", model {self.model}" if self.model is not None else ""
        waits = f"waits {self.seconds:g} s for an answer, tries again {self.retries} times"
        return notebook_html([f"RemoteReward: {self.name}{which}", waits])

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
            body = self.wire.body(part)
            if self.model is not None:
                body["model"] = self.model
            reply = self._ask(json.dumps(body).encode())
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

    @cached_property
    def wire(self) -> ClientWire:
        """What is posted to the address: by its path, or by what it answers, else our own.

        Raises RewardError, and looks again the next time, where the server is away or busy.
        """
        by_path = wire_by_path(self.address)
        if by_path is not None:
            return by_path
        return wire_at(self.address, self.name, self.look) or OWN

    @property
    def headers(self) -> dict[str, str]:
        """The header with the token."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _batches(
        self, examples: Sequence[Example]
    ) -> Iterator[Sequence[Example]]:
        for number, example in enumerate(examples, 1):
            if not example.text.strip() and example.prompt is None:
                raise DataError(
                    f"text {number} of {len(examples)} is empty: there is nothing to score."
                )
        size = self.wire.at_once(examples, self.batch)
        for start in range(0, len(examples), size):
            yield examples[start : start + size]

    def _numbers(self, reply: Any, count: int) -> list[float]:
        """Return the scores of a reply, one for each text."""
        numbers = self.wire.scores(reply, count)
        if numbers is None:
            raise RewardError(
                f"{self.name} did not answer with {count} finite numbers, one for each text "
                f"({self.wire.name} wire, {self.wire.path})."
            )
        return numbers

    def _ask(self, body: bytes) -> Any:
        """Return the JSON of an answer; ask again where the server is busy or away."""
        url = self.wire.url(self.address)
        request = request_of(url, self.headers, body)
        reply = asked(request, self.seconds, self.retries)
        if reply.status != 200 or reply.problem:
            raise RewardError(f"{self.name} {reply}")
        return reply.value

    def look(self, url: str) -> Reply:
        """Return the answer of a page, for what it tells of the server."""
        request = request_of(url, self.headers)
        return asked(request, min(self.seconds, _LOOK), self.retries)


def check_address(address: str) -> None:
    """Raise UsageError for what is no HTTP address, and for one with a user or a password."""
    try:
        parts = urlsplit(address)
        is_whole = is_address(address) and bool(parts.hostname)
    except ValueError:
        is_whole = False
    if not is_whole:
        # what is mistyped before a user name may be a password
        shown = address.rpartition("@")[2]
        raise UsageError(
            f"{shown!r}: no address. Write it as http://127.0.0.1:8000."
        )
    if "@" in parts.netloc:
        raise UsageError(
            f"{shown_address(address)}: a user name in an address would stand in logs. Leave it "
            f"out, and give a token in the variable {TOKEN}."
        )


def shown_address(address: str) -> str:
    """Return an address without what may hold a token: a user, a query, a path of no wire."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    wire = wire_by_path(address)
    end = "" if wire is None else wire.path
    has_more = parts.path.rstrip("/") != end
    return f"{parts.scheme}://{host}{'/…' if has_more else ''}{end}"


def remote_reward(address: str) -> RemoteReward:
    """Return the reward of an address; its token is in the variable TASTEMAKER_TOKEN."""
    return RemoteReward(address, token=token_of_server())


def token_of_server() -> str | None:
    """Return the token that the variable TASTEMAKER_TOKEN holds."""
    return os.environ.get(TOKEN, "").strip() or None
