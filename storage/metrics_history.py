"""The tables of what was counted over time, and of when things happened first and last."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case, delete, select

from metrics import HOUR, MINUTE, Moment
from storage.database import Database
from storage.schema import metrics_history, moments

# The lengths of slots, and how long their rows are kept; both in seconds.
QUARTER, TWO_HOURS = 15 * MINUTE, 2 * HOUR
KEPT = {MINUTE: 90 * MINUTE, QUARTER: 26 * HOUR, TWO_HOURS: 8 * 24 * HOUR}
SLOTS_AT_ONCE = 8
# Of a name and of a detail.
MAX_CHARACTERS = 64


@dataclass(frozen=True, order=True)
class Slot:
    """``length`` seconds from ``begin`` on (epoch seconds)."""

    length: int
    begin: int


class MetricsHistory:
    """Thread-safe; all methods raise ``StorageError``."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        insert = database.upsert(metrics_history)
        self._save_slot = insert.on_conflict_do_update(
            index_elements=["step", "slot", "process"], set_={"figures": insert.excluded.figures}
        )
        self._save_moment = _upsert_moment(database)

    def save(
        self,
        process: str,
        slots: Mapping[Slot, Mapping[str, Any]],
        happened: Mapping[str, Moment],
    ) -> None:
        """Store all that a process counted in each of these slots, in place of what it stored.

        The moments are added to those that are stored. Saving the same again changes nothing.
        """
        rows = [
            {"step": slot.length, "slot": slot.begin, "process": process, "figures": figures}
            for slot, figures in slots.items()
        ]
        # In this order, so that no two processes wait for each other.
        named = [
            {
                "name": name[:MAX_CHARACTERS],
                "first_at": each.first,
                "last_at": each.last,
                "detail": each.detail[:MAX_CHARACTERS],
            }
            for name, each in sorted(happened.items())
        ]

        def save(connection: Connection) -> None:
            if rows:
                connection.execute(self._save_slot, rows)
            if named:
                connection.execute(self._save_moment, named)

        if rows or named:
            self._database.run(save)

    def slots(self, length: int, *, since: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """The begin of each slot from ``since`` on, with what a process counted.

        They are read in small portions, because to read a week of many processes takes 0.2 s.
        """
        span = SLOTS_AT_ONCE * length
        for begin in range(since, int(time.time()) + length, span):
            wanted = select(metrics_history.c.slot, metrics_history.c.figures).where(
                metrics_history.c.step == length,
                metrics_history.c.slot.between(begin, begin + span - 1),
            )
            for row in self._database.rows(wanted):
                yield row.slot, row.figures

    def moments(self) -> dict[str, Moment]:
        """All moments by their names."""
        rows = self._database.rows(select(moments))
        return {row.name: Moment(row.first_at, row.last_at, row.detail) for row in rows}

    def purge(self) -> None:
        """Delete slots that are no longer shown."""
        now = time.time()
        for length, kept in KEPT.items():
            old = (metrics_history.c.step == length) & (metrics_history.c.slot < now - kept)
            self._database.change(delete(metrics_history).where(old))


def _upsert_moment(database: Database) -> Any:
    insert = database.upsert(moments)
    new = insert.excluded
    is_newer = new.last_at >= moments.c.last_at
    return insert.on_conflict_do_update(
        index_elements=["name"],
        set_={
            "first_at": case(
                (new.first_at < moments.c.first_at, new.first_at), else_=moments.c.first_at
            ),
            "last_at": case((is_newer, new.last_at), else_=moments.c.last_at),
            "detail": case((is_newer, new.detail), else_=moments.c.detail),
        },
    )
