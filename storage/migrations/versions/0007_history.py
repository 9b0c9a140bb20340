"""What was counted over time, when things happened last, and what kind of answer a turn has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    # Processes of the former release may run at the same time; they leave all of this alone.
    op.create_table(
        "metrics_history",
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("slot", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("process", sa.String(64), primary_key=True),
        sa.Column("figures", sa.JSON, nullable=False),
    )
    op.create_table(
        "moments",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("first_at", sa.Float, nullable=False),
        sa.Column("last_at", sa.Float, nullable=False),
        sa.Column("detail", sa.String(64), nullable=False),
    )
    op.add_column("turns", sa.Column("outcome", sa.String(16)))
