"""vLLM's wires: `/classify`, `/score`, `/rerank` and `/pooling`.

vLLM applies no activation to a model whose `problem_type` is "regression", as ours are. So every
number is the score itself, whatever `use_activation` says.
"""

from collections.abc import Callable
from typing import Any

from tastemaker.data.judgements import Example
from tastemaker.serve.requests import Reader, Refusal, as_vllm
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires.base import (
    ANY,
    CHAT,
    COUNT,
    FLAG,
    MODEL,
    NUMBER,
    STRING,
    TEXT,
    TEXTS,
    Answer,
    Schema,
    Wire,
    Work,
    array,
    listed,
    listing,
    one_of,
    ranked,
    record,
)

_LABEL = "LABEL_0"
QUERY = "What did you think of the film?"
_SIDES = (
    ("queries", "documents"),
    ("queries", "items"),
    ("text_1", "text_2"),
    ("data_1", "data_2"),
)
"""The names of the two sides of a pair."""
FIRST_SIDES = {first for first, _ in _SIDES}
Reply = Callable[[Answer], Any]

_CUT: Schema = {
    "type": ["integer", "null"],
    "minimum": -1,
    "not": {"const": 0},
}
_INPUTS = (
    record({"messages": CHAT}, model=MODEL, use_activation=FLAG),
    record(
        {"input": one_of(TEXTS, array(COUNT, 1), array(array(COUNT, 1), 1))},
        messages={"type": "null"},
        model=MODEL,
        use_activation=FLAG,
        truncate_prompt_tokens=_CUT,
        encoding_format={"enum": ["float", None]},
    ),
)
_DOCUMENT = one_of(TEXT, record({"text": TEXT}))


def _usage(answer: Answer) -> dict[str, Any]:
    """Return the estimated number of tokens."""
    return {
        "prompt_tokens": answer.tokens,
        "total_tokens": answer.tokens,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
    }


def _most_tokens(reader: Reader) -> int | None:
    """Return to how many tokens a text is cut; None where the model's own limit is meant."""
    value = reader.body.get("truncate_prompt_tokens")
    if value is None or value == -1:
        return None
    if not reader.count("truncate_prompt_tokens"):
        raise reader.wrong("truncate_prompt_tokens", "-1 or at least 1")
    return int(value)


def _work(body: Any, settings: Serving, reply: Reply) -> Work:
    """Return the work of `input` (a text, texts, or token ids) or `messages`."""
    reader = Reader(body, settings)
    reader.flag("use_activation", True)
    model, most = reader.model(), _most_tokens(reader)
    if reader.body.get("messages") is not None:
        chat = reader.chat(reader.body["messages"], "messages")
        return Work([chat], reply, model, most_tokens=most)
    value = reader.body.get("input")
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, (int, float, list)):
        ids = reader.token_ids("input")
        return Work([], reply, model, ids, most)
    examples = [Example(text) for text in reader.text_or_texts("input")]
    return Work(examples, reply, model, most_tokens=most)


def _read_classify(body: Any, settings: Serving) -> Work:
    return _work(body, settings, _classified)


def _classified(answer: Answer) -> dict[str, Any]:
    data = []
    for index, value in enumerate(answer.values):
        row = {"index": index, "label": _LABEL, "probs": [value]}
        data.append({**row, "num_classes": 1})
    head = listed("classify", answer)
    return {**head, "data": data, "usage": _usage(answer)}


def _read_pooling(body: Any, settings: Serving) -> Work:
    reader = Reader(body, settings)
    if reader.body.get("encoding_format") not in (None, "float"):
        raise reader.wrong("encoding_format", '"float"')
    return _work(body, settings, _pooled)


def _pooled(answer: Answer) -> dict[str, Any]:
    data = []
    for index, value in enumerate(answer.values):
        data.append({"index": index, "object": "pooling", "data": [value]})
    head = listed("pooling", answer)
    return {**head, "data": data, "usage": _usage(answer)}


def _content(reader: Reader, value: Any, name: str) -> str:
    """Return a document: a text, or {"text"}."""
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        value = value["text"]
    return reader.text(value, name)


def _read_score(body: Any, settings: Serving) -> Work:
    reader = Reader(body, settings)
    for first, second in _SIDES:
        if first in reader.body and second in reader.body:
            break
    else:
        raise Refusal(
            400,
            "give `queries` and `documents`, `text_1` and `text_2`, or `data_1` and `data_2`.",
        )
    queries = reader.text_or_texts(first)
    documents = reader.text_or_texts(second)
    if len(queries) == 1:
        queries = queries * len(documents)
    if len(queries) != len(documents):
        raise reader.wrong(first, f"one text, or as many as `{second}`")
    examples = []
    for query, document in zip(queries, documents, strict=True):
        examples.append(Example(document, query))
    return Work(examples, _scored, reader.model())


def _scored(answer: Answer) -> dict[str, Any]:
    data = []
    for index, value in enumerate(answer.values):
        data.append({"index": index, "object": "score", "score": value})
    head = listed("score", answer)
    return {**head, "data": data, "usage": _usage(answer)}


def _read_rerank(body: Any, settings: Serving) -> Work:
    reader = Reader(body, settings)
    query = reader.text(reader.body.get("query"), "query")
    documents = []
    for value in reader.items("documents"):
        documents.append(_content(reader, value, "documents"))
    most = reader.count("top_n") or len(documents)

    def reply(answer: Answer) -> dict[str, Any]:
        results = []
        for index in ranked(answer.values)[:most]:
            document = {"text": documents[index], "multi_modal": None}
            row = {"index": index, "document": document}
            results.append({**row, "relevance_score": answer.values[index]})
        return {
            "id": listed("rerank", answer)["id"],
            "model": answer.served.name,
            "usage": {
                "prompt_tokens": answer.tokens,
                "total_tokens": answer.tokens,
            },
            "results": results,
        }

    examples = [Example(document, query) for document in documents]
    return Work(examples, reply, reader.model())


def _by_index(rows: list[dict[str, Any]], name: str) -> list[float]:
    """Return the numbers of ranked rows in the order of the request."""
    ordered = sorted(rows, key=lambda row: row["index"])
    return [row[name] for row in ordered]


CLASSIFY = Wire(
    "vLLM",
    _read_classify,
    as_vllm,
    probe=lambda texts: {"input": texts},
    numbers=lambda reply: [row["probs"][0] for row in reply["data"]],
    body=one_of(*_INPUTS),
    reply=listing(
        record(
            {
                "index": COUNT,
                "label": STRING,
                "probs": array(NUMBER),
                "num_classes": COUNT,
            }
        )
    ),
    example={"input": ["A warm and clever film."]},
)
POOLING = Wire(
    "vLLM",
    _read_pooling,
    as_vllm,
    probe=lambda texts: {"input": texts},
    numbers=lambda reply: [row["data"][0] for row in reply["data"]],
    body=one_of(*_INPUTS),
    reply=listing(
        record({"index": COUNT, "object": STRING, "data": array(NUMBER)})
    ),
    example={"input": ["A warm and clever film."]},
)
SCORE = Wire(
    "vLLM",
    _read_score,
    as_vllm,
    probe=lambda texts: {"text_1": QUERY, "text_2": texts},
    numbers=lambda reply: _by_index(reply["data"], "score"),
    query=QUERY,
    body=one_of(
        *(
            record({first: TEXTS, second: TEXTS}, model=MODEL)
            for first, second in _SIDES
        )
    ),
    reply=listing(record({"index": COUNT, "object": STRING, "score": NUMBER})),
    example={"text_1": QUERY, "text_2": ["I liked it."]},
)
RERANK = Wire(
    "vLLM",
    _read_rerank,
    as_vllm,
    probe=lambda texts: {"query": QUERY, "documents": texts},
    numbers=lambda reply: _by_index(reply["results"], "relevance_score"),
    query=QUERY,
    body=record(
        {"query": TEXT, "documents": array(_DOCUMENT, 1)},
        top_n={"type": ["integer", "null"], "minimum": 0},
        model=MODEL,
    ),
    reply=record(
        {
            "id": STRING,
            "model": STRING,
            "usage": {"type": "object"},
            "results": array(
                record(
                    {
                        "index": COUNT,
                        "document": ANY,
                        "relevance_score": NUMBER,
                    }
                )
            ),
        }
    ),
    example={"query": QUERY, "documents": ["I liked it.", "I left."]},
)
