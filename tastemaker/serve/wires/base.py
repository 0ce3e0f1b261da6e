"""What a wire is: how a request of one peer becomes examples, and scores become its reply."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Example
from tastemaker.scores import Scores
from tastemaker.serve.refusals import Refusal
from tastemaker.serve.served import Served
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires.schemas import Schema


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
    """What a request asks.

    model: its name; None for the first. token_ids: texts of which the client sends tokens, in place
    of examples. most_tokens: of a text; more are not cut but refused.
    """

    examples: list[Example]
    reply: Callable[[Answer], Any]
    model: str | None = None
    token_ids: Sequence[list[int]] = ()
    most_tokens: int | None = None

    def examples_for(self, served: Served) -> list[Example]:
        """Return the examples. Raises Refusal for tokens that the model would not read so."""
        examples = self.examples
        if self.token_ids:
            texts = [served.text_of(ids) for ids in self.token_ids]
            examples = [Example(text) for text in texts]
        if self.most_tokens is not None:
            served.check_tokens(examples, self.most_tokens)
        return examples


@dataclass(frozen=True)
class Wire:
    """One peer's request and reply on one path.

    read: makes work of a body. error: writes a refusal. probe: a body that asks for the scores of
    plain texts, and `numbers` reads them from the reply, so that the start can check every wire.
    query: the probe's texts answer it. body and reply: their JSON schemas.
    """

    name: str
    read: Callable[[Any, Serving], Work]
    error: Callable[[Refusal], dict[str, Any]]
    probe: Callable[[list[str]], Any]
    numbers: Callable[[Any], list[float]]
    body: Schema
    reply: Schema
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
