"""The files of users themselves, in the folder beside the checkout: each is read as it means it."""

import shutil
import subprocess
import sys
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.data import Comparison, Message, rows
from tastemaker.errors import DataError
from tastemaker.gpt import documents

WITH_PROMPTS = (
    ("01_pairs_lose_their_prompt", "prompt"),
    ("02_prompt_columns_of_tables", "prompt"),
    ("10_prompt_repeated_in_answers", "prompt"),
    ("22_published_layouts_not_read", ""),
)
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".gz")


def files(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    assert paths, folder
    return paths


@pytest.mark.parametrize(("case", "role"), WITH_PROMPTS)
def test_every_judgement_has_its_prompt(field_data: Path, case: str, role: str) -> None:
    for path in files(field_data / case):
        report: list[tm.ReadAs] = []
        judgements = tm.read(path, report=report)
        assert judgements, path
        assert all(one.prompt for one in judgements), path
        assert role in report[0].roles or not role, path


def test_prompts_of_pairs_are_whole(field_data: Path) -> None:
    folder = field_data / "01_pairs_lose_their_prompt"
    (pair,) = tm.read(folder / "orca_pairs.jsonl")
    assert isinstance(pair.prompt, tuple)
    assert [turn.role for turn in pair.prompt] == ["system", "user"]
    alpaca = tm.read(folder / "alpaca_pairs.jsonl")
    assert all("\n\n" in str(one.prompt) for one in alpaca)
    diagnosis = tm.doctor(alpaca)
    assert not {"duplicates", "contradictions"} & {p.name for p in diagnosis.problems}


def test_texts_of_tables_have_their_prompts_at_every_door(field_data: Path) -> None:
    folder = field_data / "02_prompt_columns_of_tables"
    for path in files(folder):
        prompts = [example.prompt for example in documents(path)]
        assert prompts == [one.prompt for one in tm.read(path)]


def test_how_sure_a_label_is_is_no_judgement(field_data: Path) -> None:
    folder = field_data / "03_label_with_confidence"
    with_confidence = tm.read(folder / "labels_conf.jsonl")
    assert with_confidence == tm.read(folder / "labels_only.jsonl")


@pytest.mark.parametrize(
    ("name", "count"), [("swallowed.tsv", 8), ("refused.tsv", 3), ("backslash.tsv", 2)]
)
def test_quotes_in_tsv_are_characters(field_data: Path, name: str, count: int) -> None:
    path = field_data / "05_tsv_quotes" / name
    judgements = tm.read(path)
    assert len(judgements) == count
    assert not any("\t" in text for one in judgements for text in one.texts)


def test_weights_and_times_of_other_things_are_not_read(field_data: Path) -> None:
    folder = field_data / "06_weight_and_time_columns"
    for path in files(folder):
        assert {one.weight for one in tm.read(path)} == {1.0}, path
    for name in ("twitter", "duration"):
        assert {one.time for one in tm.read(folder / f"{name}.jsonl")} == {None}
    grams, renamed = tm.read(folder / "grams.jsonl"), tm.read(folder / "renamed.jsonl")
    assert grams == renamed


def test_classes_without_an_order_are_refused(field_data: Path) -> None:
    path = field_data / "07_nominal_classes_as_grades" / "nominal3.jsonl"
    with pytest.raises(DataError, match="--order 0,1,2"):
        tm.read(path)


@pytest.mark.parametrize("folder", ["hf3", "encoded"])
def test_words_of_three_classes_are_no_grades(
    field_data: Path, tmp_path: Path, folder: str
) -> None:
    """Three names as ClassLabel, and low/medium/high as `class_encode_column` numbers them."""
    make = field_data / "07_nominal_classes_as_grades" / "make.py"
    subprocess.run([sys.executable, make], cwd=tmp_path, check=True)
    orders = {"hf3": "bearish,bullish,neutral", "encoded": "low,medium,high"}
    with pytest.raises(DataError, match=f"--order {orders[folder]}"):
        tm.read(tmp_path / folder)
    grades = tm.read(tmp_path / folder, order=orders[folder].split(","))
    assert {grade.kind for grade in grades} == {"grade"}


@pytest.mark.parametrize("name", ["deep_list_500.jsonl", "deep_object_900.jsonl"])
def test_the_deep_files_of_users_are_one_line(
    run: Any, field_data: Path, tmp_path: Path, name: str
) -> None:
    path = field_data.parent / "hostile" / name
    code, out, err = run("fit", path, "--out", tmp_path / "out", "-q")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert f"{name}:1: " in err
    assert "100 deep" in err


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("date32_out_of_range.parquet", "when"),
        ("timestamp_out_of_range.parquet", "time"),
    ],
)
def test_the_times_of_users_that_python_has_not_are_read_round(
    field_data: Path, name: str, column: str
) -> None:
    path = field_data.parent / "hostile" / name
    assert [one.kind for one in tm.read(path)] == ["label", "label"]
    with pytest.raises(DataError, match=column):
        tm.read(path, time=column)


def test_the_large_array_of_a_user_is_read_item_by_item(field_data: Path) -> None:
    path = field_data.parent / "hostile" / "array_bomb_100MB.json.gz"
    tracemalloc.start()
    try:
        first = list(islice(rows(path), 1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(first) == 1000
    assert peak < 20_000_000


def test_chats_written_as_text_are_chats(field_data: Path) -> None:
    for path in files(field_data / "09_chats_written_as_text"):
        (pair,) = tm.read(path)
        assert isinstance(pair, Comparison)
        assert isinstance(pair.prompt, tuple)
        assert not any(text.startswith("[{") for text in pair.texts)


def test_a_prompt_that_answers_repeat_is_said_once(field_data: Path) -> None:
    for path in files(field_data / "10_prompt_repeated_in_answers"):
        for one in tm.read(path):
            assert not any(text.startswith(str(one.prompt)) for text in one.texts)


@pytest.mark.parametrize("name", ["pairs", "rated", "kto_int", "parts"])
def test_chats_are_understood_in_every_kind(field_data: Path, name: str) -> None:
    folder = field_data / "12_chats_not_at_every_door"
    for one in tm.read(folder / f"{name}.jsonl"):
        assert isinstance(one.prompt, tuple)
        assert isinstance(one.prompt[0], Message)


def test_two_files_of_one_name_are_two_sources(field_data: Path) -> None:
    paths = files(field_data / "15_two_files_of_one_name")
    sources = {one.source for one in tm.read(paths)}
    assert sources == {"helpful-base/train.jsonl", "harmless-base/train.jsonl"}


def test_a_folder_of_packed_files(field_data: Path, tmp_path: Path) -> None:
    folder = field_data / "16_folder_of_gz"
    (path,) = files(folder)
    copy = tmp_path / "copy" / path.parent.name
    copy.mkdir(parents=True)
    shutil.copy(path, copy)
    assert tm.read(copy.parent) == tm.read(path)


def test_messages_say_what_the_file_is(run: Any, field_data: Path) -> None:
    words = {
        "array.jsonl": "one JSON array ends in .json",
        "columns.json": "orient='records'",
        "no_header.tsv": "--header",
        "old_mac.csv": "carriage return",
        "pointer.tsv": "git lfs pull",
        "semicolon.csv": "semicolons divide",
        "semicolon_decimals.csv": "semicolons divide",
        "wrapped.json": "one object over several lines",
    }
    paths = files(field_data / "23_poor_messages")
    assert [path.name for path in paths] == sorted(words)
    for path in paths:
        code, _, err = run("inspect", path)
        assert code == 2
        assert len(err.splitlines()) == 1
        assert words[path.name] in err
