"""Several processes on one database: claims on turns, leases, processes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("turns", sa.Column("claim", sa.String(32)))
    op.create_index("turns_by_sender", "turns", ["sender", "id"])
    op.create_index("turns_by_age", "turns", ["received_at"])
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_table(
        "processes",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("figures", sa.JSON, nullable=False),
    )
