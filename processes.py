"""What each process that shares the database last said of itself."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Engine, delete, func, select

from database import upsert_of
from schema import processes


class Processes:
    """Every method may raise ``StoreError``."""

    def __init__(self, *, engine: Engine) -> None:
        self._engine = engine
        self._upsert = upsert_of(engine)

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
        with self._engine.begin() as connection:
            connection.execute(statement)

    def figures(self) -> dict[str, dict[str, Any]]:
        """What each process last reported, also those that ended within the retention time."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(processes.c.name, processes.c.figures))
            return {row.name: row.figures for row in rows}

    def count_alive(self, kind: str, *, since: float) -> int:
        """How many processes of a kind have reported since that time."""
        alive = (processes.c.kind == kind) & (processes.c.seen_at > since)
        with self._engine.connect() as connection:
            return connection.execute(
                select(func.count()).select_from(processes).where(alive)
            ).scalar_one()

    def tripped(self, *, since: float) -> list[str]:
        """The clouds that are down for those that have reported since that time."""
        wanted = select(processes.c.figures).where(processes.c.seen_at > since)
        with self._engine.connect() as connection:
            reports = connection.execute(wanted).scalars().all()
        return [cloud for report in reports for cloud in report.get("tripped", [])]

    def purge(self, *, before: float) -> None:
        """Forget those that have not reported since that time."""
        with self._engine.begin() as connection:
            connection.execute(delete(processes).where(processes.c.seen_at < before))
