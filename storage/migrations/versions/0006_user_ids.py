"""The user ids of senders, which stay when the address changes; files that came with messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

RUNNING = sa.text("state = 'running'")
SENDER = sa.text("coalesce(external_user_id, sender)")


def upgrade() -> None:
    # ``sender`` stays the address to answer to, because workers of the former release, which may
    # run at the same time for a while, send their answers there.
    op.add_column("turns", sa.Column("external_user_id", sa.Text))
    op.add_column("turns", sa.Column("attachment", sa.String(16)))
    op.drop_index("turns_running", "turns")
    op.create_index(
        "turns_running",
        "turns",
        [SENDER],
        unique=True,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
    op.drop_index("turns_by_sender", "turns")
    op.create_index("turns_by_sender", "turns", [SENDER, "id"])
