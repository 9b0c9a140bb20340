"""Run by Alembic: migrates over the connection that ``storage/engine.py`` passes on."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
