"""A request that is not answered: its status and message, in the shape of each wire."""

from http import HTTPStatus
from typing import Any


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
