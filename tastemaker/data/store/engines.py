"""Open a store: SQLite with a write-ahead log, or PostgreSQL; transactions; the errors as one line.

SQLite: every write begins with BEGIN IMMEDIATE, so that two writers wait for each other instead of
failing half way, and a commit returns when the log is on the disk (`synchronous = FULL`).
PostgreSQL: a lock of the transaction makes the same one writer.
"""

import errno
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, ResourceClosedError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tastemaker.data.store.addresses import (
    is_database,
    is_sqlite,
    shown_name,
)
from tastemaker.data.store.schema import (
    LATEST,
    check_schema,
    migrate,
    schema_number,
)
from tastemaker.errors import DataError, MissingExtra, StorageError

BUSY_SECONDS = 10
"""For how long a write waits for another program's."""
_WRITER = 0x7A57E
"""The number of the lock of PostgreSQL."""


class Database:
    """An open store: transactions that read, and transactions that write."""

    def __init__(
        self,
        address: str | Path,
        *,
        must_exist: bool,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.name = shown_name(address)
        self.path = None if is_database(address) else Path(address)
        if self.path is not None:
            _check_path(self.path, must_exist)
        self._engine = _engine(address, busy_seconds)
        self._writer = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the store."""
        with plain_errors(self.name), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection; what it wrote is on the disk when the block ends, or not at all."""
        with (
            plain_errors(self.name),
            self._writer,
            self._engine.connect() as connection,
        ):
            connection.execution_options(writes=True)
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    lock = text("SELECT pg_advisory_xact_lock(:number)")
                    connection.execute(lock, {"number": _WRITER})
                yield connection

    def migrate(self) -> Path | None:
        """Bring the schema up to date; return the copy of an older SQLite file, if there was one.

        Raises StorageError for a store of a newer version.
        """
        with self.reading() as connection:
            number = schema_number(connection)
        check_schema(number, self.name)
        if number == LATEST:
            return None
        copy = None
        if number and self.path is not None:
            copy = _copied(self.path, number)
        with self.writing() as connection:
            migrate(connection, self.name)
        return copy

    def check(self) -> None:
        """Raise DataError for a database without a store, StorageError for a newer one."""
        with self.reading() as connection:
            number = schema_number(connection)
        if number == 0:
            raise DataError(
                f"{self.name}: no store of judgements. `tastemaker rank` makes one."
            )
        check_schema(number, self.name)

    @contextmanager
    def closed_by_errors(self) -> Iterator[None]:
        """Close all connections where the block fails: nobody else can then."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _check_path(path: Path, must_exist: bool) -> None:
    """Raise an error for a path that cannot be a SQLite file."""
    if path.is_dir():
        raise StorageError(
            f"{path}: a folder. Name a file, such as judgements.db."
        )
    if path.exists() and path.stat().st_size and not is_sqlite(path):
        raise DataError(
            f"{path}: no SQLite file. Name a new one, such as judgements.db."
        )
    if must_exist and not path.exists():
        raise DataError(f"{path}: no such file.")
    if not path.parent.is_dir():
        raise StorageError(f"{path}: there is no folder {path.parent}.")


def _copied(path: Path, number: int) -> Path:
    """Copy a SQLite file, its log included, and return the copy."""
    copy = path.with_name(f"{path.name}.schema-{number}")
    with (
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    return copy


def _engine(address: str | Path, busy_seconds: float) -> Engine:
    if is_database(address):
        return _postgres(str(address))
    engine = create_engine(
        f"sqlite:///{Path(address)}",
        connect_args={"timeout": busy_seconds, "check_same_thread": False},
    )
    event.listen(engine, "connect", _connected)
    event.listen(engine, "begin", _begun)
    return engine


def _postgres(address: str) -> Engine:
    _, _, rest = address.partition("://")
    try:
        return create_engine(
            f"postgresql+psycopg://{rest}", pool_pre_ping=True
        )
    except ImportError as error:
        raise MissingExtra("a store in PostgreSQL", "postgres") from error
    except Exception as error:  # an address that SQLAlchemy cannot parse
        raise StorageError(
            f"{shown_name(address)}: no address of a database. "
            "Write postgresql://USER:PASSWORD@HOST/NAME."
        ) from error


def _connected(connection: Any, record: object) -> None:
    del record
    # the driver would begin transactions by itself, and too late
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA cache_size = -65536")
    cursor.close()


def _begun(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def plain_errors(name: str) -> Iterator[None]:
    """Turn the errors of a database into one line that says what to do."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        raise StorageError(f"{name}: {_advice(str(cause))}") from error
    except (PoolTimeout, ResourceClosedError) as error:
        raise StorageError(
            f"{name}: the store is busy or closed; nothing was written. Try again."
        ) from error
    except OSError as error:
        words = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            words = "the disk is full"
        raise StorageError(f"{name}: {words}; nothing was written.") from error


def _advice(message: str) -> str:
    """Return what happened and what to do, from the message of a driver."""
    line = " ".join(message.split())
    lower = line.lower()
    if "locked" in lower or "busy" in lower:
        return (
            "another program has held the store for too long; nothing was written. "
            "End it, or try again."
        )
    if "full" in lower:
        return "the disk is full; nothing was written. Free some room."
    if "disk i/o error" in lower:
        return "the disk cannot be written; nothing was written. Is it full, or broken?"
    if "readonly" in lower or "read-only" in lower:
        return "the store cannot be written: its file or folder is read-only."
    if "not a database" in lower or "malformed" in lower:
        return f"the file is damaged ({line}). Take the last copy of it."
    return f"{line}; nothing was written."
