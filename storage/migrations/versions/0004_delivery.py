"""The delivery states of sent messages, and voice notes in another format."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("sendings", sa.Column("callback", sa.String(32)))
    op.add_column("sendings", sa.Column("state", sa.String(16)))
    op.add_column("sendings", sa.Column("error_code", sa.Integer))
    op.add_column("sendings", sa.Column("retry_at", sa.Float))
    op.add_column("sendings", sa.Column("note", sa.String(32)))
    op.create_index("sendings_by_callback", "sendings", ["callback"], unique=True)
    op.create_index(
        "sendings_to_repeat",
        "sendings",
        ["retry_at"],
        sqlite_where=sa.text("retry_at IS NOT NULL"),
        postgresql_where=sa.text("retry_at IS NOT NULL"),
    )
    op.add_column(
        "voice_notes",
        sa.Column("media_type", sa.String(16), nullable=False, server_default="audio/ogg"),
    )
