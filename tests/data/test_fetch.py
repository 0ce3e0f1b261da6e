"""Fetching an archive from a real server on loopback: whole, resumed, cut, changed, refused."""

import errno
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Self

import pytest

from tastemaker.data import SOURCES, Source, fetch
from tastemaker.errors import DataError, StorageError, UsageError

ARCHIVE = bytes(range(256)) * 4096  # one MiB in which every position is known
NAME = "aclImdb_v1.tar.gz"
get = partial(fetch, "imdb", pauses=(0.0, 0.0, 0.0))


class Server(ThreadingHTTPServer):
    """Serves `content` at every path. `asked` holds the Range of each request."""

    daemon_threads = True
    content = ARCHIVE
    ranges = True
    says_length = True
    lie: int | None = None  # a Content-Length that is not the content's

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.cuts: list[int] = []  # bytes after which the next answers break off
        self.statuses: list[
            int
        ] = []  # what the next answers say instead of the content

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet about clients that went away."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{NAME}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked[len("bytes=") : -1]) if asked and server.ranges else 0
        size = len(server.content)
        if server.statuses or start > size:
            self.send_error(server.statuses.pop(0) if server.statuses else 416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if server.says_length:
            self.send_header("Content-Length", str(server.lie or size - start))
        self.end_headers()
        body = server.content[start:]
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the content that `fetch("imdb")` expects."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    digest = "md5:" + hashlib.md5(ARCHIVE).hexdigest()
    source = Source(f"http://nowhere.invalid/{NAME}", digest, len(ARCHIVE))
    monkeypatch.setitem(SOURCES, "imdb", source)
    with Server() as running:
        thread = threading.Thread(
            target=running.serve_forever, kwargs={"poll_interval": 0.01}
        )
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_fetches_the_whole_file_once_and_leaves_nothing_beside_it(
    server: Server, tmp_path: Path
) -> None:
    for _ in range(2):
        path = get(tmp_path / "new" / "folder", url=server.url)
        assert path == tmp_path / "new" / "folder" / NAME
        assert path.read_bytes() == ARCHIVE
        assert names(path.parent) == [NAME]
    assert server.asked == [None]


def test_another_file_of_that_name_is_never_overwritten(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / NAME).write_bytes(b"mine")
    with pytest.raises(StorageError, match=rf"{NAME}.*md5:\w+, not md5:\w+"):
        get(tmp_path, url=server.url)
    assert (tmp_path / NAME).read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({"cuts": [100_000, 50_000]}, [None, "bytes=100000-", "bytes=150000-"]),
        ({"cuts": [7000], "says_length": False}, [None, "bytes=7000-"]),
        ({"cuts": [4000, 2000], "ranges": False}, [None, "bytes=4000-", "bytes=2000-"]),
        ({"statuses": [503, 429]}, [None, None, None]),
        # more breaks than there are pauses, each after something new
        ({"cuts": [1000] * 10}, [None, *(f"bytes={1000 * k}-" for k in range(1, 11))]),
    ],
)
def test_a_broken_download_goes_on(
    server: Server, tmp_path: Path, settings: dict[str, Any], asked: list[str | None]
) -> None:
    vars(server).update(settings)
    assert get(tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.asked == asked
    assert names(tmp_path) == [NAME]


def test_a_killed_download_is_resumed_by_the_next_run(
    server: Server, tmp_path: Path
) -> None:
    server.cuts = [300_000, 0, 0, 0]
    with pytest.raises(DataError, match=rf"4 tries.*300,000 bytes.*{NAME}\.part"):
        get(tmp_path, url=server.url)
    assert names(tmp_path) == [f"{NAME}.part"]
    assert get(tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.asked[-1] == "bytes=300000-"


@pytest.mark.parametrize(
    ("part", "asked"), [(ARCHIVE, []), (ARCHIVE + b"more", ["bytes=1048580-", None])]
)
def test_a_part_that_is_whole_or_too_long(
    server: Server, tmp_path: Path, part: bytes, asked: list[str | None]
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(part)
    assert get(tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.asked == asked


def test_a_wrong_checksum_removes_what_arrived(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" * 1000)  # of another version
    with pytest.raises(
        DataError, match=r"1,048,576 bytes.* md5:\w{32}, not md5:\w{32}"
    ):
        get(tmp_path, url=server.url)
    assert names(tmp_path) == []
    assert get(tmp_path, url=server.url).read_bytes() == ARCHIVE


@pytest.mark.parametrize(
    ("settings", "message", "requests"),
    [
        ({"content": ARCHIVE + b"more"}, "1,048,580 bytes.* 1,048,576", 1),
        (
            {"statuses": [404]},
            r"http://127\.0\.0\.1:\d+/aclImdb_v1\.tar\.gz: .*404 Not Found",
            1,
        ),
        (
            {"ranges": False, "cuts": [1000] * 20},
            "1,000 of 1,048,576 bytes.* 4 tries",
            4,
        ),
        # a body shorter than announced is not taken for whole
        (
            {"ranges": False, "content": ARCHIVE[:-10], "lie": len(ARCHIVE)},
            "1,048,566 of 1,048,576 bytes",
            4,
        ),
    ],
)
def test_a_download_that_fails(
    server: Server,
    tmp_path: Path,
    settings: dict[str, Any],
    message: str,
    requests: int,
) -> None:
    vars(server).update(settings)
    with pytest.raises(DataError, match=message):
        get(tmp_path, url=server.url)
    assert len(server.asked) == requests
    assert NAME not in names(tmp_path)


def test_no_server_at_all(server: Server, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    with pytest.raises(DataError, match=rf"127\.0\.0\.1:{port}.*refused.* 4 tries"):
        get(tmp_path, url=f"http://127.0.0.1:{port}/x")


def test_pauses_grow(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append)
    monkeypatch.setattr("tastemaker.data.downloading.time", clock)
    server.statuses = [503] * 9
    with pytest.raises(DataError, match="503"):
        fetch("imdb", tmp_path, url=server.url)
    assert slept == [1.0, 2.0, 4.0, 8.0]


def test_a_given_sha256_replaces_the_known_checksum(
    server: Server, tmp_path: Path
) -> None:
    server.content = b"a smaller edition"
    right = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(DataError, match=f"sha256:{right}, not sha256:0{{64}}"):
        get(tmp_path, url=server.url, sha256="0" * 64)
    path = get(tmp_path, url=server.url, sha256=right.upper())
    assert path.read_bytes() == server.content


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

    def open_on_a_small_disk(
        path: Path, mode: str = "r", *args: Any, **kwargs: Any
    ) -> Any:
        file = real_open(path, mode, *args, **kwargs)
        return FullAfterOneBlock(file) if mode == "wb" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", open_on_a_small_disk)
        with pytest.raises(StorageError, match=rf"{NAME}: .*No space left on device"):
            get(tmp_path, url=server.url)
    size = (tmp_path / f"{NAME}.part").stat().st_size
    assert 0 < size < len(ARCHIVE)
    assert len(server.asked) == 1  # another try would not make room
    assert get(tmp_path, url=server.url).read_bytes() == ARCHIVE
    assert server.asked[-1] == f"bytes={size}-"


def test_a_folder_that_is_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        get(tmp_path / "file", url=server.url)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("imbd", {}),
        ("imdb", {"url": "file:///etc/passwd"}),
        ("imdb", {"url": "ftp://host/x"}),
        ("imdb", {"url": "aclImdb.tar.gz"}),
        ("imdb", {"url": "http://[x"}),
        ("imdb", {"url": "http://h/é"}),
        ("imdb", {"sha256": "7c2ac02c03563afcf9b574c7e56c153a"}),
        ("imdb", {"sha256": "g" * 64}),
    ],
)
def test_a_name_address_or_checksum_that_cannot_be(
    tmp_path: Path, name: str, settings: dict[str, str]
) -> None:
    with pytest.raises(UsageError) as caught:
        fetch(name, tmp_path, **settings)
    assert f"`{next(iter(settings.values()), name)}`" in str(caught.value)
