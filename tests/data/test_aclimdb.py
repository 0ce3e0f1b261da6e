import gzip
import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tastemaker.data import Grade, Label, is_aclimdb, reviews
from tastemaker.errors import DataError

FILES = {
    "train/pos/10_9.txt": "A 'great' film.<br />Ünforgettable 🎬",
    "train/pos/2_7.txt": "Fine.\r\nTwo lines \n",
    "train/neg/0_3.txt": "Dull.",
    "train/neg/11_1.txt": "电影很差",
    "train/unsup/0_0.txt": "Who knows?",
    "test/pos/0_10.txt": "Superb.",
    "test/neg/0_2.txt": "Awful.",
    "test/labeledBow.feat": "9 0:1",
    "README": "Large Movie Review Dataset",
}


def folder_of(root: Path, files: dict[str, str] | None = None) -> Path:
    for name, text in (FILES if files is None else files).items():
        (root / "aclImdb" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "aclImdb" / name).write_bytes(text.encode())
    return root / "aclImdb"


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, target
    return info, data


MEMBERS = [member("aclImdb/train", kind=tarfile.DIRTYPE)]
MEMBERS += [member(f"aclImdb/{name}", text.encode()) for name, text in FILES.items()]


def tar_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def archive_of(
    root: Path, members: list[tuple[tarfile.TarInfo, bytes]] = MEMBERS
) -> Path:
    path = root / "aclImdb.tar.gz"
    path.write_bytes(gzip.compress(tar_of(members)))
    return path


def refused(path: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        reviews(path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_by_hand(tmp_path: Path) -> None:
    texts = reviews(folder_of(tmp_path), "train")
    assert [(r.folder, r.number, r.rating) for r in texts] == [
        ("train/neg", 0, 3),
        ("train/neg", 11, 1),
        ("train/pos", 2, 7),  # by number, not by name: 2 stands before 10
        ("train/pos", 10, 9),
    ]
    assert texts[2].judgements() == (
        Label("Fine.\r\nTwo lines \n", True),
        Grade("Fine.\r\nTwo lines \n", 7, lowest=1, highest=10),
    )
    assert texts[0].judgements()[0] == Label("Dull.", False)
    assert texts[0].where.endswith("aclImdb/train/neg/0_3.txt")


@pytest.mark.parametrize("split", ["train", "test", "unsup"])
def test_folder_and_archive_are_equal_in_any_order(tmp_path: Path, split: str) -> None:
    from_folder = [r[:4] for r in reviews(folder_of(tmp_path), split)]
    assert from_folder == [r[:4] for r in reviews(archive_of(tmp_path), split)]
    assert from_folder == [
        r[:4] for r in reviews(archive_of(tmp_path, MEMBERS[::-1]), split)
    ]


def test_the_place_of_a_review_is_its_member(tmp_path: Path) -> None:
    assert (
        reviews(archive_of(tmp_path), "unsup")[0].where == "aclImdb/train/unsup/0_0.txt"
    )


def test_the_root_folder_may_have_any_name_or_none(tmp_path: Path) -> None:
    members = [member(f"./{name}", text.encode()) for name, text in FILES.items()]
    assert len(reviews(archive_of(tmp_path, members), "train")) == 4
    members = [member(name, text.encode()) for name, text in FILES.items()]
    assert len(reviews(archive_of(tmp_path, members), "train")) == 4


def test_nothing_is_unpacked(tmp_path: Path) -> None:
    archive_of(tmp_path)
    reviews(tmp_path / "aclImdb.tar.gz", "train")
    assert [path.name for path in tmp_path.iterdir()] == ["aclImdb.tar.gz"]


def test_what_is_aclimdb(tmp_path: Path) -> None:
    assert is_aclimdb(folder_of(tmp_path))
    assert not is_aclimdb(tmp_path)
    assert is_aclimdb(Path("any.tgz"))
    assert not is_aclimdb(Path("any.jsonl.gz"))


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "train/pos/.DS_Store").write_bytes(b"\0\xff")
    assert len(reviews(folder, "train")) == 4
    assert (
        len(
            reviews(
                archive_of(
                    tmp_path,
                    [*MEMBERS, member("aclImdb/train/pos/._2_7.txt", b"\0\xff")],
                ),
                "train",
            )
        )
        == 4
    )


def test_an_unknown_split(tmp_path: Path) -> None:
    assert "no split 'dev'; aclImdb has train, test, unsup" in refused(
        folder_of(tmp_path), "dev"
    )


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("train/pos/good.txt", b"Good.", "the name is not <id>_<rating>.txt"),
        ("train/pos/1_8.txt.bak", b"Good.", "the name is not <id>_<rating>.txt"),
        ("train/pos/1_-8.txt", b"Good.", "the name is not <id>_<rating>.txt"),
        ("train/pos/1_0.txt", b"Good.", "the rating in the name is 0, outside 1 to 10"),
        (
            "train/pos/1_11.txt",
            b"Good.",
            "the rating in the name is 11, outside 1 to 10",
        ),
        ("train/pos/1_8.txt", b"caf\xe9", "not UTF-8 at byte 3"),
        ("train/pos/1_8.txt", b"", "the text is empty"),
        ("train/pos/1_8.txt", b" \n", "the text is empty"),
    ],
)
def test_a_bad_file_in_folder_and_archive(
    tmp_path: Path, name: str, data: bytes, problem: str
) -> None:
    folder = folder_of(tmp_path)
    (folder / name).write_bytes(data)
    archive = archive_of(tmp_path, [*MEMBERS, member(f"aclImdb/{name}", data)])
    for path in (folder, archive):
        message = refused(path)
        assert f"aclImdb/{name}" in message
        assert problem in message
        assert len(reviews(path, "test")) == 2  # the other split is as good as ever


def test_a_class_missing_or_empty(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for file in (folder / "train/neg").iterdir():
        file.unlink()
    assert "train/neg: the class folder is empty" in refused(folder)
    (folder / "train/neg").rmdir()
    assert "train/neg: the class folder is missing" in refused(folder)
    members = [m for m in MEMBERS if "train/neg" not in m[0].name]
    assert "aclImdb.tar.gz: no review in train/neg" in refused(
        archive_of(tmp_path, members)
    )


def test_a_folder_among_the_reviews(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "train/pos/3_8.txt").mkdir()
    assert "3_8.txt: not a file" in refused(folder)


def test_a_review_twice(tmp_path: Path) -> None:
    assert "aclImdb/train/pos/2_7.txt appears twice" in refused(
        archive_of(tmp_path, [*MEMBERS, MEMBERS[2]])
    )


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (member("/etc/passwd", b"x"), "'/etc/passwd' points outside"),
        (member("aclImdb/../../x", b"x"), "'aclImdb/../../x' points outside"),
        (member("..", kind=tarfile.DIRTYPE), "'..' points outside"),
        (member("a\\..\\x", b"x"), "points outside"),
        (member("C:\\x", b"x"), "points outside"),
        (
            member(
                "aclImdb/train/pos/3_8.txt", kind=tarfile.SYMTYPE, target="/etc/passwd"
            ),
            "3_8.txt' is a link",
        ),
        (
            member(
                "aclImdb/train/pos/3_8.txt",
                kind=tarfile.LNKTYPE,
                target="aclImdb/README",
            ),
            "3_8.txt' is a link",
        ),
        (member("aclImdb/null", kind=tarfile.CHRTYPE), "'aclImdb/null' is a device"),
        (member("aclImdb/pipe", kind=tarfile.FIFOTYPE), "'aclImdb/pipe' is a device"),
    ],
)
@pytest.mark.parametrize("place", [0, len(MEMBERS)])
def test_a_member_that_points_outside(
    tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes], problem: str, place: int
) -> None:
    for split in ("train", "unsup"):
        message = refused(
            archive_of(tmp_path, [*MEMBERS[:place], bad, *MEMBERS[place:]]), split
        )
        assert problem in message
        assert "aclImdb.tar.gz" in message


def test_dots_in_a_name_are_no_way_out(tmp_path: Path) -> None:
    assert (
        len(
            reviews(
                archive_of(tmp_path, [*MEMBERS, member("aclImdb/..notes..", b"x")]),
                "train",
            )
        )
        == 4
    )


def test_a_member_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastemaker.data.sources.LARGEST_MEMBER", 2**20)
    huge = member("aclImdb/train/pos/3_8.txt", b" " * (2**20 + 1))
    assert "3_8.txt' is larger than 1 MiB" in refused(
        archive_of(tmp_path, [*MEMBERS, huge])
    )
    large = [
        member(f"aclImdb/{number}", bytes(2**20)) for number in range(4)
    ]  # each within the limit, not all
    assert len(reviews(archive_of(tmp_path, [*large, *MEMBERS]), "train")) == 4
    folder = folder_of(tmp_path)
    (folder / "train/pos/3_8.txt").write_bytes(huge[1])
    assert "larger than 1 MiB" in refused(folder)


def test_a_name_too_long_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tastemaker.data.sources.LARGEST_MEMBER", 2**20)
    assert "a header of more than 1 MiB" in refused(
        archive_of(tmp_path, [*MEMBERS, member("x" * 3 * 2**20)])
    )


def test_an_archive_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tastemaker.data.sources.LARGEST_ARCHIVE", 2**20)
    ballast = [member(f"aclImdb/{number}", bytes(2**18)) for number in range(5)]
    assert "more than 1 MiB unpacked" in refused(
        archive_of(tmp_path, [*MEMBERS, *ballast])
    )


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_cut_archive_is_refused_wherever_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "aclImdb.tar.gz"
    tar = tar_of(MEMBERS)
    packed = gzip.compress(tar)
    at = data.draw(st.integers(1, len(packed) - 1))
    path.write_bytes(packed[:at])
    assert "cut short or damaged" in refused(path)
    # the same within the gzip: the tar ended early, at any byte before its end mark, and then was
    # packed well
    with tarfile.open(fileobj=io.BytesIO(tar)) as members:
        end = max(info.offset_data + 512 for info in members)
    path.write_bytes(gzip.compress(tar[: data.draw(st.integers(1, end))]))
    assert "cut short or damaged" in refused(path)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    tar = bytearray(tar_of(MEMBERS))
    with tarfile.open(fileobj=io.BytesIO(bytes(tar))) as archive:
        last = archive.getmembers()[-1].offset
    tar[last + 3] ^= (
        0xFF  # one byte of the name of README: its header checksum is now wrong
    )
    (tmp_path / "aclImdb.tar.gz").write_bytes(gzip.compress(bytes(tar)))
    assert "cut short or damaged" in refused(tmp_path / "aclImdb.tar.gz")


def test_a_wrong_checksum_is_seen(tmp_path: Path) -> None:
    path = archive_of(tmp_path)
    packed = bytearray(path.read_bytes())
    packed[-6] ^= 0xFF  # the CRC is the last eight bytes but four
    path.write_bytes(packed)
    assert "cut short or damaged (CRC check failed" in refused(path)


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content in (
        b"",
        b"no archive",
        gzip.compress(b""),
        gzip.compress(b"no archive" * 100),
    ):
        (tmp_path / "x.tar.gz").write_bytes(content)
        assert "x.tar.gz: cut short or damaged" in refused(tmp_path / "x.tar.gz")


@pytest.mark.slow
def test_the_real_archive(shared_data: Path) -> None:
    path = shared_data / "aclImdb.tar.gz"
    train, test = reviews(path, "train"), reviews(path, "test")
    assert Counter(r.folder for r in train) == {
        "train/neg": 12_500,
        "train/pos": 12_500,
    }
    assert Counter(r.folder for r in test) == {"test/neg": 6_312, "test/pos": 6_267}
    assert {r.rating for r in train} == {1, 2, 3, 4, 7, 8, 9, 10}
    assert all((r.rating > 5) == r.folder.endswith("/pos") for r in train + test)
