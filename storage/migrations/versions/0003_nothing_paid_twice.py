"""A column for the privacy of sessions; caches for speech and answers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # It is unknown what was asked in sessions that exist already.
    op.add_column(
        "agent_sessions",
        sa.Column("asked", sa.String(8), nullable=False, server_default="personal"),
    )
    op.create_table(
        "spoken_pieces",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("audio", sa.LargeBinary, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
        sa.Column("used_at", sa.Float, nullable=False),
    )
    op.create_table(
        "kept_answers",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("kept_at", sa.Float, nullable=False),
    )
