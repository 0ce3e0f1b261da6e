"""Writers: completions that another engine writes, with the weights of a policy.

`Server` asks a vLLM server over HTTP and sends it the weights after each step; `Colocated` runs
vLLM in this process (`colocated.py`). Their log-probabilities differ a little from those of the
policy's own pass: they compute in other formats and another order. Whoever learns from what they
wrote corrects for that (`rl/text/elsewhere.py`).
"""

import json
import os
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor

from tastemaker.data.judgements import Prompt
from tastemaker.errors import ModelError, UsageError
from tastemaker.gpt.policy import Policy
from tastemaker.gpt.sampling import Sampling
from tastemaker.gpt.writing import Completion, Ended, Row, Writing, check_room

TOKEN = "VLLM_API_KEY"
"""The variable that holds the key of a vLLM server."""
_VERSION = "0.33"
_ADVICE = (
    f"It must be vLLM {_VERSION} or later, started with VLLM_SERVER_DEV_MODE=1 and "
    '--weight-transfer-config \'{"backend": "nccl"}\' --logprobs-mode processed_logprobs.'
)
_MOST_BYTES = 2**28


class Writer(Protocol):
    """Writes completions by another engine."""

    name: str

    def take(self, module: Any) -> None:
        """Write with these weights from now on."""
        ...

    def write(self, task: Writing) -> list[Row]:
        """Return the rows: all samples of the first prompt first.

        Log-probabilities are those of the tokens as they were drawn, filters included.
        """
        ...


def written_by(
    writer: Writer,
    policy: Policy,
    prompts: Sequence[Prompt],
    *,
    samples: int,
    sampling: Sampling,
    seed: int,
    first: int,
) -> list[Completion]:
    """Return completions as `Policy.complete` does, written by a writer.

    Raises UsageError for a prompt that leaves no room for a token.
    """
    ids = policy.reader.prompts(prompts)
    check_room(ids, policy.context)
    task = Writing(
        policy.module,
        policy.reader,
        ids,
        samples=samples,
        room=policy.context,
        sampling=sampling,
        seed=seed,
        first=first,
    )
    completions = []
    for number, row in enumerate(writer.write(task)):
        prompt_of_row = prompts[number // samples]
        completions.append(policy.completion(prompt_of_row, row, sampling))
    return completions


def seed_of(seed: int, prompt: int) -> int:
    """Return the seed of a prompt's samples.

    vLLM draws sample i by the seed plus i, so the seeds of two prompts must not be neighbours.
    """
    drawn = np.random.SeedSequence([seed, prompt]).generate_state(1, np.uint64)
    return int(drawn[0] >> np.uint64(2))


def row_of(
    task: Writing,
    place: tuple[int, int],
    ids: Sequence[int],
    log_probs: Sequence[float],
    *,
    is_cut: bool,
) -> Row:
    """Return a row of what an engine wrote. Raises ModelError for what cannot be a completion.

    is_cut: it ended at its most tokens.
    """
    if not ids or len(ids) != len(log_probs) or None in log_probs:
        raise ModelError(
            f"a writer sent {len(ids)} tokens and {len(log_probs)} log-probabilities of a "
            "completion: it must send one for each, and at least one."
        )
    ended: Ended = "length" if is_cut else "stop"
    if ids[-1] in task.reader.ends:
        ended = "end"
    return Row(place, list(ids), list(map(float, log_probs)), [], ended)


def names_of(module: Any) -> dict[str, Tensor]:
    """Return a module's weights by the names of its checkpoint. Raises UsageError for adapters."""
    weights = {}
    for name, weight in module.named_parameters():
        if "lora_" in name:
            raise UsageError(
                "--writer takes whole weights, and this policy learns by adapters: "
                "leave out one of the two."
            )
        weights[name] = weight.detach()
    return weights


@dataclass
class Server:
    """A vLLM server that writes.

    address: http://host:port. token: its key. seconds: the time limit of an answer. at_once:
    requests that run together. The weights go through NCCL; between CPUs through gloo, for a server
    of these routes that is no vLLM.
    """

    address: str
    token: str | None = field(default=None, repr=False)
    seconds: float = 600.0
    at_once: int = 64
    name: str = field(init=False)
    _channel: "Channel | None" = field(default=None, init=False, repr=False)
    _model: str = field(default="", init=False, repr=False)
    _updates: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(
                f"--writer {self.address!r}: write it as http://127.0.0.1:8000."
            )
        self.address = self.address.rstrip("/")
        # an address may hold a key
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def take(self, module: Any) -> None:
        """Send the weights. Requests wait until they have arrived."""
        weights = names_of(module)
        if self._channel is None:
            self._channel = self._open(module.device)
        self._post("/pause?mode=wait")
        try:
            self._post("/start_weight_update")
            self._send(self._channel, weights)
            self._updates += 1
            version = {"weight_version": str(self._updates)}
            self._post("/finish_weight_update", version)
        finally:
            self._post("/resume")

    def write(self, task: Writing) -> list[Row]:
        """Ask for the samples of each prompt, in parallel."""
        with ThreadPoolExecutor(self.at_once) as pool:
            parts = pool.map(
                lambda number: self._samples(task, number),
                range(len(task.prompts)),
            )
            return [row for part in parts for row in part]

    def _samples(self, task: Writing, number: int) -> list[Row]:
        """Return the samples of one prompt."""
        body = request_of(task, number) | {
            "model": self._name_of_model(),
            "prompt": list(task.prompts[number]),
            "return_token_ids": True,
        }
        reply = self._post("/v1/completions", body)
        try:
            choices = sorted(reply["choices"], key=lambda one: one["index"])
            rows = []
            for sample, choice in enumerate(choices):
                row = row_of(
                    task,
                    (task.first + number, sample),
                    choice["token_ids"],
                    choice["logprobs"]["token_logprobs"],
                    is_cut=choice["finish_reason"] == "length",
                )
                rows.append(row)
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"{self.name} answered /v1/completions without {error}. {_ADVICE}"
            ) from error
        if len(rows) != task.samples:
            raise ModelError(
                f"{self.name} wrote {len(rows)} of {task.samples} samples of a prompt."
            )
        return rows

    def _name_of_model(self) -> str:
        if not self._model:
            listed = self._ask("GET", "/v1/models")
            try:
                self._model = str(listed["data"][0]["id"])
            except (KeyError, IndexError, TypeError) as error:
                raise ModelError(
                    f"{self.name} names no model. {_ADVICE}"
                ) from error
        return self._model

    def _open(self, device: torch.device) -> "Channel":
        """Open the channel of the weights: this process is rank 0, the server's are the others."""
        workers = self._ask("GET", "/get_world_size")
        world = int(workers["world_size"]) + 1
        address, port = _own_address(self.address), _free_port()
        info = {
            "master_address": address,
            "master_port": port,
            "rank_offset": 1,
            "world_size": world,
            "packed": False,
        }
        channel: Channel = self._together(
            "/init_weight_transfer_engine",
            {"init_info": info},
            lambda: open_channel(device, address, port, 0, world),
        )
        return channel

    def _send(self, channel: "Channel", weights: dict[str, Tensor]) -> None:
        info: dict[str, list[Any]] = {
            "names": list(weights),
            "dtype_names": [],
            "shapes": [],
        }
        for weight in weights.values():
            info["dtype_names"].append(
                str(weight.dtype).removeprefix("torch.")
            )
            info["shapes"].append(list(weight.shape))

        def send() -> None:
            for weight in weights.values():
                channel(weight.contiguous())

        self._together("/update_weights", {"update_info": info}, send)

    def _together(
        self, path: str, body: dict[str, Any], work: Callable[[], Any]
    ) -> Any:
        """Post while `work` runs, since both sides wait for each other; return what it returns.

        Where the server refuses, `work` would wait for ever: it is left behind.
        """
        done: Future[Any] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        self._post(path, body)
        try:
            return done.result(self.seconds)
        except (RuntimeError, TimeoutError) as error:
            raise ModelError(
                f"{self.name}: the weights cannot be sent "
                f"({' '.join(str(error).split())[:200] or 'no answer in time'})."
            ) from error

    def _post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._ask("POST", path, body)

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> Any:
        """Return the JSON of an answer. Raises ModelError where there is none."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, data, headers, method=method
        )
        where = path.partition("?")[0]
        try:
            with urllib.request.urlopen(
                request, timeout=self.seconds
            ) as answer:
                return json.loads(answer.read(_MOST_BYTES) or b"null")
        except urllib.error.HTTPError as error:
            with error:
                text = error.read(300).decode("utf-8", "replace")
            if error.code in {404, 405}:
                raise ModelError(
                    f"{self.name} has no {where}. {_ADVICE}"
                ) from error
            raise ModelError(
                f"{self.name} refused {where} (status {error.code}): "
                f"{' '.join(text.split())}"
            ) from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise ModelError(
                f"{self.name} did not answer {where}: {reason}"
            ) from error


def request_of(task: Writing, number: int) -> dict[str, Any]:
    """Return the sampling of a prompt, as vLLM names it, for a request or its SamplingParams."""
    sampling = task.sampling
    room = task.room - len(task.prompts[number])
    return {
        "n": task.samples,
        "max_tokens": min(sampling.max_tokens, room),
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "seed": seed_of(task.seed, task.first + number),
        "stop": list(sampling.stop),
        "stop_token_ids": sorted(task.reader.ends),
        "logprobs": 0,
    }


Channel = Callable[[Tensor], None]
"""Broadcasts a tensor from rank 0 to all others, in place."""


def open_channel(
    device: torch.device, address: str, port: int, rank: int, world: int
) -> Channel:
    """Join a group of processes outside torch's own. Raises ModelError where vLLM is missing."""
    if device.type == "cpu":
        return _gloo(address, port, rank, world)
    try:
        from vllm.distributed.weight_transfer import nccl_common
    except ImportError as error:
        raise ModelError(
            "weights on a GPU go to vLLM by its own NCCL group: install it here too "
            "(in the project's folder, pip install '.[vllm]')."
        ) from error
    group = nccl_common.stateless_init_process_group(
        address, port, rank, world, device
    )

    def broadcast(tensor: Tensor) -> None:
        group.broadcast(tensor, src=0, stream=torch.cuda.current_stream())

    return broadcast


def _gloo(address: str, port: int, rank: int, world: int) -> Channel:
    dist: Any = torch.distributed  # whose stubs lack these names
    store = dist.TCPStore(
        address, port, world, rank == 0, wait_for_workers=False
    )
    group = dist.ProcessGroupGloo(store, rank, world)

    def broadcast(tensor: Tensor) -> None:
        group.broadcast(tensor, 0).wait()

    return broadcast


def _own_address(server: str) -> str:
    """Return the address by which a server reaches this machine."""
    parts = urlsplit(server)
    family = socket.AF_INET6 if ":" in str(parts.hostname) else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # no packet is sent: the system only chooses a route
            probe.connect((parts.hostname, parts.port or 80))
        except OSError as error:
            raise ModelError(
                f"{server} cannot be reached ({error})."
            ) from error
        return str(probe.getsockname()[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def writer_of(name: "str | Writer | None") -> Writer | None:
    """Return the writer of a name: an address, "vllm", or None for "own"."""
    if name is None or name == "own":
        return None
    if not isinstance(name, str):
        return name
    if name.startswith(("http://", "https://")):
        return Server(name, token=os.environ.get(TOKEN) or None)
    if name == "vllm":
        from tastemaker.gpt.colocated import Colocated

        return Colocated()
    raise UsageError(
        f"--writer {name!r}: choose own, vllm, or the address of a vLLM server."
    )
