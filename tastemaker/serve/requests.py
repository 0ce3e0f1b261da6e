"""Requests: a body becomes checked texts, or a refusal in the shape of each wire."""

import json
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from tastemaker.data.judgements import Example, Message
from tastemaker.serve.settings import Serving

# ---- refusals ---------------------------------------------------------------


class Refusal(Exception):
    """Why a request is refused. No message holds a text or a token.

    parameter: the field that is wrong. retry_after: seconds after which to ask again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        parameter: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.parameter, self.retry_after = parameter, retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the status."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Connection"] = "close"
        return headers


_NAMES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    408: "TimeoutError",
    413: "BadRequestError",
    422: "BadRequestError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}

_TEI_NAMES = {
    424: "Backend",
    429: "Overloaded",
    500: "Backend",
    503: "Unhealthy",
}


def as_tastemaker(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal of our own wire; OpenRLHF's client reads any."""
    return as_vllm(refusal)


def as_vllm(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as vLLM and OpenAI write it."""
    return {
        "error": {
            "message": refusal.message,
            "type": _NAMES.get(refusal.status, "InternalServerError"),
            "param": refusal.parameter,
            "code": refusal.status,
        }
    }


def as_tei(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as Text Embeddings Inference writes it."""
    kind = _TEI_NAMES.get(refusal.status, "Validation")
    # of a field, only an empty list is a 400: all else is 413 or 422
    if refusal.status == HTTPStatus.BAD_REQUEST and refusal.parameter:
        kind = "Empty"
    return {"error": refusal.message, "error_type": kind}


# ---- bodies -----------------------------------------------------------------


_MOST_TURNS = 256


def _not_a_number(name: str) -> Any:
    raise Refusal(400, f"the body holds {name}, which is not JSON.")


def parsed(body: bytes) -> Any:
    """Return the JSON of a body."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(400, "the body is not UTF-8.") from error
    try:
        return json.loads(text, parse_constant=_not_a_number)
    except RecursionError as error:
        raise Refusal(400, "the body is nested too deeply.") from error
    except ValueError as error:
        raise Refusal(400, "the body is not JSON.") from error


def _is_count(value: Any) -> bool:
    """Return whether a value is a whole number, at least 0; in JSON, 2.0 is one too."""
    if isinstance(value, float):
        return value.is_integer() and value >= 0
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and value >= 0


class Reader:
    """Reads the fields of a request under the limits of the settings.

    status: what the wire answers to a field that is wrong.
    """

    def __init__(
        self, body: Any, settings: Serving, *, status: int = 400
    ) -> None:
        self.settings, self.status = settings, status
        if not isinstance(body, dict):
            raise Refusal(status, "the body must be a JSON object.")
        self.body: dict[str, Any] = body

    def wrong(self, name: str, expected: str) -> Refusal:
        """Return the refusal of a field."""
        return Refusal(
            self.status, f"`{name}` must be {expected}.", parameter=name
        )

    def text(
        self, value: Any, name: str, *, may_be_empty: bool = False
    ) -> str:
        """Return a text that can be scored."""
        if not isinstance(value, str):
            raise self.wrong(name, "a text")
        if len(value) > self.settings.max_characters:
            most = self.settings.max_characters
            raise Refusal(
                413,
                f"`{name}` has {len(value):,} characters; the limit is {most:,}.",
                parameter=name,
            )
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise self.wrong(
                name, "Unicode: it holds half of a surrogate pair"
            ) from error
        if not may_be_empty and not value.strip():
            raise self.wrong(name, "a text that is not empty")
        return value

    def items(self, name: str, *, empty: int | None = None) -> list[Any]:
        """Return a list that is not empty. empty: the status for an empty one."""
        values = self.body.get(name)
        if not isinstance(values, list):
            raise self.wrong(name, "a list")
        if not values:
            raise Refusal(
                empty or self.status,
                f"`{name}` cannot be empty.",
                parameter=name,
            )
        most = self.settings.max_inputs
        if len(values) > most:
            raise Refusal(
                413,
                f"`{name}` has {len(values):,} items; the limit is {most:,}.",
                parameter=name,
            )
        return values

    def texts(self, name: str, *, empty: int | None = None) -> list[str]:
        """Return a list of texts."""
        values = self.items(name, empty=empty)
        return [self.text(value, name) for value in values]

    def text_or_texts(self, name: str) -> list[str]:
        """Return a text or a list of texts as a list."""
        if isinstance(self.body.get(name), str):
            return [self.text(self.body[name], name)]
        return self.texts(name)

    def token_ids(self, name: str) -> list[list[int]]:
        """Return lists of token ids; the field is one or several."""
        values = self.items(name)
        rows = values if isinstance(values[0], list) else [values]
        for row in rows:
            if not isinstance(row, list) or not all(map(_is_count, row)):
                raise self.wrong(name, "texts, or lists of token ids")
            if len(row) > self.settings.max_characters:
                raise Refusal(413, f"`{name}` is too long.", parameter=name)
        return [list(map(int, row)) for row in rows]

    def flag(self, name: str, default: bool) -> bool:
        """Return a true or false; null is the default."""
        value = self.body.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false")
        return value

    def count(self, name: str) -> int:
        """Return a whole number, at least 0; 0 where it is missing."""
        value = self.body.get(name)
        if value is None:
            return 0
        if not _is_count(value):
            raise self.wrong(name, "a whole number, at least 0")
        return int(value)

    def model(self) -> str | None:
        """Return the name of the model; None for the first."""
        value = self.body.get("model")
        if value is not None and not isinstance(value, str):
            raise self.wrong("model", "a text")
        return value

    def turns(self, value: Any, name: str) -> tuple[Message, ...]:
        """Return the turns of a chat."""
        if not isinstance(value, list) or not value:
            raise self.wrong(name, "a list of messages that is not empty")
        if len(value) > _MOST_TURNS:
            raise self.wrong(name, f"at most {_MOST_TURNS} messages")
        turns = []
        for turn in value:
            if not isinstance(turn, dict):
                raise self.wrong(name, 'a list of {"role", "content"}')
            role = self.text(turn.get("role"), f"{name}.role")
            content = self.text(
                turn.get("content"), f"{name}.content", may_be_empty=True
            )
            turns.append(Message(role, content))
        return tuple(turns)

    def chat(self, value: Any, name: str) -> Example:
        """Return a chat as an example: its last turn answers those before."""
        *prompt, last = self.turns(value, name)
        if not prompt:
            text = self.text(last.content, f"{name}.content")
            return Example(text)
        return Example(last.content, tuple(prompt))

    def example(self, value: Any, name: str) -> Example:
        """Return a text, {"prompt", "completion"} or {"messages"} as an example."""
        if isinstance(value, str):
            return Example(self.text(value, name))
        if isinstance(value, dict) and "messages" in value:
            return self.chat(value["messages"], f"{name}.messages")
        if not isinstance(value, dict) or "completion" not in value:
            raise self.wrong(
                name,
                'texts, {"prompt", "completion"} or {"messages"}',
            )
        prompt = value.get("prompt")
        has_prompt = prompt is not None
        text = self.text(
            value["completion"],
            f"{name}.completion",
            may_be_empty=has_prompt,
        )
        if not has_prompt:
            return Example(text)
        if isinstance(prompt, str):
            read = self.text(prompt, f"{name}.prompt", may_be_empty=True)
            return Example(text, read)
        return Example(text, self.turns(prompt, f"{name}.prompt"))


def checked_numbers(values: Sequence[float]) -> list[float]:
    """Return scores. Raises Refusal for one that is not finite: none leaves the server."""
    for value in values:
        if not math.isfinite(value):
            raise Refusal(424, "the model gave a score that is not finite.")
    return list(values)
