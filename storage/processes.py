"""What each process that shares the database last said of itself."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, func, select

from storage.database import Database
from storage.schema import processes


class Processes:
    """Every method may raise ``StorageError``."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._upsert = database.upsert

    def report(self, process: str, kind: str, figures: dict[str, Any]) -> None:
        """Note that a process of this kind is alive, and its figures in place of earlier ones.

        What is down for it stands among them as ``tripped``.
        """
        row = {"kind": kind, "seen_at": time.time(), "figures": figures}
        statement = (
            self._upsert(processes)
            .values(name=process, **row)
            .on_conflict_do_update(index_elements=["name"], set_=row)
        )
        self._database.change(statement)

    def snapshots(self) -> dict[str, dict[str, Any]]:
        """What each process last reported, also those that ended within the retention time."""
        rows = self._database.rows(select(processes.c.name, processes.c.figures))
        return {row.name: row.figures for row in rows}

    def count_alive(self, kind: str, *, since: float) -> int:
        """How many processes of a kind have reported since that time."""
        alive = (processes.c.kind == kind) & (processes.c.seen_at > since)
        return int(self._database.value(select(func.count()).select_from(processes).where(alive)))

    def providers_down(self, *, since: float) -> list[str]:
        """The providers that are down for those that have reported since that time."""
        tripped = processes.c.figures["tripped"].label("tripped")
        reports = self._database.rows(select(tripped).where(processes.c.seen_at > since))
        return [provider for row in reports for provider in row.tripped or []]

    def purge(self, *, before: float) -> None:
        """Forget those that have not reported since that time."""
        self._database.change(delete(processes).where(processes.c.seen_at < before))
