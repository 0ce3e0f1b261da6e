"""A reward model that another process serves: `RemoteReward("http://127.0.0.1:8000")`.

Asks the wire that the address shows: that of `tastemaker serve`, OpenRLHF, Text Embeddings
Inference or vLLM (`client_wires`).
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, overload
from urllib.parse import urlsplit

import numpy as np

from tastemaker.data.judgements import Example
from tastemaker.errors import DataError, RewardError, UsageError
from tastemaker.readable import notebook_html
from tastemaker.scores import Scores
from tastemaker.serve.asking import Reply, asked, request_of
from tastemaker.serve.client_wires import (
    OWN,
    ClientWire,
    wire_at,
    wire_by_path,
)

_LOOK = 10.0
"""The seconds that a look at what an address is takes at most."""
TOKEN = "TASTEMAKER_TOKEN"
"""The variable that holds the token of a server, for the command line."""


def is_address(name: object) -> bool:
    """Return whether a name is an HTTP address and not a folder."""
    return isinstance(name, str) and name.startswith(("http://", "https://"))


@dataclass(frozen=True)
class RemoteReward:
    """A server's scores, used like a reward model.

    token: of the server. seconds: the time limit of a whole answer. retries: how often a request is
    repeated that was refused for overload or not answered; waits double, with jitter. batch: most
    texts of one request. model: which of several. The first question looks which wire the address
    has, unless its path names one.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    seconds: float = 60.0
    retries: int = 5
    batch: int = 256
    model: str | None = None

    def __post_init__(self) -> None:
        check_address(self.address)
        if self.batch < 1 or self.retries < 0 or not self.seconds > 0:
            raise UsageError(
                "a remote reward needs a batch of at least 1, retries of at least 0 and a "
                "positive number of seconds."
            )

    @property
    def name(self) -> str:
        """The address without what may hold a token: a query, and a path that is no wire's."""
        return shown_address(self.address)

    def _repr_html_(self) -> str:
        """Return whose scores these are, for a notebook; nothing is asked of the server."""
        which = f", model {self.model}" if self.model is not None else ""
        waits = f"waits {self.seconds:g} s for an answer, tries again {self.retries} times"
        return notebook_html([f"RemoteReward: {self.name}{which}", waits])

    @overload
    def score(  # type: ignore[overload-overlap]  # a text is a sequence of texts
        self, text: str | Example
    ) -> float: ...
    @overload
    def score(self, text: Sequence[str | Example]) -> list[float]: ...
    def score(
        self, text: str | Example | Sequence[str | Example]
    ) -> float | list[float]:
        """Return the score of a text, or the scores of several, in order."""
        is_one = isinstance(text, str | Example)
        texts: Any = [text] if is_one else text
        examples = [
            one if isinstance(one, Example) else Example(one) for one in texts
        ]
        values = self.score_all(examples).as_list()
        return values[0] if is_one else values

    def score_all(
        self, examples: Sequence[Example], *, precision: str = "float32"
    ) -> Scores:
        """Return scores and truncation of examples, in order.

        precision: the server's own; any other than "float32" is refused. Raises RewardError where
        the server does not answer, or without one finite number for each text.
        """
        if precision != "float32":
            raise UsageError(
                f"precision {precision}: a server chooses its own; leave it out."
            )
        values: list[float] = []
        truncated: list[bool] = []
        for part in self._batches(examples):
            body = self.wire.body(part)
            if self.model is not None:
                body["model"] = self.model
            reply = self._ask(json.dumps(body).encode())
            values += self._numbers(reply, len(part))
            cut = reply.get("truncated") if isinstance(reply, dict) else None
            is_list = isinstance(cut, list) and len(cut) == len(part)
            truncated += (
                [bool(c) for c in cut or ()]
                if is_list
                else [False] * len(part)
            )
        return Scores(np.array(values, dtype=float), np.array(truncated, bool))

    def meanings(self, scores: Scores) -> dict[str, list[float]]:
        """Return nothing: the links that give scores a meaning are on the server."""
        del scores
        return {}

    @cached_property
    def wire(self) -> ClientWire:
        """What is posted to the address: by its path, or by what it answers, else our own.

        Raises RewardError, and looks again the next time, where the server is away or busy.
        """
        by_path = wire_by_path(self.address)
        if by_path is not None:
            return by_path
        return wire_at(self.address, self.name, self.look) or OWN

    @property
    def headers(self) -> dict[str, str]:
        """The header with the token."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def _batches(
        self, examples: Sequence[Example]
    ) -> Iterator[Sequence[Example]]:
        for number, example in enumerate(examples, 1):
            if not example.text.strip() and example.prompt is None:
                raise DataError(
                    f"text {number} of {len(examples)} is empty: there is nothing to score."
                )
        size = self.wire.at_once(examples, self.batch)
        for start in range(0, len(examples), size):
            yield examples[start : start + size]

    def _numbers(self, reply: Any, count: int) -> list[float]:
        """Return the scores of a reply, one for each text."""
        numbers = self.wire.scores(reply, count)
        if numbers is None:
            raise RewardError(
                f"{self.name} did not answer with {count} finite numbers, one for each text "
                f"({self.wire.name} wire, {self.wire.path})."
            )
        return numbers

    def _ask(self, body: bytes) -> Any:
        """Return the JSON of an answer; ask again where the server is busy or away."""
        url = self.wire.url(self.address)
        request = request_of(url, self.headers, body)
        reply = asked(request, self.seconds, self.retries)
        if reply.status != 200 or reply.problem:
            raise RewardError(f"{self.name} {reply}")
        return reply.value

    def look(self, url: str) -> Reply:
        """Return the answer of a page, for what it tells of the server."""
        request = request_of(url, self.headers)
        return asked(request, min(self.seconds, _LOOK), self.retries)


def check_address(address: str) -> None:
    """Raise UsageError for what is no HTTP address, and for one with a user or a password."""
    try:
        parts = urlsplit(address)
        is_whole = is_address(address) and bool(parts.hostname)
    except ValueError:
        is_whole = False
    if not is_whole:
        # what is mistyped before a user name may be a password
        shown = address.rpartition("@")[2]
        raise UsageError(
            f"{shown!r}: no address. Write it as http://127.0.0.1:8000."
        )
    if "@" in parts.netloc:
        raise UsageError(
            f"{shown_address(address)}: a user name in an address would stand in logs. Leave it "
            f"out, and give a token in the variable {TOKEN}."
        )


def shown_address(address: str) -> str:
    """Return an address without what may hold a token: a user, a query, a path of no wire."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    wire = wire_by_path(address)
    end = "" if wire is None else wire.path
    has_more = parts.path.rstrip("/") != end
    return f"{parts.scheme}://{host}{'/…' if has_more else ''}{end}"


def remote_reward(address: str) -> RemoteReward:
    """Return the reward of an address; its token is in the variable TASTEMAKER_TOKEN."""
    return RemoteReward(address, token=token_of_server())


def token_of_server() -> str | None:
    """Return the token that the variable TASTEMAKER_TOKEN holds."""
    return os.environ.get(TOKEN, "").strip() or None
