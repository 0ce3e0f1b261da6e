"""Download an original archive from its authors' address, with resume and retries; checked before it gets its name.

What has arrived is kept in `NAME.part`, and the server's mark of that version in `NAME.part.version`, so that a broken
download goes on where it stopped. Only a file with the right checksum is ever called NAME. Standard library only.
"""

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

from tastemaker.errors import DataError, StorageError, UsageError
from tastemaker.progress import Advance, progress

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each new try, when a try brought nothing new."""

_TIMEOUT = 60.0  # seconds without a single byte
_BLOCK = 1 << 18
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # the server may answer later


@dataclass(frozen=True, slots=True)
class Source:
    """Where a data set lies and how to know that all of it has arrived.

    digest: `algorithm:hexadecimal`, an algorithm of hashlib. size: bytes, None when it is not known.
    """

    url: str
    digest: str
    size: int | None


SOURCES = {
    "imdb": Source(
        "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        "md5:7c2ac02c03563afcf9b574c7e56c153a",
        84_125_825,
    )
}
"""The data sets that can be fetched: the one place to add a row for another."""


class _InterruptedError(Exception):
    """The connection failed in a way that another try may mend; the message says how."""


def fetch(name: str, folder: Path, *, url: str | None = None, sha256: str | None = None) -> Path:
    """Download the original archive of data set `name` into `folder` and return its path; do nothing if it is there.

    url: another address of the same archive (http or https). sha256: 64 hexadecimal digits, in place of the known
    checksum.
    Raises UsageError for an unknown name or a bad url or checksum; DataError when the server has no such file, when
    the connection keeps failing, or when what arrived has another size or checksum; StorageError when the disk is full.
    """
    source = _source(name, url, sha256)
    target = folder / SOURCES[name].url.rsplit("/", 1)[-1]
    part = target.with_name(f"{target.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _check_present(target, source)
            return target
        _download(source, part, f"fetching {name}")
        _verify(source, part)
        part.replace(target)
        _version_of(part).unlink(missing_ok=True)
    except OSError as error:  # the network's own errors never come this far
        raise StorageError(
            f"{target}: cannot write ({error.strerror or error}). What has arrived is kept beside it: "
            "free some room or choose another folder, and run it again."
        ) from error
    return target


def _source(name: str, url: str | None, sha256: str | None) -> Source:
    """Return the source called `name`, with the caller's own address and checksum where given."""
    if name not in SOURCES:
        raise UsageError(f"no data set is called `{name}`; known: {', '.join(sorted(SOURCES))}.")
    source = SOURCES[name]
    if url is not None:
        if not _is_address(url):
            raise UsageError(
                f"cannot fetch from `{url}`: it must be an address that starts with http:// or https://."
            )
        source = replace(source, url=url)
    if sha256 is not None:
        digits = sha256.strip().lower()
        if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
            raise UsageError(f"`{sha256}` is no SHA-256 checksum: it needs 64 hexadecimal digits.")
        source = replace(source, digest=f"sha256:{digits}", size=None)
    return source


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and url.isascii()
        and url.isprintable()
    )


def _digest(path: Path, source: Source) -> str:
    """Return the file's checksum by the source's algorithm, written as the source writes it."""
    algorithm = source.digest.partition(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _check_present(target: Path, source: Source) -> None:
    found = _digest(target, source)
    if found != source.digest:
        raise StorageError(
            f"{target}: already there, but it has {found}, not {source.digest}. Move or remove it, and run it again."
        )


def _verify(source: Source, part: Path) -> None:
    """Raise DataError, and remove the part, unless it is the file that was promised."""
    found = _digest(part, source)
    if found == source.digest:
        return
    size = _size(part)
    _discard(part)
    raise DataError(
        f"{source.url}: the {size:,} bytes that arrived have {found}, not {source.digest}; they were removed. "
        "Run it again, or name another address."
    )


def _version_of(part: Path) -> Path:
    """Return the file that holds the server's mark of the version that `part` is a piece of."""
    return part.with_name(f"{part.name}.version")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_of(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _download(source: Source, part: Path, what: str) -> None:
    """Fill `part`, trying again when the connection breaks; a try that got further than ever before does not count."""
    pauses, furthest = iter(PAUSES), _size(part)
    with progress(what, source.size) as advance:
        advance(furthest, "")
        while True:
            try:
                return _attempt(source, part, advance)
            except _InterruptedError as trouble:
                if _size(part) > furthest:
                    pauses, furthest = iter(PAUSES), _size(part)
                pause = next(pauses, None)
                if pause is None:
                    raise DataError(
                        f"{source.url}: {trouble}; gave up after {len(PAUSES) + 1} tries. What has arrived "
                        f"({_size(part):,} bytes) is kept in {part}: run it again to go on, or name another address."
                    ) from trouble
                advance(0, f"{trouble}; trying again")
                time.sleep(pause)


def _attempt(source: Source, part: Path, advance: Advance) -> None:
    """Open one connection and read it to its end. Raises _InterruptedError where another try may help."""
    start = _size(part)
    if start == source.size:
        return
    with _open(_request(source, part, start), part) as answer:
        begin, total = _span(answer, start)
        if source.size is not None and total not in (None, source.size):
            raise DataError(
                f"{source.url}: the server offers {total:,} bytes, not the {source.size:,} of the original. "
                "Name another address, or the SHA-256 checksum of this file."
            )
        advance(begin - start, "")
        _receive(answer, part, begin, advance)
    expected = total or source.size
    if expected is not None and _size(part) < expected:
        raise _InterruptedError(f"the connection broke after {_size(part):,} of {expected:,} bytes")


def _request(source: Source, part: Path, start: int) -> urllib.request.Request:
    """Ask for everything from byte `start` on, if the file is still the version that `part` is a piece of."""
    headers = {"User-Agent": "tastemaker", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if _version_of(part).exists():
            headers["If-Range"] = _version_of(part).read_text("ascii")
    return urllib.request.Request(source.url, headers=headers)


def _open(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    """Connect. Raises DataError where the server's answer is final, _InterruptedError where it may change."""
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        said = f"the server says {error.code} {error.reason}"
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            _discard(part)  # longer than the server's file, so no piece of it
            raise _InterruptedError(said) from error
        if error.code in _BUSY:
            raise _InterruptedError(said) from error
        raise DataError(f"{request.full_url}: {said}. Name another address.") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DataError(
                f"{request.full_url}: the certificate is not trusted ({reason.verify_message})."
            ) from error
        raise _InterruptedError(f"no connection ({reason})") from error
    assert isinstance(answer, http.client.HTTPResponse)  # as for any http and https address
    return answer


def _span(answer: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
    """Return the place of the answer's first byte in the whole file, and the file's size where the server tells it."""
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT:
        span, _, total = (
            answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        )
        if span.partition("-")[0] != str(start):
            raise _InterruptedError(
                f"the server sent bytes {span or '?'}, but {start}- was asked for"
            )
        return start, int(total) if total.isdigit() else None
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _receive(answer: http.client.HTTPResponse, part: Path, begin: int, advance: Advance) -> None:
    """Write the answer into `part` from byte `begin` on: the end of it, or all of it."""
    if begin == 0:
        part.unlink(missing_ok=True)
        _remember_version(answer, part)
    with part.open("ab") as file:
        while block := _read(answer):
            file.write(block)
            advance(len(block), "")


def _remember_version(answer: http.client.HTTPResponse, part: Path) -> None:
    """Keep what If-Range needs: a strong ETag, or else the date of the file."""
    tag = answer.headers.get("ETag", "")
    version = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
    if version.isascii() and version:
        _version_of(part).write_text(version, "ascii")
    else:
        _version_of(part).unlink(missing_ok=True)


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection broke ({error})") from error
