"""Tables that nearly have a published layout are refused with its name and the missing column."""

import json
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.errors import DataError

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
PARTS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "PKU-SafeRLHF",
        "better_response_id",
        {"prompt": "Q", "response_0": "a b", "response_1": "b c", "safe": [1]},
    ),
    (
        "LMArena",
        "winner",
        {
            "model_a": "m",
            "model_b": "n",
            "conversation_a": CHAT,
            "conversation_b": CHAT,
        },
    ),
    ("UltraFeedback", "completions", {"instruction": "Do it.", "models": ["m", "n"]}),
    (
        "OpenAssistant",
        "rank",
        {"message_id": "1", "parent_id": None, "text": "Hi you", "role": "prompter"},
    ),
    ("pairs", "rejected", {"prompt": "Q", "chosen": "a b"}),
    ("KTO", "label", {"prompt": "Q", "completion": "a b"}),
    (
        "OpenAI's preferences",
        "non_preferred_output",
        {"input": {"messages": CHAT[:1]}, "preferred_output": CHAT[1:]},
    ),
    ("TL;DR comparisons", "choice", {"info": {"post": "p"}, "summaries": []}),
    ("Stack Exchange paired", "response_k", {"question": "Q", "response_j": "a b"}),
    ("SHP", "labels", {"history": "Q", "human_ref_A": "a b", "human_ref_B": "b c"}),
]


@pytest.mark.parametrize(("layout", "missing", "row"), PARTS)
def test_a_layout_of_which_a_part_is_there_is_named(
    tmp_path: Path, layout: str, missing: str, row: dict[str, Any]
) -> None:
    (tmp_path / "r.jsonl").write_text(f"{json.dumps(row)}\n" * 3)
    with pytest.raises(DataError) as refused:
        tm.read(tmp_path / "r.jsonl")
    message = str(refused.value)
    assert f"looks like {layout} without the column {missing!r}" in message
    assert "\n" not in message


def test_a_part_under_another_spelling_is_named(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("Prompt,Chosen\nQ,a b\nR,b c\n")
    with pytest.raises(
        DataError, match="looks like pairs without the column 'rejected'"
    ):
        tm.read(tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("header", "settings"),
    [
        ("Prompt,Chosen,Rejected", {}),
        ("Prompt,CHOSEN,rejected", {"format": "preference"}),
        ("PROMPT,Chosen,Rejected", {"prompt": "Prompt"}),
    ],
)
def test_columns_of_a_layout_are_matched_loosely(
    tmp_path: Path, header: str, settings: dict[str, Any]
) -> None:
    (tmp_path / "r.csv").write_text(f"{header}\nQ,a,b\n")
    pair = tm.Comparison("a", "b", prompt="Q")
    assert tm.read(tmp_path / "r.csv", **settings) == [pair]


def test_humps_of_a_layout_are_matched_loosely(tmp_path: Path) -> None:
    row = {"history": "Q", "humanRefA": "a", "Human Ref B": "b", "Labels": 0, "Note": 7}
    (tmp_path / "r.jsonl").write_text(json.dumps(row) + "\n")
    report: list[tm.ReadAs] = []
    pair = tm.Comparison("b", "a", prompt="Q")
    assert tm.read(tmp_path / "r.jsonl", report=report) == [pair]
    assert report[0].unused == ("Note",)


def test_pairs_as_openai_writes_them() -> None:
    row = {
        "input": {"messages": CHAT[:1], "tools": []},
        "preferred_output": CHAT[1:],
        "non_preferred_output": [{"role": "assistant", "content": "No"}],
    }
    (pair,) = tm.read([row])
    assert pair.texts == ("Yes", "No")
    assert pair.prompt == (tm.Message("user", "Hi"),)


def test_the_end_of_a_files_name_that_fits_its_first_line_is_named(
    tmp_path: Path,
) -> None:
    for suffix, line, advice in (
        ("tsv", "text,label", "name a file with commas .csv"),
        ("csv", "text\tlabel", "name a file with tabs .tsv"),
        ("csv", "text;label", "Write the file with commas."),
    ):
        path = tmp_path / f"r.{suffix}"
        path.write_text(f"{line}\na\n")
        with pytest.raises(DataError) as refused:
            tm.read(path)
        assert advice in str(refused.value)
        assert (".tsv" in advice) == ("tabs .tsv" in str(refused.value))
