"""The tables of a store, for SQLAlchemy's queries, and the numbered steps that make them.

The tables are as the newest step leaves them. A test compares the two. Steps are only ever
appended. A step is never edited after a release: stores of users have run it.
"""

import time

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
    text,
)

from tastemaker.errors import StorageError

METADATA = MetaData()

migrations = Table(
    "migrations",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("time", Float, nullable=False),
)

settings = Table(
    "settings",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),  # JSON
)

counts = Table(
    "counts",
    METADATA,
    Column("name", Text, primary_key=True),  # a field of counting.Counts
    Column("value", BigInteger, nullable=False),
)

items = Table(
    "items",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("digest", Text, nullable=False),  # of the prompt and the texts
    Column("ask", Text, nullable=False),  # rank, label, grade, rate
    Column("prompt", Text),  # JSON: a text, or the turns of a chat
    Column("texts", Text, nullable=False),  # JSON: a list
    Column("source", Text, nullable=False),
    Column("lot", Float, nullable=False),  # its place in the random order
    Column("wanted", Integer, nullable=False),  # judgements
    Column("judged", Integer, nullable=False),  # times, repeats left out
    Column("expected", Text),  # JSON: the answer of a calibration item
    Column("priority", Float),  # lowest first; none: in the random order
    Column("writers", Text),  # JSON: who wrote each text; judges never see it
)

judges = Table(
    "judges",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("is_revoked", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("cursor", Float, nullable=False),  # the last lot asked
    Column("judged", Integer, nullable=False),
)

views = Table(
    "views",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("item_id", BigInteger, ForeignKey("items.id"), nullable=False),
    Column("judge_id", BigInteger, ForeignKey("judges.id"), nullable=False),
    Column("shown", Text, nullable=False),  # JSON: numbers of the texts
    Column("is_open", Boolean, nullable=False),
    Column("time", Float, nullable=False),
    Column("reason", Text, nullable=False),  # new, repeat, calibration
    Column("arm", Text, nullable=False),  # random, disagreement, optimal
)

judgements = Table(
    "judgements",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("view_id", BigInteger, ForeignKey("views.id"), nullable=False),
    Column("key", Text, nullable=False),  # the client's, once a judgement
    Column("answer", Text, nullable=False),  # JSON
    Column("is_skip", Boolean, nullable=False),
    Column("seconds", Float),
    Column("time", Float, nullable=False),
    Column("withdrawn", Float),  # when
)


# ---- the steps --------------------------------------------------------------


_FIRST = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE items (
        id {key}, digest TEXT NOT NULL UNIQUE, ask TEXT NOT NULL, prompt TEXT,
        texts TEXT NOT NULL, source TEXT NOT NULL, lot {real} NOT NULL,
        wanted INTEGER NOT NULL, judged INTEGER NOT NULL)""",
    "CREATE INDEX items_to_ask ON items (lot) WHERE judged < wanted",
    """CREATE TABLE judges (
        id {key}, name TEXT NOT NULL UNIQUE, token TEXT NOT NULL UNIQUE,
        is_revoked BOOLEAN NOT NULL, created {real} NOT NULL,
        cursor {real} NOT NULL, judged INTEGER NOT NULL)""",
    """CREATE TABLE views (
        id {key}, item_id BIGINT NOT NULL REFERENCES items (id),
        judge_id BIGINT NOT NULL REFERENCES judges (id), shown TEXT NOT NULL,
        is_open BOOLEAN NOT NULL, time {real} NOT NULL)""",
    "CREATE INDEX views_of_an_item ON views (item_id, judge_id)",
    "CREATE INDEX views_open ON views (judge_id) WHERE is_open",
    """CREATE TABLE judgements (
        id {key}, view_id BIGINT NOT NULL REFERENCES views (id), key TEXT NOT NULL UNIQUE,
        answer TEXT NOT NULL, is_skip BOOLEAN NOT NULL, seconds {real},
        time {real} NOT NULL, withdrawn {real})""",
    """CREATE UNIQUE INDEX one_judgement_a_view ON judgements (view_id)
        WHERE withdrawn IS NULL""",
)

_REPEATS = (
    "ALTER TABLE items ADD COLUMN expected TEXT",
    "CREATE INDEX items_with_answers ON items (id) WHERE expected IS NOT NULL",
    "ALTER TABLE views ADD COLUMN reason TEXT NOT NULL DEFAULT 'new'",
    "CREATE INDEX views_of_a_judge ON views (judge_id, id)",
)

_ASKING = (
    "ALTER TABLE items ADD COLUMN priority {real}",
    "CREATE INDEX items_to_ask_first ON items (priority) WHERE priority IS NOT NULL",
    "ALTER TABLE views ADD COLUMN arm TEXT NOT NULL DEFAULT 'random'",
)

_WRITERS = ("ALTER TABLE items ADD COLUMN writers TEXT",)

_COUNTS = (
    "CREATE INDEX skips ON judgements (id) WHERE is_skip",
    "CREATE INDEX judgements_that_count ON judgements (id) WHERE withdrawn IS NULL",
)

_PAGES = (
    # SQLite takes a partial index only for its own words, and queries say `is_open = 1` there
    "DROP INDEX views_open",
    "CREATE INDEX views_open ON views (judge_id, id) WHERE is_open{true}",
    "DROP INDEX skips",
    "CREATE INDEX skips ON judgements (id) WHERE is_skip{true}",
    "CREATE TABLE counts (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "INSERT INTO counts SELECT 'items', COUNT(*) FROM items",
    "INSERT INTO counts SELECT 'left', COUNT(*) FROM items WHERE judged < wanted",
    """INSERT INTO counts SELECT 'judgements', COUNT(*) FROM judgements
        WHERE withdrawn IS NULL AND NOT is_skip""",
    """INSERT INTO counts SELECT 'skips', COUNT(*) FROM judgements
        WHERE withdrawn IS NULL AND is_skip""",
    "INSERT INTO counts VALUES ('changes', 0)",
)

_WITHDRAWN = (
    "CREATE INDEX withdrawn_of_a_view ON judgements (view_id, id) "
    "WHERE withdrawn IS NOT NULL",
)

_OPENINGS = ("INSERT INTO counts VALUES ('openings', 0)",)

MIGRATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("items, judges, views, judgements", _FIRST),
    ("planned repeats, and items with expected answers", _REPEATS),
    ("what to ask next", _ASKING),
    ("who wrote an answer", _WRITERS),
    ("counts of judgements and of skips", _COUNTS),
    ("open views and counts without a scan", _PAGES),
    ("withdrawn answers of a view", _WITHDRAWN),
    ("openings, and grades and labels beside a ranking", _OPENINGS),
)
"""(name, statements) of each step. {key}: a number that counts up. {real}: 64 bits.

{true}: what SQLAlchemy writes behind a column that is true.
"""

LATEST = len(MIGRATIONS)

_TYPES = {
    "sqlite": {"key": "INTEGER PRIMARY KEY", "real": "REAL", "true": " = 1"},
    "postgresql": {
        "key": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
        "real": "DOUBLE PRECISION",
        "true": "",
    },
}


def schema_number(connection: Connection) -> int:
    """Return the number of the last step that this database has run; 0 for an empty one."""
    names = inspect(connection).get_table_names()
    if "migrations" not in names:
        return 0
    number = connection.execute(text("SELECT MAX(number) FROM migrations"))
    return int(number.scalar() or 0)


def check_schema(number: int, name: str) -> None:
    """Raise StorageError for a store that a newer version of this package has written."""
    if number > LATEST:
        raise StorageError(
            f"{name}: its schema is number {number}, and this version of Tastemaker reads up to "
            f"{LATEST}. Update Tastemaker; nothing was changed."
        )


def migrate(connection: Connection, name: str, steps: int = LATEST) -> None:
    """Run the missing steps, inside the caller's transaction. steps: the number to stop at."""
    number = schema_number(connection)
    check_schema(number, name)
    dialect = connection.dialect.name
    if number == 0:
        _begin(connection, name)
    for step in range(number, steps):
        title, statements = MIGRATIONS[step]
        for statement in statements:
            connection.execute(text(statement.format(**_TYPES[dialect])))
        connection.execute(
            text("INSERT INTO migrations VALUES (:number, :name, :time)"),
            {"number": step + 1, "name": title, "time": time.time()},
        )


def _begin(connection: Connection, name: str) -> None:
    """Make the list of steps. Raises StorageError for a database of another program."""
    ours = {"migrations", "settings", "items", "judges", "views"}
    ours |= {"judgements", "counts"}
    others = set(inspect(connection).get_table_names())
    is_sqlite = connection.dialect.name == "sqlite"
    if (is_sqlite and others) or ours & others:
        first = min(others)
        raise StorageError(
            f"{name}: a database of another program (it has a table {first!r}). "
            "Name a new file, or an empty database."
        )
    real = _TYPES[connection.dialect.name]["real"]
    connection.execute(
        text(
            "CREATE TABLE migrations "
            f"(number INTEGER PRIMARY KEY, name TEXT NOT NULL, time {real} NOT NULL)"
        )
    )
