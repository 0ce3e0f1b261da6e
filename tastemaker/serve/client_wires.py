"""What a client posts to an address, and reads from the answer: ours, OpenRLHF's, TEI's, vLLM's.

| wire | path | which address |
|---|---|---|
| own | `/score` | `/info` names our models |
| openrlhf | `/get_reward` | the OpenAPI page has that path |
| tei | `/predict` | `/info` names a `model_id` and a `model_type` |
| vllm | `/classify` | `/v1/models` is owned by vLLM |

A path at the end of an address names its wire without a question.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from tastemaker.data.judgements import Example, Prompt, plain
from tastemaker.errors import RewardError
from tastemaker.serve.asking import Reply

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
