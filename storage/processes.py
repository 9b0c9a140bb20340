"""The table of running processes: when each reported last, and its metrics."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, func, select

from storage.database import Database
from storage.schema import processes


class Processes:
    """Thread-safe; all methods raise ``StorageError``."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._upsert = database.upsert

    def report(self, process: str, kind: str, snapshot: dict[str, Any]) -> None:
        """Store that a process of this kind is alive, with its metrics.

        ``snapshot`` is JSON; its key ``tripped`` lists the providers that are down for the process.
        """
        row = {"kind": kind, "seen_at": time.time(), "figures": snapshot}
        statement = (
            self._upsert(processes)
            .values(name=process, **row)
            .on_conflict_do_update(index_elements=["name"], set_=row)
        )
        self._database.change(statement)

    def snapshots(self) -> dict[str, dict[str, Any]]:
        """The last metrics of each process, also if it ended within the retention time."""
        rows = self._database.rows(select(processes.c.name, processes.c.figures))
        return {row.name: row.figures for row in rows}

    def count_alive(self, kind: str, *, since: float) -> int:
        """How many processes of a kind have reported since that time."""
        alive = (processes.c.kind == kind) & (processes.c.seen_at > since)
        return int(self._database.value(select(func.count()).select_from(processes).where(alive)))

    def providers_down(self, *, since: float) -> list[str]:
        """The providers that are down for processes that have reported since that time."""
        down = processes.c.figures["tripped"].label("down")
        reports = self._database.rows(select(down).where(processes.c.seen_at > since))
        return [provider for row in reports for provider in row.down or []]

    def purge(self, *, before: float) -> None:
        """Delete processes that have not reported since that time."""
        self._database.change(delete(processes).where(processes.c.seen_at < before))
