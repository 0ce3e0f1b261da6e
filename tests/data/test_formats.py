"""Every published shape of a row, by hand: what it becomes, and what is wrong with a bad one."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tastemaker.data import (
    ASSISTANT,
    FORMATS,
    Comparison,
    Grade,
    Item,
    Judgement,
    Label,
    Message,
    Ranking,
    items,
    read,
    split_dialogues,
    table,
)
from tastemaker.errors import DataError

Row = dict[str, Any]


def turns(*contents: str) -> list[dict[str, str]]:
    """Messages, the user's first."""
    return [
        {"role": ("user", "assistant")[at % 2], "content": content}
        for at, content in enumerate(contents)
    ]


def chat(*contents: str) -> tuple[Message, ...]:
    return tuple(Message(turn["role"], turn["content"]) for turn in turns(*contents))


ARENA = {
    "prompt": "Q",
    "response_a": "a",
    "response_b": "b",
    "winner_model_a": 0,
    "winner_model_b": 1,
    "winner_tie": 0,
}
HELPSTEER3 = {
    "context": turns("Q"),
    "response1": "a",
    "response2": "b",
    "overall_preference": -2,
    "language": "en",
}
WEBGPT = {
    "question": {"full_text": "Q", "id": "7"},
    "answer_0": "a",
    "answer_1": "b",
    "score_0": 0.5,
    "score_1": -0.5,
}
SHP = {
    "history": "Q",
    "human_ref_A": "a",
    "human_ref_B": "b",
    "labels": 1,
    "score_ratio": 3.5,
    "score_A": 7,
    "score_B": 2,
}
PANDALM = {
    "instruction": "Q",
    "input": "",
    "response1": "a",
    "response2": "b",
    "annotator1": 2,
    "annotator2": 0,
}
NEMO = {
    "context": turns("Q"),
    "completions": [
        {"rank": 1, "completion": "b"},
        {"rank": 0, "completion": turns("", "a")[1:]},
    ],
}
NECTAR = {
    "prompt": "\n\nHuman: Q\n\nAssistant: ",
    "answers": [
        {"answer": "c", "model": "m", "rank": 5.0},
        {"answer": "a", "rank": 1.0},
        {"answer": "b", "rank": 5.0},
    ],
    "turns": 1,
    "good_natured": True,
}
ALPACA = {"instruction": "Q", "input": "", "output": ["a", "b", "c"]}
BEST = {"query": "Q", "sample0": "a", "sample1": "b", "sample2": "c", "best": 1}
MQM = {
    "source": "Q",
    "candidates": [
        {"system": "x", "text": "b", "mqm_penalty": 1.0, "n_raters": 1},
        {"system": "y", "text": "a", "mqm_penalty": 0, "n_raters": 1},
        {"system": "z", "text": "b", "mqm_penalty": 2.0, "n_raters": 1},
        {"system": "w", "text": "c", "mqm_penalty": 1.5, "n_raters": 1},
    ],
}
REWARDBENCH = {
    "id": 7,
    "prompt": "Q",
    "chosen": ["a", "b"],
    "rejected": ["c", "d"],
    "num_correct": 2,
    "total_completions": 4,
    "subset": "Ties",
}
HH = {
    "chosen": "\n\nHuman: Q\n\nAssistant: a",
    "rejected": "\n\nHuman: Q\n\nAssistant: b",
}
TRL = {"prompt": "Q", "chosen": "a", "rejected": "b"}
TRL_CHAT = {"chosen": turns("Q", "a"), "rejected": turns("Q", "b")}
KTO = {"prompt": "Q", "completion": "a", "label": True}
HELPSTEER = {
    "prompt": "Q",
    "response": "a",
    "helpfulness": 3,
    "correctness": 4,
    "coherence": 4,
    "verbosity": 1,
}
A_OVER_B = Comparison("a", "b", prompt="Q")
CHAT = chat("Q")

GOOD: dict[str, tuple[str, Row, list[Judgement]]] = {
    "trl": ("preference", TRL, [A_OVER_B]),
    "trl without a prompt": (
        "preference",
        {"chosen": "a", "rejected": "b"},
        [Comparison("a", "b")],
    ),
    "trl with a margin": (
        "preference",
        {**TRL, "margin": 1.5},
        [Comparison("a", "b", 1.5, prompt="Q")],
    ),
    "trl, an empty answer": (
        "preference",
        {**TRL, "rejected": ""},
        [Comparison("a", "", prompt="Q")],
    ),
    "trl chat": ("preference", TRL_CHAT, [Comparison("a", "b", prompt=CHAT)]),
    "trl chat, longer": (
        "preference",
        {"chosen": turns("Q", "z", "R", "a"), "rejected": turns("Q", "z", "R", "b")},
        [Comparison("a", "b", prompt=chat("Q", "z", "R"))],
    ),
    "trl chat, the prompt apart": (
        "preference",
        {
            "prompt": turns("Q"),
            "chosen": turns("", "a")[1:],
            "rejected": turns("", "b")[1:],
        },
        [Comparison("a", "b", prompt=CHAT)],
    ),
    "trl chat, the prompt twice": (
        "preference",
        {"prompt": turns("Q"), **TRL_CHAT},
        [Comparison("a", "b", prompt=CHAT)],
    ),
    "trl chat, the prompt as a text too": (
        "preference",
        {"prompt": "Q", **TRL_CHAT},
        [Comparison("a", "b", prompt=CHAT)],
    ),
    "trl chat, parting early": (
        "preference",
        {"chosen": turns("Q", "a", "R", "c"), "rejected": turns("Q", "b")},
        [Comparison("a\n\nuser: R\n\nassistant: c", "b", prompt=CHAT)],
    ),
    "trl chat, parting at the user": (
        "preference",
        {"chosen": turns("Q", "z", "R", "a"), "rejected": turns("Q", "z", "S", "b")},
        [
            Comparison(
                "z\n\nuser: R\n\nassistant: a",
                "z\n\nuser: S\n\nassistant: b",
                prompt=CHAT,
            )
        ],
    ),
    "hh": ("hh", HH, [Comparison("a", "b", prompt="\n\nHuman: Q\n\nAssistant:")]),
    "helpsteer": ("helpsteer", HELPSTEER, [Grade("a", 3, 0, 4, prompt="Q")]),
    "helpsteer3": ("helpsteer3", HELPSTEER3, [Comparison("a", "b", 2, prompt=CHAT)]),
    "helpsteer3, second": (
        "helpsteer3",
        {**HELPSTEER3, "overall_preference": 3},
        [Comparison("b", "a", 3, prompt=CHAT)],
    ),
    "helpsteer3, tie": (
        "helpsteer3",
        {**HELPSTEER3, "overall_preference": 0},
        [Comparison("a", "b", tie=True, prompt=CHAT)],
    ),
    "webgpt": ("webgpt", WEBGPT, [Comparison("a", "b", 1, prompt="Q")]),
    "webgpt, flat": (
        "webgpt",
        {
            **{k: v for k, v in WEBGPT.items() if k != "question"},
            "question.full_text": "Q",
            "score_0": -1,
        },
        [Comparison("b", "a", 0.5, prompt="Q")],
    ),
    "webgpt, tie": (
        "webgpt",
        {**WEBGPT, "score_0": -0.5},
        [Comparison("a", "b", tie=True, prompt="Q")],
    ),
    "shp": ("shp", SHP, [A_OVER_B]),
    "shp, second": ("shp", {**SHP, "labels": 0}, [Comparison("b", "a", prompt="Q")]),
    "arena": (
        "arena",
        {**ARENA, "judge": "arena_user_7"},
        [Comparison("b", "a", prompt="Q", judge="arena_user_7")],
    ),
    "arena, tie": (
        "arena",
        {**ARENA, "winner_model_b": 0, "winner_tie": 1},
        [Comparison("a", "b", tie=True, prompt="Q")],
    ),
    "arena, one turn": (
        "arena",
        {**ARENA, "prompt": '["Q"]', "response_a": '["a"]', "response_b": "[null]"},
        [Comparison("", "a", prompt=CHAT)],
    ),
    "arena, two turns": (
        "arena",
        {
            **ARENA,
            "prompt": ["Q", "R"],
            "response_a": ["z", "a"],
            "response_b": ["z", "b"],
        },
        [Comparison("b", "a", prompt=chat("Q", "z", "R"))],
    ),
    "pandalm": (
        "pandalm",
        {**PANDALM, "input": "I"},
        [
            Comparison("b", "a", prompt="Q\n\nI", judge="annotator1"),
            Comparison("a", "b", tie=True, prompt="Q\n\nI", judge="annotator2"),
        ],
    ),
    "nemo": ("nemo", NEMO, [Ranking(("a", "b"), prompt=CHAT)]),  # type: ignore[arg-type]
    "nemo, plain": (
        "nemo",
        {
            "context": "Q",
            "completions": [
                {"rank": 0, "completion": "a"},
                {"rank": 0, "completion": "b"},
            ],
        },
        [Ranking((("a", "b"),), prompt="Q")],
    ),
    "nemo, as columns": (
        "nemo",
        {"context": "Q", "completions": {"rank": [3, 0], "completion": ["b", "a"]}},
        [Ranking((("a",), ("b",)), prompt="Q")],
    ),
    "nectar": (
        "nectar",
        NECTAR,
        [Ranking((("a",), ("c", "b")), prompt=NECTAR["prompt"])],
    ),  # type: ignore[arg-type]
    "alpaca": ("alpaca", ALPACA, [Ranking((("a",), ("b",), ("c",)), prompt="Q")]),
    "alpaca, input": (
        "alpaca",
        {**ALPACA, "input": "I"},
        [Ranking((("a",), ("b",), ("c",)), prompt="Q\n\nI")],
    ),
    "alpaca chat": (
        "alpaca",
        {**ALPACA, "history": [["P", "p"]]},
        [Ranking((("a",), ("b",), ("c",)), prompt=chat("P", "p", "Q"))],
    ),
    "alpaca chat that begins": (
        "alpaca",
        {**ALPACA, "history": [], "system": "S"},
        [Ranking((("a",), ("b",), ("c",)), prompt=(Message("system", "S"), *CHAT))],
    ),
    "best of k": ("best-of-k", BEST, [Ranking((("b",),), ("a", "c"), prompt="Q")]),
    "mqm": ("mqm", MQM, [Ranking((("a",), ("b", "c")), prompt="Q")]),
    "rewardbench": (
        "rewardbench",
        REWARDBENCH,
        [Ranking((("a", "b"),), ("c", "d"), prompt="Q")],
    ),
    "kto": ("kto", KTO, [Label("a", True, prompt="Q")]),
    "kto chat": (
        "kto",
        {**KTO, "prompt": turns("Q"), "completion": turns("", "a")[1:]},
        [Label("a", True, prompt=CHAT)],
    ),
    "own": (
        "judgements",
        {"kind": "comparison", "prompt": "Q", "chosen": "a", "rejected": "b"},
        [A_OVER_B],
    ),
}


def write(path: Path, *found: Row) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return path


@pytest.mark.parametrize("case", GOOD)
def test_a_row_is_recognised_and_read(tmp_path: Path, case: str) -> None:
    name, row, expected = GOOD[case]
    path = write(tmp_path / "r.jsonl", row)
    assert read(path) == expected
    assert read(path, format=name) == expected
    assert {judgement.where for judgement in read(path)} == {"r.jsonl:1"}
    kinds = FORMATS[name].kinds
    assert all(isinstance(judgement, kinds) for judgement in expected)


def test_every_format_has_a_row_here() -> None:
    assert {name for name, _, _ in GOOD.values()} == set(FORMATS)


def test_who_when_and_how_much_in_every_format(tmp_path: Path) -> None:
    for case, (name, row, _) in GOOD.items():
        problem = {"time": "2024-01-31T12:00:00+00:00", "weight": 0.5, "judge": "ann"}
        for judgement in read(write(tmp_path / f"{name}.jsonl", {**row, **problem})):
            assert judgement.weight == 0.5, case
            assert judgement.time is not None, case
            assert judgement.judge == "ann" or name == "pandalm", case
            assert judgement.source == (
                "Ties" if name == "rewardbench" else f"{name}.jsonl"
            )


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
    "margin": (TRL, {"margin": -1}, "the margin is -1"),
    "margin that is none": (
        TRL,
        {"margin": "far"},
        "column 'margin' holds 'far', which is not a number",
    ),
    "bool": (
        TRL,
        {"chosen": True},
        "column 'chosen' holds True (bool) where a text belongs",
    ),
    "judge": (TRL, {"judge": "  "}, "the judge's name is empty"),
    "no name": (TRL, {"judge": ""}, "the judge's name is empty"),
    "weight": (TRL, {"weight": -1}, "the weight is -1"),
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
        "no value in column 'overall_preference'",
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
    "kto": (KTO, {"label": None}, "no value in column 'label'"),
    "kto, both": (
        KTO,
        {"label": "maybe"},
        "column 'label' holds 'maybe'; the labels are",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_one_line_with_its_place(tmp_path: Path, case: str) -> None:
    row, changed, problem = BAD[case]
    path = write(tmp_path / "r.jsonl", row, {**row, **changed})
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith("r.jsonl:2: ")
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
    skipped: list[DataError] = []
    assert read(path, skip_bad=skipped) == read(write(tmp_path / "r.jsonl", row))
    assert [str(error) for error in skipped] == [str(caught.value)]


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


def test_items_of_rewardbench(tmp_path: Path) -> None:
    found = items(
        table(
            write(
                tmp_path / "r.jsonl",
                REWARDBENCH,
                {"prompt": "Q", "chosen": ["a"], "rejected": [3]},
            )
        )
    )
    assert next(found) == Item("Q", ("a", "b"), ("c", "d"), "Ties", "7")
    with pytest.raises(
        DataError,
        match=r"r\.jsonl:2: column 'rejected' holds 3 \(int\) where a text belongs",
    ):
        next(found)


def test_an_equal_mean_penalty_is_a_tie(tmp_path: Path) -> None:
    # three raters' means 8/3 and 4 of one text are together 10/3, which is published of another
    # text
    given = [("b", 2.6667), ("b", 4.0), ("a", 3.3333), ("c", 3.3667)]
    candidates = [{"text": text, "mqm_penalty": penalty} for text, penalty in given]
    path = write(tmp_path / "r.jsonl", {"source": "Q", "candidates": candidates})
    assert read(path) == [Ranking((("b", "a"), ("c",)), prompt="Q")]
