"""JSON schemas of bodies and replies, for `/openapi.json`. `/info` has the limits of settings."""

from typing import Any

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
