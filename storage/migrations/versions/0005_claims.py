"""Claims that end, one running turn of a sender, leases with an owner."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

RUNNING = sa.text("state = 'running'")

# The former release had its turns in a separate queue as well. Its web processes may go on adding
# to that queue, because they store each turn in the table too. Its workers must not find any more
# turns, because they would run turns that other processes have claimed. They end within the half
# minute that a stop takes.
_STOP_FORMER_WORKERS = """
DO $$
DECLARE function text;
BEGIN
    FOR function IN
        SELECT oid::regprocedure FROM pg_proc WHERE proname = 'procrastinate_fetch_job_v2'
    LOOP
        EXECUTE 'DROP FUNCTION ' || function;
    END LOOP;
END
$$
"""
_LEAVE_RUNNING = """
UPDATE turns SET claimed_until = extract(epoch from clock_timestamp()) + 35
WHERE state = 'running'
"""
# If a sender has several running turns, all but the first wait again. Otherwise the unique index
# could not be created.
_RUN_ONE_OF_A_SENDER = """
UPDATE turns SET state = 'waiting' WHERE state = 'running' AND EXISTS (
    SELECT 1 FROM turns AS former
    WHERE former.sender = turns.sender AND former.state = 'running' AND former.id < turns.id
)
"""


def upgrade() -> None:
    op.add_column("turns", sa.Column("claimed_until", sa.Float))
    op.add_column("leases", sa.Column("owner", sa.String(32)))
    op.execute(_RUN_ONE_OF_A_SENDER)
    op.create_index(
        "turns_running",
        "turns",
        ["sender"],
        unique=True,
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )
    op.create_index("sendings_by_sid", "sendings", ["sid"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_LEAVE_RUNNING)
        op.execute(_STOP_FORMER_WORKERS)
