"""`Documents`: several sources, read as often as wanted."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

import tastemaker as tm
from tastemaker.data import Columns, Example
from tastemaker.errors import DataError, UsageError
from tastemaker.gpt import Documents

PAIR = {"prompt": "Q", "chosen": "a", "rejected": "b"}


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """A text file of two lines, and a table with a row that cannot be read."""
    (tmp_path / "a.txt").write_text("One.\nTwo.\n")
    rows = [{"text": "Three."}, {"text": ""}, {"text": "Four."}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [tmp_path / "a.txt", tmp_path / "b.jsonl"]


def test_sources_follow_each_other_as_often_as_they_are_read(
    sources: list[Path],
) -> None:
    documents = Documents(sources, each="line", leave_out_bad=True)
    for _ in range(3):
        assert list(documents) == [
            Example(text) for text in ("One.", "Two.", "Three.", "Four.")
        ]
        assert [str(error).split(": ")[0] for error in documents.bad] == ["b.jsonl:2"]
    with pytest.raises(DataError, match=r"b\.jsonl:2"):
        list(Documents(sources, each="line"))


def test_a_limit_is_of_all_sources_together(sources: list[Path]) -> None:
    for limit, expected in (
        (1, ["One."]),
        (3, ["One.", "Two.", "Three."]),
        (9, ["One.", "Two.", "Three.", "Four."]),
    ):
        documents = Documents(sources, each="line", leave_out_bad=True, limit=limit)
        assert [example.text for example in documents] == expected
    with pytest.raises(UsageError, match="limit 0"):
        Documents(sources, limit=0)
    with pytest.raises(UsageError, match="no source"):
        Documents([])


def test_another_file_or_setting_is_described_otherwise(
    sources: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "c.txt").write_text("Five.")
    described = Documents([*sources, folder, "playground"]).describe()
    assert json.loads(json.dumps(described)) == described
    assert (
        Documents([*sources, folder, "playground"], bad=[DataError("seen")]).describe()
        == described
    )
    for other in (
        Documents([*sources, folder, "playground"], each="line"),
        Documents([*sources, folder, "playground"], limit=5),
        Documents([*sources, folder, "playground"], columns=Columns(text="text")),
        Documents([*sources, folder]),
        Documents([*sources[::-1], folder, "playground"]),
    ):
        assert other.describe() != described
    for path in (sources[0], folder / "c.txt"):
        before = path.read_bytes()
        path.write_bytes(before + b"!")
        assert Documents([*sources, folder, "playground"]).describe() != described
        path.write_bytes(before)
    assert Documents([*sources, folder, "playground"]).describe() == described


def test_what_the_sources_are_read_as_is_said_once(
    sources: list[Path], tmp_path: Path
) -> None:
    notices: list[str] = []
    (tmp_path / "d").mkdir()
    chats = tmp_path / "d" / "b.jsonl"
    chat = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    chats.write_text(json.dumps({"messages": chat, "remark": "so it is then and now"}))
    documents = Documents(
        [*sources, chats, "playground:en:3"],
        each="line",
        leave_out_bad=True,
        say_read_as=lambda one: notices.append(f"{one.source} {one}"),
    )
    before = documents.describe()
    for _ in range(2):
        list(documents)
    assert notices == [
        "a.txt read as: text=each line (format text)",
        f"{tmp_path.name}/b.jsonl read as: text=text",
        "d/b.jsonl read as: text=messages (the assistant's turns); not used: remark",
        "playground:en:3 read as: text=reviews (format playground)",
    ]
    (note,) = documents.read_as[2].notes
    assert "--text-column remark" in note
    assert documents.describe() == before
    unread = Documents([*sources, chats, "playground:en:3"], each="line")
    assert unread.first_read_as() == documents.read_as


def test_a_bad_row_is_placed_in_one_of_two_files_of_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jsonl").write_text('{"text": "x"}\n{"text": ""}\n')
    with pytest.raises(DataError, match=r"two/a\.jsonl:2"):
        list(Documents([tmp_path / "two" / "a.jsonl", tmp_path / "one" / "a.jsonl"]))


def test_files_of_one_name_are_read_together_and_known_by_path(tmp_path: Path) -> None:
    paths = []
    for name in ("helpful", "harmless"):
        path = tmp_path / name / "train.csv"
        path.parent.mkdir()
        path.write_text(f"text,label\ngood {name},1\nbad {name},0\n")
        paths.append(path)
    report: list[tm.ReadAs] = []
    judgements = tm.read(paths, report=report)
    names = ["helpful/train.csv", "harmless/train.csv"]
    assert [each.source for each in report] == names
    assert [one.source for one in judgements] == [name for name in names for _ in "12"]
    assert [one.where for one in judgements][::2] == [f"{name}:2" for name in names]
    described = [
        f"{path}:label=text,text=label,positive=good {path.parent.name}"
        for path in paths
    ]
    assert [one.source for one in tm.read(described)][::2] == names
    folders = [path.parent / "data" for path in paths]
    for path, folder in zip(paths, folders, strict=True):
        folder.mkdir()
        with gzip.open(folder / "train.csv.gz", "wb") as packed:
            packed.write(path.read_bytes())
    in_folders = [one.source for one in tm.read(folders)]
    assert in_folders[::2] == ["helpful/data", "harmless/data"]
    with pytest.raises(UsageError, match="inspect shows one source"):
        tm.inspect(paths)
    with pytest.raises(DataError, match="list:1"):
        tm.read([paths[0], {"text": "a"}])


def _pairs(path: Path, topic: str, *, better: str, worse: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(100):
        prompt = f"{topic} {number}?"
        chosen, rejected = f"{better} {number}", f"{worse} {number}"
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_files_of_one_name_that_are_added_are_two_sources(tmp_path: Path) -> None:
    """Read one by one, each is called train.jsonl; together they are told apart by path."""
    paths = [
        _pairs(tmp_path / "x" / "train.jsonl", "why is it", better="long", worse="no"),
        _pairs(tmp_path / "y" / "train.jsonl", "who was it", better="no", worse="long"),
    ]
    judgements = [one for path in paths for one in tm.read(path)]
    assert {one.source for one in judgements} == {"train.jsonl"}
    model = tm.fit(judgements, experts=True)
    sources = {"x/train.jsonl": 100, "y/train.jsonl": 100}
    assert model.contract.settings["experts"] == sources
    table = tm.evaluate(model, judgements).as_dict()["by_source"]
    names = [part["part"] for part in table]
    assert names == list(sources)
    train, test = tm.split(judgements)
    places = {one.where.rpartition(":")[0] for one in [*train, *test]}
    assert places == set(sources)
    one_name = [one for path in paths for one in tm.read(path, name="both")]
    with pytest.raises(DataError, match="one source, 'both'"):
        tm.fit(one_name, experts=True)


def test_doctor_places_a_leak_in_one_of_two_files_of_one_name(
    tmp_path: Path,
) -> None:
    train, test = tmp_path / "a" / "r.csv", tmp_path / "b" / "r.csv"
    for path in (train, test):
        path.parent.mkdir()
        path.write_text("text,label\ngood and long,1\nbad and short,0\n")
    places = []
    for problem in tm.doctor(tm.read(train), test=tm.read(test)).problems:
        places += problem.where
    assert places
    assert all(place.startswith(("a/r.csv", "b/r.csv")) for place in places)


def test_two_aclimdb_folders_are_two_sources(tmp_path: Path) -> None:
    names = []
    for name in ("one", "two"):
        folder = tmp_path / name / "aclImdb"
        for kind, text in (("pos/0_9", "good"), ("neg/0_2", "bad")):
            path = folder / "train" / f"{kind}.txt"
            path.parent.mkdir(parents=True)
            path.write_text(f"{text} film {name}")
        names.append(f"{name}/aclImdb")
    folders = [tmp_path / name for name in names]
    judgements = tm.read(folders[0]) + tm.read(folders[1])
    train, test = tm.split(judgements, held_out=0.5)
    assert {one.source for one in [*train, *test]} == set(names)


def test_lists_of_files_that_are_added_are_told_apart_by_path(tmp_path: Path) -> None:
    """A name that Tastemaker chose is no name that somebody gave."""
    judgements = []
    for project in ("old", "new"):
        paths = []
        for topic in ("x", "y"):
            path = tmp_path / project / topic / "train.jsonl"
            paths.append(_pairs(path, f"{project} {topic}", better="yes", worse="no"))
        judgements += tm.read(paths)
    train, test = tm.split(judgements)
    assert {one.source for one in [*train, *test]} == {
        f"{project}/{topic}/train.jsonl" for project in ("old", "new") for topic in "xy"
    }


def test_held_out_judgements_are_measured_by_the_expert_of_their_file(
    tmp_path: Path,
) -> None:
    paths = [
        _pairs(tmp_path / "x" / "train.jsonl", "why is it", better="long", worse="no"),
        _pairs(tmp_path / "y" / "train.jsonl", "who was it", better="no", worse="long"),
    ]
    train, test = [], []
    for path in paths:
        judgements = tm.read(path)
        train += judgements[:70]
        test += judgements[70:]
    out = tmp_path / "model"
    tm.fit(train, held_out=test, experts=True, out=out)
    # a finished run gives its held-out judgements back
    model = tm.fit(train, held_out=test, experts=True, out=out, resume=True)
    places = {one.where.rpartition(":")[0] for one in model.held_out_judgements}
    assert places == {"x/train.jsonl", "y/train.jsonl"}


def test_many_files_of_one_name_take_a_time_in_proportion(tmp_path: Path) -> None:
    shards = []
    for number in range(200):
        shards.append(tmp_path / f"{number}" / "data.txt")
        shards[-1].parent.mkdir()
        shards[-1].write_text(f"Text {number}.")
    documents = Documents(shards)
    began = time.process_time()
    assert len(list(documents)) == 200
    assert time.process_time() - began < 5  # 0.3 where names are computed once
    assert documents.read_as[7].source == "7/data.txt"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x/t.csv", "b/x/t.csv", "c/t.csv"], ["a/x/t.csv", "b/x/t.csv", "c/t.csv"]),
        (["x/t.csv", "a/x/t.csv", "u.csv"], ["{}/x/t.csv", "a/x/t.csv", "u.csv"]),
    ],
)
def test_the_shortest_ends_that_differ_are_the_names(
    tmp_path: Path, paths: list[str], names: list[str]
) -> None:
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("text,label\na,1\n")
    report: list[tm.ReadAs] = []
    tm.read([tmp_path / path for path in paths], report=report)
    whole = [name.format(tmp_path.name) for name in names]
    assert [one.source for one in report] == whole


@pytest.mark.parametrize("row", [{"text": "a", "label": 1}, PAIR])
def test_rows_with_ever_new_keys_take_a_time_in_proportion(row: dict[str, Any]) -> None:
    seconds = []
    for count in (1000, 8000):
        rows = [{**row, f"empty {n}": None, f"key {n}": n} for n in range(count)]
        began = time.process_time()
        report: list[tm.ReadAs] = []
        assert len(tm.read(rows, report=report)) == count
        assert len(report[0].unused) == 2 * count
        seconds.append(time.process_time() - began)
    assert seconds[1] < 20 * seconds[0]  # 64 times where each row asks for all names
