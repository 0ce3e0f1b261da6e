"""Texts for a GPT or an anchor, of sources whose columns are described."""

from pathlib import Path
from typing import Any

import pytest
from documented import texts
from published_rows import write

import tastemaker as tm
from tastemaker.data import Example, read_examples
from tastemaker.gpt import documents

ANSWERS = {"question": "Q", "response_1": "good", "response_2": "bad", "label": 1}
PAIR = {"prompt": "Q", "chosen": "a", "rejected": "b", "task": "Do it."}


def test_columns_of_one_source(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_text("words,about\nA good film.,the film\n")
    assert texts(f"{path}:text=words") == ["A good film."]
    assert list(documents(f"{path}:text=words,prompt=about")) == [
        Example("A good film.", "the film")
    ]


def test_a_format_and_a_header_of_one_source(tmp_path: Path) -> None:
    path = tmp_path / "r.tsv"
    path.write_text("good one\tbad one\n")
    assert texts(f"{path}:header=chosen+rejected") == ["good one"]
    assert texts(f"{path}:header=chosen+rejected,format=preference") == ["good one"]


def test_sources_with_columns_have_a_size(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("words\nA good film.\n")
    described = tm.Documents([f"{path}:text=words"]).describe()
    assert described["sources"] == [[f"{path}:text=words", path.stat().st_size]]


def test_a_prompt_column_of_pairs(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", PAIR)
    columns = tm.Columns(prompt="task")
    assert list(documents(path, columns=columns)) == [Example("a", "Do it.")]


def test_a_table_of_answers(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", ANSWERS, {**ANSWERS, "label": 2})
    assert list(documents(path)) == [Example("good", "Q"), Example("bad", "Q")]
    described = f"{path}:answers=response_2+response_1"
    assert texts(described) == ["bad", "bad"]
    both = [Example("good", "Q"), Example("bad", "Q")]
    assert read_examples(path) == both * 2
    backwards = [Example("bad", "Q"), Example("good", "Q")]
    assert read_examples(described) == backwards * 2


ROW = {"chosen": ["Yes."], "rejected": ["No.", "None."], "subset": "Math", "id": "1"}


@pytest.mark.parametrize("name", ["prompt", "task"])
def test_a_prompt_column_of_rewardbench(run: Any, tmp_path: Path, name: str) -> None:
    """A model that prefers the text of the prompt is right only with the right prompt."""
    judged = [
        tm.Label(f"film {number} {'good' if number % 2 else 'bad'}", bool(number % 2))
        for number in range(40)
    ]
    tm.fit(judged, out=tmp_path / "taste")
    row = {**ROW, "prompt": "Q", "task": "Is it?"}
    path = write(tmp_path / "bench.jsonl", row)
    words = ("evaluate", tmp_path / "taste", path, "--prompt-column", name, "--json")
    code, out, err = run(*words)
    assert code == 0, err
    assert f'"prompt": "{name}"' in out, "the report of what was read"
