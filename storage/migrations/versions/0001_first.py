"""Turns, what they sent, agent sessions, preferences, voice notes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_counter = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "turns",
        sa.Column("id", _counter, primary_key=True, autoincrement=True),
        sa.Column("message_sid", sa.String(64), nullable=False, unique=True),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("media_url", sa.Text, nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("answer", sa.JSON),
    )
    op.create_index("turns_by_state", "turns", ["state", "id"])
    op.create_table(
        "sendings",
        sa.Column(
            "turn_id", _counter, sa.ForeignKey("turns.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("part", sa.String(16), primary_key=True),
        sa.Column("begun_at", sa.Float, nullable=False),
        sa.Column("sid", sa.String(64)),
    )
    op.create_table(
        "agent_sessions",
        sa.Column("sender", sa.Text, primary_key=True),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("used_at", sa.Float, nullable=False),
    )
    op.create_table(
        "preferences",
        sa.Column("sender", sa.Text, primary_key=True),
        sa.Column("voice", sa.Boolean),
        sa.Column("language", sa.String(8)),
        sa.Column("used_at", sa.Float, nullable=False),
    )
    op.create_table(
        "voice_notes",
        sa.Column("token", sa.String(32), primary_key=True),
        sa.Column("audio", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False, index=True),
    )
