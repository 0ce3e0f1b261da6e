"""The documents say what the code does: every metric is defined, every module has its line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm

ROOT = Path(__file__).resolve().parents[1]


def _keys(values: Any) -> set[str]:
    """Return every key of nested JSON, the names of kinds left out."""
    if isinstance(values, dict):
        return set(values) | {key for value in values.values() for key in _keys(value)}
    if isinstance(values, list):
        return {key for value in values for key in _keys(value)}
    return set()


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network fitted on labels, grades and nothing else."""
    out = tmp_path_factory.mktemp("docs") / "taste"
    words = ["good", "fine", "lovely", "bad", "poor", "awful"]
    judgements: list[Any] = []
    for number in range(120):
        word = words[number % 6]
        text = f"A {word} film, number {number}."
        judgements += [tm.Label(text, number % 6 < 3), tm.Grade(text, 10 - number % 6)]
    tm.fit(judgements, backbone=tm.Tiny(max_length=32), epochs=1, out=out)
    return out


def _documented() -> set[str]:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"`([a-z_0-9]+)`", text))


def test_every_logged_metric_is_defined(fitted: Path) -> None:
    lines = (fitted / "run" / "metrics.jsonl").read_text().splitlines()
    assert _keys([json.loads(line) for line in lines]) - _documented() == set()


def test_every_evaluated_figure_is_defined(fitted: Path) -> None:
    evaluation = json.loads((fitted / "tastemaker.json").read_text())["evaluation"]
    assert _keys(evaluation) - _documented() - {"label", "grade", "rating"} == set()


def test_the_readme_tree_names_every_module() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "tastemaker").iterdir()):
        if path.name.startswith("__") and path.name != "__init__.py":
            continue
        if path.is_dir() or path.suffix == ".py":
            assert path.name in readme, f"README's tree lacks {path.name}"
