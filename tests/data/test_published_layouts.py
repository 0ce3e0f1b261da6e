"""Every published layout is read with the right prompt, text, direction and count."""

from pathlib import Path
from typing import Any

import pytest
from answer_layouts import ANSWER_LAYOUTS
from published_layouts import LAYOUTS
from published_rows import write
from review_layouts import REVIEW_LAYOUTS
from tool_layouts import TOOL_LAYOUTS

import tastemaker as tm
from tastemaker.data import FORMATS

ALL = LAYOUTS | ANSWER_LAYOUTS | REVIEW_LAYOUTS | TOOL_LAYOUTS


def meaning(judgement: Any) -> tuple[Any, ...]:
    """Return what a judgement says: kind, prompt, texts, direction."""
    order = judgement.ranks or (judgement.value, judgement.scale)
    return type(judgement), judgement.prompt, judgement.texts, order


def test_there_are_forty() -> None:
    assert len(ALL) >= 40


def test_every_format_has_a_layout(tmp_path: Path) -> None:
    formats = {"judgements", "mqm", "nemo", "best-of-k"}  # rows in test_formats.py
    for name in ALL:
        path = write(tmp_path / "rows.jsonl", *ALL[name].rows)
        report: list[tm.ReadAs] = []
        tm.read(path, report=report)
        formats.add(report[0].format)
    assert set(FORMATS) <= formats


@pytest.mark.parametrize("name", ALL)
def test_a_published_layout(name: str, tmp_path: Path) -> None:
    layout = ALL[name]
    judgements = tm.read(write(tmp_path / "rows.jsonl", *layout.rows))
    assert [meaning(one) for one in judgements] == [
        meaning(one) for one in layout.right
    ]
