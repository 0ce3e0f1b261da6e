"""Columns whose cells do not fit their names, and prompts that answers repeat."""

from typing import Any

import pytest

import tastemaker as tm
from tastemaker.data import Comparison, ReadAs

LABELS = ("neg", "pos", "neg", "pos")


def labelled(column: str, *cells: Any) -> list[dict[str, Any]]:
    rows = []
    for number, (label, cell) in enumerate(zip(LABELS, cells, strict=True)):
        rows.append({"text": f"text {number}", "label": label, column: cell})
    return rows


def reported(source: Any, **settings: Any) -> tuple[list[Any], ReadAs]:
    report: list[ReadAs] = []
    return tm.read(source, report=report, **settings), report[0]


def test_a_confidence_is_no_rating_whatever_it_is_called() -> None:
    judgements, shown = reported(labelled("rating", 0.85, 0.9, 0.88, 0.86))
    assert {judgement.kind for judgement in judgements} == {"label"}
    assert "how sure they are; --label-column label --rating-column" in shown.notes[0]
    judgements, shown = reported(labelled("rating", 0.5, 4.5, 1.5, 5))
    assert {judgement.kind for judgement in judgements} == {"label", "rating"}
    assert not shown.notes


@pytest.mark.parametrize(("column", "role"), [("rating", "grade"), ("stars", "grade")])
def test_numbers_that_go_against_the_labels_are_noted(column: str, role: str) -> None:
    judgements, shown = reported(labelled(column, 5, 1, 4, 2))
    assert shown.roles[role] == column
    assert (
        f"column {column!r} is lower where column 'label' is positive" in shown.notes[0]
    )
    assert "column none or --label-column none" in shown.notes[0]
    assert len(judgements) == 8
    assert not reported(labelled(column, 1, 5, 2, 4))[1].notes


SENTENCE = "The answer is not right, because it misses the point."


@pytest.mark.parametrize("cell", [0.93, "0.93", SENTENCE])
def test_a_number_or_sentence_is_no_judge(cell: Any) -> None:
    judgements, shown = reported(labelled("judge", *[cell] * 4))
    assert {judgement.judge for judgement in judgements} == {None}
    assert "which is no judge" in shown.notes[0]
    named, _ = reported(labelled("judge", *[cell] * 4), judge="judge")
    assert {judgement.judge for judgement in named} == {str(cell)}


def test_names_and_numbers_are_judges() -> None:
    cells = (3, 4.0, "annotator 3 of the second group", "Åsa")
    judgements, _ = reported(labelled("judge", *cells))
    assert [judgement.judge for judgement in judgements] == list(map(str, cells))


def test_notes_of_a_format_name_only_options_that_work_there() -> None:
    pair = {"prompt": "Q", "chosen": "a b", "rejected": "c d"}
    row = pair | {"score_chosen": 1.0, "verdict": "good", "rater": "ann"}
    row |= {"remark": "a text of more than four words"}
    _, shown = reported([row, row | {"verdict": "bad"}])
    (note,) = shown.notes
    assert "--judge-column rater reads it" in note
    assert tm.read([row], judge="rater")[0].judge == "ann"


CUT_WORDS = [
    ("Fibonacci function", "Fibonacci functions are fun", None),
    ("What about a cat ", "What about a category?", None),
    ("What about a cat ", "What about a cat it is?", "it is?"),
    ("What about a cat", "What about a cat: it is.", ": it is."),
    ("Why? Because (", "Why? Because (so it is).", "so it is)."),
    ("为什么天空是蓝色的呢", "为什么天空是蓝色的呢因为散射", "因为散射"),
]


@pytest.mark.parametrize(("prompt", "text", "rest"), CUT_WORDS)
def test_a_prompt_is_no_half_of_a_word(
    prompt: str, text: str, rest: str | None
) -> None:
    rows = []
    for number in range(4):
        rows.append({"prompt": prompt, "text": text, "stars": number})
    assert reported(rows)[0][0].texts == (rest or text,)


PROMPTS = [
    "Why is it so?\n",
    "  Why is it so?",
    [{"role": "user", "content": "Why is it so?"}],
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_repeated_prompt_may_be_a_chat_or_end_in_white_space(prompt: Any) -> None:
    answers = {"chosen": "Why is it so? Because.", "rejected": "Why is it so? No."}
    (pair,) = tm.read([{"prompt": prompt, **answers}])
    assert isinstance(pair, Comparison)
    assert (pair.chosen, pair.rejected) == ("Because.", "No.")
    rows = []
    for number in range(4):
        text = f"Why is it so? Because {number}."
        rows.append({"prompt": prompt, "text": text, "stars": number})
    judgements, shown = reported(rows)
    assert judgements[0].texts == ("Because 0.",)
    assert "text=text (without the prompt it begins with)" in str(shown)
