"""Several processes on one database: claims on turns, leases, processes, and the queue's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op
from procrastinate.schema import SchemaManager

revision = "0002"
down_revision = "0001"

# A later version of Procrastinate brings further files; they belong into a migration of their own.
QUEUE_TABLES_UNTIL = "03.04.00_50"

# Procrastinate announces jobs that are put in, but not those whose lock becomes free.
ANNOUNCE_FREE_LOCK = """
CREATE FUNCTION announce_free_lock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify(
        'procrastinate_queue_v1#' || OLD.queue_name,
        json_build_object('type', 'job_inserted', 'job_id', OLD.id)::text
    );
    RETURN NULL;
END;
$$;
CREATE TRIGGER announce_free_lock_deleted AFTER DELETE ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status = 'doing')
    EXECUTE FUNCTION announce_free_lock();
CREATE TRIGGER announce_free_lock_updated AFTER UPDATE OF status ON procrastinate_jobs
    FOR EACH ROW WHEN (OLD.status = 'doing' AND NEW.status <> 'doing')
    EXECUTE FUNCTION announce_free_lock();
"""

# Fetching asks for every waiting job whether its lock is taken.
INDEX_LOCKS = """
CREATE INDEX procrastinate_jobs_by_lock ON procrastinate_jobs (lock, id)
    WHERE status IN ('todo', 'doing');
"""


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
    if op.get_bind().dialect.name == "postgresql":
        _create_queue()


def _create_queue() -> None:
    for file in sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql")):
        if file.name[: len(QUEUE_TABLES_UNTIL)] <= QUEUE_TABLES_UNTIL:
            _run(file.read_text(encoding="utf-8"))
    _run(ANNOUNCE_FREE_LOCK)
    _run(INDEX_LOCKS)


def _run(script: str) -> None:
    """Several statements at once, which the driver takes only without parameters."""
    driver: Any = op.get_bind().connection.driver_connection
    driver.execute(script)
