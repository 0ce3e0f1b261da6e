"""Where a store is: a SQLite file of ours, or the address of a PostgreSQL database.

The module imports no database library, so that `tm.read` of other sources does not wait for one.
"""

import re
from pathlib import Path

_MAGIC = b"SQLite format 3\x00"
_POSTGRES = re.compile(r"postgres(ql)?(\+\w+)?://")
_PASSWORD = re.compile(r"(://[^:/@]*):.*@")
_PASSWORD_OPTION = re.compile(r"(password=)[^&]*", re.IGNORECASE)


def is_database(source: object) -> bool:
    """Return whether this is the address of a PostgreSQL database."""
    return isinstance(source, str) and bool(_POSTGRES.match(source))


def is_sqlite(path: Path) -> bool:
    """Return whether this is a SQLite file, of ours or not."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def is_store(source: object) -> bool:
    """Return whether this is the address of a database, or a SQLite file."""
    if is_database(source):
        return True
    return isinstance(source, str | Path) and is_sqlite(Path(source))


def shown_name(address: str | Path) -> str:
    """Return the name of a store for messages: the file's name, or the address without password."""
    if is_database(address):
        hidden = _PASSWORD.sub(r"\1:…@", str(address))
        return _PASSWORD_OPTION.sub(r"\1…", hidden)
    return Path(address).name
