"""Download an original archive from its authors' address, with resume, retries and a checksum.

What has arrived is kept in `NAME.part`, so that a broken download goes on where it stopped. Only a
file with the right checksum is called NAME. This is our own code and not pooch, because pooch
begins a broken download again.
"""

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

from tastemaker.errors import DataError, StorageError, UsageError
from tastemaker.progress import Advance, progress

PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each new try after a try that brought nothing new."""

_TIMEOUT = 60.0  # seconds without a single byte
_BLOCK = 1 << 18  # bytes
_BUSY = (408, 425, 429, 500, 502, 503, 504)  # the server may answer later


@dataclass(frozen=True, slots=True)
class Source:
    """Where an archive is, and how to check that all of it has arrived.

    digest: `algorithm:hexadecimal`, an algorithm of hashlib. size: bytes, None when unknown.
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
"""The data sets that can be fetched."""


class _BrokenError(Exception):
    """The connection failed in a way that another try may mend."""


def fetch(
    name: str,
    folder: Path,
    *,
    url: str | None = None,
    sha256: str | None = None,
    pauses: Sequence[float] = PAUSES,
) -> Path:
    """Download the original archive of a data set into `folder`, and return its path.

    A file that is there already is checked and not downloaded again. url: another address of the
    archive (http or https). sha256: 64 hexadecimal digits, in place of the known checksum. pauses:
    seconds to wait before each new try.
    Raises UsageError for an unknown name and for a bad url or checksum; DataError when the server
    has no such file, when the connection keeps failing, and when the file has another size or
    checksum; StorageError when the file cannot be written.
    """
    source = _source(name, url, sha256)
    target = folder / SOURCES[name].url.rsplit("/", 1)[-1]
    part = target.with_name(f"{target.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            _check_target(target, source)
            return target
        with progress(f"fetching {name}", source.size) as advance:
            _download(source, part, advance, pauses)
        _check_part(part, source)
        part.replace(target)
    except (
        OSError
    ) as error:  # of the disk: those of the network are caught before
        raise StorageError(
            f"{target}: cannot write ({error.strerror or error}). What has arrived is kept beside "
            "it: free some room or choose another folder, and run it again."
        ) from error
    return target


def _source(name: str, url: str | None, sha256: str | None) -> Source:
    """Return the source of a data set, with another address and checksum where given."""
    if name not in SOURCES:
        raise UsageError(
            f"no data set is called `{name}`; known: {', '.join(sorted(SOURCES))}."
        )
    source = SOURCES[name]
    if url is not None:
        if not _is_address(url):
            raise UsageError(
                f"cannot fetch from `{url}`: "
                "it must be an address that starts with http:// or https://."
            )
        source = replace(source, url=url)
    if sha256 is not None:
        digits = sha256.strip().lower()
        if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
            raise UsageError(
                f"`{sha256}` is no SHA-256 checksum: it needs 64 hexadecimal digits."
            )
        source = replace(source, digest=f"sha256:{digits}", size=None)
    return source


def _is_address(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    return is_web and url.isascii() and url.isprintable()


def _digest(path: Path, source: Source) -> str:
    """Return the file's checksum, written as in the source."""
    algorithm = source.digest.partition(":")[0]
    with path.open("rb") as file:
        return (
            f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
        )


def _check_target(target: Path, source: Source) -> None:
    digest = _digest(target, source)
    if digest != source.digest:
        raise StorageError(
            f"{target}: already there, but it has {digest}, not {source.digest}. "
            "Move or remove it, and run it again."
        )


def _check_part(part: Path, source: Source) -> None:
    """Raise DataError, and remove the part, where the checksum is wrong."""
    digest, size = _digest(part, source), _size(part)
    if digest != source.digest:
        part.unlink()
        raise DataError(
            f"{source.url}: the {size:,} bytes that arrived have {digest}, not {source.digest}; "
            "they were removed. Run it again, or name another address."
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _download(
    source: Source, part: Path, advance: Advance, pauses: Sequence[float]
) -> None:
    """Fill `part`, trying again when the connection breaks.

    Only tries that get no further than the ones before count.
    """
    tries, furthest = 0, _size(part)
    advance(furthest, "")
    while _size(part) != source.size:
        try:
            _receive(source, part, advance)
            return
        except _BrokenError as error:
            if _size(part) > furthest:
                tries, furthest = 0, _size(part)
            if tries == len(pauses):
                raise DataError(
                    f"{source.url}: {error}; gave up after {tries + 1} tries. What has arrived "
                    f"({_size(part):,} bytes) is kept in {part}: run it again to go on, or name "
                    "another address."
                ) from error
            advance(0, f"{error}; trying again")
            time.sleep(pauses[tries])
            tries += 1


def _receive(source: Source, part: Path, advance: Advance) -> None:
    """Open one connection and read it to its end. Raises _BrokenError where it ends too early."""
    start = _size(part)
    with _connect(source.url, part, start) as answer:
        # the server begins at the beginning
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            advance(-start, "")
            start = 0
        elif not answer.headers.get("Content-Range", "").startswith(
            f"bytes {start}-"
        ):
            raise _BrokenError(
                f"the server sent other bytes than from {start:,} on"
            )
        length = answer.headers.get("Content-Length", "")
        expected = start + int(length) if length.isdigit() else source.size
        if source.size is not None and expected != source.size:
            raise DataError(
                f"{source.url}: the server offers {expected:,} bytes, not the {source.size:,} of "
                "the original. Name another address, or the SHA-256 checksum of this file."
            )
        with part.open("ab" if start else "wb") as file:
            while block := _read(answer):
                file.write(block)
                advance(len(block), "")
    if expected is not None and _size(part) < expected:
        raise _BrokenError(
            f"the connection broke after {_size(part):,} of {expected:,} bytes"
        )


def _connect(url: str, part: Path, start: int) -> http.client.HTTPResponse:
    """Ask for the bytes from `start` on. Raises DataError where another try cannot help."""
    request = urllib.request.Request(url, headers={"User-Agent": "tastemaker"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server says {error.code} {error.reason}"
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            # longer than the server's file, so no piece of it
            part.unlink(missing_ok=True)
        elif error.code not in _BUSY:
            raise DataError(
                f"{url}: {reason}. Name another address."
            ) from error
        raise _BrokenError(reason) from error
    except (OSError, http.client.HTTPException) as error:
        cause = (
            error.reason if isinstance(error, urllib.error.URLError) else error
        )
        if isinstance(cause, ssl.SSLCertVerificationError):
            message = (
                f"the certificate is not trusted ({cause.verify_message})"
            )
            raise DataError(f"{url}: {message}.") from error
        raise _BrokenError(f"no connection ({cause})") from error
    # as for any http and https address
    assert isinstance(answer, http.client.HTTPResponse)
    return answer


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(f"the connection broke ({error})") from error
