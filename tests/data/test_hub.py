import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tastemaker.data import Table, has_splits, is_hub_name, open_source, read
from tastemaker.errors import DataError, MissingExtra

datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")

ROWS = [
    {"text": "a", "score": 7},
    {"text": "b", "score": 2},
    {"text": "c", "score": 5},
]


@pytest.fixture(autouse=True)
def own_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache")
    )


def opened(source: Path | str, split: str | None = None) -> Table:
    table = open_source(source, split)
    assert isinstance(table, Table)
    return table


def rows(
    source: Path | str, split: str | None = None
) -> list[tuple[int, dict[str, Any]]]:
    return list(opened(source, split).rows())


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_what_may_be_a_hub_name() -> None:
    assert is_hub_name("stanfordnlp/imdb")
    assert is_hub_name("org/name.v2-small")
    for name in (
        "imdb",
        "org/name.csv",
        "org/a.jsonl.gz",
        "a/b/c",
        "../imdb",
        "/org/name",
        "org/",
        "org/aclImdb.tar.gz",
    ):
        assert not is_hub_name(name)


def test_a_dataset_saved_alone(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "d")
    assert not has_splits(tmp_path / "d")
    assert rows(tmp_path / "d") == list(enumerate(ROWS, 1))
    with pytest.raises(DataError, match="'test'"):
        rows(tmp_path / "d", "test")


def test_saved_splits(tmp_path: Path) -> None:
    whole = datasets.Dataset.from_list(ROWS)
    saved = datasets.DatasetDict(
        {"train": whole.select([0, 1]), "test": whole.select([2])}
    )
    saved.save_to_disk(tmp_path / "d")
    assert has_splits(tmp_path / "d")
    assert rows(tmp_path / "d") == [(1, ROWS[0]), (2, ROWS[1])]
    assert rows(tmp_path / "d", "test") == [(1, ROWS[2])]
    with pytest.raises(DataError, match=r"'dev'.*'train', 'test'"):
        rows(tmp_path / "d", "dev")


def test_a_local_repository_through_load_dataset(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "d/train.jsonl", ROWS[:2])
    write_jsonl(tmp_path / "d/test.jsonl", ROWS[2:])
    dataset = opened(tmp_path / "d")
    assert list(dataset.rows()) == list(dataset.rows()) == [(1, ROWS[0]), (2, ROWS[1])]
    assert dataset.place(2).endswith("d[train]:2")
    assert rows(tmp_path / "d", "test") == [(1, ROWS[2])]
    with pytest.raises(DataError, match="dev"):
        rows(tmp_path / "d", "dev")


def test_the_folder_data_of_a_repository(tmp_path: Path) -> None:
    (tmp_path / "d/data").mkdir(parents=True)
    datasets.Dataset.from_list(ROWS).to_parquet(
        tmp_path / "d/data/train-00000-of-00001.parquet"
    )
    assert [row for _, row in rows(tmp_path / "d")] == ROWS


def test_two_class_names_say_more_than_numbers(tmp_path: Path) -> None:
    names = datasets.Features(
        {
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["pos", "neg"]),
        }
    )
    dataset = datasets.Dataset.from_dict(
        {"text": ["a", "b", "c"], "label": [0, 1, -1]}, features=names
    )
    dataset.save_to_disk(tmp_path / "d")
    assert [row["label"] for _, row in rows(tmp_path / "d")] == [
        "pos",
        "neg",
        None,
    ]  # −1: not labelled


def test_five_class_names_are_grades(tmp_path: Path) -> None:
    names = [f"{stars} stars" for stars in range(1, 6)]
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    )
    datasets.Dataset.from_dict(
        {"text": list("abcde"), "label": [4, 0, 2, 1, 3]}, features=features
    ).save_to_disk(tmp_path / "d")
    assert rows(tmp_path / "d")[0] == (1, {"text": "a", "label": "5 stars"})
    grades = read(tmp_path / "d")
    assert [grade.grade for grade in grades] == [5, 1, 3, 2, 4]  # type: ignore[attr-defined]


def test_a_name_that_is_nowhere_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"^nobody/nothing: ") as caught:
        opened("nobody/nothing")
    assert "\n" not in str(caught.value)


def test_a_broken_table_of_a_repository_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n{bad\n')
    with pytest.raises(DataError, match="JSON parse error") as caught:
        opened(tmp_path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_bars_are_off_only_while_reading(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    were_disabled = datasets.are_progress_bars_disabled()
    write_jsonl(tmp_path / "d/train.jsonl", ROWS)
    rows(tmp_path / "d")
    assert datasets.are_progress_bars_disabled() == were_disabled
    assert capfd.readouterr() == ("", "")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"org/name.*\[hub\]"):
        opened("org/name")
