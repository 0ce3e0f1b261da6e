"""Our own wire: `POST /score` with `inputs`."""

from typing import Any

from tastemaker.serve.bodies import Reader
from tastemaker.serve.refusals import as_tastemaker
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires.base import Answer, Wire, Work
from tastemaker.serve.wires.schemas import (
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
