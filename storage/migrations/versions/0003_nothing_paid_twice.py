"""What has been asked in a session; speech and answers that are kept to be given again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Nobody kept account of what was asked in those that exist.
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
