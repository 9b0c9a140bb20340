"""What one of several processes at a time may do."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from sqlalchemy import delete, update

from database import Database
from schema import leases


class Leases(Protocol):
    """Every method may raise ``StoreError``; of those that ended, ``purge`` forgets."""

    def take(self, name: str, seconds: float) -> bool:
        """Take what one at a time may do; ``False`` while another one has it."""

    def extend(self, name: str, seconds: float) -> None:
        """Keep a lease that was taken for so long from now on."""

    def release(self, name: str) -> None:
        """Give a lease back."""

    def purge(self) -> None: ...


class OwnLeases:
    """Those of a process that is alone, among its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def take(self, name: str, seconds: float) -> bool:
        now = time.time()
        with self._lock:
            free = self._until.get(name, 0.0) < now
            if free:
                self._until[name] = now + seconds
        return free

    def extend(self, name: str, seconds: float) -> None:
        with self._lock:
            self._until[name] = time.time() + seconds

    def release(self, name: str) -> None:
        with self._lock:
            self._until.pop(name, None)

    def purge(self) -> None:
        now = time.time()
        with self._lock:
            self._until = {name: until for name, until in self._until.items() if until >= now}


class SharedLeases:
    """Those of all processes on a database."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._upsert = database.upsert

    def take(self, name: str, seconds: float) -> bool:
        now = time.time()
        statement = (
            self._upsert(leases)
            .values(name=name, until=now + seconds)
            .on_conflict_do_update(
                index_elements=["name"], set_={"until": now + seconds}, where=leases.c.until < now
            )
            .returning(leases.c.name)
        )
        return self._database.row(statement) is not None

    def extend(self, name: str, seconds: float) -> None:
        until = time.time() + seconds
        self._database.change(update(leases).where(leases.c.name == name).values(until=until))

    def release(self, name: str) -> None:
        self._database.change(delete(leases).where(leases.c.name == name))

    def purge(self) -> None:
        self._database.change(delete(leases).where(leases.c.until < time.time()))
