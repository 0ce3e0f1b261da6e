"""What a wire is: how a request of one peer becomes examples, and scores become its reply.

The JSON schemas of bodies and replies are for `/openapi.json`. `/info` has the limits of settings.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tastemaker.data.judgements import Example
from tastemaker.scores import Scores
from tastemaker.serve.requests import Refusal
from tastemaker.serve.served import Served
from tastemaker.serve.settings import Serving

# ---- schemas of bodies and replies ------------------------------------------


Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1, "pattern": r"\S"}
"""A text that is not blank."""
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
STRING: Schema = {"type": "string"}
FLAG: Schema = {"type": ["boolean", "null"]}
ANY: Schema = {}


def array(items: Schema, least: int = 0, most: int | None = None) -> Schema:
    """Return the schema of a list."""
    schema: Schema = {"type": "array", "items": items}
    if least:
        schema["minItems"] = least
    if most is not None:
        schema["maxItems"] = most
    return schema


def record(needed: dict[str, Schema], **others: Schema) -> Schema:
    """Return the schema of an object. others: fields that may be missing."""
    return {
        "type": "object",
        "properties": {**needed, **others},
        "required": list(needed),
    }


def one_of(*schemas: Schema) -> Schema:
    """Return the schema of a value that fits any of several."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


TEXTS = one_of(TEXT, array(TEXT, 1))
MODEL: Schema = {"type": ["string", "null"]}
TURNS = array(record({"role": TEXT, "content": STRING}), 1, 256)
CHAT: Schema = {
    # the last turn is what is scored: alone, it cannot be blank
    **array(record({"role": TEXT, "content": TEXT}), 1, 256),
    "description": "messages of a chat; the last one is scored",
}

USAGE = record(
    {
        "prompt_tokens": COUNT,
        "total_tokens": COUNT,
        "completion_tokens": COUNT,
        "prompt_tokens_details": ANY,
    }
)


def listing(row: Schema) -> Schema:
    """Return the schema of vLLM's list."""
    head = {"id": STRING, "object": STRING, "created": COUNT, "model": STRING}
    return record({**head, "data": array(row), "usage": USAGE})


ERROR = record(
    {
        "error": record(
            {
                "message": STRING,
                "type": STRING,
                "param": {"type": ["string", "null"]},
                "code": COUNT,
            }
        )
    }
)
TEI_ERROR = record({"error": STRING, "error_type": STRING})


# ---- wires ------------------------------------------------------------------


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
