"""Every published layout is read with the right prompt, text, direction and count."""

from pathlib import Path
from typing import Any

import pytest
from answer_layouts import ANSWER_LAYOUTS, ORCA
from published_layouts import LAYOUTS, PAIR
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


def test_pairs_of_distilabel_say_what_is_not_used() -> None:
    report: list[tm.ReadAs] = []
    tm.read([{**ORCA, **PAIR}], report=report)
    assert str(report[0]) == (
        "read as: prompt=question, system=system, chosen=chosen, rejected=rejected "
        "(format preference); not used: generations, order, labelling_prompt, rating, status"
    )
    rankings = tm.read([{**ORCA, **PAIR}], format="distilabel-rating")
    assert rankings == tm.read([ORCA])
