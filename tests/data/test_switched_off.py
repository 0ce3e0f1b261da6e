"""Roles that are switched off or named, in files of published formats."""

from pathlib import Path
from typing import Any

import pytest
from published_layouts import LAYOUTS
from published_rows import write

import tastemaker as tm
from tastemaker.data import Comparison, Label, Message, ReadAs, read
from tastemaker.errors import DataError, UsageError

PAIR = {"prompt": "Q", "chosen": "a", "rejected": "b"}
CHAT = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "a"}]
SYSTEM = {"messages": CHAT, "rejected_response": "b", "system": "Be brief."}
OURS = {
    "kind": "comparison",
    **PAIR,
    "judge": "ann",
    "time": "2026-01-02T03:04:05+00:00",
    "weight": 2.0,
}
KTO = {"prompt": "Q", "completion": "a", "label": True}


def test_no_prompt_of_pairs(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", PAIR)
    report: list[ReadAs] = []
    assert read(path, prompt="none", report=report) == [Comparison("a", "b")]
    assert report[0].roles == {"chosen": "chosen", "rejected": "rejected"}
    assert report[0].unused == ("prompt",)


def test_no_prompt_where_every_row_has_one(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", KTO)
    assert read(path, prompt="none") == [Label("a", positive=True)]


def test_no_prompt_of_an_instruction_and_its_input(tmp_path: Path) -> None:
    row = {"instruction": "Do", "input": "this", "output": ["a", "b"]}
    path = write(tmp_path / "r.jsonl", row)
    assert read(path)[0].prompt == "Do\n\nthis"
    assert read(path, prompt="none")[0].prompt is None


def test_no_system_prompt_of_a_framework(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", SYSTEM)
    assert read(path)[0].prompt == (
        Message("system", "Be brief."),
        Message("user", "Q"),
    )
    assert read(path, system="none")[0].prompt == (Message("user", "Q"),)


def test_no_judge_time_or_weight_of_own_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", OURS)
    (whole,) = read(path)
    assert (whole.judge, whole.weight) == ("ann", 2.0)
    (bare,) = read(path, judge="none", time="none", weight="none")
    assert bare == Comparison("a", "b", prompt="Q", source="r.jsonl")
    assert (bare.judge, bare.time, bare.weight) == (None, None, 1.0)
    broken = write(tmp_path / "b.jsonl", {**OURS, "time": "noon"})
    assert len(read(broken, time="none")) == 1


def test_another_judge_of_own_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {**OURS, "person": "bob"})
    assert read(path, judge="person")[0].judge == "bob"


def test_a_format_of_labels_needs_them(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", KTO)
    with pytest.raises(UsageError, match=r"'kto' holds labels.*--label-column none"):
        read(path, label="none")


def test_own_rows_without_their_labels(tmp_path: Path) -> None:
    label = {"kind": "label", "text": "good", "positive": True}
    path = write(tmp_path / "r.jsonl", label, OURS)
    assert [one.kind for one in read(path, label="none")] == ["comparison"]


@pytest.mark.parametrize("name", LAYOUTS)
def test_prompts_of_every_layout_can_be_named_and_left_out(
    tmp_path: Path, name: str
) -> None:
    """A tree's column `prompt` is the whole tree, an arena's may be a list of questions."""
    rows = [{**row, "other": "Another question?"} for row in LAYOUTS[name].rows]
    path = write(tmp_path / "r.jsonl", *rows)
    report: list[ReadAs] = []
    read(path, report=report)
    if report[0].format == "table":
        return
    for prompt in ("other", "none"):
        try:
            judgements = read(path, prompt=prompt)
        except DataError as error:
            # a tree of messages has no other columns, and a dialogue holds its prompt
            if "no column 'other'" in str(error) or "none of the turns" in str(error):
                continue
            raise
        if prompt == "other":
            assert all("Another question?" in str(one.prompt) for one in judgements)


def test_inspect_names_only_what_can_be_switched_off(run: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", KTO)
    for change in tm.inspect(path).changes:
        if " none:" in change:
            option, value = change.partition(":")[0].split()
            code, _, err = run("inspect", path, option, value)
            assert code == 0, err


LABELLED = [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]
ANSWERED = {"text": "so it goes", "response_a": "x", "response_b": "y", "winner": "b"}


@pytest.mark.parametrize("rows", [LABELLED, [KTO]])
def test_a_text_that_is_switched_off_is_one_line(
    run: Any, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    path = write(tmp_path / "r.jsonl", *rows)
    code, out, err = run("inspect", path, "--text-column", "none")
    assert (code, out) == (2, "")
    assert "r.jsonl: --text-column none leaves nothing to judge" in err
    assert len(err.splitlines()) == 1


def test_answers_need_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", ANSWERED)
    assert read(path, text="none") == [Comparison("y", "x", chosen_first=False)]
    pairs = write(tmp_path / "p.jsonl", PAIR)
    assert read(pairs, text="none") == read(pairs)
