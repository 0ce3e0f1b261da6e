"""One row of every published format, as it is published."""

import json
from pathlib import Path
from typing import Any

from tastemaker.data import Comparison, Message

Row = dict[str, Any]


def write(path: Path, *rows: Row) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def turns(*contents: str) -> list[dict[str, str]]:
    """Messages, the user's first."""
    return [
        {"role": ("user", "assistant")[at % 2], "content": content}
        for at, content in enumerate(contents)
    ]


def chat(*contents: str) -> tuple[Message, ...]:
    """Messages as a prompt."""
    return tuple(Message(turn["role"], turn["content"]) for turn in turns(*contents))


ARENA = {
    "prompt": "Q",
    "response_a": "a",
    "response_b": "b",
    "winner_model_a": 0,
    "winner_model_b": 1,
    "winner_tie": 0,
}
HELPSTEER3 = {
    "context": turns("Q"),
    "response1": "a",
    "response2": "b",
    "overall_preference": -2,
    "language": "en",
}
WEBGPT = {
    "question": {"full_text": "Q", "id": "7"},
    "answer_0": "a",
    "answer_1": "b",
    "score_0": 0.5,
    "score_1": -0.5,
}
SHP = {
    "history": "Q",
    "human_ref_A": "a",
    "human_ref_B": "b",
    "labels": 1,
    "score_ratio": 3.5,
    "score_A": 7,
    "score_B": 2,
}
PANDALM = {
    "instruction": "Q",
    "input": "",
    "response1": "a",
    "response2": "b",
    "annotator1": 2,
    "annotator2": 0,
}
NEMO = {
    "context": turns("Q"),
    "completions": [
        {"rank": 1, "completion": "b"},
        {"rank": 0, "completion": turns("", "a")[1:]},
    ],
}
NECTAR = {
    "prompt": "\n\nHuman: Q\n\nAssistant: ",
    "answers": [
        {"answer": "c", "model": "m", "rank": 5.0},
        {"answer": "a", "rank": 1.0},
        {"answer": "b", "rank": 5.0},
    ],
    "turns": 1,
    "good_natured": True,
}
ALPACA = {"instruction": "Q", "input": "", "output": ["a", "b", "c"]}
BEST = {"query": "Q", "sample0": "a", "sample1": "b", "sample2": "c", "best": 1}
MQM = {
    "source": "Q",
    "candidates": [
        {"system": "x", "text": "b", "mqm_penalty": 1.0, "n_raters": 1},
        {"system": "y", "text": "a", "mqm_penalty": 0, "n_raters": 1},
        {"system": "z", "text": "b", "mqm_penalty": 2.0, "n_raters": 1},
        {"system": "w", "text": "c", "mqm_penalty": 1.5, "n_raters": 1},
    ],
}
REWARDBENCH = {
    "id": 7,
    "prompt": "Q",
    "chosen": ["a", "b"],
    "rejected": ["c", "d"],
    "num_correct": 2,
    "total_completions": 4,
    "subset": "Ties",
}
HH = {
    "chosen": "\n\nHuman: Q\n\nAssistant: a",
    "rejected": "\n\nHuman: Q\n\nAssistant: b",
}
TRL = {"prompt": "Q", "chosen": "a", "rejected": "b"}
TRL_CHAT = {"chosen": turns("Q", "a"), "rejected": turns("Q", "b")}
KTO = {"prompt": "Q", "completion": "a", "label": True}
HELPSTEER = {
    "prompt": "Q",
    "response": "a",
    "helpfulness": 3,
    "correctness": 4,
    "coherence": 4,
    "verbosity": 1,
}
A_OVER_B = Comparison("a", "b", prompt="Q")
CHAT = chat("Q")
