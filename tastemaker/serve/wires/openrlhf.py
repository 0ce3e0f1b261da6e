"""OpenRLHF's wire: `POST /get_reward`.

`query` holds whole texts, prompt and completion. Its client leaves special tokens in them; the
setting `strip` names those to remove. Where a prompt is a list of messages, the query is the
completion alone.
"""

from typing import Any

from tastemaker.data.judgements import Example
from tastemaker.serve.requests import Reader, as_tastemaker
from tastemaker.serve.settings import Serving
from tastemaker.serve.wires.base import (
    ANY,
    MODEL,
    NUMBER,
    TEXTS,
    Answer,
    Wire,
    Work,
    array,
    record,
)

_PROMPTS = {
    "description": "as many as `query`, or none; of lists of messages the query is the answer"
}


def _read(body: Any, settings: Serving) -> Work:
    reader = Reader(body, settings)
    if isinstance(reader.body.get("query"), str):
        queries = [reader.body["query"]]
    else:
        queries = reader.items("query")
    prompts = reader.body.get("prompts")
    if isinstance(prompts, str):
        prompts = [prompts]
    if not isinstance(prompts, list) or not prompts:
        prompts = [None] * len(queries)
    if len(prompts) != len(queries):
        raise reader.wrong("prompts", "as many as `query`")
    examples = []
    for query, prompt in zip(queries, prompts, strict=True):
        text = _stripped(reader.text(query, "query"), settings)
        # what is left may be empty
        text = reader.text(text, "query")
        if isinstance(prompt, list):
            examples.append(Example(text, reader.turns(prompt, "prompts")))
        else:
            examples.append(Example(text))
    return Work(examples, _reply, reader.model())


def _stripped(text: str, settings: Serving) -> str:
    for token in settings.strip:
        text = text.replace(token, "")
    return text


def _reply(answer: Answer) -> dict[str, Any]:
    return {
        "rewards": answer.values,
        "scores": answer.values,
        "extra_logs": {},
    }


GET_REWARD = Wire(
    "OpenRLHF",
    _read,
    as_tastemaker,
    probe=lambda texts: {"query": texts, "prompts": [], "labels": []},
    numbers=lambda reply: reply["rewards"],
    body=record({"query": TEXTS}, prompts=_PROMPTS, labels=ANY, model=MODEL),
    reply=record(
        {
            "rewards": array(NUMBER),
            "scores": array(NUMBER),
            "extra_logs": {"type": "object"},
        }
    ),
    example={"query": ["The film moved me."], "prompts": [], "labels": []},
)
