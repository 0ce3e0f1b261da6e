"""What is wrong with a bad row of a published format, and how dialogues are split."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_rows import (
    ALPACA,
    ARENA,
    BEST,
    HELPSTEER,
    HELPSTEER3,
    HH,
    KTO,
    MQM,
    NECTAR,
    NEMO,
    PANDALM,
    REWARDBENCH,
    SHP,
    TRL,
    TRL_CHAT,
    WEBGPT,
    Row,
    turns,
    write,
)

from tastemaker.data import (
    ASSISTANT,
    read,
    split_dialogues,
)
from tastemaker.errors import DataError

BAD: dict[str, tuple[Row, Row, str]] = {
    "itself": (TRL, {"rejected": "a"}, "compares a text with itself ('a')"),
    "itself, hh": (HH, {"rejected": HH["chosen"]}, "compares a text with itself ('a')"),
    "itself, chat": (
        TRL_CHAT,
        {"rejected": TRL_CHAT["chosen"]},
        "compares a text with itself ('a')",
    ),
    "itself, arena": (
        ARENA,
        {"prompt": ["Q"], "response_a": ["a"], "response_b": ["a"]},
        "compares a text with itself ('a')",
    ),
    "bool": (
        TRL,
        {"chosen": True},
        "column 'chosen' holds True (bool) where a text belongs",
    ),
    "role": (
        TRL_CHAT,
        {"chosen": [{"role": 1, "content": "a"}]},
        "column 'chosen, message 1, role' holds 1 (int)",
    ),
    "content": (
        TRL_CHAT,
        {"chosen": [{"role": "user", "content": None}]},
        "no text in column 'chosen, message 1, content'",
    ),
    "no messages": (
        TRL_CHAT,
        {"chosen": []},
        "column 'chosen' holds [] where a list of messages belongs",
    ),
    "chats of nothing in common": (
        TRL_CHAT,
        {"chosen": turns("R", "a")},
        "share no turns that an assistant's turn follows",
    ),
    "another prompt": (
        {"prompt": "Q", **TRL_CHAT},
        {"prompt": "Z"},
        "the text in column 'prompt' is in none of the turns",
    ),
    "no prefix": (
        HH,
        {"rejected": "\n\nHuman: R\n\nAssistant: b"},
        "the two dialogues share no turn up to",
    ),
    "helpsteer": (
        HELPSTEER,
        {"helpfulness": 5},
        "column 'helpfulness' holds 5, outside the scale of 0 to 4",
    ),
    "helpsteer3": (
        HELPSTEER3,
        {"overall_preference": 4},
        "holds 4, outside the scale of -3 to 3",
    ),
    "helpsteer3, nothing": (
        HELPSTEER3,
        {"overall_preference": None},
        "nothing in column 'overall_preference'",
    ),
    "webgpt": (WEBGPT, {"score_0": "inf"}, "not a finite number"),
    "shp": (SHP, {"labels": 2}, "column 'labels' holds 2"),
    "arena, two winners": (
        ARENA,
        {"winner_tie": 1},
        "one of the three winners must be 1",
    ),
    "arena, turns": (
        ARENA,
        {"prompt": '["Q"]', "response_a": '["a", "c"]', "response_b": '["b"]'},
        "1 turns in column",
    ),
    "pandalm": (
        PANDALM,
        {"response1": False},
        "column 'response1' holds False (bool) where a text belongs",
    ),
    "pandalm, vote": (
        PANDALM,
        {"annotator2": 3},
        "column 'annotator2' holds 3",
    ),
    "nemo, null": (
        NEMO,
        {"completions": [{"rank": None, "completion": "a"}]},
        "the rank None is unknown",
    ),
    "nemo, half": (
        NEMO,
        {"completions": [{"rank": 0.5, "completion": "a"}]},
        "the rank 0.5 is unknown",
    ),
    "nemo, one": (
        NEMO,
        {"completions": [{"rank": 0, "completion": "a"}]},
        "a ranking of 1 answers",
    ),
    "nemo, none": (
        NEMO,
        {"completions": ["a"]},
        "item 1 of column 'completions' is 'a' where an object belongs",
    ),
    "nectar": (
        NECTAR,
        {"answers": [{"answer": "a", "rank": 0}]},
        "the rank 0 is unknown",
    ),
    "nectar, twice": (
        NECTAR,
        {"answers": [{"answer": "a", "rank": 1}, {"answer": "a", "rank": 2}]},
        "holds an answer twice ('a')",
    ),
    "alpaca, one": (ALPACA, {"output": ["a"]}, "a ranking of 1 answers"),
    "alpaca, twice": (
        ALPACA,
        {"output": ["a", "b", "a"]},
        "holds an answer twice ('a')",
    ),
    "alpaca, history": (
        {**ALPACA, "history": []},
        {"history": ["P"]},
        "where [question, answer] belongs",
    ),
    "best": (BEST, {"best": 3}, "column 'best' holds 3; the samples are 0, 1, 2"),
    "best, no number": (
        BEST,
        {"best": "first"},
        "column 'best' holds 'first'; the samples are 0, 1, 2",
    ),
    "mqm": (
        MQM,
        {"candidates": [{"text": "a", "mqm_penalty": None}]},
        "no value in column 'mqm_penalty'",
    ),
    "mqm, one": (
        MQM,
        {"candidates": [MQM["candidates"][0], MQM["candidates"][2]]},
        "all candidates are one text ('b')",
    ),
    "rewardbench": (
        REWARDBENCH,
        {"rejected": []},
        "no completion in column 'rejected'",
    ),
    "rewardbench, twice": (
        REWARDBENCH,
        {"rejected": ["a"]},
        "holds an answer twice ('a')",
    ),
    "kto": (KTO, {"label": None}, "nothing in column 'label'"),
    "kto, both": (
        KTO,
        {"label": "maybe"},
        "column 'label' holds 'maybe'; the labels are",
    ),
}


SAY_NOTHING = {
    case
    for case, (_, _, problem) in BAD.items()
    if problem.startswith(
        (
            "compares a text",
            "a ranking of 1",
            "holds an answer twice",
            "all candidates",
            "nothing in column",
        )
    )
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_one_line_with_its_place(tmp_path: Path, case: str) -> None:
    row, changed, problem = BAD[case]
    path = write(tmp_path / "r.jsonl", row, {**row, **changed})
    skipped: list[DataError] = []
    judgements = read(path, skip_bad=skipped)
    (error,) = skipped
    assert str(error).startswith("r.jsonl:2: ")
    assert problem in str(error)
    assert "\n" not in str(error)
    if case in SAY_NOTHING:
        assert read(path) == judgements
    else:
        with pytest.raises(DataError) as caught:
            read(path)
        assert "(the format '" in str(error)
        message = str(error).removesuffix(")")
        assert str(caught.value) == f"{message}; --skip-bad leaves such rows out)"
    assert judgements == read(write(tmp_path / "r.jsonl", row))


LINES = st.text(st.sampled_from("ab \n:") | st.characters(codec="utf-8"))
TAGS = st.sampled_from(["\n\nHuman:", ASSISTANT, " "])
DIALOGUES = st.lists(LINES | TAGS, max_size=6).map("".join)


@given(DIALOGUES, DIALOGUES, DIALOGUES)
def test_a_prompt_and_its_completions_make_the_dialogues_again(
    start: str, one: str, other: str
) -> None:
    start = f"\n\nHuman: {start}{ASSISTANT}"
    dialogues = start + one, start + other
    prompt, *completions = split_dialogues(*dialogues)
    assert prompt.startswith(start)
    assert prompt.endswith(ASSISTANT)
    for dialogue, completion in zip(dialogues, completions, strict=True):
        assert dialogue in (prompt + completion, f"{prompt} {completion}")
    # as long as it can be: no Assistant turn begins in both completions at one place, after equal
    # text
    shared = next(
        (at for at, (a, b) in enumerate(zip(*dialogues, strict=False)) if a != b),
        min(map(len, dialogues)),
    )
    assert ASSISTANT not in dialogues[0][len(prompt) - len(ASSISTANT) + 1 : shared]
