"""What a GPT is trained on: every kind of source, streamed."""

import gzip
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documented import files_of, refused, rows_of, texts

from tastemaker.data import Columns, Comparison, Example, Label, Message, to_row
from tastemaker.errors import DataError, UsageError
from tastemaker.gpt import PLAYGROUND_REVIEWS, documents
from tastemaker.playground import reviews

REVIEWS = {
    "train/neg/0_3.txt": "Dull.",
    "train/pos/0_9.txt": "Grand.",
    "train/unsup/0_0.txt": "Who knows?",
    "test/neg/0_2.txt": "Awful.",
    "test/pos/0_10.txt": "Superb.",
}


def chat(*turns: str) -> list[dict[str, str]]:
    """The user and the assistant in turn."""
    return [
        {"role": ("user", "assistant")[place % 2], "content": turn}
        for place, turn in enumerate(turns)
    ]


# --- what `read` opens


def test_aclimdb_gives_all_that_is_not_for_testing(tmp_path: Path) -> None:
    folder = files_of(tmp_path / "aclImdb", REVIEWS)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as packed:
        packed.add(folder, "aclImdb")
    for source in (folder, tmp_path, tmp_path / "a.tar.gz", str(folder)):
        assert list(documents(source)) == [
            Example("Dull."),
            Example("Grand."),
            Example("Who knows?"),
        ]
        assert texts(source, split="unsup") == ["Who knows?"]
        assert texts(source, split="test+unsup") == ["Awful.", "Superb.", "Who knows?"]
        assert "no split 'unsop'; aclImdb has train, test, unsup" in refused(
            source, split="train+unsop"
        )
    assert "a name is missing" in refused(folder, UsageError, split="train+")
    assert "is no table of the format 'hh'" in refused(folder, UsageError, format="hh")


def test_a_wrong_split_is_said_before_anything_is_read(tmp_path: Path) -> None:
    folder = files_of(tmp_path / "aclImdb", REVIEWS)
    with pytest.raises(DataError, match="'unsop'"):
        documents(folder, split="train+unsop")


def test_tables_with_a_text(tmp_path: Path) -> None:
    rows = [{"text": "One.", "label": 1}, {"text": "Two.", "label": 0}]
    expected = [Example("One."), Example("Two.")]
    assert list(documents(rows_of(tmp_path / "r.jsonl", rows))) == expected
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
    assert list(documents(tmp_path / "r.parquet")) == expected
    for name, comma in (("r.csv", ","), ("r.tsv", "\t")):
        (tmp_path / name).write_text(f"text{comma}note\nOne.{comma}x\nTwo.{comma}y\n")
        assert list(documents(tmp_path / name)) == expected
        assert texts(tmp_path / name, columns=Columns(text="note")) == ["x", "y"]
    (tmp_path / "r.jsonl.gz").write_bytes(
        gzip.compress((tmp_path / "r.jsonl").read_bytes())
    )
    assert list(documents(tmp_path / "r.jsonl.gz")) == expected
    assert "one table has no splits" in refused(
        tmp_path / "r.jsonl", UsageError, split="train"
    )


def test_prompts_and_completions(tmp_path: Path) -> None:
    plain_rows = [{"prompt": "Say hi.", "completion": "Hi."}]
    assert list(documents(rows_of(tmp_path / "p.jsonl", plain_rows))) == [
        Example("Hi.", "Say hi.")
    ]
    turns = [
        {
            "prompt": chat("Say hi."),
            "completion": [{"role": "assistant", "content": "Hi."}],
        }
    ]
    assert list(documents(rows_of(tmp_path / "c.jsonl", turns))) == [
        Example("Hi.", (Message("user", "Say hi."),))
    ]


def test_chats_give_every_turn_of_the_assistant(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "messages": chat("Hi", "Hello!", "Bye", "See you."),
            "prompt": "Hi",
            "source": "x",
        },
        {"messages": [{"role": "assistant", "content": "I begin."}]},
    ]
    hi, hello, bye = (
        Message("user", "Hi"),
        Message("assistant", "Hello!"),
        Message("user", "Bye"),
    )
    expected = [
        Example("Hello!", (hi,)),
        Example("See you.", (hi, hello, bye)),
        Example("I begin."),
    ]
    assert list(documents(rows_of(tmp_path / "c.jsonl", rows))) == expected
    pq.write_table(
        pa.Table.from_pylist([{"messages": row["messages"]} for row in rows]),
        tmp_path / "c.parquet",
    )
    assert list(documents(tmp_path / "c.parquet")) == expected


def test_a_text_column_comes_before_chats(tmp_path: Path) -> None:
    path = rows_of(
        tmp_path / "c.jsonl", [{"messages": chat("Hi", "Hello!"), "text": "One."}]
    )
    assert texts(path) == ["One."]
    assert texts(path, columns=Columns(text="messages")) == ["Hello!"]


def test_chats_without_an_answer_are_named(tmp_path: Path) -> None:
    path = rows_of(
        tmp_path / "c.jsonl",
        [{"messages": chat("Hi", "Hello!")}, {"messages": chat("Hi")}],
    )
    assert refused(path).startswith(
        "c.jsonl:2: no turn of an assistant in column 'messages'"
    )
    skipped: list[DataError] = []
    assert texts(path, skip_bad=skipped) == ["Hello!"]
    assert len(skipped) == 1


def test_only_what_was_chosen_is_imitated(tmp_path: Path) -> None:
    pairs = [
        {"prompt": "Q", "chosen": "good", "rejected": "bad"},
        {"prompt": "Q", "chosen": "fine", "rejected": "poor"},
    ]
    assert list(documents(rows_of(tmp_path / "p.jsonl", pairs))) == [
        Example("good", "Q"),
        Example("fine", "Q"),
    ]
    ranked = [
        {
            "prompt": "Q",
            "answers": [
                {"answer": text, "rank": rank}
                for text, rank in (("c", 2), ("a", 1), ("b", 1))
            ],
        }
    ]
    assert texts(rows_of(tmp_path / "n.jsonl", ranked)) == ["a", "b"]
    best = [{"query": "Q", "sample0": "x", "sample1": "y", "best": 1}]
    assert texts(rows_of(tmp_path / "b.jsonl", best)) == ["y"]
    turns = [{"chosen": chat("Q", "good"), "rejected": chat("Q", "bad")}]
    assert list(documents(rows_of(tmp_path / "t.jsonl", turns))) == [
        Example("good", (Message("user", "Q"),))
    ]
    dialogues = [
        {name: f"\n\nHuman: Q\n\nAssistant: {name}" for name in ("chosen", "rejected")}
    ]
    assert list(documents(rows_of(tmp_path / "h.jsonl", dialogues))) == [
        Example("chosen", "\n\nHuman: Q\n\nAssistant:")
    ]
    labelled = [
        {"prompt": "Q", "completion": "yes", "label": True},
        {"prompt": "Q", "completion": "no", "label": False},
    ]
    assert list(documents(rows_of(tmp_path / "k.jsonl", labelled))) == [
        Example("yes", "Q"),
        Example("no", "Q"),
    ]


@pytest.mark.parametrize(
    ("votes", "best"),
    [
        ((1, 1, 2), ["x"]),
        ((2, 0, 2), ["y"]),
        ((1, 0, 2), ["x", "y"]),
        ((0, 0, 0), ["x", "y"]),
    ],
)
def test_of_votes_the_majority_counts(
    tmp_path: Path, votes: tuple[int, ...], best: list[str]
) -> None:
    row = {"instruction": "Q", "input": "", "response1": "x", "response2": "y"}
    voted = row | {f"annotator{number}": vote for number, vote in enumerate(votes, 1)}
    assert sorted(texts(rows_of(tmp_path / "v.jsonl", [voted]))) == best


def test_our_own_rows_of_several_kinds(tmp_path: Path) -> None:
    rows = [
        to_row(Label("one", False)),
        to_row(Comparison("good", "bad")),
        to_row(Comparison("a", "b", tie=True)),
    ]
    assert texts(rows_of(tmp_path / "own.jsonl", rows)) == ["one", "good", "a", "b"]


def test_a_hub_name_and_folders_of_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip(
        "datasets", reason="the extra `hub` is not installed"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    train, test = ([{"messages": chat("Hi", answer)}] for answer in ("Hello!", "What?"))
    both = datasets.DatasetDict(
        train=datasets.Dataset.from_list(train), test=datasets.Dataset.from_list(test)
    )
    both.save_to_disk(tmp_path / "saved")
    assert texts(tmp_path / "saved") == ["Hello!"]
    assert texts(tmp_path / "saved", split="test+train") == ["What?", "Hello!"]
    (tmp_path / "repository").mkdir()
    rows_of(tmp_path / "repository/train.jsonl", train)
    (tmp_path / "repository/README.md").write_text("# What this is")
    assert texts(tmp_path / "repository") == ["Hello!"]
    monkeypatch.setattr(datasets, "load_dataset", lambda name, split: both[split])
    monkeypatch.chdir(tmp_path)
    assert texts("org/name", split="train+test") == ["Hello!", "What?"]


def test_bad_rows_are_named_or_skipped(tmp_path: Path) -> None:
    path = rows_of(
        tmp_path / "r.jsonl",
        [{"text": "One."}, {"text": " "}, {"text": 3}, {"text": "Two."}],
    )
    assert refused(path).startswith("r.jsonl:2: the text in column 'text' is empty.")
    skipped: list[DataError] = []
    assert texts(path, skip_bad=skipped) == ["One.", "Two."]
    assert [str(error).split(":")[1] for error in skipped] == ["2", "3"]
    assert "not one of 1 rows can be read; b.jsonl:1: " in refused(
        rows_of(tmp_path / "b.jsonl", [{"text": ""}]), skip_bad=[]
    )


# --- the playground, and what is no source


def test_the_playground_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert texts("playground:en:50") == reviews(50)
    assert texts("playground:zh:40") == reviews(40, language="zh")
    assert texts("playground:mixed:30") == reviews(30, language="mixed")
    assert PLAYGROUND_REVIEWS == 40_000
    monkeypatch.setattr("tastemaker.gpt.text_sources.PLAYGROUND_REVIEWS", 60)
    assert texts("playground") == reviews(60)
    assert "no language 'fr'" in refused("playground:fr", UsageError)
    assert "'many' is no number of reviews" in refused("playground:en:many", UsageError)
    assert "'0' is no number of reviews" in refused("playground:en:0", UsageError)
    assert "no splits" in refused("playground", UsageError, split="train")
    files_of(tmp_path / "playground", {"a.txt": "A file of my own."})
    assert texts("playground") == ["A file of my own."]


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_nothing_in_it(tmp_path: Path, text: str) -> None:
    path = files_of(tmp_path / "texts", {"a.txt": text}) / "a.txt"
    for source in (path, path.parent):
        assert refused(source) == f"{source}: no text in it."


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no text in it. The texts and tables of a folder end in .txt" in refused(
        tmp_path / "empty"
    )
    assert "no such file" in refused(tmp_path / "absent.txt")
    assert "no such file" in refused(tmp_path / "absent.jsonl")
    path = files_of(tmp_path, {"a.txt": "One.", "a.log": "One."}) / "a.txt"
    assert "Texts end in .txt, .text, .md, tables in .jsonl" in refused(
        path.with_suffix(".log")
    )
    assert "no splits" in refused(path, UsageError, split="train")
    assert "no table of the format 'hh'" in refused(path, UsageError, format="hh")
    assert "one document is a file, a paragraph, a line" in refused(
        path, UsageError, each="word"
    )
    (tmp_path / "b.txt").write_bytes(b"one\ntwo\ncaf\xe9\n")
    assert f"{tmp_path / 'b.txt'}:3: not UTF-8" in refused(tmp_path / "b.txt")
    (tmp_path / "c.txt").write_bytes("电".encode()[:2])
    assert f"{tmp_path / 'c.txt'}:1: not UTF-8" in refused(tmp_path / "c.txt")


@pytest.mark.slow
def test_the_real_archive(shared_data: Path) -> None:
    lengths = Counter(
        bool(example.text.strip())
        for example in documents(shared_data / "aclImdb.tar.gz")
    )
    assert lengths == {True: 75_000}
