"""The wires of Text Embeddings Inference: `/predict` and `/rerank`.

Without `raw_scores` it answers the sigmoid of the score, as it does for every model of one label.
"""

import math
from collections.abc import Callable
from typing import Any

from tastemaker.data.judgements import Example
from tastemaker.serve.requests import Reader, Refusal, as_tei
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires.base import (
    COUNT,
    FLAG,
    NUMBER,
    STRING,
    TEXT,
    Answer,
    Schema,
    Wire,
    Work,
    array,
    one_of,
    ranked,
    record,
)

LABEL = "LABEL_0"
_QUERY = "What did you think of the film?"
_SIDES = ("Left", "Right", "left", "right", None)
_OPTIONS: dict[str, Schema] = {
    "raw_scores": FLAG,
    "truncate": FLAG,
    "truncation_direction": {"enum": list(_SIDES)},
}
_PAIR = array(TEXT, 1, 2)
_INPUTS = one_of(
    TEXT,
    _PAIR,
    # a list of texts alone is a pair
    {**array(one_of(TEXT, _PAIR), 1), "contains": {"type": "array"}},
)
_ROW = record({"score": NUMBER, "label": STRING})


def _activation(reader: Reader) -> Callable[[float], float]:
    """Return what is answered for a score."""
    is_raw = reader.flag("raw_scores", False)
    return float if is_raw else _sigmoid


def _cut_check(reader: Reader) -> Callable[[Answer], None]:
    """Return what refuses a text that the request does not allow to be cut as the model cuts.

    Without `truncate` texts are cut, as `auto_truncate` in `/info` says.
    """
    may_cut = reader.flag("truncate", True)
    side = reader.body.get("truncation_direction")
    if side is not None and side not in _SIDES:
        raise reader.wrong("truncation_direction", "Left or Right")

    def check(answer: Answer) -> None:
        if not answer.scores.truncated.any():
            return
        contract = answer.served.model.contract
        limit, cut = contract.max_length, contract.cut or ""
        if not may_cut:
            raise Refusal(
                413,
                f"a text has more than the {limit} tokens that this model reads, and `truncate` "
                "is false.",
                parameter="truncate",
            )
        if side is not None and side.lower() != cut:
            raise Refusal(
                422,
                f"`truncation_direction` must be {cut.capitalize()} for a text of more than "
                f"{limit} tokens: cut at the other side, it would have another score than the "
                "model's own.",
                parameter="truncation_direction",
            )

    return check


def _sigmoid(value: float) -> float:
    if value < 0:
        return 1 - _sigmoid(-value)
    return 1 / (1 + math.exp(-value))


def _read_predict(body: Any, settings: Serving) -> Work:
    """Read `inputs`: a text, a pair ["a", "b"], or a list of lists of one or two texts."""
    reader = Reader(body, settings, status=422)
    activation, check_cut = _activation(reader), _cut_check(reader)
    value = reader.body.get("inputs")
    is_one = isinstance(value, str)
    if not is_one:
        values = reader.items("inputs", empty=400)
        is_one = all(isinstance(one, str) for one in values)
    rows = [value] if is_one else values
    examples = [_one_or_pair(reader, row) for row in rows]

    def reply(answer: Answer) -> Any:
        check_cut(answer)
        answers = []
        for score in answer.values:
            answers.append([{"score": activation(score), "label": LABEL}])
        return answers[0] if is_one else answers

    return Work(examples, reply)


def _one_or_pair(reader: Reader, value: Any) -> Example:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or len(texts) not in (1, 2):
        raise reader.wrong("inputs", "a text, a pair, or a list of these")
    read = [reader.text(text, "inputs") for text in texts]
    return Example(read[-1], read[0]) if len(read) == 2 else Example(read[0])


def _read_rerank(body: Any, settings: Serving) -> Work:
    reader = Reader(body, settings, status=422)
    activation, check_cut = _activation(reader), _cut_check(reader)
    query = reader.text(reader.body.get("query"), "query")
    texts = reader.texts("texts", empty=400)
    with_text = reader.flag("return_text", False)

    def reply(answer: Answer) -> Any:
        check_cut(answer)
        rows = []
        for index in ranked(answer.values):
            row: dict[str, Any] = {"index": index}
            if with_text:
                row["text"] = texts[index]
            row["score"] = activation(answer.values[index])
            rows.append(row)
        return rows

    return Work([Example(text, query) for text in texts], reply)


def _in_order(rows: list[dict[str, Any]]) -> list[float]:
    ordered = sorted(rows, key=lambda row: row["index"])
    return [row["score"] for row in ordered]


def _batch(texts: list[str]) -> dict[str, Any]:
    return {"inputs": [[text] for text in texts], "raw_scores": True}


def _to_rank(texts: list[str]) -> dict[str, Any]:
    return {"query": _QUERY, "texts": texts, "raw_scores": True}


PREDICT = Wire(
    "TEI",
    _read_predict,
    as_tei,
    probe=_batch,
    numbers=lambda reply: [row[0]["score"] for row in reply],
    body=record({"inputs": _INPUTS}, **_OPTIONS),
    reply=one_of(array(_ROW), array(array(_ROW))),
    example={"inputs": "A warm and clever film.", "raw_scores": True},
)
RERANK = Wire(
    "TEI",
    _read_rerank,
    as_tei,
    probe=_to_rank,
    numbers=_in_order,
    query=_QUERY,
    body=record(
        {"query": TEXT, "texts": array(TEXT, 1)}, return_text=FLAG, **_OPTIONS
    ),
    reply=array(record({"index": COUNT, "score": NUMBER}, text=STRING)),
    example={"query": _QUERY, "texts": ["I liked it."], "raw_scores": True},
)
