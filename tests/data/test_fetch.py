"""Fetching an archive from a real server on loopback: whole, resumed, cut, changed, refused."""

import errno
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, Self

import pytest

from tastemaker.data import SOURCES, Source, fetch
from tastemaker.data import downloading as fetching
from tastemaker.errors import DataError, StorageError, UsageError

ARCHIVE = bytes(range(256)) * 4096  # one MiB in which every position is known
NAME = "aclImdb_v1.tar.gz"


class Server(ThreadingHTTPServer):
    """Serves `content` at every path. The attributes say how it behaves; `asked` holds the headers of each request."""

    daemon_threads = True
    content = ARCHIVE
    etag: str | None = '"one"'
    date: str | None = None
    ranges = True
    says_length = True
    lie: int | None = None  # a Content-Length that is not the content's

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, str]] = []
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.statuses: list[int] = []  # what the next answers say instead of the content

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away: some tests want them to."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{NAME}"

    @property
    def ranges_asked(self) -> list[str | None]:
        return [headers.get("Range") for headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        server = self.server
        server.asked.append(dict(self.headers))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        content, start = server.content, self._start()
        if start is not None and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200 if start is None else 206)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.says_length:
            self.send_header("Content-Length", str(server.lie or len(content) - (start or 0)))
        for header, value in (("ETag", server.etag), ("Last-Modified", server.date)):
            if value:
                self.send_header(header, value)
        self.end_headers()
        body = content[start or 0 :]
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def _start(self) -> int | None:
        """The first byte that was asked for, None for the whole file; If-Range as RFC 9110 §13.1.5 wants it."""
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if (
            not self.server.ranges
            or asked is None
            or condition not in (None, self.server.etag, self.server.date)
        ):
            return None
        return int(asked.removeprefix("bytes=").rstrip("-"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose content is what `fetch("imdb")` expects; no proxy and no pauses between tries."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "PAUSES", (0.0, 0.0, 0.0))
    known = Source(
        "http://nowhere.invalid/" + NAME, "md5:" + hashlib.md5(ARCHIVE).hexdigest(), len(ARCHIVE)
    )
    monkeypatch.setitem(SOURCES, "imdb", known)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_known_source_is_the_authors_archive() -> None:
    assert SOURCES["imdb"] == Source(
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        "md5:7c2ac02c03563afcf9b574c7e56c153a",
        84_125_825,
    )


def test_fetches_the_whole_file_and_leaves_nothing_beside_it(
    server: Server, tmp_path: Path
) -> None:
    path = fetch("imdb", tmp_path / "new" / "folder", url=server.url)
    assert path == tmp_path / "new" / "folder" / NAME
    assert path.read_bytes() == ARCHIVE
    assert names(path.parent) == [NAME]
    assert server.ranges_asked == [None]


def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch("imdb", tmp_path, url=server.url)
    assert fetch("imdb", tmp_path, url=server.url) == tmp_path / NAME
    assert len(server.asked) == 1


def test_another_file_of_that_name_is_never_overwritten(server: Server, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    with pytest.raises(
        StorageError, match=r"already there, but it has md5:\w+, not md5:\w+\. Move or remove it"
    ):
        fetch("imdb", tmp_path, url=server.url)
    assert (tmp_path / NAME).read_bytes() == b"mine"
    assert server.asked == []


def test_a_cut_connection_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.ranges_asked == [None, "bytes=100000-", "bytes=150000-"]
    assert [headers.get("If-Range") for headers in server.asked] == [None, '"one"', '"one"']


def test_a_killed_download_is_resumed_by_the_next_run(server: Server, tmp_path: Path) -> None:
    server.cuts = [300_000, 0, 0, 0]
    with pytest.raises(
        DataError, match=r"gave up after 4 tries.*300,000 bytes.*\.part.*run it again"
    ):
        fetch("imdb", tmp_path, url=server.url)
    assert names(tmp_path) == [f"{NAME}.part", f"{NAME}.part.version"]
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.ranges_asked[-1] == "bytes=300000-"
    assert names(tmp_path) == [NAME]


def test_tries_that_get_further_do_not_count(server: Server, tmp_path: Path) -> None:
    server.cuts = [1000] * 10  # more breaks than there are pauses, each after something new
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert len(server.asked) == 11


def test_a_changed_file_is_fetched_from_its_beginning(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 1000)
    (tmp_path / f"{NAME}.part.version").write_text('"an older one"')
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.ranges_asked == ["bytes=1000-"]  # asked for the rest, got the whole


def test_the_date_stands_in_for_a_missing_or_weak_etag(server: Server, tmp_path: Path) -> None:
    server.etag, server.date, server.cuts = 'W/"weak"', "Sun, 26 Jun 2011 00:00:00 GMT", [5000]
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.asked[1]["If-Range"] == "Sun, 26 Jun 2011 00:00:00 GMT"


def test_resumes_without_any_version(server: Server, tmp_path: Path) -> None:
    server.etag, server.cuts = None, [5000]
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert "If-Range" not in server.asked[1]
    assert server.ranges_asked == [None, "bytes=5000-"]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [400_000, 200_000]
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert len(server.asked) == 3


def test_a_server_without_ranges_that_always_breaks_ends(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [1000] * 20
    with pytest.raises(
        DataError, match=r"broke after 1,000 of 1,048,576 bytes; gave up after 4 tries"
    ):
        fetch("imdb", tmp_path, url=server.url)
    assert len(server.asked) == 4


def test_a_wrong_checksum_removes_what_arrived(server: Server, tmp_path: Path) -> None:
    server.content = ARCHIVE[:-1] + b"!"
    with pytest.raises(
        DataError,
        match=r"1,048,576 bytes that arrived have md5:\w{32}, not md5:\w{32}; they were removed",
    ):
        fetch("imdb", tmp_path, url=server.url)
    assert names(tmp_path) == []


def test_a_mixture_of_two_versions_is_found_out(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(
        b"x" * 1000
    )  # no version is known, so the server sends the rest
    with pytest.raises(DataError, match="they were removed"):
        fetch("imdb", tmp_path, url=server.url)
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE


def test_another_size_is_said_before_anything_is_fetched(server: Server, tmp_path: Path) -> None:
    server.content = ARCHIVE + b"more"
    with pytest.raises(
        DataError, match=r"offers 1,048,580 bytes, not the 1,048,576 of the original"
    ):
        fetch("imdb", tmp_path, url=server.url)
    assert names(tmp_path) == []


def test_a_body_shorter_than_announced_is_not_taken_for_whole(
    server: Server, tmp_path: Path
) -> None:
    server.content, server.lie, server.ranges = ARCHIVE[:-10], len(ARCHIVE), False
    with pytest.raises(DataError, match=r"broke after 1,048,566 of 1,048,576 bytes"):
        fetch("imdb", tmp_path, url=server.url)
    assert NAME not in names(tmp_path)


def test_a_server_that_says_no_length(server: Server, tmp_path: Path) -> None:
    server.says_length, server.cuts = False, [7000]
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.ranges_asked == [None, "bytes=7000-"]


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(ARCHIVE + b"more")
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.ranges_asked == ["bytes=1048580-", None]


def test_a_whole_part_needs_no_server(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(ARCHIVE)
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.asked == []


def test_a_missing_file_is_said_at_once(server: Server, tmp_path: Path) -> None:
    server.statuses = [404]
    with pytest.raises(
        DataError,
        match=r"http://127\.0\.0\.1:\d+/aclImdb_v1\.tar\.gz: the server says 404 Not Found",
    ):
        fetch("imdb", tmp_path, url=server.url)
    assert len(server.asked) == 1
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert len(server.asked) == 3


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    with pytest.raises(DataError, match=r"no connection \(.*refused.*\); gave up after 4 tries"):
        fetch("imdb", tmp_path, url=f"http://127.0.0.1:{port}/x")


def test_pauses_grow(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(fetching, "PAUSES", (1.0, 2.0, 4.0))
    monkeypatch.setattr(fetching.time, "sleep", slept.append)
    server.statuses = [503] * 9
    with pytest.raises(DataError, match="503"):
        fetch("imdb", tmp_path, url=server.url)
    assert slept == [1.0, 2.0, 4.0]


def test_a_given_sha256_takes_the_place_of_the_known_checksum(
    server: Server, tmp_path: Path
) -> None:
    server.content = b"a smaller edition"
    right = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(DataError, match=f"have sha256:{right}, not sha256:0{{64}}"):
        fetch("imdb", tmp_path, url=server.url, sha256="0" * 64)
    assert (
        fetch("imdb", tmp_path, url=server.url, sha256=right.upper()).read_bytes() == server.content
    )


class FullAfterOneBlock:
    """A file on a disk with room for one more block."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.blocks = file, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, block: bytes) -> None:
        self.blocks += 1
        if self.blocks > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.file.write(block)


def test_a_full_disk_keeps_what_has_arrived(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    def open_on_a_small_disk(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real_open(path, mode, *args, **kwargs)
        return FullAfterOneBlock(file) if mode == "ab" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_a_small_disk)
        with pytest.raises(
            StorageError,
            match=r"cannot write \(No space left on device\)\. What has arrived is kept",
        ):
            fetch("imdb", tmp_path, url=server.url)
    kept = (tmp_path / f"{NAME}.part").stat().st_size
    assert 0 < kept < len(ARCHIVE)
    assert len(server.asked) == 1  # another try would not make room
    assert fetch("imdb", tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.ranges_asked[-1] == f"bytes={kept}-"


def test_a_folder_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        fetch("imdb", tmp_path / "file", url=server.url)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no data set is called `imbd`; known: imdb"):
        fetch("imbd", tmp_path)


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://host/x", "aclImdb.tar.gz", "http://", "http://[x", "http://h/é"],
)
def test_only_web_addresses(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be an address that starts with http:// or https://"):
        fetch("imdb", tmp_path, url=url)


@pytest.mark.parametrize("digest", ["", "7c2ac02c03563afcf9b574c7e56c153a", "g" * 64])
def test_a_bad_checksum_is_refused(digest: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it needs 64 hexadecimal digits"):
        fetch("imdb", tmp_path, sha256=digest)
