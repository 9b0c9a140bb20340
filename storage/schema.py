"""All tables; the scripts in ``migrations/`` create and change them.

Some tables have older names in the database than in the code.
"""

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
    func,
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
    # The address that Twilio calls From, which the answer goes to.
    Column("sender", Text, nullable=False),
    # The user id that Twilio calls ExternalUserId, if there is one and it is not the address.
    Column("external_user_id", Text),
    Column("kind", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("media_url", Text, nullable=False),
    Column("attachment", String(16)),
    Column("received_at", Float, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("answer", JSON),
    # A value of ``Outcome``: what kind of answer that is. NULL counts as an answer of the agent.
    Column("outcome", String(16)),
    # The random token of the process that runs the turn, which changes when another takes it over.
    Column("claim", String(32)),
    # Until when no other process may claim the turn. Without a time the claim does not end.
    Column("claimed_until", Float),
    Index("turns_by_state", "state", "id"),
    Index("turns_by_age", "received_at"),
)

# The sender of a message. A process of an earlier release stores no user id.
turn_sender = func.coalesce(turns.c.external_user_id, turns.c.sender)

# The database itself makes sure that one turn of a sender runs at a time.
Index(
    "turns_running",
    turn_sender,
    unique=True,
    sqlite_where=text("state = 'running'"),
    postgresql_where=text("state = 'running'"),
)
Index("turns_by_sender", turn_sender, turns.c.id)

# The messages that turns send. Each is stored before it is sent, and gets its SID afterwards.
outbound_messages = Table(
    "sendings",
    metadata,
    Column("turn_id", _Counter, ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True),
    Column("part", String(16), primary_key=True),
    Column("begun_at", Float, nullable=False),
    Column("sid", String(64)),
    # The name that Twilio's status callbacks give, and what the last of them reported.
    Column("callback", String(32)),
    Column("state", String(16)),
    Column("error_code", Integer),
    # When to send it again, and the token of its voice note.
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
    # A value of ``SessionPrivacy``: what was asked so far.
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

# The keys of both caches are hashes of the text and of everything else that the result depends on.
speech_segments = Table(
    "spoken_pieces",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("audio", LargeBinary, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("used_at", Float, nullable=False),
)

cached_answers = Table(
    "kept_answers",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("kept_at", Float, nullable=False),
)

# Work that one process at a time may do, the process that does it, and until when.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", String(32)),
    Column("until", Float, nullable=False),
)

# The latest metrics of each process.
processes = Table(
    "processes",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("figures", JSON, nullable=False),
)

# What each process counted in each slot of time: ``step`` is its length and ``slot`` its begin,
# both in seconds (epoch).
metrics_history = Table(
    "metrics_history",
    metadata,
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("process", String(64), primary_key=True),
    Column("figures", JSON, nullable=False),
)

# When something happened first and last, over all processes; ``detail`` is of the last time.
moments = Table(
    "moments",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("detail", String(64), nullable=False),
)
