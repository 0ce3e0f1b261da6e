"""What a wire is: how a request of one peer becomes examples, and scores become its reply."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Example
from tastemaker.scores import Scores
from tastemaker.serve.refusals import Refusal
from tastemaker.serve.served import Served
from tastemaker.serve.settings import Serving


@dataclass(frozen=True)
class Answer:
    """The scores of one request, and the model that gave them.

    values: checked to be finite. tokens: estimated, of all examples.
    """

    served: Served
    scores: Scores
    values: list[float]
    tokens: int


@dataclass(frozen=True)
class Work:
    """What a request asks. model: its name; None for the first."""

    examples: list[Example]
    reply: Callable[[Answer], Any]
    model: str | None = None


@dataclass(frozen=True)
class Wire:
    """One peer's request and reply on one path.

    read: makes work of a body. error: writes a refusal. probe: a body that asks for the scores of
    plain texts, and `numbers` reads them from the reply, so that the start can check every wire.
    pairs: the probe's texts answer this query.
    """

    name: str
    read: Callable[[Any, Serving], Work]
    error: Callable[[Refusal], dict[str, Any]]
    probe: Callable[[list[str]], Any]
    numbers: Callable[[Any], list[float]]
    query: str | None = None
    example: Any = None


def listed(name: str, answer: Answer) -> dict[str, Any]:
    """Return the head of a reply that vLLM's and OpenAI's clients read."""
    return {
        "id": f"{name}-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": answer.served.name,
    }


def ranked(values: list[float]) -> list[int]:
    """Return the places of the values, the highest first; equal ones in their order."""
    return sorted(range(len(values)), key=lambda place: -values[place])
