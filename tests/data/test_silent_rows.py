"""Rows that say nothing are left out and counted; rows that cannot be read stop."""

import json
from pathlib import Path
from typing import Any

import pytest
from published_rows import write

import tastemaker as tm
from tastemaker.errors import DataError

PAIR = {"prompt": "Q", "chosen": "a", "rejected": "b"}
SAME = {"prompt": "Q", "chosen": "a", "rejected": "a"}


def test_a_text_compared_with_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.jsonl", SAME, PAIR, SAME)
    assert len(tm.read(path)) == 1
    line = "a.jsonl: 2 rows hold no judgement and were left out; the first: a.jsonl:1: compares"
    assert capsys.readouterr().err.startswith(line)


def test_a_repeated_answer_in_a_ranking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"instruction": "Q", "output": ["a", "b", "a"]},
        {"instruction": "Q", "output": ["a", "b"]},
    ]
    assert len(tm.read(write(tmp_path / "a.jsonl", *rows))) == 1
    assert "1 row holds no judgement" in capsys.readouterr().err


def test_a_file_in_which_no_row_says_anything(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no row holds a judgement; a\.jsonl:1: compares"
    ):
        tm.read(write(tmp_path / "a.jsonl", SAME, SAME))


def test_rows_that_cannot_be_read_stop(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", PAIR, {**PAIR, "chosen": 7})
    with pytest.raises(DataError, match=r"a\.jsonl:2: "):
        tm.read(path)


def test_with_skip_bad_both_are_listed(tmp_path: Path) -> None:
    errors: list[DataError] = []
    path = write(tmp_path / "a.jsonl", PAIR, SAME, {**PAIR, "chosen": 7})
    assert len(tm.read(path, skip_bad=errors)) == 1
    assert len(errors) == 2


REPEATED = {
    "prompt": "### Question: Why?\n### Answer:",
    "chosen": "### Question: Why?\n### Answer: Because.",
    "rejected": "### Question: Why?\n### Answer: No.",
}
DIALOGUES = {
    "prompt": "Why?",
    "chosen": "\n\nHuman: Why?\n\nAssistant: Because.",
    "rejected": "\n\nHuman: Why?\n\nAssistant: No.",
}


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (REPEATED, REPEATED["prompt"]),
        (DIALOGUES, "\n\nHuman: Why?\n\nAssistant:"),
        (
            {**DIALOGUES, "prompt": "\n\nHuman: Why?\n\nAssistant:"},
            "\n\nHuman: Why?\n\nAssistant:",
        ),
    ],
)
def test_a_prompt_that_both_answers_repeat_is_said_once(
    row: dict[str, str], prompt: str, tmp_path: Path
) -> None:
    (comparison,) = tm.read(write(tmp_path / "a.jsonl", row))
    assert comparison == tm.Comparison("Because.", "No.", prompt=prompt)


def test_answers_that_begin_with_the_same_short_word_keep_it(tmp_path: Path) -> None:
    row = {"prompt": "The", "chosen": "The end.", "rejected": "The start."}
    (comparison,) = tm.read(write(tmp_path / "a.jsonl", row))
    assert comparison.texts == ("The end.", "The start.")


def test_rows_left_out_are_counted_in_the_report(tmp_path: Path, run: Any) -> None:
    bad = {**PAIR, "chosen": 7}
    silent = write(tmp_path / "silent.jsonl", SAME, PAIR, SAME)
    both = write(tmp_path / "both.jsonl", SAME, PAIR, bad, PAIR)
    report: list[tm.ReadAs] = []
    tm.read(silent, report=report)
    tm.read(both, report=report, skip_bad=[])
    assert [each.left_out for each in report] == [
        {"no_judgement": 2},
        {"no_judgement": 1, "unreadable": 1},
    ]
    shown = tm.inspect(both)
    assert shown.skipped == 1
    assert "1 row left out: no judgement" in str(shown)
    _, out, _ = run("doctor", both, silent, "--json")
    counts = [each["left_out"] for each in json.loads(out)["read_as"]]
    assert counts == [{"no_judgement": 1, "unreadable": 1}, {"no_judgement": 2}]


def test_cells_that_nobody_filled_are_counted_in_the_report(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    empty = {"text": "c", "label": None}
    report: list[tm.ReadAs] = []
    tm.read(write(tmp_path / "a.jsonl", *rows, empty, empty), report=report)
    assert report[0].as_dict()["unlabelled"] == {"label": 2}


def test_single_texts_that_all_repeat_their_prompt_lose_it(tmp_path: Path) -> None:
    rows = []
    for number in range(4):
        prompt = f"Question {number}: why?"
        text = f"{prompt}\nBecause {number}."
        rows.append({"prompt": prompt, "text": text, "rating": number + 0.5})
    path = write(tmp_path / "rated.jsonl", *rows)
    judgements = tm.read(path)
    assert judgements[2] == tm.Rating(
        "Because 2.", 2.5, prompt="Question 2: why?", where=judgements[2].where
    )
    assert "without the prompt" in str(tm.inspect(path).read_as)
    # one answer that does not begin with its prompt: the others quote it
    rows[3]["text"] = "Because 3."
    judgements = tm.read(write(tmp_path / "quoted.jsonl", *rows))
    assert judgements[0].texts == ("Question 0: why?\nBecause 0.",)


def test_answers_that_all_repeat_their_prompt_lose_it(tmp_path: Path) -> None:
    prompt = "Why is the sky blue?"
    answers = {"response_1": f"{prompt} No.", "response_2": f"{prompt} It scatters."}
    rows = [
        {"prompt": prompt, **answers, "better": "response_2"},
        {"prompt": prompt, **answers, "better": "response_1"},
    ]
    comparisons = tm.read(write(tmp_path / "pairs.jsonl", *rows))
    assert comparisons[0].texts == ("It scatters.", "No.")
    assert comparisons[1].texts == ("No.", "It scatters.")
    assert comparisons[0].prompt == prompt
