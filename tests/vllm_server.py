"""A server of the calls of vLLM 0.33 that a writer makes, over real HTTP; our own loop writes.

The routes, their bodies and their answers are those of vLLM's `entrypoints/rl/online/api_router.py`
and `entrypoints/openai/completion`. The weights arrive through gloo in place of NCCL.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import torch

from tastemaker.gpt import Policy, Sampling
from tastemaker.gpt.writers import Channel, open_channel
from tastemaker.gpt.writing import Writing


class VLLM:
    """What the server holds. calls: the paths that were asked. off: added to each log-probability.

    missing: paths that this version has not. token: the key that requests must carry.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self.off = 0.0
        self.missing: set[str] = set()
        self.token: str | None = None
        self.is_paused = False
        self.is_updating = False
        self.version = ""
        self.channel: Channel | None = None
        self.address = ""
        self._lock = threading.Lock()

    def answer(self, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """Answer a call as vLLM does."""
        if path == "/v1/completions":
            assert not self.is_paused
            with self._lock:
                return self.complete(body)
        if path == "/v1/models":
            return {"object": "list", "data": [{"id": "gpt", "max_model_len": 32}]}
        if path == "/get_world_size":
            return {"world_size": 1}
        self.change(path, query, body)
        return {"message": "done"}

    def change(self, path: str, query: dict[str, list[str]], body: Any) -> None:
        """Do what a call of the weights asks."""
        if path in {"/pause", "/resume"}:
            self.is_paused = path == "/pause"
            assert query == ({"mode": ["wait"]} if self.is_paused else {})
        elif path == "/init_weight_transfer_engine":
            info = body["init_info"]
            assert info["packed"] is False
            place = [info[name] for name in ("master_address", "master_port")]
            ranks = info["rank_offset"], info["world_size"]
            self.channel = open_channel(torch.device("cpu"), *place, *ranks)
        elif path == "/start_weight_update":
            assert self.is_paused
            self.is_updating = True
        elif path == "/update_weights":
            self.update(**body["update_info"])
        else:
            assert path == "/finish_weight_update"
            self.is_updating = False
            self.version = body["weight_version"]

    def update(self, names: Any, dtype_names: Any, shapes: Any) -> None:
        """Receive weights, one broadcast each."""
        assert self.is_updating
        assert self.channel is not None
        weights = dict(self.policy.module.named_parameters())
        assert set(names) == set(weights)
        for name, dtype, shape in zip(names, dtype_names, shapes, strict=True):
            received = torch.empty(shape, dtype=getattr(torch, dtype))
            self.channel(received)
            with torch.no_grad():
                weights[name].copy_(received)

    def complete(self, body: Any) -> Any:
        """Write the samples of one prompt."""
        assert body["model"] == "gpt"
        assert body["return_token_ids"] is True
        sampling = Sampling(
            max_tokens=body["max_tokens"],
            temperature=body["temperature"],
            top_k=body["top_k"],
            top_p=body["top_p"],
            min_p=body["min_p"],
            repetition_penalty=body["repetition_penalty"],
            stop=tuple(body["stop"]),
        )
        policy = self.policy
        assert body["stop_token_ids"] == sorted(policy.reader.ends)
        task = Writing(
            policy.module,
            policy.reader,
            [body["prompt"]],
            samples=body["n"],
            room=32,
            sampling=sampling,
            seed=body["seed"],
        )
        rows = {row.place: row for step in task.steps() for row in step}
        choices = []
        for index, row in enumerate(rows[0, sample] for sample in range(body["n"])):
            log_probs = [value + self.off for value in row.log_probs]
            choices.append(
                {
                    "index": index,
                    "text": policy.reader.text(row.ids),
                    "token_ids": row.ids,
                    "logprobs": {"token_logprobs": log_probs},
                    "finish_reason": "length" if row.ended == "length" else "stop",
                    "stop_reason": None,
                }
            )
        # the order of parallel samples is that of their ends
        return {"object": "text_completion", "choices": choices[::-1]}


@contextmanager
def serving(policy: Policy) -> Iterator[VLLM]:
    """Run the server on loopback."""
    state = VLLM(policy)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            text = self.rfile.read(length)
            self.reply(json.loads(text) if text else None)

        def do_GET(self) -> None:
            self.reply(None)

        def reply(self, body: Any) -> None:
            parts = urlsplit(self.path)
            state.calls.append(parts.path)
            state.bodies.append(body)
            status, answer = 200, None
            if parts.path in state.missing:
                status, answer = 404, {"detail": "Not Found"}
            elif (
                state.token and self.headers["Authorization"] != f"Bearer {state.token}"
            ):
                status, answer = 401, {"error": "Unauthorized"}
            else:
                answer = state.answer(parts.path, parse_qs(parts.query), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
