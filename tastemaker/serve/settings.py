"""The settings of a server. The module imports no web library, so that `--help` is fast."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from tastemaker.errors import UsageError
from tastemaker.settings import (
    PORT,
    POSITIVE,
    at_least,
    check,
    setting,
    settings_class,
)

Engine = Literal["auto", "torch", "onnx", "onnx-int8"]

_LIMITS = "Limits"
_ACCESS = "Access"
_SHORTEST_TOKEN = 16
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


@settings_class
@dataclass(frozen=True)
class Serving:
    """Where a server listens, who may ask, and how much it accepts."""

    group: ClassVar[str] = "Options"

    host: str = setting(
        "127.0.0.1",
        "Address to listen on. Any other than this machine's own demands --token.",
    )
    port: int = setting(8000, "Port to listen on; 0 takes a free one.", PORT)
    token: str | None = setting(
        None,
        "Secret that requests must carry: in a header, or first in the path. At least 16 letters, "
        "digits, - or _. A command line is visible to other users; TASTEMAKER_TOKEN is not.",
        shown="TASTEMAKER_TOKEN, or none",
    )
    engine: Engine = setting(
        "auto",
        "What computes the scores. onnx: the file of `tastemaker export DIR --onnx`; auto: the "
        "faster of torch and onnx, where both agree within 1e-4; onnx-int8: 8-bit products, whose "
        "error is measured at the start.",
    )
    device: str = setting(
        "auto",
        "Device of torch: cpu, cuda, or auto for a GPU where there is one.",
        shown="auto",
    )
    trust_remote_code: bool = setting(
        False, "Run code that a published model brings along."
    )
    max_batch_tokens: int = setting(
        16_384,
        "Tokens of a batch, padding included; estimated from the texts' bytes.",
        at_least(64),
    )
    queue: int = setting(
        4096, "Texts that may wait. More are refused with 429.", at_least(16)
    )
    queue_tokens: int = setting(
        1_000_000,
        "Estimated tokens that may wait. More are refused with 429.",
        at_least(1024),
        group=_LIMITS,
    )
    queue_seconds: float = setting(
        30.0,
        "Seconds that a text may wait, as estimated from the last batches. More are refused with "
        "429.",
        POSITIVE,
        group=_LIMITS,
    )
    max_inputs: int = setting(
        1024, "Texts of one request.", at_least(16), group=_LIMITS
    )
    max_characters: int = setting(
        200_000, "Characters of one text.", at_least(16_384), group=_LIMITS
    )
    max_body: int = setting(
        4_194_304, "Bytes of one request.", at_least(65_536), group=_LIMITS
    )
    body_seconds: float = setting(
        20.0,
        "Seconds in which a request must have arrived.",
        POSITIVE,
        group=_LIMITS,
    )
    cors: Sequence[str] = setting(
        (),
        "Origin of web pages whose scripts may ask, such as https://example.org. May be repeated.",
        group=_ACCESS,
    )
    connections: int = setting(
        1000, "Connections at once. More get 503.", at_least(2), group=_LIMITS
    )
    strip: Sequence[str] = setting(
        (),
        "Special token that OpenRLHF's client leaves in a query, to be removed. May be repeated.",
        group="Wires",
    )

    def __post_init__(self) -> None:
        check(self)
        for origin in self.cors:
            if not _ORIGIN.fullmatch(origin):
                raise UsageError(
                    f"--cors {origin}: write each origin as a browser sends it, such as "
                    "https://example.org or http://localhost:3000: no path, no *."
                )
        if self.token is not None:
            self._check_token(self.token)
        elif not self.is_loopback:
            raise UsageError(
                f"--host {self.host} is reachable from other machines: give a --token too, or "
                "set TASTEMAKER_TOKEN."
            )

    @staticmethod
    def _check_token(token: str) -> None:
        letters = token.replace("-", "").replace("_", "")
        is_plain = letters.isascii() and letters.isalnum()
        # the message must not hold the secret
        if len(token) < _SHORTEST_TOKEN or not is_plain:
            raise UsageError(
                f"--token has {len(token)} characters: give at least {_SHORTEST_TOKEN} letters, "
                "digits, - or _, such as `openssl rand -hex 24` prints."
            )

    @property
    def is_loopback(self) -> bool:
        """True where only this machine can connect."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def limits(self) -> dict[str, float]:
        """Return the limits, for `/info`."""
        names = (
            "max_batch_tokens",
            "queue",
            "queue_tokens",
            "queue_seconds",
            "max_inputs",
            "max_characters",
            "max_body",
            "body_seconds",
            "connections",
        )
        return {name: getattr(self, name) for name in names}
