"""The tables as the newest migration leaves them, for SQLAlchemy's queries.

`migrations.py` makes them. A test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    Text,
)

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
