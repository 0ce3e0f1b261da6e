"""Every published shape of a row, by hand: what it becomes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from published_rows import (
    A_OVER_B,
    ALPACA,
    ARENA,
    BEST,
    CHAT,
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
    chat,
    turns,
    write,
)

from tastemaker.data import (
    FORMATS,
    BenchRow,
    Comparison,
    Grade,
    Judgement,
    Label,
    Message,
    Ranking,
    items,
    read,
    table,
)
from tastemaker.errors import DataError

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
    "helpsteer3": (
        "helpsteer3",
        HELPSTEER3,
        [Comparison("a", "b", 2, prompt=CHAT, chosen_first=True)],
    ),
    "helpsteer3, second": (
        "helpsteer3",
        {**HELPSTEER3, "overall_preference": 3},
        [Comparison("b", "a", 3, prompt=CHAT, chosen_first=False)],
    ),
    "helpsteer3, tie": (
        "helpsteer3",
        {**HELPSTEER3, "overall_preference": 0},
        [Comparison("a", "b", tie=True, prompt=CHAT, chosen_first=True)],
    ),
    "webgpt": (
        "webgpt",
        WEBGPT,
        [Comparison("a", "b", 1, prompt="Q", chosen_first=True)],
    ),
    "webgpt, flat": (
        "webgpt",
        {
            **{k: v for k, v in WEBGPT.items() if k != "question"},
            "question.full_text": "Q",
            "score_0": -1,
        },
        [Comparison("b", "a", 0.5, prompt="Q", chosen_first=False)],
    ),
    "webgpt, tie": (
        "webgpt",
        {**WEBGPT, "score_0": -0.5},
        [Comparison("a", "b", tie=True, prompt="Q", chosen_first=True)],
    ),
    "shp": ("shp", SHP, [A_OVER_B]),
    "shp, second": ("shp", {**SHP, "labels": 0}, [Comparison("b", "a", prompt="Q")]),
    "arena": (
        "arena",
        {**ARENA, "judge": "arena_user_7"},
        [Comparison("b", "a", prompt="Q", judge="arena_user_7", chosen_first=False)],
    ),
    "arena, tie": (
        "arena",
        {**ARENA, "winner_model_b": 0, "winner_tie": 1},
        [Comparison("a", "b", tie=True, prompt="Q", chosen_first=True)],
    ),
    "arena, one turn": (
        "arena",
        {**ARENA, "prompt": '["Q"]', "response_a": '["a"]', "response_b": "[null]"},
        [Comparison("", "a", prompt=CHAT, chosen_first=False)],
    ),
    "arena, two turns": (
        "arena",
        {
            **ARENA,
            "prompt": ["Q", "R"],
            "response_a": ["z", "a"],
            "response_b": ["z", "b"],
        },
        [Comparison("b", "a", prompt=chat("Q", "z", "R"), chosen_first=False)],
    ),
    "pandalm": (
        "pandalm",
        {**PANDALM, "input": "I"},
        [
            Comparison(
                "b", "a", prompt="Q\n\nI", judge="annotator1", chosen_first=False
            ),
            Comparison(
                "a",
                "b",
                tie=True,
                prompt="Q\n\nI",
                judge="annotator2",
                chosen_first=True,
            ),
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
    "best of k": (
        "best-of-k",
        BEST,
        [Ranking((("b",),), ("a", "c"), shown=("a", "b", "c"), prompt="Q")],
    ),
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


@pytest.mark.parametrize("case", GOOD)
def test_a_row_is_recognised_and_read(tmp_path: Path, case: str) -> None:
    name, row, expected = GOOD[case]
    path = write(tmp_path / "r.jsonl", row)
    assert read(path) == expected
    assert read(path, format=name) == expected
    assert {judgement.where for judgement in read(path)} == {"r.jsonl:1"}
    kinds = FORMATS[name].kinds
    assert all(isinstance(judgement, kinds) for judgement in expected)


def test_every_row_here_has_a_format() -> None:
    # test_published_layouts.py has a row of every format
    assert {name for name, _, _ in GOOD.values()} <= set(FORMATS)


def test_who_when_and_how_much_in_every_format(tmp_path: Path) -> None:
    for case, (name, row, _) in GOOD.items():
        extra = {
            "time": "2024-01-31T12:00:00+00:00",
            "weight": 0.5,
            "sample_weight": 0.5,
            "judge": "ann",
        }
        for judgement in read(write(tmp_path / f"{name}.jsonl", {**row, **extra})):
            assert judgement.weight == 0.5, case
            assert judgement.time is not None, case
            assert judgement.judge == "ann" or name == "pandalm", case
            assert judgement.source == (
                "Ties" if name == "rewardbench" else f"{name}.jsonl"
            )


def test_items_of_rewardbench(tmp_path: Path) -> None:
    rows_as_items = items(
        table(
            write(
                tmp_path / "r.jsonl",
                REWARDBENCH,
                {"prompt": "Q", "chosen": ["a"], "rejected": [3]},
            )
        )
    )
    assert next(rows_as_items) == BenchRow("Q", ("a", "b"), ("c", "d"), "Ties", "7")
    with pytest.raises(
        DataError,
        match=r"^r\.jsonl:2: .*'rejected'.*\b3 \(int\)",
    ):
        next(rows_as_items)


def test_an_equal_mean_penalty_is_a_tie(tmp_path: Path) -> None:
    # three raters' means 8/3 and 4 of one text are together 10/3, which is published of another
    # text
    given = [("b", 2.6667), ("b", 4.0), ("a", 3.3333), ("c", 3.3667)]
    candidates = [{"text": text, "mqm_penalty": penalty} for text, penalty in given]
    path = write(tmp_path / "r.jsonl", {"source": "Q", "candidates": candidates})
    assert read(path) == [Ranking((("b", "a"), ("c",)), prompt="Q")]


def test_one_file_in_the_folder_adds_a_format(tmp_path: Path) -> None:
    """The example of docs/extend.md, put into a copy of the package."""
    root = Path(__file__).resolve().parents[2]
    package = tmp_path / "tastemaker"
    shutil.copytree(
        root / "tastemaker", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    example = (root / "docs" / "examples" / "own_format.py").read_text(encoding="utf-8")
    (package / "data" / "formats" / "votes.py").write_text(
        f"{example}\n\nregister_format(VOTES)\n", encoding="utf-8"
    )
    code = """
import tastemaker as tm
row = {"question": "Q", "first": "a", "second": "b", "votes_first": 1, "votes_second": 3}
print(tm.read([row]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "chosen='b', rejected='a'" in done.stdout
