"""What `/openapi.json` says: bodies, replies and refusals of every path."""

from collections.abc import Sequence
from typing import Any

from tastemaker.serve.settings import Serving
from tastemaker.serve.wires import Wire
from tastemaker.serve.wires.schemas import (
    ERROR,
    STRING,
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
_BEARER, _KEY = "bearer", "key"


def _content(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _refusals(
    statuses: Sequence[int], schema: Schema
) -> dict[int | str, dict[str, Any]]:
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        # uvicorn answers 503 itself, and the guard before any wire
        content = _content(schema)
        if status == 503:
            content = {"text/plain": {"schema": STRING}}
        elif status in (401, 403):
            content = _content(ERROR)
        responses[status] = {
            "description": _REFUSALS[status],
            "content": content,
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
