"""Scores by many processes or machines: Ray Data's `map_batches` over a pool of actors.

One task reads the file in chunks, the actors score them, and the caller writes rows and scores in
order. So the columns and the numbers are those of `score_file` without Ray. An actor that dies is
started again, and its chunks are scored again.
"""

import _thread
import json
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tastemaker.bulk import Chunks, Scorer
from tastemaker.data.judgements import Example, Message, Prompt
from tastemaker.errors import (
    MissingExtra,
    RewardError,
    TastemakerError,
    UsageError,
)
from tastemaker.fast.processor import ScoringChoice
from tastemaker.scores import Scores

ADDRESS = "RAY_ADDRESS"
"""The variable that names the head of a cluster; without it Ray runs on this machine."""

_DEFAULTS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
"""Variables of Ray that are set unless the user has set them."""
_TRIES, _SECONDS = 3, 2.0
"""How often, and how long, a head that does not answer is asked."""


@dataclass(frozen=True)
class Ray:
    """Scores by a pool of Ray's actors.

    load: opens the model, in each actor. workers: how many actors. cpus, gpus: of each.
    """

    load: Callable[[], Scorer]
    workers: int = 2
    precision: ScoringChoice = "float32"
    cpus: float = 1.0
    gpus: float = 0.0

    @contextmanager
    def scoring(self, chunks: Chunks) -> Iterator[Iterator[Scores]]:
        """Yield the scores of each chunk, in order, as they come. Ray ends with the block.

        Raises MissingExtra without Ray, and RewardError where the cluster is not there, goes away
        or fails.
        """
        ray = _imported()
        with (
            _quiet_backend(),
            _connected(ray, self.workers) as head,
            _watched(head),
        ):
            self._check_room(ray.cluster_resources())
            try:
                rows = self._dataset(ray, chunks).iter_rows()
                yield (_scores_of(json.loads(row["scores"])) for row in rows)
            except (ray.exceptions.RayError, ConnectionError) as error:
                raise _plain(error) from error

    def _check_room(self, resources: Mapping[str, float]) -> None:
        """Raise UsageError where the workers would wait for processors that are not there."""
        for name, each in (("CPU", self.cpus), ("GPU", self.gpus)):
            there = resources.get(name, 0.0)
            if there < each * self.workers:
                raise UsageError(
                    f"--workers {self.workers}: Ray has {there:g} {name}s, and each worker takes "
                    f"{each:g}."
                )

    def _dataset(self, ray: Any, chunks: Chunks) -> Any:
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        # each chunk is a block of its own, so that every actor gets some
        context.target_max_block_size = 1
        one = ray.data.from_items([0])
        # other resources than the actors': Ray would read and score in one task
        texts = one.map_batches(_Read(chunks), batch_size=1, num_cpus=0)
        return texts.map_batches(
            _Actor,
            fn_constructor_args=(self.load, self.precision),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=self.workers),
            num_cpus=self.cpus,
            num_gpus=self.gpus,
        )


@dataclass(frozen=True)
class _Read:
    """Yields each chunk of a file as a row."""

    chunks: Chunks

    def __call__(self, batch: Any) -> Iterator[dict[str, list[str]]]:
        del batch
        for examples in self.chunks():
            yield {"texts": [json.dumps(list(map(_as_json, examples)))]}


class _Actor:
    """Scores chunks, in a process of its own."""

    def __init__(
        self, load: Callable[[], Scorer], precision: ScoringChoice
    ) -> None:
        self.model, self.precision = load(), precision

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        rows = []
        for texts in batch["texts"]:
            examples = [
                Example(text, _prompt(p)) for text, p in json.loads(texts)
            ]
            scores = self.model.score_all(examples, precision=self.precision)
            rows.append(json.dumps(_columns_of(scores)))
        return {"scores": rows}


def _as_json(example: Example) -> list[Any]:
    """Return a text and its prompt; the turns of a chat as role and content."""
    prompt: Any = example.prompt
    if prompt is not None and not isinstance(prompt, str):
        prompt = [[turn.role, turn.content] for turn in prompt]
    return [example.text, prompt]


def _prompt(value: Any) -> Prompt | None:
    if isinstance(value, list):
        return tuple(Message(role, content) for role, content in value)
    prompt: str | None = value
    return prompt


def _columns_of(scores: Scores) -> list[Any]:
    members = None if scores.members is None else scores.members.tolist()
    return [scores.values.tolist(), scores.truncated.tolist(), members]


def _scores_of(columns: list[Any]) -> Scores:
    values, truncated, members = columns
    return Scores(
        np.array(values, dtype=float),
        np.array(truncated, dtype=bool),
        None if members is None else np.array(members, dtype=float),
    )


def _imported() -> Any:
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("`--engine ray`", "ray") from error
    return ray


@contextmanager
def _quiet_backend() -> Iterator[None]:
    """Take what Ray's own threads write off standard error: it has one line of ours.

    Ray's variable for that, RAY_BACKEND_LOG_LEVEL, writes a line about itself. What Python writes
    goes where it went.
    """
    before, terminal = sys.stderr, os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    to_terminal = None
    if _writes_to(before, 2):
        to_terminal = os.fdopen(
            os.dup(terminal),
            "w",
            1,
            encoding=before.encoding,
            errors="backslashreplace",
        )
        sys.stderr = to_terminal
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)
        if to_terminal is not None:
            # a line of progress may have put another stream in place
            if sys.stderr is to_terminal:
                sys.stderr = before
            to_terminal.close()


def _writes_to(stream: Any, descriptor: int) -> bool:
    try:
        return bool(stream.fileno() == descriptor)
    except (AttributeError, OSError, ValueError):
        return False


@contextmanager
def _connected(ray: Any, workers: int) -> Iterator[tuple[str, int]]:
    """Connect to a cluster, or start one here; yield the address of its head."""
    address = os.environ.get(ADDRESS)
    if address and address not in {"local", "auto"}:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise RewardError(
                f"{ADDRESS} is {address!r}: write it as host:6379."
            )
        if not _answers((host.strip("[]"), int(port))):
            raise RewardError(
                f"no Ray head answers at {address} ({ADDRESS}). Start one with `ray start --head`, "
                "or unset the variable to run on this machine."
            )
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **(
                {}
                if address
                else {"include_dashboard": False, "num_cpus": workers}
            ),
        )
    # Ray raises a bare Exception where a process of its own does not start
    except Exception as error:
        raise _plain(error) from error
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        head = ray.get_runtime_context().gcs_address
        host, _, port = head.rpartition(":")
        yield host.strip("[]"), int(port)
    finally:
        ray.shutdown()


@contextmanager
def _watched(head: tuple[str, int]) -> Iterator[None]:
    """End the process with one line where the head goes away.

    Ray itself waits for a minute and then ends the process without any.
    """
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_SECONDS):
            if any(_answers(head) for _ in range(_TRIES)):
                continue
            if not done.is_set():
                _thread.interrupt_main()
                is_gone.set()
            return

    is_gone = threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        if not is_gone.wait(1):
            raise
        raise RewardError(
            f"the Ray head at {head[0]}:{head[1]} went away. Nothing was written."
        ) from None
    finally:
        done.set()


def _answers(head: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(head, timeout=_SECONDS):
            return True
    except OSError:
        return False


def _plain(error: BaseException) -> TastemakerError:
    """Return an error of Ray as one line; one of ours as it was raised."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TastemakerError):
            return (
                type(cause)(str(cause))
                if type(cause) is not MissingExtra
                else cause
            )
        cause = getattr(cause, "cause", None) or cause.__cause__
    line = next((text for text in str(error).splitlines() if text.strip()), "")
    kind = type(error).__name__
    return RewardError(f"Ray failed ({kind}): {line.strip()[:200]}")
