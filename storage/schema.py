"""The tables; ``migrations/`` brings a database to them."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

# SQLite counts up only where the key is exactly INTEGER.
_Counter = BigInteger().with_variant(Integer, "sqlite")

# Times are epoch seconds: they must mean the same after a restart, and on another machine.
turns = Table(
    "turns",
    metadata,
    Column("id", _Counter, primary_key=True, autoincrement=True),
    Column("message_sid", String(64), nullable=False, unique=True),
    Column("sender", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("media_url", Text, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("answer", JSON),
    # Whoever runs the turn; a process that lost it to another finds another claim.
    Column("claim", String(32)),
    # Until when nobody else may take it; without, for as long as the one process lives.
    Column("claimed_until", Float),
    Index("turns_by_state", "state", "id"),
    # Of each sender one turn runs at a time, whoever asks.
    Index(
        "turns_running",
        "sender",
        unique=True,
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
    Index("turns_by_sender", "sender", "id"),
    Index("turns_by_age", "received_at"),
)

# What a turn began to send and, once Twilio took it, the SID it got.
outbound_messages = Table(
    "sendings",
    metadata,
    Column("turn_id", _Counter, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("part", String(16), primary_key=True),
    Column("begun_at", Float, nullable=False),
    Column("sid", String(64)),
    # What its status callbacks are called by, and what the last of them said.
    Column("callback", String(32)),
    Column("state", String(16)),
    Column("error_code", Integer),
    # When it is to be sent again, and the voice note that was sent.
    Column("retry_at", Float),
    Column("note", String(32)),
    Index("sendings_by_callback", "callback", unique=True),
    Index("sendings_by_sid", "sid"),
    Index(
        "sendings_to_repeat",
        "retry_at",
        sqlite_where=text("retry_at IS NOT NULL"),
        postgresql_where=text("retry_at IS NOT NULL"),
    ),
)

agent_sessions = Table(
    "agent_sessions",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("session_id", Text, nullable=False),
    Column("used_at", Float, nullable=False),
    # Nothing, only what is public, or anything else too: see core/models.py.
    Column("asked", String(8), nullable=False, server_default="personal"),
)

preferences = Table(
    "preferences",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("voice", Boolean),
    Column("language", String(8)),
    Column("used_at", Float, nullable=False),
)

voice_notes = Table(
    "voice_notes",
    metadata,
    Column("token", String(32), primary_key=True),
    Column("audio", LargeBinary, nullable=False),
    Column("media_type", String(16), nullable=False, server_default="audio/ogg"),
    Column("expires_at", Float, nullable=False, index=True),
)

# Keys are hashes of what was spoken, or asked, and of how.
spoken_pieces = Table(
    "spoken_pieces",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("audio", LargeBinary, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("used_at", Float, nullable=False),
)

kept_answers = Table(
    "kept_answers",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("kept_at", Float, nullable=False),
)

# What one process at a time may do, until when, and which one it is.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", String(32)),
    Column("until", Float, nullable=False),
)

# What each process last said of itself, and when.
processes = Table(
    "processes",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("figures", JSON, nullable=False),
)
