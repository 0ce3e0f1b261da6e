import csv
import gzip
import json
import math
import re
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tastemaker.data import (
    Columns,
    Example,
    Grade,
    Label,
    Rating,
    has_splits,
    read,
    read_examples,
)
from tastemaker.errors import DataError, UsageError

FILES = {
    "train/neg/0_3.txt": "Dull.",
    "train/pos/0_9.txt": "Grand.",
    "train/unsup/0_0.txt": "Who knows?",
    "train/unsup/1_0.txt": "Nobody.",
    "test/neg/0_2.txt": "Awful.",
    "test/pos/0_10.txt": "Superb.",
}
TRAIN = [
    Label("Dull.", False),
    Grade("Dull.", 3),
    Label("Grand.", True),
    Grade("Grand.", 9),
]
ROWS = [
    {"text": f"film {number}", "label": number % 2, "stars": number % 5}
    for number in range(200)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "aclImdb" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "aclImdb" / name).write_text(text)
    return tmp_path / "aclImdb"


@pytest.fixture
def archive(folder: Path) -> Path:
    with tarfile.open(folder.with_name("a.tar.gz"), "w:gz") as packed:
        packed.add(folder, "aclImdb")
    return folder.with_name("a.tar.gz")


def write(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_aclimdb_gives_two_judgements_a_text(folder: Path, archive: Path) -> None:
    for source in (folder, str(folder), folder.parent, archive, str(archive)):
        assert read(source) == read(source, split="train") == TRAIN
    assert read(archive, target="label") == [TRAIN[0], TRAIN[2]]
    assert read(archive, target="rating") == [TRAIN[1], TRAIN[3]]
    assert read(folder, split="test", target="label") == [
        Label("Awful.", False),
        Label("Superb.", True),
    ]


def test_texts_that_nobody_judged(folder: Path, archive: Path) -> None:
    for source in (folder, archive):
        assert read_examples(source, split="unsup") == [
            Example("Who knows?"),
            Example("Nobody."),
        ]
        assert read_examples(source) == [Example("Dull."), Example("Grand.")]
        with pytest.raises(DataError, match="'unsup'"):
            read(source, split="unsup")


def test_every_table_gives_the_same(tmp_path: Path) -> None:
    expected = read(write(tmp_path / "r.jsonl"))
    assert expected[:2] == [Label("film 0", False), Grade("film 0", 0, 0, 4)]
    assert len(expected) == 400
    for name in ("r.csv", "r.parquet", "r.json"):
        assert read(write(tmp_path / name)) == expected
    packed = tmp_path / "r2.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "r.jsonl").read_bytes()))
    assert read(packed) == expected
    assert expected[0].where == "r.jsonl:1"
    assert read(tmp_path / "r.csv")[0].where == "r.csv:2"


def test_columns_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", [{"a": "x", "b": "ham"}, {"a": "y", "b": "spam"}])
    columns = Columns(text="a", label="b", positive="ham")
    assert read(path, columns=columns) == [Label("x", True), Label("y", False)]
    assert read_examples(path, columns=Columns(text="b")) == [
        Example("ham"),
        Example("spam"),
    ]


def test_datasets_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip(
        "datasets", reason="the extra `hub` is not installed"
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    (tmp_path / "repository").mkdir()
    write(tmp_path / "repository/train.jsonl")
    expected = read(write(tmp_path / "r.jsonl"))
    assert read(tmp_path / "saved") == expected
    assert (
        read(tmp_path / "repository")
        == read(str(tmp_path / "repository"), split="train")
        == expected
    )
    examples = [Example(row["text"]) for row in ROWS]  # type: ignore[arg-type]
    assert read_examples(tmp_path / "saved") == examples


def test_a_hub_name_is_read_by_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip(
        "datasets", reason="the extra `hub` is not installed"
    )
    asked: list[tuple[str, str]] = []

    def load_dataset(name: str, split: str) -> Any:
        asked.append((name, split))
        return datasets.Dataset.from_list(ROWS, split=split)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.chdir(tmp_path)
    assert len(read("org/name", target="label")) == 200
    assert read("org/name", split="test")[0].where == "org/name[test]:1"
    assert asked == [("org/name", "train"), ("org/name", "test")]


def test_which_sources_have_splits(folder: Path, archive: Path, tmp_path: Path) -> None:
    assert [has_splits(source) for source in (folder, archive, "org/name")] == [
        True
    ] * 3
    assert not has_splits(write(tmp_path / "r.csv"))
    with pytest.raises(
        UsageError,
        match=r"r\.csv: .*'test'",
    ):
        read(tmp_path / "r.csv", split="test")


def test_a_limit_counts_texts_and_keeps_the_order(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl")
    limited, whole = read(path, limit=20), read(path)
    assert len(limited) == 40  # both judgements of twenty texts
    assert limited == [judgement for judgement in whole if judgement in limited]
    assert read(path, limit=20, seed=0) == limited != read(path, limit=20, seed=1)
    assert read(path, limit=20, target="label") == [
        judgement for judgement in limited if isinstance(judgement, Label)
    ]
    assert read_examples(path, limit=20) == list(
        dict.fromkeys(Example(judgement.text) for judgement in limited)
    )
    assert read(path, limit=200) == read(path, limit=999) == whole


def test_a_larger_limit_draws_the_same_texts_and_more(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl")
    drawn = [
        {judgement.text for judgement in read(path, limit=limit, seed=5)}
        for limit in (1, 10, 50)
    ]
    assert drawn[0] < drawn[1] < drawn[2]
    assert [len(texts) for texts in drawn] == [1, 10, 50]


def test_a_limit_keeps_everything_said_of_a_text(tmp_path: Path) -> None:
    rows = [
        {"text": f"film {number % 10}", "rating": number / 7, "judge": str(number)}
        for number in range(100)
    ]
    judgements = read(write(tmp_path / "r.jsonl", rows), limit=3)
    assert sorted(Counter(judgement.text for judgement in judgements).values()) == [
        10,
        10,
        10,
    ]


def test_a_limit_draws_both_classes_and_is_fair(tmp_path: Path) -> None:
    rows = [
        {"text": f"film {number}", "label": number < 1000} for number in range(2000)
    ]
    drawn = read(write(tmp_path / "r.jsonl", rows), limit=400)
    positive = sum(
        judgement.positive for judgement in drawn if isinstance(judgement, Label)
    )
    # 400 of 1000 + 1000 without putting back: mean 200, sd √(400 · ¼ · 1600/1999) = 8.9; five of
    # them
    assert abs(positive - 200) < 45


def test_a_limit_is_the_same_in_another_process(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl")
    code = (
        "from tastemaker.data import read; "
        f"print([j.text for j in read({str(path)!r}, limit=5, seed=3)])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert process.strip() == str(
        [judgement.text for judgement in read(path, limit=5, seed=3)]
    )


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl")
    for limit in (0, -1):
        with pytest.raises(UsageError, match="limit"):
            read(path, limit=limit)
    with pytest.raises(UsageError, match="'stars'"):
        read(path, target="stars")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["nothing", "nothing.csv", "reviews/nothing.csv", "a/b/c", "/no/where", "x.tar.gz"],
)
def test_a_source_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"{re.escape(name)}: no such"):
        read(name)


def test_folders_and_files_that_hold_no_reviews(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: "):
        read(tmp_path / "empty")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/picture.png").touch()
    with pytest.raises(DataError, match=r"other: .*reviews"):
        read(tmp_path / "other")
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(DataError, match=r"notes\.txt: "):
        read(tmp_path / "notes.txt")
    (tmp_path / "header.csv").write_text("text,label\n")
    with pytest.raises(DataError, match=r"header\.csv: no rows"):
        read(tmp_path / "header.csv")


GOOD: dict[str, Any] = {"text": "Fine.", "label": 1, "rating": 0.5}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "empty text": ({"text": " "}, "is empty"),
    "out of range": ({"rating": 1.5}, "holds 1.5"),
    "no number": ({"rating": "good"}, "holds 'good'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, case: str) -> None:
    changed, problem = BAD[case]
    path = write(tmp_path / "reviews.jsonl", [GOOD] * 16 + [{**GOOD, **changed}])
    with pytest.raises(DataError) as caught:
        read(path, columns=Columns(scale=(0, 1), rating="rating", label="label"))
    message = str(caught.value)
    assert message.startswith("reviews.jsonl:17: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize("column", ["label", "rating"])
def test_an_empty_cell_is_no_judgement(tmp_path: Path, column: str) -> None:
    empty = {**GOOD, "text": "Other.", column: math.nan if column == "rating" else None}
    path = write(tmp_path / "reviews.jsonl", [GOOD, empty])
    kinds = [judgement.kind for judgement in read(path)]
    assert len(kinds) == 3
    assert kinds.count(column) == 1


def test_a_bad_row_of_parquet_is_named_by_its_number(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.parquet", [*ROWS, {"text": None, "label": 0, "stars": 1}]
    )
    with pytest.raises(DataError, match=r"r\.parquet:201: "):
        read(path)


WHOLE = """
import json, sys
from collections import Counter
from tastemaker.data import read

judgements = read(sys.argv[1])
kinds = Counter(type(judgement).__name__ for judgement in judgements)
pairs = zip(judgements[::2], judgements[1::2], strict=True)  # of one text each
grades = Counter((label.positive, grade.grade) for label, grade in pairs)
lines = [line.split() for line in open("/proc/self/status")]
peak = next(int(line[1]) for line in lines if line[:1] == ["VmHWM:"])  # KiB
print(json.dumps([peak, kinds, sorted(grades.items())]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").is_file(),
    reason="the peak of a process is read from Linux's /proc",
)
def test_the_real_archive_whole_takes_little_memory(shared_data: Path) -> None:
    """A process of its own, and VmHWM: `ru_maxrss` would count what the process that started it
    needed.
    """
    command = [sys.executable, "-c", WHOLE, str(shared_data / "aclImdb.tar.gz")]
    process = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, kinds, grades = json.loads(process.stdout)
    assert kinds == {"Label": 25_000, "Grade": 25_000}
    of_class: Counter[bool] = Counter()
    for (positive, grade), count in grades:
        assert positive == (grade > 5)
        of_class[positive] += count
    assert of_class == {True: 12_500, False: 12_500}
    assert {grade for (_, grade), _ in grades} == {1, 2, 3, 4, 7, 8, 9, 10}
    assert peak < 2**19  # half a GiB


def test_ratings_stay_ratings(tmp_path: Path) -> None:
    rows = [{"review": "a", "score": 7.35}, {"review": "b", "score": 2}]
    assert read(write(tmp_path / "r.csv", rows)) == [
        Rating("a", 7.35),
        Rating("b", 2.0),
    ]
