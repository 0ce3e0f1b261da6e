"""What `/openapi.json` and `/docs` say: bodies, replies and refusals of every path."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tastemaker.serve.settings import Serving
from tastemaker.serve.wires import Wire
from tastemaker.serve.wires.base import (
    ERROR,
    TEI_ERROR,
    Schema,
    one_of,
)

_REFUSALS = {
    400: "The body cannot be read, or a field is wrong.",
    401: "A token is needed.",
    403: "The request calls this machine by another name.",
    404: "No such model.",
    408: "The body did not arrive in time.",
    413: "The body, a text or a list is over a limit, which `/info` names.",
    422: "The model cannot score this, or (TEI) a field is wrong.",
    424: "The model failed, or a score is not finite.",
    429: "Too many texts wait. `Retry-After` says when to ask again.",
    503: "Too many connections.",
}
_OF_STATES = (401, 403, 503)
STATES = frozenset({"/info", "/v1/models", "/metrics"})
"""Paths whose answers are shown as they were at the start."""
_SHOWN_LINES = 8
_BEARER, _KEY = "bearer", "key"


def _content(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _refusals(
    statuses: Sequence[int], schema: Schema
) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        responses[status] = {
            "description": _REFUSALS[status],
            "content": _content(schema),
        }
    return responses


def state_responses(
    content: dict[str, Any], **others: str
) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a path that only tells something.

    content: of the status 200. others: descriptions by status, as `s503`.
    """
    responses = _refusals(_OF_STATES, ERROR)
    responses[200] = {"description": "OK", "content": content}
    for name, description in others.items():
        responses[int(name.removeprefix("s"))] = {"description": description}
    return responses


def wire_responses(wires: Sequence[Wire]) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a path where texts are scored."""
    is_tei = [wire.name == "TEI" for wire in wires]
    errors = [ERROR] if not all(is_tei) else []
    if any(is_tei):
        errors.append(TEI_ERROR)
    responses = _refusals(list(_REFUSALS), one_of(*errors))
    replies = one_of(*(wire.reply for wire in wires))
    responses[200] = {"description": "Scores", "content": _content(replies)}
    return responses


def wire_operation(
    wires: Sequence[Wire], models: Sequence[str]
) -> dict[str, Any]:
    """Return the parameter and the body of a path where texts are scored."""
    examples = {wire.name: {"value": wire.example} for wire in wires}
    schema = one_of(*(wire.body for wire in wires))
    content = {"schema": schema, "examples": examples}
    return {
        "parameters": [
            {
                "name": "model",
                "in": "query",
                "required": False,
                "description": "The model, where the body names none.",
                "schema": {"type": "string", "enum": list(models)},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": content},
        },
    }


def add_security(document: dict[str, Any], settings: Serving) -> None:
    """Say how a request carries the token, where there is one."""
    if settings.token is None:
        return
    schemes = {
        _BEARER: {"type": "http", "scheme": "bearer"},
        _KEY: {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document.setdefault("components", {})["securitySchemes"] = schemes
    document["security"] = [{_BEARER: []}, {_KEY: []}]
    for path in ("/health", "/ready"):
        document["paths"][path]["get"]["security"] = []


def add_reply(operation: dict[str, Any], name: str, reply: Any) -> None:
    """Add what was answered to an example. name: of the example; a text is JSON or lines."""
    (content,) = operation["responses"]["200"]["content"].values()
    if isinstance(reply, str):
        reply = _shown(reply)
    content.setdefault("examples", {})[name] = {"value": reply}


def _shown(text: str) -> Any:
    """Return the JSON of a text, or its first lines."""
    if text.startswith("{"):
        return json.loads(text)
    return "\n".join([*text.splitlines()[:_SHOWN_LINES], "…"])


@dataclass(frozen=True)
class Call:
    """One example of `/docs`. name: of the wire. curl: a line for a shell. reply: as text."""

    name: str
    curl: str
    reply: str


@dataclass(frozen=True)
class Operation:
    """One method of one path on the page `/docs`. refusals: description by status."""

    method: str
    path: str
    summary: str
    calls: list[Call]
    refusals: dict[str, str]


def operations(document: dict[str, Any], address: str) -> Iterator[Operation]:
    """Return what the page shows of each path. address: of the server, for the lines."""
    has_token = "security" in document
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = dict(operation["responses"])
            good = responses.pop("200")
            needs_token = has_token and operation.get("security") != []
            command = ["curl", address + path]
            if needs_token:
                command += ["-H", "Authorization: Bearer $TASTEMAKER_TOKEN"]
            replies = _examples(good) or {"reply": ""}
            bodies = _examples(operation.get("requestBody", {}))
            calls = []
            for name, reply in replies.items():
                asked = list(command)
                if name in bodies:
                    body = json.dumps(bodies[name], ensure_ascii=False)
                    asked += ["-d", body]
                calls.append(Call(name, _line(asked), _as_text(reply)))
            yield Operation(
                method.upper(),
                path,
                operation.get("description", operation["summary"]),
                calls,
                {code: r["description"] for code, r in responses.items()},
            )


def _examples(part: dict[str, Any]) -> dict[str, Any]:
    examples: dict[str, Any] = {}
    for content in part.get("content", {}).values():
        for name, example in content.get("examples", {}).items():
            examples[name] = example["value"]
    return examples


def _line(command: list[str]) -> str:
    """Return a command for a shell; the variable of the token stays one."""
    words = []
    for word in command:
        has_variable = word.startswith("Authorization")
        words.append(f'"{word}"' if has_variable else shlex.quote(word))
    return " ".join(words)


def _as_text(reply: Any) -> str:
    if isinstance(reply, str):
        return reply
    return json.dumps(reply, indent=2, ensure_ascii=False)
