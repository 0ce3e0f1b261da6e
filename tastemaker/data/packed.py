"""Packed text files: .gz, .zst, and .zip with one table in it."""

import gzip
import io
import zipfile
from pathlib import Path
from typing import IO, cast

from tastemaker.errors import DataError

PACKINGS = (".gz", ".zst", ".zip")
"""The ends of the names of packed files."""


def unpacked_name(path: Path) -> str:
    """Return the name, in small letters, of what is in a packed file; that of another file.

    Raises DataError for a .zip that does not hold one file.
    """
    name = path.name.lower()
    if name.endswith(".zip") and path.is_file():
        return Path(_member(path)).name.lower()
    for packing in PACKINGS:
        name = name.removesuffix(packing)
    return name


def opened(path: Path) -> IO[bytes]:
    """Return a file's bytes, unpacked where its name says that it is packed."""
    name = path.name.lower()
    if name.endswith(".gz"):
        return cast(IO[bytes], gzip.open(path))
    if name.endswith(".zst"):
        return _zstandard(path)
    if name.endswith(".zip"):
        member = _member(path)
        try:
            return zipfile.ZipFile(path).open(member)
        except (RuntimeError, NotImplementedError) as error:
            reason = str(error).rstrip(".")
            raise DataError(
                f"{path.name}: cannot be unpacked ({reason}). Unpack it and name the file."
            ) from error
    return path.open("rb")


def _zstandard(path: Path) -> IO[bytes]:
    import pyarrow as pa

    # pyarrow's own stream cannot read lines
    stream = pa.input_stream(str(path), compression="zstd")
    return cast(IO[bytes], io.BufferedReader(stream))


def _member(path: Path) -> str:
    """Return the name of the one file in a .zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(
            f"{path.name}: cut short or damaged ({error}). Get the file again."
        ) from error
    files = []
    for name in names:
        is_hidden = name.startswith("__MACOSX") or Path(name).name.startswith(
            "."
        )
        if not is_hidden and not name.endswith("/"):
            files.append(name)
    if len(files) != 1:
        raise DataError(
            f"{path.name}: {len(files)} files in it, where one table belongs. Unpack it and "
            "name its folder."
        )
    return files[0]
