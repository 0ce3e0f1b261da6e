"""The wires by path, and our own: `POST /score` with `inputs`.

Two peers share some paths: the fields of the body tell them apart.
"""

from collections.abc import Callable, Collection
from typing import Any

from tastemaker.serve.requests import Reader, Refusal, as_tastemaker
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires import openrlhf, tei, vllm
from tastemaker.serve.wires.base import (
    CHAT,
    MODEL,
    NUMBER,
    STRING,
    TEXT,
    TURNS,
    array,
    one_of,
    record,
)
from tastemaker.serve.wires.base import Answer as Answer
from tastemaker.serve.wires.base import Wire as Wire
from tastemaker.serve.wires.base import Work as Work

_PROMPT = one_of(STRING, TURNS)
_INPUT = one_of(
    TEXT,
    record({"completion": TEXT}, prompt={"type": "null"}),
    record({"completion": STRING, "prompt": _PROMPT}),
    record({"messages": CHAT}),
)


def _read(body: Any, settings: Serving) -> Work:
    reader = Reader(body, settings)
    values = reader.items("inputs")
    examples = [reader.example(value, "inputs") for value in values]
    return Work(examples, _reply, reader.model())


def _reply(answer: Answer) -> dict[str, Any]:
    model = answer.served.model
    reply = {
        "model": answer.served.name,
        "scores": answer.values,
        **model.meanings(answer.scores),
        "truncated": answer.scores.truncated.tolist(),
    }
    uncertainty = answer.scores.uncertainty
    if uncertainty is not None:
        reply["uncertainty"] = uncertainty.tolist()
    return reply


SCORE = Wire(
    "tastemaker",
    _read,
    as_tastemaker,
    probe=lambda texts: {"inputs": texts},
    numbers=lambda reply: reply["scores"],
    body=record({"inputs": array(_INPUT, 1)}, model=MODEL),
    reply=record(
        {
            "model": STRING,
            "scores": array(NUMBER),
            "truncated": array({"type": "boolean"}),
        },
        probabilities=array(NUMBER),
        ratings=array(NUMBER),
        uncertainty=array(NUMBER),
    ),
    example={"inputs": ["A warm and clever film."]},
)


PATHS: dict[str, tuple[Wire, ...]] = {
    "/score": (SCORE, vllm.SCORE),
    "/v1/score": (vllm.SCORE,),
    "/classify": (vllm.CLASSIFY,),
    "/pooling": (vllm.POOLING,),
    "/rerank": (tei.RERANK, vllm.RERANK),
    "/v1/rerank": (vllm.RERANK,),
    "/v2/rerank": (vllm.RERANK,),
    "/predict": (tei.PREDICT,),
    "/get_reward": (openrlhf.GET_REWARD,),
}
"""The first wire of a path answers a body that is nobody's."""


def wire_of(path: str, body: Any) -> Wire:
    """Return the wire that a body is written for."""
    wires = PATHS[path]
    fields: Collection[str] = body if isinstance(body, dict) else ()
    if path == "/score" and "inputs" not in fields:
        if not vllm.FIRST_SIDES.isdisjoint(fields):
            return vllm.SCORE
    elif path == "/rerank" and "texts" not in fields and "documents" in fields:
        return vllm.RERANK
    return wires[0]


def error_at(path: str) -> Callable[[Refusal], dict[str, Any]]:
    """Return how a refusal is written where only the path is known.

    A wrong token may stand before the path of a wire.
    """
    _, _, rest = path.removeprefix("/").partition("/")
    wires = PATHS.get(path) or PATHS.get(f"/{rest}")
    return wires[0].error if wires else as_tastemaker
