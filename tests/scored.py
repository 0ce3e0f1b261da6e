"""A model without weights and small files, for the tests that score files."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tastemaker.data import Example
from tastemaker.scores import Scores


class Lengths:
    """Scores a text by a third of its length, the prompt's subtracted; cut above 20 characters.
    Remembers its calls.
    """

    def __init__(self) -> None:
        self.calls: list[list[Example]] = []
        self.precisions: list[str] = []

    def score_all(
        self, examples: Sequence[Example], *, precision: str = "float32"
    ) -> Scores:
        self.calls.append(list(examples))
        self.precisions.append(precision)
        values = [(len(e.text) - len(e.prompt or "")) / 3 for e in examples]
        return Scores(np.array(values), np.array([len(e.text) > 20 for e in examples]))


ROWS: list[dict[str, Any]] = [
    {"id": 1, "text": "good", "tags": ["a", "b"]},
    {"id": 2, "text": "a longer text than the others", "tags": []},
    {"id": 3, "text": 'very "bad",\r\n\ttruly\r电影', "tags": ["c"]},
]
VALUES = [len(row["text"]) / 3 for row in ROWS]


def write_jsonl(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_csv(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
