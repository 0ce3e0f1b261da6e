"""Which shape a table has, files that hold two, and what the settings of `read` do with them."""

import csv
import gzip
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tastemaker.data import (
    FORMATS,
    Columns,
    Comparison,
    Example,
    Grade,
    Label,
    Message,
    Ranking,
    Table,
    read,
    read_examples,
    recognise,
    register_format,
)
from tastemaker.errors import DataError, UsageError

TRL = {"prompt": "Q", "chosen": "a", "rejected": "b"}
HH = {
    "chosen": "\n\nHuman: Q\n\nAssistant: a",
    "rejected": "\n\nHuman: Q\n\nAssistant: b",
}
CHAT = {
    "chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "a"}],
    "rejected": [
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "b"},
    ],
}
ALPACA = {"instruction": "Q", "output": ["a", "b"]}
HELPSTEER = {"prompt": "Q", "response": "a", "helpfulness": 3, "correctness": 1}
PLAIN = {"text": "a", "label": 1}
A_OVER_B = Comparison("a", "b", prompt="Q")


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def refused(path: Path, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'trl'.*\bpreference, hh, .*, table\b"):
        read(write(tmp_path / "r.jsonl", TRL), format="trl")


TWO: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a dialogue, then a pair": (
        [HH, TRL],
        "r.jsonl:2: a row of the format 'preference' in a file of the format 'hh'",
    ),
    "a pair, then a dialogue": (
        [TRL, HH],
        "r.jsonl:2: a row of the format 'hh' in a file of the format 'preference'",
    ),
    "pairs, then a list": (
        [TRL, ALPACA],
        "r.jsonl:2: a row of the format 'alpaca' in a file of the format 'preference'",
    ),
    "both in one row": (
        [TRL, {**TRL, **ALPACA}],
        "r.jsonl:2: a row of the format 'alpaca'",
    ),
    "then labels": (
        [TRL, PLAIN],
        "r.jsonl:2: no column 'chosen', which every row of the format 'preference' has",
    ),
    "labels first": ([PLAIN, TRL], "r.jsonl:1: no column 'chosen'"),
    "our own, then a pair": (
        [{"kind": "label", **PLAIN, "positive": True}, TRL],
        "r.jsonl:2: a row of the format 'pref",
    ),
    "our own of no kind": (
        [{"kind": "label", **PLAIN, "positive": True}, {"kind": "x"}],
        "r.jsonl:2: column 'kind' hol",
    ),
    "labels, long before": (
        [PLAIN] * 200 + [TRL],
        "r.jsonl:201: no text in column 'text'",
    ),
}


@pytest.mark.parametrize("case", TWO)
def test_two_formats_in_one_file(tmp_path: Path, case: str) -> None:
    rows, problem = TWO[case]
    assert problem in refused(write(tmp_path / "r.jsonl", *rows))


def test_chats_and_plain_prompts_in_one_file(tmp_path: Path) -> None:
    chat = {
        "kind": "label",
        "text": "a",
        "positive": True,
        "prompt": [{"role": "user", "content": "Q"}],
    }
    plain, none = {**chat, "prompt": "Q"}, {**chat, "prompt": None}
    assert refused(write(tmp_path / "r.jsonl", none, chat, plain)).startswith(
        "r.jsonl:3: the prompt is a plain text, but that of r.jsonl:2 is a chat."
    )
    assert (
        "r.jsonl:2: the prompt is a chat, but that of r.jsonl:1 is a plain"
        in refused(write(tmp_path / "r.jsonl", TRL, CHAT))
    )
    skipped: list[DataError] = []
    assert (
        len(read(write(tmp_path / "r.jsonl", none, chat, plain), skip_bad=skipped)) == 2
    )
    assert len(skipped) == 1


def test_a_history_in_one_row_makes_chats_of_all(tmp_path: Path) -> None:
    judgements = read(
        write(tmp_path / "r.jsonl", ALPACA, {**ALPACA, "history": [["P", "p"]]})
    )
    user = Message("user", "Q")
    assert [ranking.prompt for ranking in judgements] == [
        (user,),
        (Message("user", "P"), Message("assistant", "p"), user),
    ]


def test_columns_of_two_formats_ask_for_one(tmp_path: Path) -> None:
    both = {**TRL, "answers": [{"answer": "x", "rank": 1}, {"answer": "y", "rank": 2}]}
    path = write(tmp_path / "r.jsonl", both, both)
    assert (
        "r.jsonl: the columns are those of the formats 'preference' and 'nectar'. "
        "Name one (--format)" in refused(path)
    )
    assert read(path, format="preference") == [A_OVER_B] * 2
    assert read(path, format="nectar") == [Ranking((("x",), ("y",)), prompt="Q")] * 2


def test_columns_of_a_format_and_a_plain_table_ask_for_one(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {**TRL, **PLAIN})
    assert "formats 'preference' and 'table'" in refused(path)
    assert read(path, format="table") == [Label("a", True, prompt="Q")]
    assert read(path, columns=Columns(label="label")) == [Label("a", True, prompt="Q")]
    assert read(path, format="preference") == [A_OVER_B]


def test_named_columns_read_a_table(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", HELPSTEER, {**HELPSTEER, "correctness": 4})
    assert read(path) == [Grade("a", 3, 0, 4, prompt="Q")] * 2
    assert read(path, columns=Columns()) == read(path)
    assert read(path, columns=Columns(grade="correctness", scale=(0, 4)))[1] == Grade(
        "a", 4, 0, 4, prompt="Q"
    )
    with pytest.raises(UsageError, match=r"'helpsteer'.*columns"):
        read(path, format="helpsteer", columns=Columns(grade="correctness"))


def test_a_target_that_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", TRL)
    for target in ("label", "rating"):
        with pytest.raises(
            UsageError,
            match=rf"'{target}'.*comparisons",
        ):
            read(path, target=target)  # type: ignore[arg-type]
    judged = write(tmp_path / "o.jsonl", {"kind": "comparison", **TRL})
    with pytest.raises(UsageError, match=r"o\.jsonl: .*'label'"):
        read(judged, target="label")
    assert read(write(tmp_path / "h.jsonl", HELPSTEER), target="rating")[0] == Grade(
        "a", 3, 0, 4, prompt="Q"
    )


def test_bad_rows_of_a_plain_table_can_be_skipped(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl",
        PLAIN,
        {"text": None, "label": 0},
        {"text": "b", "label": 0},
    )
    with path.open("a") as file:
        file.write("{broken\n")
    skipped: list[DataError] = []
    assert read(path, skip_bad=skipped) == [Label("a", True), Label("b", False)]
    assert [str(error)[:10] for error in skipped] == ["r.jsonl:2:", "r.jsonl:4:"]


def test_a_file_of_bad_rows_alone_is_an_error(tmp_path: Path) -> None:
    skipped: list[DataError] = [DataError("from the file before")]
    bad = {**TRL, "rejected": "a"}
    problem = refused(write(tmp_path / "r.jsonl", bad, bad), skip_bad=skipped)
    assert problem.startswith(
        "r.jsonl: not one of 2 rows can be read; r.jsonl:1: compares a text with itself"
    )
    assert len(skipped) == 3


def test_csv_and_gzip_and_an_array(tmp_path: Path) -> None:
    with (tmp_path / "r.csv").open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ["prompt", "chosen", "rejected", "margin", "judge"]
        )
        writer.writeheader()
        writer.writerow({**TRL, "margin": "", "judge": ""})
        writer.writerow({**TRL, "margin": "2", "judge": "ann"})
    expected = [A_OVER_B, Comparison("a", "b", 2, prompt="Q", judge="ann")]
    assert read(tmp_path / "r.csv") == expected
    (tmp_path / "r.json").write_text(
        json.dumps([TRL, {**TRL, "margin": 2, "judge": "ann"}], indent=1)
    )
    (tmp_path / "r.json.gz").write_bytes(
        gzip.compress((tmp_path / "r.json").read_bytes())
    )
    for name in ("r.json", "r.json.gz"):
        assert read(tmp_path / name) == expected
        assert read(tmp_path / name)[1].where == f"{name}:2"


def test_a_dataset_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip(
        "datasets", reason="the extra `hub` is not installed"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.Dataset.from_list([CHAT, CHAT]).save_to_disk(tmp_path / "pairs")
    assert (
        read(tmp_path / "pairs")
        == [Comparison("a", "b", prompt=(Message("user", "Q"),))] * 2
    )
    (tmp_path / "lists").mkdir()
    write(
        tmp_path / "lists/train.jsonl",
        {**ALPACA, "history": [["P", "p"]]},
        {**ALPACA, "history": []},
    )
    assert [len(ranking.prompt or ()) for ranking in read(tmp_path / "lists")] == [3, 1]


def test_arrays_are_lists() -> None:
    row = {
        "query": "Q",
        "sample0": "a",
        "sample1": "b",
        "best": np.int64(1),
        "completions": None,
    }
    lists = {
        "context": "Q",
        "completions": np.array(
            [{"rank": np.int64(0), "completion": "a"}, {"rank": 1, "completion": "b"}]
        ),
    }
    for one, expected in (
        (row, Ranking((("b",),), ("a",), shown=("a", "b"), prompt="Q")),
        (lists, Ranking((("a",), ("b",)), prompt="Q")),
    ):
        reading = recognise(Table("t", lambda one=one: iter([(1, one)])))  # type: ignore[misc]
        assert reading is not None
        assert list(reading.judgements()) == [expected]


def test_texts_alone(tmp_path: Path) -> None:
    votes = {
        "instruction": "Q",
        "response1": "a",
        "response2": "b",
        "annotator1": 1,
        "annotator2": 0,
        "annotator3": 2,
    }
    path = write(tmp_path / "r.jsonl", votes, votes)
    assert read_examples(path) == [Example("a", "Q"), Example("b", "Q")] * 2
    # a table with one text a row needs no judgement of it
    assert read_examples(
        write(tmp_path / "h.jsonl", HELPSTEER, {"prompt": "Q", "response": "b"})
    ) == [
        Example("a", "Q"),
        Example("b", "Q"),
    ]


def test_a_limit_counts_sets_of_texts(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Q", "chosen": f"a{at}", "rejected": f"b{at}"} for at in range(50)
    ]
    path = write(tmp_path / "r.jsonl", *rows, *rows)
    drawn = read(path, limit=10)
    assert len(drawn) == 20
    assert drawn[:10] == drawn[10:]


def test_a_format_of_a_layout_that_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "train/pos").mkdir(parents=True)
    (tmp_path / "train/pos/0_9.txt").write_text("Grand.")
    with pytest.raises(UsageError, match=r"aclImdb.*'hh'"):
        read(tmp_path, format="hh")


def test_the_example_of_an_own_format(tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "docs" / "examples" / "own_format.py"
    example = runpy.run_path(str(path))
    row = {
        "question": "Q",
        "first": "b",
        "second": "a",
        "votes_first": 1,
        "votes_second": 3,
    }
    source = write(tmp_path / "votes.jsonl", row, {**row, "votes_first": "3"})
    # two answers with a number each, of which the example makes weights
    assert [judgement.weight for judgement in read(source)] == [1, 1]
    before = dict(FORMATS)
    try:
        expected = [
            Comparison("a", "b", prompt="Q", weight=4),
            Comparison("b", "a", tie=True, prompt="Q", weight=6),
        ]
        assert (
            example["judgements_of"](source) == expected == read(source, format="votes")
        )
        with pytest.raises(UsageError, match="'votes'"):
            register_format(example["VOTES"])
        with pytest.raises(UsageError, match=r"'x'.*\bpreference, .*, votes, table\b"):
            read(source, format="x")
        bad = write(tmp_path / "bad.jsonl", row, {**row, "votes_first": 0.5})
        with pytest.raises(DataError, match=r"bad\.jsonl:2: .*'votes_first'.*\b0\.5"):
            read(bad)
    finally:
        FORMATS.clear()
        FORMATS.update(before)
